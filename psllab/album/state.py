"""The state of an album, computed from its journal: questions, answers, uploads, trainings."""

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from psllab.album.journal import Event
from psllab.album.pictures import Picture

RESPONSES = ("answer", "skip", "not sure")


@dataclass(frozen=True)
class Asked:
    """A picture that was asked about: in which round, and whether its answer is held out."""

    round: int
    held_out: bool


@dataclass(frozen=True)
class Annotation:
    """What somebody said of a picture; ``label`` is there for answers only."""

    what: str
    label: str | None
    by: str
    when: str


@dataclass
class State:
    """The state that events lead to, one after the other.

    Attributes
    ----------
    asked : dict
        Picture to ``Asked``, in the order of asking.
    annotations : dict
        Picture to all words on it; the last one counts.
    uploaded : dict
        Picture to the label that the cloud has of it.
    ledger : dict or None
        The ledger's state after the last crossing.
    uploads : list of event
        What was uploaded, when.
    rounds : int
        Trainings so far.
    asks : int
        Questions so far, those included that were asked twice.
    open : list of Picture
        Asked about since the last training.
    undoable : list of event
        What ``undo`` can still take back.
    estimates : list of event
        How right the task learner was after each training, by the answers held out by then.
    """

    asked: dict[Picture, Asked] = field(default_factory=dict)
    annotations: dict[Picture, list[Annotation]] = field(default_factory=dict)
    uploaded: dict[Picture, str] = field(default_factory=dict)
    ledger: dict[str, Any] | None = None
    uploads: list[Event] = field(default_factory=list)
    rounds: int = 0
    asks: int = 0
    learned: str = ""  # fingerprint of the answers of the last training
    open: list[Picture] = field(default_factory=list)
    undoable: list[Event] = field(default_factory=list)
    estimates: list[Event] = field(default_factory=list)

    @classmethod
    def of(cls, events: list[Event]) -> "State":
        """From a whole journal."""
        gone = {event["of"] for event in events if event["what"] == "undo"}
        state = cls()
        for event in events:
            if event["n"] not in gone:
                state.add(event)
        return state

    def add(self, event: Event) -> None:
        """One more event; ``undo`` needs the whole journal."""
        what = event["what"]
        if what == "asked":
            held = set(event["held_out"])
            self.asks += len(event["pictures"])
            for number, (path, digest) in enumerate(event["pictures"]):
                picture = Picture(path, digest)
                self.asked[picture] = Asked(self.rounds, number in held)
                self.open.append(picture)
        elif what in RESPONSES:
            picture = Picture(event["file"], event["content"])
            word = Annotation(what, event.get("label"), event["by"], event["when"])
            self.annotations.setdefault(picture, []).append(word)
            self.undoable.append(event)
        elif what == "uploaded":
            self.uploaded |= {Picture(path, digest): label for path, digest, label in event["pictures"]}
            self.ledger = event["ledger"]
            self.uploads.append(event)
            self.undoable = []
        elif what == "trained":
            self.rounds += 1
            self.learned = event["answers"]
            self.ledger = event["ledger"]
            self.open, self.undoable = [], []
        elif what == "estimated":
            self.estimates.append(event)

    def word(self, picture: Picture) -> Annotation | None:
        """The last word on a picture."""
        return self.annotations[picture][-1] if picture in self.annotations else None

    def answers(self) -> dict[Picture, str]:
        """The label of each answered picture, in the order of asking."""
        words = ((picture, self.word(picture)) for picture in self.asked)
        return {picture: word.label for picture, word in words if word is not None and word.label is not None}

    def waiting(self) -> list[Picture]:
        """Asked about since the last training, and nobody said anything yet."""
        return [picture for picture in self.open if picture not in self.annotations]

    def people(self) -> dict[str, int]:
        """How many pictures each person gave an answer to."""
        return dict(
            Counter(by for words in self.annotations.values() for by in {w.by for w in words if w.label is not None})
        )

    def disagreements(self) -> dict[Picture, dict[str, str]]:
        """Pictures that people answered differently, each with everybody's last answer."""
        found = {}
        for picture, words in self.annotations.items():
            last = {word.by: word.label for word in words if word.label is not None}
            if len(set(last.values())) > 1:
                found[picture] = last
        return found

    def crossings(self) -> dict[str, Any]:
        """``uploads``: when, pictures, bytes, protected, one a time; ``crossed``: the ledger in all, by kind."""
        uploads = [
            {name: event[name] for name in ("when", "bytes", "protected")} | {"pictures": len(event["pictures"])}
            for event in self.uploads
        ]
        return {"uploads": uploads, "crossed": (self.ledger or {}).get("crossings", {})}


def fingerprint(answers: dict[Picture, str]) -> str:
    """Hash of answers, whatever their order; empty for none."""
    text = json.dumps(sorted([key.path, key.digest, label] for key, label in answers.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:16] if answers else ""


def uploaded_bytes(ledger: dict[str, Any] | None) -> int:
    """Bytes of all labelled pictures that were uploaded, by a ledger's state."""
    return (ledger or {}).get("crossings", {}).get("up: labelled images", {}).get("bytes", 0)
