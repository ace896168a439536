"""An album that is opened: its folder looked at, its journal and cache at hand, its lock held."""

import shutil
import warnings
import weakref
from collections.abc import Iterable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Self

from PIL import Image

from pslcore.runs import records
from psllab.album import homes, written
from psllab.album.cache import Cache, Progress
from psllab.album.copies import Copies
from psllab.album.homes import KnownPictures
from psllab.album.index import Index
from psllab.album.journal import Journal, Lock
from psllab.album.pictures import Picture
from psllab.album.protection import Protection, ProtectionWarning
from psllab.album.report import Preview
from psllab.album.rules import Protect
from psllab.album.settings import Choices
from psllab.album.state import State
from psllab.album.training import Checkpoints, Learning

_OPEN: "weakref.WeakValueDictionary[Path, OpenAlbum]" = weakref.WeakValueDictionary()


class OpenAlbum:
    """The pictures of a folder and what protects them; see ``Album``."""

    def __init__(
        self, folder: str | Path, classes: Iterable[str] | None = None,
        protect: Protect | dict[str, Any] | str | Path | list[str] | None = None, out: str | Path | None = None,
        learning: Learning | dict[str, Any] | None = None, progress: Progress | None = None, new: bool = False,
        warn: bool = True, cloud: str = "",
    ):  # fmt: skip
        self.folder = Path(folder).expanduser().resolve()
        if not self.folder.is_dir():
            raise ValueError(f"{folder} is no folder: name one that holds pictures.")
        self.home = homes.locate(self.folder, new) if out is None else Path(out).expanduser().resolve()
        if self.home.is_relative_to(self.folder):
            raise ValueError(f"{self.home} lies in the folder of pictures, which stays as it is: choose another `out`.")
        records.prepare(self.home)
        self._cloud = None
        if cloud:
            from psllab.remote import stub  # an extra

            self._cloud = stub.Remote.at(cloud, self.home)
        self._checkpoints = Checkpoints(self.home)
        if self.home in _OPEN:
            _OPEN[self.home].close()  # a cell of the same notebook that is run again
        self._parts, before = ExitStack(), set[str]()
        self._lock: Lock | None = Lock(self.home, f"the album of {self.folder}")
        try:
            self._journal = self._parts.enter_context(closing(Journal(self.home / "journal.jsonl")))
            self._state = State.of(self._journal.events)
            self._choices = Choices.of(self._journal, classes, protect, learning, self._state)
            cache = Cache(self.home / "cache" / "pictures.db", self.learning.size, self.learning.features)
            self._cache = self._parts.enter_context(closing(cache))
            copies = self._parts.enter_context(closing(Copies(self.home / "copies.db")))
            self._protection = Protection(self._journal.events, self._journal)
            before = copies.known() if self._protection.journal_is_empty else set()
            self._index = Index(self.folder, cache, copies, self._choices.protect, self._protection)
            self._index.look(progress)
            self._elsewhere = homes.check(
                self.home, self.folder, self._index.contents(), self._protection, copies, new, out is not None
            )
            self._protection.keep({(digest, ""): "before the journal was lost" for digest in before})
            self._index.refresh(self._state.asked, progress, looked=True)
            self._choices.keep(self._journal)
        except BaseException as error:
            self.close()
            if isinstance(error, KnownPictures) and not before:
                shutil.rmtree(self.home, ignore_errors=True)
            raise
        homes.remember(self.home, self.folder)
        _OPEN[self.home] = self
        self.rewritten = written.refresh_written(self)
        for notice in [*self.preview().notices, *self.rewritten] if warn else ():
            warnings.warn(notice, ProtectionWarning, stacklevel=2)

    def close(self) -> None:
        """Let go of the album, so that another process can open it."""
        if self._lock is not None:
            self._parts.close()
            self._lock.release()
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def classes(self) -> tuple[str, ...]:
        return self._choices.classes

    @property
    def learning(self) -> Learning:
        return self._choices.learning

    @property
    def protect(self) -> Protect:
        """The rules that hold; what is protected by hand is not among them, see ``preview``."""
        return self._choices.protect.but(by_hand=())

    @property
    def closed(self) -> bool:
        """Whether it was closed, or opened again elsewhere in this process."""
        return self._lock is None

    @property
    def left_out(self) -> dict[str, str]:
        """Files that are no pictures or cannot be read, each with the reason."""
        return self._index.left_out

    def refresh(self, progress: Progress | None = None) -> None:
        """Look at the folder again: new, changed and removed files; raises what opening an album does."""
        self._alive()
        self._index.refresh(self._state.asked, progress)
        self._rewrite()

    def preview(self) -> Preview:
        """What is protected and why, and rules that fit nothing. For the person at this machine only."""
        self._alive()
        index = self._index
        paths = [picture.path for picture in index.pictures]
        return Preview(
            {paths[number]: why for number, why in index.protected.items()},
            [path for number, path in enumerate(paths) if number not in index.protected],
            index.left_out,
            {paths[number]: other for number, other in index.near_copies.items()},
            [paths[number] for number in index.earlier],
            index.idle(),
            *index.missing(),
            index.blind(),
            sum(
                picture.digest in self._elsewhere and number not in index.protected
                for number, picture in enumerate(index.pictures)
            ),
        )

    def release(self, pictures: Iterable[Picture | str]) -> None:
        """No longer protect pictures that no rule protects: held back, protected by hand or by earlier rules.

        ``release(preview().held_back)`` and ``release(preview().earlier)`` release all of a kind.

        Raises
        ------
        ValueError
            If a picture is not here or a rule protects it; then none is released.
        """
        self._alive()
        self._index.release(pictures)
        self.refresh()

    def thumbnail(self, picture: Picture | str) -> bytes:
        """A small JPEG without metadata; ``ValueError`` if there is no such picture."""
        self._alive()
        return self._cache.thumbnail(self.folder, self._index.pictures[self._index.find(picture)])

    def view(self, picture: Picture, side: int) -> Image.Image:
        """A picture as it was when the folder was read, for the screen; ``ValueError`` if it is not there so."""
        self._alive()
        return self._cache.view(self.folder, self._index.pictures[self._index.find(picture)], side)

    @property
    def unread(self) -> int:
        """How many pictures were not decoded yet; damaged ones among them are found when they are."""
        return len(self._index.unread())

    def read(self, progress: Progress | None = None) -> None:
        """Decode the rest; may run in a thread while people label. What ``progress`` raises ends it."""
        self._alive()
        self._index.decode(self._index.unread(), progress)

    @property
    def uncompared(self) -> int:
        """How many of them ``next`` waits for: those that are protected, or all, to find the most typical."""
        return self.unread if self._starts_typical() else self._index.uncompared()

    def _starts_typical(self) -> bool:
        return self.learning.start == "typical" and not self._state.rounds

    def _alive(self) -> None:
        if self.closed:
            raise ValueError("this album was closed, or opened again elsewhere in this process: use that one.")

    def _rewrite(self) -> None:
        """What is protected by now goes from all files that were written."""
        self.rewritten += written.refresh_written(self)
