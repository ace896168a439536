"""What people are asked and what they say: the part of an album that is a conversation."""

from pathlib import Path

from psllab.album import written
from psllab.album.cache import Progress
from psllab.album.index import Roll
from psllab.album.journal import Journal
from psllab.album.pictures import Picture
from psllab.album.protection import Protection
from psllab.album.rules import Protect
from psllab.album.sampling import draw, in_order
from psllab.album.state import Tally, Word
from psllab.album.training import Learning, Shelf


class Labelling:
    """Questions and answers; an ``Album`` opens what they need, and learns from them."""

    home: Path
    rewritten: list[str]
    _journal: Journal
    _tally: Tally
    _roll: Roll
    _protection: Protection
    _shelf: Shelf

    @property
    def closed(self) -> bool:
        raise NotImplementedError

    @property
    def classes(self) -> tuple[str, ...]:
        raise NotImplementedError

    @property
    def protect(self) -> Protect:
        raise NotImplementedError

    @property
    def learning(self) -> Learning:
        raise NotImplementedError

    @property
    def untrained(self) -> int:
        raise NotImplementedError

    @property
    def ready(self) -> bool:
        raise NotImplementedError

    @property
    def left(self) -> int:
        """How many pictures may still be asked about."""
        return len(self._askable())

    @property
    def waiting(self) -> list[Picture]:
        """Pictures of the open round that nobody said anything about yet, in the order of asking."""
        return self._roll.now(self._tally.waiting())

    @property
    def unsure(self) -> list[Picture]:
        """Pictures that the last person to see them was not sure about."""
        words = ((picture, self._tally.word(picture)) for picture in self._tally.asked)
        return self._roll.now(picture for picture, word in words if word is not None and word.what == "not sure")

    def labels(self) -> dict[str, str]:
        """Path to label of every answered picture that is there, held-out ones included."""
        return {self._roll.now([key])[0].path: label for key, label in self._roll.answers(self._tally).items()}

    def words(self, picture: Picture | str) -> list[Word]:
        """All that was said of a picture, by whom and when; the last word counts."""
        return list(self._tally.said.get(self._roll.asked_as(self._roll.find(picture)), []))

    def next(self, n: int = 20, progress: Progress | None = None) -> list[Picture]:
        """The pictures to label next: those of the open round that wait, else ``n`` new ones.

        Before anything was learned they are drawn at random; later PSL picks them. One of five is drawn at random at
        any time, and its answer held out to estimate the accuracy. None is a near copy of a protected picture: these
        are all decoded before, which ``progress`` reports as when an album is opened.

        Raises
        ------
        ValueError
            If fewer pictures are left, or there are answers that nothing was learned from yet.
        """
        self._alive()
        if isinstance(n, bool) or not isinstance(n, int) or n < 1:
            raise ValueError(f"{n!r} is no number of pictures: ask for at least 1.")
        if self.waiting:
            return self.waiting[:n]
        if self.ready:
            raise ValueError(f"{self.untrained} answers are new: call train() before the next pictures are picked.")
        ahead = 0
        while True:
            askable, asks = self._askable(), self._tally.asks
            if n > len(askable):
                raise ValueError(f"{len(askable)} pictures are left that may be asked about: ask for no more.")
            wanted, pictures = self._wanted(askable), self._roll.pictures
            numbers, held = draw(n, askable, wanted, pictures, self.learning.seed, asks)
            picked, more = [pictures[number] for number in numbers], [pictures[number] for number in wanted[:ahead]]
            if not self._roll.compare(self._tally.asked, picked, more, progress):
                break
            self._rewrite()  # one is damaged or held back: draw without it
            ahead = max(n, 2 * ahead)  # where many are, few more turns are needed
        named = [[picture.path, picture.digest] for picture in picked]
        self._tally.add(self._journal.add("asked", pictures=named, held_out=held))
        self._roll.place(self._tally.asked)
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
        self.check_answer(picture, label)
        self._say("answer", picture, by, label=label)

    def check_answer(self, picture: Picture | str, label: str | None = None) -> None:
        """Raise what ``answer`` would raise."""
        self._alive()
        if label is not None and label not in self.classes:
            raise ValueError(f"{label!r} is none of the classes: choose one of {', '.join(self.classes)}.")
        number = self._roll.find(picture)
        seen = self._roll.pictures[number]
        if number in self._roll.protected:
            raise ValueError(f"{seen.path} is protected: nobody is asked about it.")
        if self._roll.asked_as(number) not in self._tally.asked:
            raise ValueError(f"{seen.path} was not asked about: answer what next() gives.")
        self._roll.check(number)

    def skip(self, picture: Picture | str, by: str = "somebody") -> None:
        """Set a picture aside; it is not asked about again, but may be answered. Raises what ``answer`` raises."""
        self.check_answer(picture)
        self._say("skip", picture, by)

    def not_sure(self, picture: Picture | str, by: str = "somebody") -> None:
        """The same for one that this person cannot tell; it is listed in ``unsure``, for somebody else."""
        self.check_answer(picture)
        self._say("not sure", picture, by)

    def undo(self, by: str | None = None) -> Picture:
        """Take back the last thing that was said (by that person), and give the picture it was said of.

        Raises
        ------
        ValueError
            If nothing was said since the last upload: what has gone to the cloud can be corrected, not taken back.
        """
        self._alive()
        mine = [event for event in self._tally.spoken if by is None or event["by"] == by]
        if not mine:
            raise ValueError("nothing can be taken back since the last training: answer a picture anew to correct it.")
        self._journal.add("undo", of=mine[-1]["n"])
        self._tally = Tally.of(self._journal.events)
        self._roll.place(self._tally.asked)
        return self._roll.today(Picture(mine[-1]["file"], mine[-1]["content"]))

    # Behind it

    def _alive(self) -> None:
        if self.closed:
            raise ValueError("this album was closed, or opened again elsewhere in this process: use that one.")

    def _rewrite(self) -> None:
        """What is protected by now goes from all files that were written."""
        self.rewritten += written.refresh_written(self)

    def _say(self, what: str, picture: Picture | str, by: str, **more: str) -> None:
        if not isinstance(by, str) or not by.strip():
            raise ValueError("`by` is empty: say who answers.")
        key = self._roll.asked_as(self._roll.find(picture))
        self._tally.add(self._journal.add(what, file=key.path, content=key.digest, by=by, **more))

    def _askable(self) -> list[int]:
        return self._roll.askable(set(self._tally.said) | set(self._tally.open))

    def _wanted(self, askable: list[int]) -> list[int]:
        """The same, most wanted first."""
        kept = self._shelf.ranking(self._tally.rounds) if self._tally.rounds else []
        ranking = [self._roll.at[picture] for picture in kept if picture in self._roll.at]
        return in_order(askable, ranking, self._roll.pictures, self.learning.seed, self._tally.asks)
