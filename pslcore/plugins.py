"""What installed packages add, by their entry points: nothing of a package is imported before its name is asked for.

A package names what it gives in its ``pyproject.toml``, in a group of each kind::

    [project.entry-points."pslcore.networks"]
    tiny_vit = "acme.networks:tiny_vit"

A name of ours always means ours. A package that cannot be imported is told by its name and hurts no other.
"""

import importlib
import inspect
import sys
from dataclasses import dataclass
from functools import cache, lru_cache
from hashlib import sha256
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

EXTENSIONS = "pslcore.extensions"
"""The group of packages that call ``register`` when they are imported."""


@dataclass(frozen=True)
class Given:
    """What a package says that it gives under a ``name``; in words the package and its version."""

    name: str
    entry: EntryPoint

    def __str__(self) -> str:
        return f"{self.entry.dist.name} {self.entry.dist.version}" if self.entry.dist else "? ?"

    def load(self) -> Any:
        """Import it.

        Raises
        ------
        ValueError
            In one sentence, if that fails in whatever way.
        """
        try:
            return self.entry.load()
        except (Exception, SystemExit) as error:
            why = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}".rstrip(".: ")
            told = f"the package {self}, which gives {self.name!r}, cannot be imported ({why})"
            raise ValueError(f"{told}: mend or uninstall it.") from error

    def identity(self) -> str:
        """Name, version, and the hash of the file that defines it: what it is known by in a fingerprint."""
        return f"{self} {sha256(source(self.load()).read_bytes()).hexdigest()[:16]}"


def found(group: str) -> list[Given]:
    """All that the installed packages give of a group, by name; nothing is imported."""
    return _found(group, tuple(sys.path))


@lru_cache
def _found(group: str, path: tuple[str, ...]) -> list[Given]:
    rows = [Given(entry.name, entry) for entry in entry_points(group=group)]
    return sorted(rows, key=lambda given: (given.name, str(given)))


def find(group: str, name: str) -> Given | None:
    """Who gives the name, or None.

    Raises
    ------
    ValueError
        In one sentence, if two packages do.
    """
    rows = [given for given in found(group) if given.name == name]
    if len(rows) > 1:
        mend = "uninstall all but one of them."
        raise ValueError(f"the name {name!r} is given by {' and by '.join(map(str, rows))}: {mend}")
    return rows[0] if rows else None


def names(group: str) -> list[str]:
    """The names that packages add to a group."""
    return list(dict.fromkeys(given.name for given in found(group)))


_resolvers: dict[str, str] = {}


def register(kind: str, module: str) -> None:
    """Have a module, imported when it is first needed, resolve names of that kind (see ``models``, for one)."""
    _resolvers[kind] = module


def resolver(kind: str) -> Any:
    """The module that resolves names of that kind, or None."""
    _extend()
    return importlib.import_module(_resolvers[kind]) if kind in _resolvers else None


@cache
def _extend() -> None:
    for given in found(EXTENSIONS):
        given.load()


def source(thing: Any) -> Path:
    """The file that a class, a function or whatever a package gives is written in; ``ValueError`` if there is none."""
    try:
        return Path(inspect.getfile(inspect.unwrap(thing)))
    except TypeError:
        module = sys.modules.get(getattr(thing, "__module__", "") or type(thing).__module__)
        if module is None or not getattr(module, "__file__", None):
            raise ValueError(f"{thing!r} is written in no file: give a class or a function of a module.") from None
        return Path(str(module.__file__))
