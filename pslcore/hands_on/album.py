"""A folder of pictures with a person in the loop: what to label next, the answers, the training, the report."""

import hashlib
import json
import weakref
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Self

import numpy as np

from pslcore.hands_on import learn
from pslcore.hands_on.journal import Journal, Lock
from pslcore.hands_on.learn import Learning, Stopped, TaskLearner
from pslcore.hands_on.pictures import Cache, Picture, Seen, digest_of
from pslcore.hands_on.protect import Protect, rules
from pslcore.hands_on.report import Preview, Report, Suggestion
from pslcore.hands_on.tally import Tally, Word
from pslcore.runs import records
from pslcore.streams import numpy_stream

HELD_OUT = 5
"""One of so many pictures asked about is drawn at random, and its answer held out to estimate the accuracy."""

_OPEN: "weakref.WeakValueDictionary[Path, Album]" = weakref.WeakValueDictionary()


class Album:
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
        Which pictures must never leave this machine; nothing, if it was never said.
    out : path, optional
        Where the album's own files go: ``outputs/album/<hash of the folder>``.
    learning : Learning or mapping, optional
        How networks learn.
    progress : callable, optional
        Told (files read, files to read) while new pictures are read.

    Raises
    ------
    ValueError, OSError
        In one sentence: no such folder, no picture, all protected, bad rules, open elsewhere, no room.
    """

    def __init__(
        self, folder: str | Path, classes: Iterable[str] | None = None,
        protect: "Protect | dict[str, Any] | str | Path | list[str] | None" = None, out: str | Path | None = None,
        learning: Learning | dict[str, Any] | None = None, progress: Callable[[int, int], object] | None = None,
    ):  # fmt: skip
        self.folder = Path(folder).resolve()
        if not self.folder.is_dir():
            raise ValueError(f"{folder} is no folder: name one that holds pictures.")
        name = hashlib.sha256(str(self.folder).encode(errors="surrogateescape")).hexdigest()[:16]
        self.home = Path("outputs", "album", name).resolve() if out is None else Path(out).resolve()
        if self.home.is_relative_to(self.folder):
            raise ValueError(f"{self.home} lies in the folder of pictures, which stays as it is: choose another `out`.")
        records.prepare(self.home)
        if self.home in _OPEN:
            _OPEN[self.home].close()  # a cell of the same notebook that is run again
        self._lock: Lock | None = Lock(self.home, f"the album of {self.folder}")
        try:
            self._journal = Journal(self.home / "journal.jsonl")
            self._cache: Cache | None = None
            self._tally = Tally.of(self._journal.events)
            self._settle(classes, protect, learning)
            self._cache = Cache(self.home / "cache" / "pictures.db", self.learning.size)
            self.refresh(progress)
            idle = self.protect.idle(self._seen) if protect is not None else []
            missing = [word for word in idle if word in self.protect.by_hand]
            if missing:
                raise ValueError(f"by_hand protects {missing[0]!r}, which is no picture here: mend the name.")
            self._check()
            self._keep_settings()
        except BaseException:
            self.close()
            raise
        _OPEN[self.home] = self

    def close(self) -> None:
        """Let go of the album, so that another process can open it."""
        if self._lock is None:
            return
        if getattr(self, "_journal", None) is not None:
            self._journal.close()
        if getattr(self, "_cache", None) is not None and self._cache is not None:
            self._cache.close()
        self._lock.release()
        self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # What is there

    def refresh(self, progress: Callable[[int, int], object] | None = None) -> None:
        """Look at the folder again: new, changed and removed files."""
        self._seen, self._images, self.left_out = self._reader.read(self.folder, progress)
        self._protected = self.protect.reasons(self._seen)
        self._place()

    @property
    def left_out(self) -> dict[str, str]:
        """Files that are no pictures or cannot be read, each with the reason."""
        return self._left_out

    @left_out.setter
    def left_out(self, files: dict[str, str]) -> None:
        self._left_out = files

    def preview(self) -> Preview:
        """What is protected and why, and rules that fit nothing. For the person at this machine only."""
        self._alive()
        named = {self._seen[number].picture.path: why for number, why in self._protected.items()}
        safe = [seen.picture.path for number, seen in enumerate(self._seen) if number not in self._protected]
        return Preview(named, safe, self.left_out, self.protect.idle(self._seen))

    def thumbnail(self, picture: Picture | str) -> bytes:
        """A small JPEG without metadata; ``ValueError`` if there is no such picture."""
        return self._reader.thumbnail(self._seen[self._find(picture)].picture)

    @property
    def left(self) -> int:
        """How many pictures may still be asked about."""
        return len(self._askable())

    @property
    def waiting(self) -> list[Picture]:
        """Pictures of the open round that nobody said anything about yet, in the order of asking."""
        return self._there(self._tally.waiting())

    @property
    def unsure(self) -> list[Picture]:
        """Pictures that the last person to see them was not sure about."""
        words = {picture: self._tally.word(picture) for picture in self._tally.asked}
        return self._there(picture for picture, word in words.items() if word is not None and word.what == "not sure")

    def labels(self) -> dict[str, str]:
        """Path to label of every answered picture that is there, held-out ones included."""
        answers = self._tally.answers()
        return {
            self._seen[self._at[key]].picture.path: label for key, label in answers.items() if self._usable(key)
        }  # fmt: skip

    def words(self, picture: Picture | str) -> list[Word]:
        """All that was said of a picture, by whom and when; the last word counts."""
        return list(self._tally.said.get(self._asked_as(self._find(picture)), []))

    # The person

    def next(self, n: int = 20) -> list[Picture]:
        """The pictures to label next: those of the open round that wait, else ``n`` new ones.

        Before anything was learned they are drawn at random; later PSL picks them. One of five is drawn at random at
        any time, and its answer held out to estimate the accuracy.

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
        if self.untrained and len(self._known()) > 1:
            raise ValueError(f"{self.untrained} answers are new: call train() before the next pictures are picked.")
        askable = self._askable()
        if n > len(askable):
            raise ValueError(f"{len(askable)} pictures are left that may be asked about: ask for no more than that.")
        seed, first = self.learning.seed, self._tally.asks
        held = [at for at in range(n) if _holds_out(seed, first + at)]
        drawn = numpy_stream(seed, "held-out-picture", first).choice(askable, len(held), replace=False).tolist()
        wanted = iter([number for number in self._wanted(askable) if number not in set(drawn)])
        spare = iter(drawn)
        picked = [self._seen[next(spare if at in held else wanted)].picture for at in range(n)]
        named = [[picture.path, picture.digest] for picture in picked]
        self._tally.add(self._journal.add("asked", pictures=named, held_out=held))
        self._place()
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
            If there is no room on the disk; then nothing was taken in.
        """
        self.check_answer(picture, label)
        self._say("answer", picture, by, label=label)

    def check_answer(self, picture: Picture | str, label: str | None = None) -> None:
        """Raise what ``answer`` would raise."""
        self._alive()
        if label is not None and label not in self.classes:
            raise ValueError(f"{label!r} is none of the classes: choose one of {', '.join(self.classes)}.")
        number = self._find(picture)
        seen = self._seen[number].picture
        if number in self._protected:
            raise ValueError(f"{seen.path} is protected: nobody is asked about it.")
        if self._asked_as(number) not in self._tally.asked:
            raise ValueError(f"{seen.path} was not asked about: answer what next() gives.")
        try:
            same = digest_of(self.folder / seen.path) == seen.digest
        except OSError as error:
            raise ValueError(f"{seen.path} is gone ({error.strerror}): nothing was taken in.") from None
        if not same:
            raise ValueError(f"{seen.path} has changed since it was asked about: nothing was taken in.")

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
        self._place()
        key = Picture(mine[-1]["file"], mine[-1]["content"])
        return self._seen[self._at[key]].picture if key in self._at else key

    # The networks

    @property
    def untrained(self) -> int:
        """Answers for training that nothing was learned from yet; at least 1 if some were corrected or fell away."""
        known = self._known()
        if self._fingerprint(known) == self._tally.learned:
            return 0
        return max(1, sum(self._tally.uploaded.get(key) != label for key, label in known.items()))

    def train(
        self, progress: Callable[[int, int], object] | None = None, stop: Callable[[], bool] | None = None
    ) -> Report | None:
        """Upload the new answers with their pictures, train both sides, rank what is left. It ends the open round.

        Parameters
        ----------
        progress : callable, optional
            Told (epochs done, epochs).
        stop : callable, optional
            Asked after each epoch; if it says true, the album stays as it was, but for the upload.

        Returns
        -------
        Report, or None if it was stopped

        Raises
        ------
        ValueError
            If fewer than two answers can be learned from.
        """
        self._alive()
        self.refresh()
        self._check()
        known = self._known()
        if len(known) < 2:
            raise ValueError(f"{len(known)} answers are too few to learn from: label at least two that are not held out.")
        if self._fingerprint(known) == self._tally.learned:
            return self.report()
        labels = np.full(len(self._seen), -1, np.int64)
        for key, label in known.items():
            labels[self._at[key]] = self.classes.index(label)
        before = [self._at[key] for key, label in known.items() if self._tally.uploaded.get(key) == label]
        now = {self._at[key]: key for key in known if self._at[key] not in set(before)}
        kept_back = set(self._protected) | {self._at[key] for key in self._tally.asked if self._usable(key)}
        kept_back -= set(before) | set(now)
        sent = 0 if self._tally.ledger is None else _uploaded_bytes(self._tally.ledger)

        def crossed(ledger: dict[str, Any]) -> None:
            named = [[key.path, key.digest, known[key]] for key in now.values()]
            shielded = len(set(now) & set(self._protected))
            told = {"pictures": named, "bytes": _uploaded_bytes(ledger) - sent, "protected": shielded}
            self._tally.add(self._journal.add("uploaded", ledger=ledger, **told))

        try:
            done = learn.train(
                self.learning, self._images, self.classes, labels, np.array(before, np.int64),
                np.array(list(now), np.int64), np.array(sorted(kept_back), np.int64), self._tally.rounds,
                self._tally.ledger, crossed, progress, stop,
            )  # fmt: skip
        except Stopped:
            return None
        number = self._tally.rounds + 1
        ranking = [[self._seen[at].picture.path, self._seen[at].picture.digest] for at in done.ranking]
        records.write_bytes(self._weights(number), learn.saved(done.weights))
        records.write(self.home / f"ranking-{number}.json", {"ranking": ranking})
        self._tally.add(self._journal.add("trained", ledger=done.ledger, answers=self._fingerprint(known)))
        for old in (self._weights(number - 1), self.home / f"ranking-{number - 1}.json"):
            old.unlink(missing_ok=True)
        return self.report()

    def task_learner(self) -> TaskLearner | None:
        """The task learner of the last training, here on the client; none before the first."""
        self._alive()
        if not self._tally.rounds:
            return None
        return TaskLearner(self.learning, self._learned_classes(), learn.opened(self._weights(self._tally.rounds)))

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
        answered = {self._at[key] for key in self._tally.answers() if key in self._at}
        rest = [
            at for at in range(len(self._seen)) if at not in answered and (protected or at not in self._protected)
        ]
        given = learner.probabilities(self._images[rest])
        return [
            Suggestion(self._seen[at].picture, self.classes[row.argmax()], float(row.max()))
            for at, row in zip(rest, given, strict=True)
        ]

    def ledger(self) -> dict[str, Any]:
        """What crossed: ``uploads`` (when, pictures, bytes, protected) one a time, ``crossed`` in all by kind."""
        names = ("when", "bytes", "protected")
        uploads = [
            {name: event[name] for name in names} | {"pictures": len(event["pictures"])} for event in self._tally.uploads
        ]
        return {"uploads": uploads, "crossed": (self._tally.ledger or {}).get("crossings", {})}

    def report(self) -> Report:
        """How it stands; ``str`` of it says so in words."""
        self._alive()
        answers, learner = self._tally.answers(), self.task_learner()
        held = {key: label for key, label in answers.items() if self._tally.asked[key].held_out and self._usable(key)}
        right = None
        if learner is not None and held:
            given = learner.probabilities(self._images[[self._at[key] for key in held]]).argmax(1)
            right = sum(self.classes[at] == label for at, label in zip(given, held.values(), strict=True))
        last = {key: word for key in self._tally.asked if (word := self._tally.word(key)) is not None}
        since = [key for key in self._tally.uploaded if self._at.get(key) in self._protected]
        return Report(
            rounds=self._tally.rounds, pictures=len(self._seen), protected=len(self._protected),
            left_out=len(self.left_out), learned_from=len(self._known()), held_out=len(held), right=right,
            skipped=sum(word.what == "skip" for word in last.values()),
            unsure=sum(word.what == "not sure" for word in last.values()),
            waiting=len(self.waiting), left=self.left, untrained=self.untrained, people=self._tally.people(),
            disagreements={
                self._seen[self._at[key]].picture.path: said
                for key, said in self._tally.disagreements().items() if self._usable(key)
            },
            classes=dict(Counter(label for key, label in answers.items() if self._usable(key))),
            gone=len([key for key in answers if key not in self._at]), protected_since=len(since), ledger=self.ledger(),
        )  # fmt: skip

    # Behind it

    @property
    def _reader(self) -> Cache:
        self._alive()
        assert self._cache is not None
        return self._cache

    def _alive(self) -> None:
        if self._lock is None:
            raise ValueError("this album was closed, or opened again elsewhere in this process: use that one.")

    def _settle(self, classes, protect, learning) -> None:
        """What is given goes before what was kept."""
        kept = next((event for event in reversed(self._journal.events) if event["what"] == "album"), None)
        if classes is None and kept is None:
            raise ValueError("an album needs classes the first time: name at least two.")
        given = kept["classes"] if classes is None and kept else classes
        self.classes = _classes(given)
        if kept and list(self.classes[: len(kept["classes"])]) != kept["classes"]:
            raise ValueError(
                f"this album has the classes {', '.join(kept['classes'])}: keep them in this order; more may follow."
            )
        self.protect = rules(protect if protect is not None else kept["protect"] if kept else {})
        before = Learning.of(_recipe(kept["learning"])) if kept else Learning()
        self.learning = before if learning is None else rules_of_learning(learning)
        if self._tally.uploaded and self.learning != before:
            raise ValueError("this album has learned with other settings already: choose another `out` for new ones.")
        learned = next((event for event in reversed(self._journal.events) if event["what"] == "album"), None)
        self._kept = learned

    def _keep_settings(self) -> None:
        said = {
            "classes": list(self.classes), "protect": self.protect.kept(),
            "learning": self.learning.model_dump(mode="json"),
        }  # fmt: skip
        if self._kept is None or any(self._kept[name] != value for name, value in said.items()):
            self._journal.add("album", **said)

    def _learned_classes(self) -> int:
        """How many classes there were at the last training: more may have been added since."""
        count = len(self.classes)
        for event in self._journal.events:
            if event["what"] == "album":
                count_now = len(event["classes"])
            elif event["what"] == "trained":
                count = count_now
        return count

    def _check(self) -> None:
        if not self._seen:
            more = f" ({len(self.left_out)} files are left out)" if self.left_out else ""
            raise ValueError(f"{self.folder} holds no picture that can be read{more}: name another folder.")
        if len(self._protected) == len(self._seen):
            why, count = Counter(self._protected.values()).most_common(1)[0]
            raise ValueError(f"all {len(self._seen)} pictures are protected ({why}: {count}): loosen the rules.")

    def _place(self) -> None:
        """Where the pictures that were asked about are now: a renamed one is known by its content."""
        self._at = {seen.picture: number for number, seen in enumerate(self._seen)}
        self._as = {number: key for key, number in self._at.items()}
        free: defaultdict[str, list[int]] = defaultdict(list)
        for number, seen in enumerate(self._seen):
            if seen.picture not in self._tally.asked:
                free[seen.picture.digest].append(number)
        for key in self._tally.asked:
            if key not in self._at and free[key.digest]:
                number = free[key.digest].pop(0)
                self._at[key], self._as[number] = number, key

    def _there(self, keys: Iterable[Picture]) -> list[Picture]:
        return [self._seen[self._at[key]].picture for key in keys if self._usable(key)]

    def _usable(self, key: Picture) -> bool:
        """Whether a picture that was asked about is there, unchanged, and not protected by now."""
        return key in self._at and self._at[key] not in self._protected

    def _asked_as(self, number: int) -> Picture:
        return self._as[number]

    def _find(self, picture: Picture | str) -> int:
        """The number of a picture, or one sentence why there is none."""
        path = picture.path if isinstance(picture, Picture) else str(picture)
        number = self._numbers().get(path)
        if number is None and isinstance(picture, Picture):
            number = self._at.get(picture)  # renamed since
        if number is None:
            why = self.left_out.get(path)
            raise ValueError(f"{path} is left out: {why}." if why else f"{path} is no picture of this album.")
        seen = self._seen[number].picture
        if isinstance(picture, Picture) and picture.digest != seen.digest:
            raise ValueError(f"{path} has changed since it was asked about: nothing was taken in.")
        return number

    def _numbers(self) -> dict[str, int]:
        return {seen.picture.path: number for number, seen in enumerate(self._seen)}

    def _say(self, what: str, picture: Picture | str, by: str, **more: str) -> None:
        if not isinstance(by, str) or not by.strip():
            raise ValueError("`by` is empty: say who answers.")
        key = self._asked_as(self._find(picture))
        self._tally.add(self._journal.add(what, file=key.path, content=key.digest, by=by, **more))

    def _known(self) -> dict[Picture, str]:
        """The answers to learn from."""
        answers = self._tally.answers()
        return {
            key: label for key, label in answers.items()
            if not self._tally.asked[key].held_out and self._usable(key)
        }  # fmt: skip

    def _fingerprint(self, known: dict[Picture, str]) -> str:
        text = json.dumps(sorted([key.path, key.digest, label] for key, label in known.items()))
        return hashlib.sha256(text.encode()).hexdigest()[:16] if known else ""

    def _askable(self) -> list[int]:
        """Numbers of the pictures that may be asked about: not protected, no copy of one that was asked about."""
        out = set(self._tally.said) | set(self._tally.open)
        contents = {key.digest for key in out}
        found = []
        for number, seen in enumerate(self._seen):
            if number not in self._protected and seen.picture.digest not in contents:
                contents.add(seen.picture.digest)
                found.append(number)
        return found

    def _wanted(self, askable: list[int]) -> list[int]:
        """The same, most wanted first; what came after the last training follows at random."""
        rest = numpy_stream(self.learning.seed, "pools", self._tally.asks).permutation(askable).tolist()
        if not self._tally.rounds:
            return rest
        kept = records.read(self.home / f"ranking-{self._tally.rounds}.json")["ranking"]
        ranked = [self._at[Picture(*named)] for named in kept if Picture(*named) in self._at]
        places = set(askable)
        first = [number for number in ranked if number in places]
        return first + [number for number in rest if number not in set(first)]

    def _weights(self, number: int) -> Path:
        return self.home / f"task-learner-{number}.pt"


def rules_of_learning(given: Learning | dict[str, Any]) -> Learning:
    """From a mapping; ``ValueError`` in one sentence if it is none."""
    return given if isinstance(given, Learning) else Learning.of(given)


def _recipe(kept: dict[str, Any]) -> dict[str, Any]:
    return kept


def _uploaded_bytes(ledger: dict[str, Any]) -> int:
    return ledger["crossings"].get("up: labelled images", {}).get("bytes", 0)


def _holds_out(seed: int, ask: int) -> bool:
    """Whether question number ``ask`` is one of those drawn at random: one in each five, known before any answer."""
    block, place = divmod(ask, HELD_OUT)
    return place == numpy_stream(seed, "held-out", block).integers(HELD_OUT)


def _classes(given: Iterable[str]) -> tuple[str, ...]:
    classes = tuple(given.split(",")) if isinstance(given, str) else tuple(given)
    for name in classes:
        if not isinstance(name, str) or not name.strip() or name != name.strip():
            raise ValueError(f"{name!r} is no name of a class: use text without spaces around it.")
        if name in (".", "..") or set(name) & set('/\\\0:*?"<>|\n\r'):
            raise ValueError(f"the class {name!r} cannot name a folder: leave out dots alone and / \\ : * ? \" < > |.")
    if len({name.casefold() for name in classes}) < len(classes):
        raise ValueError(f"the classes {', '.join(classes)} name one twice: name each once.")
    if len(classes) < 2:
        raise ValueError(f"{len(classes)} class is nothing to tell apart: name at least two.")
    if len(classes) > 255:
        raise ValueError(f"{len(classes)} classes are too many: 255 is the most.")
    return classes
