"""What a person has chosen to see of a pool: buckets of equal size by discrepancy, filters, an order, a lasso."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from pslcore.data import Floats, Indices
from psllab.explore.pool import Opened

SORTS = ("most discrepancy", "least discrepancy", "most entropy", "place in PSL's order", "least confident", "number")


@dataclass
class Chosen:
    """What a person has chosen to see of a pool; all positions are rows of its ``Predictions``.

    Attributes
    ----------
    opened : Opened
    buckets : int
        Groups of equal size by ascending discrepancy, as in Fig. 7; at most one an image.
    shown : int
        Which of them, from 1; 0 for all.
    label : int or None
        Images of that class alone.
    consensus, right, protected : bool or None
        Those alone with it or without; for pixel labels ``right`` is a majority of the pixels.
    sort : str
        One of ``SORTS``.
    among : bool array [N], or None
        A lasso: these images, of whatever bucket.
    """

    opened: Opened
    buckets: int = 5
    shown: int = 1
    label: int | None = None
    consensus: bool | None = None
    right: bool | None = None
    protected: bool | None = None
    sort: str = SORTS[0]
    among: np.ndarray | None = None
    place: Indices = field(init=False)

    def __post_init__(self) -> None:
        self.place = self.opened.predictions.place

    @property
    def bucket(self) -> Indices:
        """Bucket of each image, from 1, [N]; a tie goes to the lower index first."""
        pool = self.opened.predictions
        bucket = np.empty(len(pool), dtype=np.int64)
        order = np.lexsort((pool.index, pool.score))
        for number, part in enumerate(np.array_split(order, self.buckets), start=1):
            bucket[part] = number
        return bucket

    def group(self) -> np.ndarray:
        """Whether an image is in the bucket that is shown, or in the lasso, bool [N]."""
        if self.among is not None:
            return self.among
        return np.full(len(self.opened.predictions), True) if self.shown == 0 else self.bucket == self.shown

    def rows(self) -> Indices:
        """The rows shown, in their order.

        Raises
        ------
        ValueError
            If ``sort`` is unknown.
        """
        pool, wanted = self.opened.predictions, self.group()
        for value, has in (
            (self.consensus, pool.consensus), (self.right, pool.right > 0.5), (self.protected, pool.protected)
        ):  # fmt: skip
            if value is not None:
                wanted = wanted & (has == value)
        if self.label is not None:
            wanted = wanted & self.opened.has(self.label)
        rows = np.flatnonzero(wanted)
        return rows[np.lexsort((pool.index[rows], self._by()[rows]))]

    def _by(self) -> Floats:
        pool = self.opened.predictions
        keys: dict[str, Callable[[], Floats]] = {
            SORTS[0]: lambda: -pool.score,
            SORTS[1]: lambda: pool.score,
            SORTS[2]: lambda: -pool.entropy,
            SORTS[3]: lambda: np.where(self.place > 0, self.place, len(pool) + 1).astype(float),
            SORTS[4]: lambda: pool.joint.max(1),
            SORTS[5]: lambda: pool.index.astype(float),
        }
        if self.sort not in keys:
            raise ValueError(f"unknown order {self.sort!r}: choose one of {', '.join(SORTS)}.")
        return keys[self.sort]()

    def summary(self) -> str:
        """How many images are shown, and how students do on them."""
        pool, rows = self.opened.predictions, self.rows()
        which = "all buckets" if self.shown == 0 else f"bucket {self.shown} of {self.buckets}"
        which = f"the lasso's {int(self.among.sum()):,} images" if self.among is not None else which
        inside = self.group()
        if not inside.any():
            return f"{which}: no image."
        spread = f"discrepancy {pool.score[inside].min():.3g} to {pool.score[inside].max():.3g}"
        text = f"{which} ({spread}): {len(rows):,} of {int(inside.sum()):,} images shown"
        if len(rows):
            text += (
                f"; students agree on {100 * pool.consensus[rows].mean():.0f} %, "
                f"are right on {100 * pool.right[rows].mean():.0f} %"
            )
            text += f"; {int(self.opened.picked[rows].sum())} picked by the run"
        return text + "."

    def caption(self, row: int) -> str:
        """Two lines on an image: its truth, then each student's answer and confidence."""
        pool, classes = self.opened.predictions, self.opened.dataset.classes
        if pool.pixels:
            return f"{100 * pool.right[row]:.0f} % of the pixels right\nd = {pool.score[row]:.3g}"
        answers = (f"{classes[p.argmax()]} {100 * p.max():.0f} %" for p in pool.peers[:, row])
        return f"{classes[self.opened.truth[row]]}\n{' · '.join(answers)}"

    def marks(self, row: int) -> list[tuple[str, str]]:
        """Badges of an image: (text, tone)."""
        pool = self.opened.predictions
        agree = ("agree", "quiet") if pool.consensus[row] else ("differ", "note")
        found = [("✓", "good") if pool.right[row] > 0.5 else ("✗", "bad")]
        found += [agree] if len(pool.peers) > 1 else []
        found.append(("protected", "lock") if pool.protected[row] else (f"#{self.place[row]}", "quiet"))
        return found + ([("picked", "pick")] if self.opened.picked[row] else [])


def lasso(n: int, rows: Iterable[int]) -> np.ndarray:
    """Rows as a mask, bool [n]."""
    mask = np.zeros(n, dtype=bool)
    mask[np.fromiter(rows, dtype=np.int64)] = True
    return mask
