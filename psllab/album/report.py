"""The report of an album: plain data, and the same as sentences."""

import math
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from psllab.album.forecast import TARGET
from psllab.album.pictures import Picture
from psllab.album.protection import HELD_BACK

_GAIN = (
    "It learns from pixels alone; with the features of a pretrained network an album of five classes was right on 85 % "
    "of CIFAR pictures after 160 answers, not 45 %: `pip install '.[features]'`, then begin another album (new=True)."
)


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
    blind : int
        Protected pictures that cannot be decoded.
    elsewhere : int
        Pictures that another album of this machine protects, and this one does not.
    """

    protected: dict[str, str]
    safe: list[str]
    left_out: dict[str, str]
    held_back: dict[str, str]
    earlier: list[str]
    idle: list[str]
    gone: int
    names_gone: int
    blind: int = 0
    elsewhere: int = 0

    @property
    def misfits(self) -> list[str]:
        """Of each rule that fits no picture a sentence."""
        return [f"The rule {word!r} fits no picture, so it protects none: is it misspelt?" for word in self.idle]

    @property
    def notices(self) -> list[str]:
        """What the person should know of protection, a sentence each."""
        return [
            *self.misfits,
            *sentences(
                (len(self.held_back), "{resembles|resemble} a protected one, so held back: look, then release."),
                (len(self.earlier), "{is|are} protected by earlier rules alone, until you release {it|them}."),
                (self.gone, "that {was|were} protected {is|are} not here any more: moved away, changed or deleted."),
                (self.names_gone, "{name|names} protected by hand {fits|fit} no file any more: renamed or deleted?"),
                (self.blind, "protected {one|ones} cannot be decoded: protect what shows the same as well."),
                (self.elsewhere, "{is|are} protected in another album of this machine, and not in this one."),
            ),
        ]

    @property
    def lines(self) -> list[str]:
        """What is here, by counts alone; first what the person should know."""
        why = Counter(why if why.startswith(HELD_BACK) else f"protected: {why}" for why in self.protected.values())
        return [
            f"{len(self.protected):,} of {len(self.protected) + len(self.safe):,} pictures are protected.",
            *self.notices,
            *(f"{count:,} {what}." for what, count in why.most_common()),
            *(f"{count:,} left out: {why}." for why, count in Counter(self.left_out.values()).most_common()),
        ]

    def __str__(self) -> str:
        pairs = [f"  {path} resembles {other or 'one that is not here'}" for path, other in self.held_back.items()]
        return "\n".join([*self.lines, *pairs[:20], *(["  …"] if len(pairs) > 20 else [])])


@dataclass(frozen=True)
class Step:
    """How a round ended: ``right`` of ``held_out`` answers, after it had learned from others."""

    rounds: int
    learned_from: int
    held_out: int
    right: int

    @property
    def accuracy(self) -> float:
        """As ``Report.accuracy``."""
        return self.right / self.held_out

    @property
    def interval(self) -> tuple[float, float]:
        """As ``Report.interval``."""
        return _wilson(self.right, self.held_out)


@dataclass(frozen=True)
class Report:
    """How an album stands. Counts of pictures; ``right`` is of ``held_out``, none before the first training.

    ``forecast`` is as ``forecast.forecast`` gives it; ``course`` holds a ``Step`` for each training whose estimate was
    kept.
    """

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
    features: str = ""
    forecast: tuple[float, float, float] | None = None
    people: dict[str, int] = field(default_factory=dict)
    disagreements: dict[str, dict[str, str]] = field(default_factory=dict)
    classes: dict[str, int] = field(default_factory=dict)
    ledger: dict[str, Any] = field(default_factory=dict)
    course: list[Step] = field(default_factory=list)

    @property
    def accuracy(self) -> float | None:
        """Part of the held-out answers that the task learner gives as well, 0 to 1."""
        return None if self.right is None else self.right / self.held_out

    @property
    def interval(self) -> tuple[float, float] | None:
        """Wilson's 95 % interval of ``accuracy``."""
        return None if self.right is None else _wilson(self.right, self.held_out)

    @property
    def estimate(self) -> str:
        """The accuracy in one line."""
        if self.accuracy is None or self.interval is None:
            return "No estimate of the accuracy yet: it needs a training and an answer that is held out"
        low, high = self.interval
        return f"Estimated accuracy: {self.accuracy:.0%} ({low:.0%} to {high:.0%}, 95 % interval)"

    @property
    def lines(self) -> list[str]:
        """Whatever else it says, a sentence each, without the name of a picture."""
        held = (
            f"From {self.held_out} answers that were held out: one picture in five, drawn at random from those that "
            "may be asked about, not learned from and not uploaded. Protected pictures may look different."
        )
        return [
            *([] if self.accuracy is None else [held]),
            *([_ahead(self.forecast)] if self.features and self.rounds else []),
            f"After round {self.rounds}: {self.learned_from} answers to learn from, {self.held_out} held out, "
            f"{self.skipped} skipped, {self.unsure} not sure, {self.waiting} waiting.",
            f"{self.pictures} pictures, {self.protected} of them protected; {self.left} may still be asked about.",
            f"Answers: {_counts(self.classes) or 'none'}. By: {_counts(self.people) or 'nobody'}.",
            *sentences(
                (self.untrained, "{answer is|answers are} new since the last training."),
                (self.gone, "answered {picture is|pictures are} gone or changed; nothing is learned from {it|them}."),
                (self.protected_since, "{picture was|pictures were} uploaded before a rule protected {it|them}."),
                (len(self.disagreements), "{picture has|pictures have} answers that people do not agree on."),
            ),
            *([] if self.features else [_GAIN]),
        ]

    def __str__(self) -> str:
        lines = [f"{self.estimate}.", *self.lines]
        lines += [
            f"After {step.learned_from} answers: {step.accuracy:.0%} ({step.right} of {step.held_out} held out)."
            for step in self.course
        ]
        for path, answers in self.disagreements.items():
            lines.append(f"  {path}: " + ", ".join(f"{who}: {label}" for who, label in answers.items()))
        lines += [
            f"Uploaded {upload['when']}: {upload['pictures']} labelled pictures, {upload['bytes']:,} bytes, "
            f"protected: {upload['protected']}."
            for upload in self.ledger.get("uploads", ())
        ]
        rows = self.ledger.get("crossed", {}).items()
        lines += [f"In all {what}: {row['items']:,} items, {row['bytes']:,} bytes." for what, row in rows]
        return "\n".join(lines)


