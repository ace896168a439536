"""What an album tells: plain data, and the same in words."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from pslcore.album.learn import TaskLearner
from pslcore.album.pictures import Picture
from pslcore.album.roll import Roll
from pslcore.album.tally import Tally


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
    idle : list of str
        Folders, patterns and names of the rules that fit no picture.
    """

    protected: dict[str, str]
    safe: list[str]
    left_out: dict[str, str]
    idle: list[str]

    def __str__(self) -> str:
        lines = [f"{len(self.protected)} of {len(self.protected) + len(self.safe)} pictures are protected:"]
        lines += [f"  {count}: {why}" for why, count in Counter(self.protected.values()).most_common()]
        lines += [f"{len(self.left_out)} files are left out:"] if self.left_out else []
        lines += [f"  {count}: {why}" for why, count in Counter(self.left_out.values()).most_common()]
        lines += [f"The rule {word!r} fits no picture: is it misspelt?" for word in self.idle]
        return "\n".join(lines)


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

    def __str__(self) -> str:
        lines = [
            f"{self.pictures} pictures, {self.protected} of them protected; {self.left} may still be asked about.",
            f"After round {self.rounds}: {self.learned_from} answers to learn from, {self.held_out} held out, "
            f"{self.skipped} skipped, {self.unsure} not sure, {self.waiting} waiting.",
        ]
        if self.interval is not None and self.accuracy is not None:
            low, high = self.interval
            lines.append(
                f"Estimated accuracy: {self.accuracy:.0%} ({low:.0%} to {high:.0%}, 95 % interval of Wilson), from "
                f"{self.held_out} answers that were held out: one picture in five, drawn at random from those that may "
                "be asked about, not learned from and not uploaded. Protected pictures may look different."
            )
        else:
            lines.append("No estimate of the accuracy yet: it needs a training and an answer that is held out.")
        lines.append(
            "Answers: " + (", ".join(f"{name} {n}" for name, n in sorted(self.classes.items())) or "none") + "."
        )
        lines.append("By: " + (", ".join(f"{who} {n}" for who, n in sorted(self.people.items())) or "nobody") + ".")
        for path, said in self.disagreements.items():
            lines.append(
                f"Not of one mind on {path}: " + ", ".join(f"{who}: {label}" for who, label in said.items()) + "."
            )
        if self.untrained:
            lines.append(f"{self.untrained} answers are new since the last training.")
        if self.gone:
            lines.append(f"{self.gone} answered pictures are gone or have changed; nothing is learned from them.")
        if self.protected_since:
            lines.append(f"{self.protected_since} pictures were uploaded before a rule protected them.")
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
