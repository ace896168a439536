"""A folder of pictures with a person in the loop: what to label next, the answers, the training, the report."""

import shutil
import warnings
import weakref
from collections.abc import Callable, Iterable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Self

import numpy as np
from PIL import Image

from pslcore.runs import records
from psllab.album import homes, training, written
from psllab.album.cache import Cache, Progress
from psllab.album.copies import Copies
from psllab.album.homes import KnownPictures
from psllab.album.index import Roll
from psllab.album.journal import Journal, Lock
from psllab.album.labelling import Labelling
from psllab.album.pictures import Picture
from psllab.album.protection import Protection, ProtectionWarning
from psllab.album.report import Preview, Report, Suggestion, suggest
from psllab.album.rules import Protect
from psllab.album.settings import Choices, learned_classes
from psllab.album.state import Tally, fingerprint, uploaded_bytes
from psllab.album.training import Learning, TaskLearner
from psllab.widgets.job import Stopped

_OPEN: "weakref.WeakValueDictionary[Path, Album]" = weakref.WeakValueDictionary()


class Album(Labelling):
    """A folder of pictures that people label, picture by picture, while networks learn from their answers.

    Every answer is on the disk when the method that takes it returns. Opened again, an album goes on where it was;
    what is not given then stays as it was. One process at a time may have it open.

    Parameters
    ----------
    folder : path
        Of pictures, with sub-folders. Nothing in it is ever written or changed.
    classes : list of str, optional
        At least two; needed the first time. More may be added at the end later.
    protect : Protect, mapping, path of a YAML file or list of pictures, optional
        Which pictures must never leave this machine; nothing, if it was never said. What was protected before stays
        so until ``release``.
    out : path, optional
        Where the album's own files go: a folder of its own where programs keep their data.
    learning : Learning or mapping, optional
        How networks learn.
    progress : callable, optional
        Told (files read, files to read) while new pictures are read. Of more than 500 new ones only content and EXIF
        are examined now; ``read`` or ``train`` decode them.
    new : bool
        Begin another album, though this machine knows one of these pictures; what that one protects stays protected.

    Attributes
    ----------
    rewritten : list of str
        What was taken from files written before, because it is protected by now.

    Raises
    ------
    KnownPictures
        If these are pictures of another album, say of a folder that was copied or moved: go on with it?
    ValueError, OSError
        In one sentence: no such folder, no picture, all protected, bad rules, open elsewhere, disk full.
    """

    def __init__(
        self, folder: str | Path, classes: Iterable[str] | None = None,
        protect: "Protect | dict[str, Any] | str | Path | list[str] | None" = None, out: str | Path | None = None,
        learning: Learning | dict[str, Any] | None = None, progress: Progress | None = None, new: bool = False,
    ):  # fmt: skip
        self.folder = Path(folder).resolve()
        if not self.folder.is_dir():
            raise ValueError(f"{folder} is no folder: name one that holds pictures.")
        self.home = homes.locate(self.folder, new) if out is None else Path(out).resolve()
        if self.home.is_relative_to(self.folder):
            raise ValueError(f"{self.home} lies in the folder of pictures, which stays as it is: choose another `out`.")
        records.prepare(self.home)
        self._shelf = training.Shelf(self.home)
        if self.home in _OPEN:
            _OPEN[self.home].close()  # a cell of the same notebook that is run again
        self._parts = ExitStack()
        self._lock: Lock | None = Lock(self.home, f"the album of {self.folder}")
        try:
            self._journal = self._parts.enter_context(closing(Journal(self.home / "journal.jsonl")))
            self._tally = Tally.of(self._journal.events)
            self._choices = Choices.of(self._journal, classes, protect, learning, self._tally)
            cache = Cache(self.home / "cache" / "pictures.db", self.learning.size)
            self._cache = self._parts.enter_context(closing(cache))
            copies = self._parts.enter_context(closing(Copies(self.home / "copies.db")))
            self._protection = Protection(self._journal.events, self._journal)
            self._roll = Roll(self.folder, cache, copies, self._choices.protect, self._protection)
            self._roll.look(progress)
            homes.check(self.home, self.folder, self._roll.contents(), self._protection, new, out is not None)
            self._roll.refresh(self._tally.asked, progress, looked=True)
            self._choices.keep(self._journal)
        except BaseException as error:
            self.close()
            if isinstance(error, KnownPictures):
                shutil.rmtree(self.home, ignore_errors=True)
            raise
        homes.remember(self.home, self.folder)
        _OPEN[self.home] = self
        self.rewritten = written.refresh_written(self)
        for notice in [*self.preview().notices, *self.rewritten]:
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

    # What is there

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
        return self._roll.left_out

    def refresh(self, progress: Progress | None = None) -> None:
        """Look at the folder again: new, changed and removed files; raises what opening an album does."""
        self._alive()
        self._roll.refresh(self._tally.asked, progress)
        self._rewrite()

    def preview(self) -> Preview:
        """What is protected and why, and rules that fit nothing. For the person at this machine only."""
        self._alive()
        return Preview.of(self._roll)

    def release(self, pictures: Iterable[Picture | str]) -> None:
        """No longer protect pictures that no rule protects: held back, protected by hand or by earlier rules.

        ``release(preview().held_back)`` and ``release(preview().earlier)`` release all of a kind.

        Raises
        ------
        ValueError
            If a picture is not here or a rule protects it; then none is released.
        """
        self._alive()
        self._roll.release(pictures)
        self.refresh()

    def thumbnail(self, picture: Picture | str) -> bytes:
        """A small JPEG without metadata; ``ValueError`` if there is no such picture."""
        self._alive()
        return self._cache.thumbnail(self.folder, self._roll.pictures[self._roll.find(picture)])

    def view(self, picture: Picture, side: int) -> Image.Image:
        """A picture as it was when the folder was read, for the screen; ``ValueError`` if it is not there so."""
        self._alive()
        return self._cache.view(self.folder, self._roll.pictures[self._roll.find(picture)], side)

    @property
    def unread(self) -> int:
        """How many pictures were not decoded yet; damaged ones among them are found when they are."""
        return len(self._roll.unread())

    def read(self, progress: Progress | None = None) -> None:
        """Decode the rest; may run in a thread while people label. What ``progress`` raises ends it."""
        self._alive()
        self._cache.read(self.folder, self._roll.unread(), progress)

    @property
    def uncompared(self) -> int:
        """How many of the protected ones are among them: ``next`` waits for these."""
        return self._roll.uncompared()

    # The networks

    @property
    def untrained(self) -> int:
        """Answers for training that nothing was learned from yet; at least 1 if some were corrected or fell away."""
        known = self._known()
        if fingerprint(known) == self._tally.learned:
            return 0
        return max(1, sum(self._tally.uploaded.get(key) != label for key, label in known.items()))

    @property
    def ready(self) -> bool:
        """Whether there is something new to learn from, and enough of it."""
        return self.untrained > 0 and len(self._known()) > 1

    def train(
        self, progress: Progress | None = None, stop: Callable[[], bool] | None = None,
        reading: Progress | None = None,
    ) -> Report | None:  # fmt: skip
        """Upload the new answers with their pictures, train both sides, rank what is left. It ends the open round.

        Parameters
        ----------
        progress, stop : callables, optional
            Told (epochs done, epochs), and asked, after each epoch; stopped, the album stays as it was, but for the
            upload.
        reading : callable, optional
            Told (files read, files to read) before, while pictures are decoded that were not; what it raises ends it.

        Returns
        -------
        Report, or None if it was stopped; ``ValueError`` if fewer than two answers can be learned from.
        """
        self._alive()
        self._roll.refresh(self._tally.asked, reading, whole=True)
        self._rewrite()
        known = self._known()
        if len(known) < 2:
            raise ValueError(f"{len(known)} answers are too few to learn from: label two that are not held out.")
        if fingerprint(known) == self._tally.learned:
            return self.report()
        labels, before, now, kept_back = self._roll.sides(known, self._tally, self.classes)
        sent = uploaded_bytes(self._tally.ledger)

        def crossed(ledger: dict[str, Any]) -> None:
            named = [[key.path, key.digest, known[key]] for key in now.values()]
            shielded = len(set(now) & set(self._roll.protected))
            told = {"pictures": named, "bytes": uploaded_bytes(ledger) - sent, "protected": shielded}
            self._tally.add(self._journal.add("uploaded", ledger=ledger, **told))

        try:
            done = training.train(
                self.learning, self._roll.images(range(len(labels))), self.classes, labels, before,
                np.array(list(now), np.int64), kept_back, self._tally.rounds, self._tally.ledger, crossed, progress,
                stop,
            )  # fmt: skip
        except Stopped:
            return None
        number = self._tally.rounds + 1
        self._shelf.put(number, done, self._roll.pictures)
        self._tally.add(self._journal.add("trained", ledger=done.ledger, answers=fingerprint(known)))
        self._shelf.drop(number - 1)
        return self.report()

    def task_learner(self) -> TaskLearner | None:
        """The task learner of the last training, here on the client; none before the first."""
        self._alive()
        if not self._tally.rounds:
            return None
        weights = self._shelf.weights(self._tally.rounds)
        return TaskLearner(self.learning, learned_classes(self._journal), weights)

    def suggestions(self, protected: bool = False) -> list[Suggestion]:
        """What the task learner would answer for every picture without an answer, asked on this machine.

        Parameters
        ----------
        protected : bool
            Protected pictures as well; for the person at this machine only.

        Returns
        -------
        list of Suggestion
            In the order of paths; empty before the first training.
        """
        learner = self.task_learner()
        if learner is None:
            return []
        return suggest(learner, self._roll, self._tally.answers(), self.classes, protected)

    def ledger(self) -> dict[str, Any]:
        """What crossed: ``uploads`` (when, pictures, bytes, protected) one a time, ``crossed`` in all by kind."""
        return self._tally.crossings()

    def report(self) -> Report:
        """How it stands; ``str`` of it says so in words."""
        self._alive()
        return Report.of(self._tally, self._roll, self.task_learner(), self.classes, self.left, self.untrained)

    # Behind it

    def _known(self) -> dict[Picture, str]:
        """The answers to learn from."""
        return self._roll.answers(self._tally, held_out=False)