def _wilson(right: int, of: int) -> tuple[float, float]:
    from scipy.stats import binomtest  # a second to import

    found = binomtest(right, of).proportion_ci(0.95, "wilson")
    return float(found.low), float(found.high)


def _ahead(forecast: tuple[float, float, float] | None) -> str:
    """How many more answers it takes, in a sentence."""
    goal = f"until {TARGET:.0%} of the pictures are answered right"
    if forecast is None or (forecast[1] == 0 and math.isinf(forecast[2])):
        return f"How many more answers it takes {goal} cannot be told from so few that were drawn at random."
    middle, low, high = ("endlessly many" if math.isinf(end) else f"{end:.0f}" for end in forecast)
    if not forecast[0]:
        return f"{TARGET:.0%} are answered right already (95 % interval of the answers missing: {low} to {high})."
    if math.isinf(forecast[0]):
        return f"At least {low} more answers {goal} (95 % interval: {low} to {high}); perhaps it is never reached."
    return f"About {middle} more answers {goal} (95 % interval: {low} to {high}), if the curve goes on so."


def sentences(*found: tuple[int, str]) -> list[str]:
    """Those whose number is not 0; of ``{one|many}`` the word that fits it."""
    return [f"{n} " + re.sub(r"\{(.*?)\|(.*?)\}", rf"\{1 + (n > 1)}", what) for n, what in found if n]


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {n}" for name, n in sorted(counts.items()))
