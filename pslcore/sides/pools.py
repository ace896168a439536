"""The sets of section 3.1: ``D_L`` (labelled), ``D_U`` (unlabelled), the protected set and ``D_S`` (safe)."""

import hashlib
from collections.abc import Iterable

import numpy as np

from pslcore.sides.guard import ProtectedDataError, as_indices, as_mask, refuse_protected
from pslcore.streams import numpy_stream

__all__ = ["Pools", "ProtectedDataError", "protected_setting", "standard_setting"]


class Pools:
    """Which image of the training set is labelled, unlabelled, safe, protected.

    The invariants of the paper's section 3.1 hold at every moment: ``labelled`` and ``unlabelled`` are disjoint
    and cover ``range(n)``; ``protected`` is part of ``unlabelled``; ``safe`` is ``unlabelled`` without ``protected``.

    Parameters
    ----------
    n : int
        Number of training images.
    labelled, protected : iterables of int
        Dataset indices; an image cannot be both.

    Raises
    ------
    ProtectedDataError
        If an image is both labelled and protected.
    ValueError
        If an index is out of range or named twice.
    """

    def __init__(self, n: int, labelled: Iterable[int], protected: Iterable[int] = ()):
        if int(n) < 1:
            raise ValueError(f"a training set of {n} images cannot be split into pools: it needs at least one.")
        self.n = int(n)
        self._labelled = as_mask(labelled, self.n, "labelled")
        self._protected = as_mask(protected, self.n, "protected")
        refuse_protected(self.labelled, self._protected, "labelled")

    @property
    def labelled(self) -> np.ndarray:
        """``D_L``, sorted."""
        return np.flatnonzero(self._labelled)

    @property
    def unlabelled(self) -> np.ndarray:
        """``D_U``, protected images included, sorted."""
        return np.flatnonzero(~self._labelled)

    @property
    def protected(self) -> np.ndarray:
        """The images that may never leave the client, sorted."""
        return np.flatnonzero(self._protected)

    @property
    def safe(self) -> np.ndarray:
        """``D_S``: unlabelled and not protected, sorted; the only images that may be picked."""
        return np.flatnonzero(~self._labelled & ~self._protected)

    def label(self, indices: Iterable[int]) -> None:
        """Move images from ``D_S`` to ``D_L``; either all of them or, on an error, none.

        Raises
        ------
        ProtectedDataError
            If one of them is protected.
        ValueError
            If one of them is labelled already, out of range or named twice.
        """
        self._labelled[self.check(indices)] = True

    def check(self, indices: Iterable[int]) -> np.ndarray:
        """The indices, if ``label`` would take them; raises what it raises, changes nothing."""
        indices = as_indices(indices, self.n)
        refuse_protected(indices, self._protected, "labelled")
        again = indices[self._labelled[indices]]
        if again.size:
            raise ValueError(f"image {again[0]} is labelled already: pick from the safe pool only.")
        return indices

    def fingerprint(self) -> str:
        """SHA-256 of the three sets: equal exactly when the pools are equal."""
        digest = hashlib.sha256(str(self.n).encode())
        for mask in (self._labelled, self._protected):
            digest.update(np.packbits(mask).tobytes())
        return digest.hexdigest()

    def __repr__(self) -> str:
        sizes = f"labelled={self.labelled.size}, safe={self.safe.size}, protected={self.protected.size}"
        return f"Pools(n={self.n}, {sizes})"


def protected_setting(n: int, initial: int, fraction: float = 0.9, seed: int = 0) -> Pools:
    """The sensitive protection setting (section 4.1): ``fraction`` of the images, drawn at random, are protected.

    The initial labelled pool is drawn from the others. The order of one permutation decides both, so for a seed the
    protected set does not depend on ``initial``, and a smaller initial pool is part of a larger one.

    Raises
    ------
    ValueError
        If ``fraction`` is outside [0, 1) or the images left over are fewer than ``initial``.
    """
    if not 0 <= fraction < 1:
        raise ValueError(f"protected fraction {fraction} is impossible: it must be at least 0 and below 1.")
    order = numpy_stream(seed, "pools").permutation(n)
    n_protected = round(fraction * n)
    if not 0 <= initial <= n - n_protected:
        told = f"an initial pool of {initial} images cannot be drawn: {n_protected} of {n} are protected,"
        raise ValueError(f"{told} which leaves {n - n_protected}. Lower `initial` or the protected fraction.")
    return Pools(n, labelled=order[n_protected : n_protected + initial], protected=order[:n_protected])


def standard_setting(n: int, initial: int, seed: int = 0) -> Pools:
    """The standard setting (section 4.4): nothing is protected."""
    return protected_setting(n, initial, fraction=0.0, seed=seed)
