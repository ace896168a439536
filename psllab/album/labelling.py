"""What people are asked and what they answer: the part of an album that is a conversation."""

import numpy as np

from psllab.album import sheets
from psllab.album.cache import Progress
from psllab.album.opening import OpenAlbum
from psllab.album.pictures import Picture
from psllab.album.sampling import draw, in_order, typical
from psllab.album.state import RESPONSES, Annotation, State, fingerprint


class Labelling(OpenAlbum):
    """Questions and answers."""

    @property
    def left(self) -> int:
        """How many pictures may still be asked about."""
        return len(self._askable())

    @property
    def waiting(self) -> list[Picture]:
        """Pictures of the open round that nobody said anything about yet, in the order of asking."""
        return self._index.now(self._state.waiting())

    @property
    def unsure(self) -> list[Picture]:
        """Pictures that the last person to see them was not sure about."""
        return self._last("not sure")

    @property
    def skipped(self) -> list[Picture]:
        """Pictures that were skipped, and not answered since."""
        return self._last("skip")

    @property
    def answered(self) -> list[Picture]:
        """Pictures that have an answer, held-out ones included, in the order of asking."""
        return self._last("answer")

    @property
    def last_person(self) -> str:
        """Who said something last, of any picture; empty if nobody did."""
        return next((event["by"] for event in reversed(self._journal.events) if event["what"] in RESPONSES), "")

    @property
    def untrained(self) -> int:
        """Answers for training that nothing was learned from yet; at least 1 if some were corrected or fell away."""
        known = self._known()
        if fingerprint(known) == self._state.learned:
            return 0
        return max(1, sum(self._state.uploaded.get(key) != label for key, label in known.items()))

    @property
    def ready(self) -> bool:
        """Whether there is something new to learn from, and enough of it."""
        return self.untrained > 0 and len(self._known()) > 1

    def labels(self) -> dict[str, str]:
        """Path to label of every answered picture that is there, and of its copies; held-out ones included."""
        return {picture.path: label for picture, label in self._labelled().items()}

    def annotations(self, picture: Picture | str) -> list[Annotation]:
        """All that was said of a picture, by whom and when; the last word counts."""
        return list(self._state.annotations.get(self._index.asked_as(self._index.find(picture)), []))

    def next(self, n: int = 20, progress: Progress | None = None) -> list[Picture]:
        """The pictures to label next: those of the open round that wait, else ``n`` new ones, or what is left.

        Before anything was learned they are drawn at random; later PSL picks them. One of five is drawn at random at
        any time, and its answer held out to estimate the accuracy. None is a near copy of a protected picture: these
        are all decoded before, which ``progress`` reports as when an album is opened.

        Raises
        ------
        ValueError
            If no picture is left, or there are answers that nothing was learned from yet.
        """
        self._alive()
        if isinstance(n, bool) or not isinstance(n, int) or n < 1:
            raise ValueError(f"{n!r} is no number of pictures: ask for at least 1.")
        if self.waiting:
            return self.waiting[:n]
        if self.ready:
            raise ValueError(f"{self.untrained} answers are new: call train() before the next pictures are picked.")
        if self._starts_typical():
            self._index.refresh(self._state.asked, progress, whole=True)
            self._rewrite()
        ahead, judged = 0, self._index.protected
        while True:
            askable, asks = self._askable(), self._state.asks
            if not askable:
                raise ValueError("no picture is left that may be asked about.")
            n = min(n, len(askable))
            wanted, pictures = self._wanted(askable, n), self._index.pictures
            numbers, held = draw(n, askable, wanted, pictures, self.learning.seed, asks)
            picked, more = [pictures[number] for number in numbers], [pictures[number] for number in wanted[:ahead]]
            if not self._index.compare(self._state.asked, picked, more, progress):
                break
            self._rewrite()  # one is damaged or held back: draw without it
            ahead, judged = max(n, 2 * ahead), self._index.protected  # where many are, few more turns are needed
        if self._index.protected is not judged:  # others are held back
            self._rewrite()
        named = [[picture.path, picture.digest] for picture in picked]
        self._state.add(self._journal.add("asked", pictures=named, held_out=held))
        self._index.place(self._state.asked)
        return picked

    def answer(self, picture: Picture | str, label: str, by: str = "somebody") -> None:
        """Take an answer, or correct an earlier one. It is on the disk when this returns.

        Parameters
        ----------
        picture : Picture or str
            As ``next`` gave it, or its path.
        label : str
            One of the classes.
        by : str
            Who says so.

        Raises
        ------
        ValueError
            If the picture is unknown, protected, gone, changed, or was not asked about; or the label is no class.
        OSError
            If the disk is full; then nothing was taken in.
        """
        self._respond("answer", picture, by, label)

    def check_answer(self, picture: Picture | str, label: str | None = None) -> None:
        """Raise what ``answer`` would raise."""
        self._alive()
        if label is not None and label not in self.classes:
            raise ValueError(f"{label!r} is none of the classes: choose one of {', '.join(self.classes)}.")
        number = self._index.find(picture)
        seen = self._index.pictures[number]
        if number in self._index.protected:
            raise ValueError(f"{seen.path} is protected: nobody is asked about it.")
        if self._index.asked_as(number) not in self._state.asked:
            raise ValueError(f"{seen.path} was not asked about: answer what next() gives.")
        self._index.check(number)

    def skip(self, picture: Picture | str, by: str = "somebody") -> None:
        """Set a picture aside; it is not asked about again, but may be answered. Raises what ``answer`` raises."""
        self._respond("skip", picture, by)

    def not_sure(self, picture: Picture | str, by: str = "somebody") -> None:
        """The same for one that this person cannot tell; it is listed in ``unsure``, for somebody else."""
        self._respond("not sure", picture, by)

    def undo(self, by: str | None = None) -> Picture:
        """Take back the last thing that was said (by that person), and give the picture it was said of.

        Raises
        ------
        ValueError
            If nothing was said since the last upload: what has gone to the cloud can be corrected, not taken back.
        """
        self._alive()
        mine = [event for event in self._state.undoable if by is None or event["by"] == by]
        if not mine:
            raise ValueError("nothing can be taken back since the last training: answer a picture anew to correct it.")
        self._journal.add("undo", of=mine[-1]["n"])
        self._state = State.of(self._journal.events)
        self._index.place(self._state.asked)
        return self._index.today(Picture(mine[-1]["file"], mine[-1]["content"]))

    # Behind it

    def _last(self, what: str) -> list[Picture]:
        """Pictures whose last word is that."""
        words = ((picture, self._state.word(picture)) for picture in self._state.asked)
        return self._index.now(picture for picture, word in words if word is not None and word.what == what)

    def _labelled(self) -> dict[Picture, str]:
        index, answers = self._index, self._index.answers(self._state)
        open_to_all = ((index.asked_as(n), one) for n, one in enumerate(index.pictures) if n not in index.protected)
        copies = {one: answers[key] for key, one in open_to_all if key in answers}
        return {index.today(key): label for key, label in answers.items()} | copies

    def _respond(self, what: str, picture: Picture | str, by: str, label: str | None = None) -> None:
        self.check_answer(picture, label)
        if not isinstance(by, str) or not by.strip():
            raise ValueError("`by` is empty: say who answers.")
        sheets.check_person(by)
        key = self._index.asked_as(self._index.find(picture))
        fields = {"file": key.path, "content": key.digest, "by": by} | ({} if label is None else {"label": label})
        self._state.add(self._journal.add(what, **fields))

    def _askable(self) -> list[int]:
        return self._index.askable(set(self._state.annotations) | set(self._state.open))

    def _wanted(self, askable: list[int], n: int) -> list[int]:
        """The same, most wanted first."""
        kept = self._checkpoints.ranking(self._state.rounds) if self._state.rounds else []
        ranking = [self._index.at[picture] for picture in kept if picture in self._index.at]
        if self._starts_typical():
            vectors = self._index.images(askable)[:, :, 0, 0].astype(np.float32)
            ranking = [askable[row] for row in typical(vectors, n, self.learning.seed)]
        return in_order(askable, ranking, self._index.pictures, self.learning.seed, self._state.asks)

    def _known(self) -> dict[Picture, str]:
        """The answers to learn from."""
        return self._index.answers(self._state, held_out=False)
