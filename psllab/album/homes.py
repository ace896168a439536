"""Where albums keep their own files, and which of them knows a folder or its pictures already."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from pslcore.runs import records
from psllab.album.copies import Copies
from psllab.album.journal import read
from psllab.album.protection import Protection


@dataclass(frozen=True)
class Home:
    """Where an album's files are, and the folder of pictures that it was last opened on."""

    path: Path
    folder: Path
    inode: tuple[int, int]

    def contents(self) -> tuple[set[str], dict[str, str]]:
        """Digests of all pictures that its journal names, and of those that stay protected, with the reason.

        Raises
        ------
        ValueError, OSError
            If the journal is damaged or cannot be read.
        """
        events, _ = read(self.path / "journal.jsonl")
        protection = Protection(events)
        asked = {digest for event in events if event["what"] == "asked" for _, digest in event["pictures"]}
        return asked | protection.contents.keys(), protection.contents


class KnownPictures(ValueError):
    """A folder without an album holds pictures of another album.

    Attributes
    ----------
    home : path
        Of that album: ``out``, to go on with it.
    """

    def __init__(self, folder: Path, known: Home, pictures: int, protected: int):
        super().__init__(
            f"{folder} holds {pictures} pictures known to the album of {known.folder}, which protects {protected} of "
            f"them: go on with it (`out`: {known.path}), or start another that protects the same (`new`)."
        )
        self.home = known.path


def root() -> Path:
    """The folder that albums are kept in, where nothing else is said."""
    return Path(platformdirs.user_data_dir("pslcore", appauthor=False)) / "albums"


def locate(folder: Path, new: bool) -> Path:
    """The home of a folder's album, or a free place for one.

    A folder is known by its path, or, where that was renamed, by its number on the disk.

    Raises
    ------
    ValueError
        If several albums were made of it.
    """
    key = hashlib.sha256(str(folder).encode(errors="surrogateescape")).hexdigest()[:16]
    mine, before = root() / key, Path("outputs", "album", key).resolve()  # where they were kept before
    known = list(_known())
    if new:
        taken = {home.path for home in known}
        places = (mine.with_name(f"{key}-{number}" if number else key) for number in range(len(taken) + 1))
        return next(place for place in places if place not in taken)
    homes = [home.path for home in known if home.folder == folder]
    if not homes and (before / "journal.jsonl").exists():
        return before
    if not homes:
        homes = [home.path for home in known if home.inode == _inode(folder) and not home.folder.is_dir()]
    if len(homes) > 1 and mine not in homes:
        raise ValueError(f"{folder} has {len(homes)} albums ({', '.join(map(str, homes))}): name one as `out`.")
    return mine if mine in homes or not homes else homes[0]


def remember(home: Path, folder: Path) -> None:
    """Write down where a folder's album is; a place that cannot be written to is no hindrance."""
    name = hashlib.sha256(os.fsencode(home)).hexdigest()[:16]
    entry = {"home": str(home), "folder": str(folder), "inode": list(_inode(folder))}
    try:
        root().mkdir(parents=True, exist_ok=True, mode=0o700)
        (root() / "known").mkdir(exist_ok=True)
        records.write(root() / "known" / f"{name}.json", entry)
    except OSError:
        return


def check(
    home: Path, folder: Path, digests: set[str], protection: Protection, copies: Copies, new: bool, chosen: bool
) -> set[str]:
    """Before anything is done with an album's pictures: which other album knows them?

    A new one takes over what others protect of them, where the person said ``new``, and what they know copies by; where
    they chose its place (``chosen``), it stands alone.

    Returns
    -------
    set of str
        Digests of the pictures that other albums protect.

    Raises
    ------
    KnownPictures
        If others know some of them, and the person said nothing.
    ValueError
        If the album is of another folder, and none of its pictures is here; or if another's journal is damaged, so that
        nobody knows what a new one should protect.
    """
    first, shielded = protection.journal_is_empty, set[str]()
    for other in list(_known()):
        if other.path == home and (first or other.folder == folder):
            continue
        try:
            pictures, protected = other.contents()
        except (OSError, ValueError) as error:
            if first and not chosen:
                raise ValueError(
                    f"what the album of {other.folder} protects cannot be told: {error} Or move {other.path} away, "
                    "if it is not needed any more."
                ) from None
            continue
        if other.path == home and not pictures & digests:
            raise ValueError(f"{home} is the album of {other.folder}, and none of its pictures is in {folder}: "
                             "begin another album (new=True), or name another `out`.")  # fmt: skip
        if other.path != home and (common := pictures & digests):
            if first and not new and not chosen:
                raise KnownPictures(folder, other, len(common), len(common & protected.keys()))
            if first and new:
                protection.keep({(one, ""): protected[one] for one in common & protected.keys()})
                copies.take(other.path / "copies.db")
            shielded |= common & protected.keys()
    return shielded


def _known() -> Iterator[Home]:
    for path in sorted((root() / "known").glob("*.json")):
        try:
            entry = records.read(path)
            home = Home(Path(entry["home"]), Path(entry["folder"]), tuple(entry["inode"]))
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if (home.path / "journal.jsonl").exists():
            yield home


def _inode(folder: Path) -> tuple[int, int]:
    held = folder.stat()
    return held.st_dev, held.st_ino
