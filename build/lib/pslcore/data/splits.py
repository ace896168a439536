"""Which folder, file or word means the split to train on, and which the one to test on: one rule for every form."""

from collections.abc import Iterable

SPLITS = ("train", "test")
_NAMES = {"train": ("train", "training"), "test": ("test", "testing"), "val": ("val", "valid", "validation")}
_MEANS = {name: split for split, names in _NAMES.items() for name in names}
WORDS = "train, training; test, testing; val, valid, validation"
"""All names, in any case."""


def split_of(name: str) -> str:
    """``train``, ``test`` or ``val``; empty if it is the name of no split."""
    return _MEANS.get(name.strip().lower(), "")


def chosen(names: Iterable[str], where: object) -> dict[str, str]:
    """Of some names the one to train on and the one to test on, as far as they are there: ``val`` without ``test``.

    Raises
    ------
    ValueError
        If two of them mean the same split.
    """
    found: dict[str, list[str]] = {}
    for name in sorted(names):
        found.setdefault(split_of(name), []).append(name)
    held = {"train": found.get("train", []), "test": found.get("test") or found.get("val", [])}
    for split, same in held.items():
        if len(same) > 1:
            raise ValueError(f"{where} holds {' and '.join(same)}, which all mean the {split} split: keep one.")
    return {split: same[0] for split, same in held.items() if same}
