"""The report of an album: plain data, and the same as sentences."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from psllab.album.index import Roll
from psllab.album.pictures import Picture
from psllab.album.protection import HELD_BACK
from psllab.album.state import Tally
from psllab.album.training import TaskLearner


@dataclass(frozen=True)
class Suggestion:
    """What the task learner would answer, and how sure it is (0 to 1)."""

    picture: Picture
    label: str
    confidence: float


@dataclass(frozen=True)
class Preview:
    """What the rules come to.

    Attributes
    ----------
    protected : dict
        Path to reason.
    safe : list of str
    left_out : dict
        Path to reason.
    held_back : dict
        Path of each picture that resembles a protected one to the path of that, "" if it is not here; they are among
        the protected ones until they are released.
    earlier : list of str
        Protected by nothing but what was given before.
    idle : list of str
        Rules that fit no picture.
    gone, names_gone : int
        Pictures that were protected and are not here any more; names protected by hand that fit no file any more.
    """

    protected: dict[str, str]
    safe: list[str]
    left_out: dict[str, str]
    held_back: dict[str, str]
    earlier: list[str]
    idle: list[str]
    gone: int
    names_gone: int

    @classmethod
    def of(cls, roll: Roll) -> "Preview":
        """Of pictures as they are now."""
        paths = [picture.path for picture in roll.pictures]
        return cls(
            {paths[number]: why for number, why in roll.protected.items()},
            [path for number, path in enumerate(paths) if number not in roll.protected],
            roll.left_out,
            {paths[number]: other for number, other in roll.twins.items()},
            [paths[number] for number in roll.earlier],
            roll.idle(),
            *roll.missing(),
        )

    @property
    def notices(self) -> list[str]:
        """What the person should know of protection, a sentence each."""
        told = [f"The rule {word!r} fits no picture: is it misspelt?" for word in self.idle]
        if self.held_back:
            told.append(f"{len(self.held_back)} resemble protected ones and are held back: look at them, then release.")
        if self.earlier:
            told.append(f"{len(self.earlier)} are protected by earlier rules alone, until you release them.")
        if self.gone:
            told.append(f"{self.gone} that were protected are not here any more: moved away, changed or deleted.")
        if self.names_gone:
            told.append(
                f"{self.names_gone} names that were protected by hand fit no file any more: renamed or deleted?"
            )
        return told

    @property
    def lines(self) -> list[str]:
        """What is here, by counts alone."""
        told = [f"{len(self.protected):,} of {len(self.protected) + len(self.safe):,} pictures are protected."]
        why = Counter(why if why.startswith(HELD_BACK) else f"protected: {why}" for why in self.protected.values())
        told += [f"{count:,} {what}." for what, count in why.most_common()]
        told += [f"{count:,} left out: {why}." for why, count in Counter(self.left_out.values()).most_common()]
        return told + self.notices

    def __str__(self) -> str:
        pairs = [f"  {path} resembles {other or 'one that is not here'}" for path, other in self.held_back.items()]
        return "\n".join([*self.lines, *pairs[:20], *(["  …"] if len(pairs) > 20 else [])])


@dataclass(frozen=True)
class Report:
    """How an album stands. Counts of pictures; ``right`` is of ``held_out``, none before the first training."""

    rounds: int
    pictures: int
    protected: int
    left_out: int
    learned_from: int
    held_out: int
    right: int | None
    skipped: int
    unsure: int
    waiting: int
    left: int
    untrained: int
    gone: int
    protected_since: int
    people: dict[str, int] = field(default_factory=dict)
    disagreements: dict[str, dict[str, str]] = field(default_factory=dict)
    classes: dict[str, int] = field(default_factory=dict)
    ledger: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls, tally: Tally, roll: Roll, learner: TaskLearner | None, classes: tuple[str, ...], left: int, untrained: int
    ) -> "Report":
        """From what was said, the pictures as they are now, and the task learner of the last training."""
        held, right = roll.answers(tally, held_out=True), None
        if learner is not None and held:
            given = learner.probabilities(roll.images(roll.at[key] for key in held)).argmax(1)
            right = sum(classes[at] == label for at, label in zip(given, held.values(), strict=True))
        last = Counter(word.what for key in tally.asked if (word := tally.word(key)) is not None)
        return cls(
            rounds=tally.rounds,
            pictures=len(roll.pictures),
            protected=len(roll.protected),
            left_out=len(roll.left_out),
            learned_from=len(roll.answers(tally, held_out=False)),
            held_out=len(held),
            right=right,
            skipped=last["skip"],
            unsure=last["not sure"],
            waiting=len(roll.now(tally.waiting())),
            left=left,
            untrained=untrained,
            gone=sum(key not in roll.at for key in tally.answers()),
            protected_since=sum(roll.at.get(key) in roll.protected for key in tally.uploaded),
            people=tally.people(),
            disagreements={
                roll.now([key])[0].path: said for key, said in tally.disagreements().items() if roll.usable(key)
            },
            classes=dict(Counter(roll.answers(tally).values())),
            ledger=tally.crossings(),
        )

    @property
    def accuracy(self) -> float | None:
        """Part of the held-out answers that the task learner gives as well, 0 to 1."""
        return None if self.right is None else self.right / self.held_out

    @property
    def interval(self) -> tuple[float, float] | None:
        """Wilson's 95 % interval of ``accuracy``."""
        if self.right is None:
            return None
        from scipy.stats import binomtest  # a second to import

        found = binomtest(self.right, self.held_out).proportion_ci(0.95, "wilson")
        return float(found.low), float(found.high)

    @property
    def changes(self) -> list[str]:
        """What is another since the last training or upload, a sentence each."""
        found = (
            (self.untrained, "answers are new since the last training."),
            (self.gone, "answered pictures are gone or have changed; nothing is learned from them."),
            (self.protected_since, "pictures were uploaded before a rule protected them."),
        )
        return [f"{n} {what}" for n, what in found if n]

    @property
    def counts(self) -> str:
        """What became of the answers."""
        return (
            f"After round {self.rounds}: {self.learned_from} answers to learn from, {self.held_out} held out, "
            f"{self.skipped} skipped, {self.unsure} not sure, {self.waiting} waiting"
        )

    @property
    def sources(self) -> tuple[str, str]:
        """Answers of each class, and of each person."""
        classes, people = (
            ", ".join(f"{name} {n}" for name, n in sorted(each.items())) for each in (self.classes, self.people)
        )
        return f"Answers: {classes or 'none'}.", f"By: {people or 'nobody'}."

    @property
    def held(self) -> str:
        """What the estimate rests on."""
        return (
            f"from {self.held_out} answers that were held out: one picture in five, drawn at random from those that "
            "may be asked about, not learned from and not uploaded. Protected pictures may look different."
        )

    def __str__(self) -> str:
        lines = [
            f"{self.pictures} pictures, {self.protected} of them protected; {self.left} may still be asked about.",
            f"{self.counts}.",
        ]
        if self.interval is not None and self.accuracy is not None:
            low, high = self.interval
            wilson = f"({low:.0%} to {high:.0%}, 95 % interval of Wilson)"
            lines.append(f"Estimated accuracy: {self.accuracy:.0%} {wilson}, {self.held}")
        else:
            lines.append("No estimate of the accuracy yet: it needs a training and an answer that is held out.")
        lines += self.sources
        for path, said in self.disagreements.items():
            lines.append(
                f"Not of one mind on {path}: " + ", ".join(f"{who}: {label}" for who, label in said.items()) + "."
            )
        lines += self.changes
        for upload in self.ledger.get("uploads", ()):
            lines.append(
                f"Uploaded {upload['when']}: {upload['pictures']} labelled pictures, {upload['bytes']:,} bytes, "
                f"protected: {upload['protected']}."
            )
        for what, row in self.ledger.get("crossed", {}).items():
            lines.append(f"In all {what}: {row['items']:,} items, {row['bytes']:,} bytes.")
        return "\n".join(lines)


def suggest(
    learner: TaskLearner, roll: Roll, answered: Iterable[Picture], classes: tuple[str, ...], protected: bool
) -> list[Suggestion]:
    """What the task learner would answer for every picture that is not answered."""
    out = {roll.at[key] for key in answered if key in roll.at} | (set() if protected else set(roll.protected))
    rest = [number for number in range(len(roll.pictures)) if number not in out]
    given = learner.probabilities(roll.images(rest))
    return [
        Suggestion(roll.pictures[number], classes[row.argmax()], float(row.max()))
        for number, row in zip(rest, given, strict=True)
    ]
