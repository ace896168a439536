"""The ledger of what crosses between the two sides: images, answers, weights. Labels go with their images."""

from collections import Counter, defaultdict
from typing import Any

import numpy as np


class Ledger:
    """Counts what crossed, by direction and kind; remembers which images the cloud saw before they were labelled.

    Parameters
    ----------
    n : int
        Size of the training set that the images are from; 0 where none is ever seen.
    """

    def __init__(self, n: int = 0):
        self._crossings: dict[str, Counter[str]] = defaultdict(Counter)
        self._seen_unlabelled = np.zeros(n, dtype=bool)

    def enter(self, what: str, items: int, n_bytes: int) -> None:
        """Add a crossing: so many items of a kind, so many bytes."""
        self._crossings[what].update(items=int(items), bytes=int(n_bytes))

    def saw_unlabelled(self, indices: np.ndarray) -> None:
        """Remember dataset indices of unlabelled images that the cloud has seen."""
        self._seen_unlabelled[indices] = True

    @property
    def unlabelled_seen(self) -> int:
        """How many different images the cloud saw while they were unlabelled."""
        return int(np.count_nonzero(self._seen_unlabelled))

    def summary(self) -> dict[str, dict[str, int]]:
        """``{kind: {"items": ..., "bytes": ...}}`` of all crossings so far."""
        return {what: dict(self._crossings[what]) for what in sorted(self._crossings)}

    def entry(self) -> dict[str, Any]:
        """What a record says of a cycle: all so far."""
        return {"unlabelled_seen": self.unlabelled_seen, "crossed": self.summary()}

    def state(self) -> dict:
        """All that it holds, for a checkpoint."""
        return {"crossings": self.summary(), "seen_unlabelled": np.flatnonzero(self._seen_unlabelled).tolist()}

    def restore(self, state: dict) -> None:
        """Back to what ``state`` gave."""
        self._crossings = defaultdict(Counter, {what: Counter(row) for what, row in state["crossings"].items()})
        self._seen_unlabelled = np.isin(np.arange(len(self._seen_unlabelled)), state["seen_unlabelled"])
