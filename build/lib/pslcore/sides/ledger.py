"""The ledger of everything that crosses between the two sides."""

from collections import Counter

import numpy as np


class Ledger:
    """Counts what crossed, by direction and kind; remembers which images the cloud saw before they were labelled."""

    def __init__(self):
        self._items: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()
        self._seen_unlabelled: set[int] = set()

    def enter(self, what: str, items: int, n_bytes: int) -> None:
        """Add a crossing: so many items of a kind, so many bytes."""
        self._items[what] += int(items)
        self._bytes[what] += int(n_bytes)

    def saw_unlabelled(self, indices: np.ndarray) -> None:
        """Remember dataset indices of unlabelled images that the cloud has seen."""
        self._seen_unlabelled.update(int(index) for index in indices)

    @property
    def unlabelled_seen(self) -> int:
        """How many different images the cloud saw while they were unlabelled."""
        return len(self._seen_unlabelled)

    def summary(self) -> dict[str, dict[str, int]]:
        """``{kind: {"items": ..., "bytes": ...}}`` of all crossings so far."""
        return {what: {"items": self._items[what], "bytes": self._bytes[what]} for what in sorted(self._items)}

    def state(self) -> dict:
        """All that it holds, for a checkpoint."""
        return {"crossings": self.summary(), "seen_unlabelled": sorted(self._seen_unlabelled)}

    def restore(self, state: dict) -> None:
        """Back to what ``state`` gave."""
        self._items = Counter({what: row["items"] for what, row in state["crossings"].items()})
        self._bytes = Counter({what: row["bytes"] for what, row in state["crossings"].items()})
        self._seen_unlabelled = set(state["seen_unlabelled"])
