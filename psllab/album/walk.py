"""What lies in a folder of pictures, and every route by which a file can be reached: rules hold for all of them."""

import os
import stat
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from psllab.extend.leftovers import leftover

MOST = 100_000
"""Folders on all routes: links that lead to one another can make more ways than anybody can follow."""

Stamp = tuple[int, int, int]
"""Size, time of content, time of status: a file whose stamp is the same is the same."""


@dataclass(frozen=True)
class File:
    """A file, found once however many routes lead to it.

    Attributes
    ----------
    path : str
        The route that it is known by, below the album's folder: its own path, if it lies there.
    routes : tuple of str
        All paths that lead to it through links, step by step: below the folder, and absolute ones outside.
    stamp : (int, int, int)
    real : str
        Where it lies.
    regular : bool
        Whether it is a file with content, no pipe or device.
    reason : str
        Why it is left out, if it is.
    hidden : bool
        Whether it lies in a folder that is left out as a whole.
    """

    path: str
    routes: tuple[str, ...]
    stamp: Stamp
    real: str
    regular: bool = True
    reason: str = ""
    hidden: bool = False


def walk(folder: Path, strange: Callable[[str], str]) -> tuple[list[File], dict[str, str]]:
    """All files of a folder; and what cannot or shall not be looked into.

    A route takes each link once at most, so circles end. What is hidden, and what systems and programs leave behind,
    is left out; it is walked all the same, since a rule may name it, and then what has the same content is protected.

    Parameters
    ----------
    folder : path
    strange : callable
        Of a file's name: why it is left out, or nothing.

    Returns
    -------
    (list of File, dict)
        In the order of their paths; path of each folder and broken link that is left out, to the reason.

    Raises
    ------
    ValueError
        If links lead to more ways than can be followed.
    """
    root = os.path.realpath(folder)
    left_out: dict[str, str] = {}
    ways: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)  # where it lies: (folder left out, route)
    steps: defaultdict[str, set[str]] = defaultdict(set)
    stamps: dict[str, os.stat_result] = {}
    for above, route, real, held, between in _entries(root, left_out):
        ways[real].append((above, route))
        steps[real].update(between)
        stamps[real] = held
        if above:
            left_out[_shown(above)] = leftover(above.rpartition("/")[2])
    found = []
    for real, routes in ways.items():
        every = {route for _, route in routes} | {_own(path, root) for path in (real, *steps[real])}
        own = _own(real, root)
        ranked = [(bool(above), _why(route, strange), route != own, route, above) for above, route in routes]
        hidden, why, _, path, _ = min(ranked, key=lambda way: (way[0], bool(way[1]), *way[2:]))
        held = stamps[real]
        regular = stat.S_ISREG(held.st_mode)
        why = why or ("" if regular else "it is no regular file")
        stamp = (held.st_size, held.st_mtime_ns, held.st_ctime_ns)
        found.append(File(_shown(path), tuple(sorted(map(_shown, every))), stamp, real, regular, why, hidden))
    return sorted(found, key=lambda file: file.path), dict(sorted(left_out.items()))


_Entry = tuple[str, str, str, os.stat_result, list[str]]


def _entries(root: str, left_out: dict[str, str]) -> Iterator[_Entry]:
    """(The folder above it that is left out or nothing, route, where it lies, status, paths between the two) of every
    file, once a route."""
    todo: list[tuple[str, str, str, frozenset[str], list[str]]] = [("", "", root, frozenset(), [])]
    seen = 0
    while todo:
        above, base, here, taken, others = todo.pop()
        seen += 1
        if seen > MOST:
            raise ValueError(f"links in {root} lead to more than {MOST:,} folders: remove those that lead in circles.")
        try:
            entries = sorted(os.scandir(here), key=lambda entry: entry.name, reverse=True)
        except OSError as error:
            left_out[_shown(base)] = f"the folder cannot be opened ({error.strerror})"
            continue
        for entry in entries:
            route = f"{base}/{entry.name}" if base else entry.name
            linked = entry.is_symlink()
            real = os.path.realpath(entry.path) if linked else entry.path
            between = [f"{other}/{entry.name}" for other in others]
            if linked:
                between += [entry.path, *_steps(entry.path)]
            try:
                if not entry.is_dir():
                    yield above, route, real, entry.stat(), between
                elif not linked or entry.path not in taken:
                    over = above or (route if leftover(entry.name) else "")
                    todo.append((over, route, real, taken | {entry.path} if linked else taken, between))
            except OSError as error:
                left_out[_shown(route)] = f"it cannot be opened ({error.strerror})"


def _steps(path: str) -> list[str]:
    """The paths that following links goes through from one path to where the file lies, these two left out."""
    found: list[str] = []
    for _ in range(40):  # the system follows no more
        here, parts = os.sep, Path(path).parts[1:]
        for number, part in enumerate(parts):
            step = os.path.dirname(here) if part == ".." else os.path.join(here, part)
            if os.path.islink(step):
                path = os.path.join(here, os.readlink(step), *parts[number + 1 :])
                found.append(path)
                break
            here = step
        else:
            break
    return found[:-1]


def _own(path: str, root: str) -> str:
    """A path below the album's folder, if it lies there: what is above that says nothing of its pictures."""
    return path.removeprefix(root.rstrip(os.sep) + os.sep)


def _why(route: str, strange: Callable[[str], str]) -> str:
    try:
        route.encode()
    except UnicodeEncodeError:
        return "its name is not UTF-8"
    name = route.rpartition("/")[2]
    return leftover(name) or strange(name)


def _shown(path: str) -> str:
    return path.encode(errors="surrogateescape").decode(errors="replace")
