"""The human in the loop, simulated: the labels of the training set behind one question."""

import numpy as np

from pslcore.data import SomeLabels
from pslcore.sides.guard import as_indices, as_mask, refuse_protected


def mislabel(labels: np.ndarray, rate: float, groups: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Labels of which each is, with a chance of ``rate``, another class of its own superclass (section 4.5, Fig. 6).

    All wrong labels are drawn at once: whoever asks for an image, and however often, hears the same. Those of the
    initial pool are the oracle's as well.

    Parameters
    ----------
    labels : int64 array, [N]
    rate : float
        In [0, 1).
    groups : int array, [C]
        Superclass of each class; of equal entries where the data set has none, which makes the noise uniform.
    rng : numpy Generator

    Returns
    -------
    int64 array, [N]

    Raises
    ------
    ValueError
        If a superclass has one class only, which leaves no wrong label to give.
    """
    groups = np.asarray(groups)
    kinds, sizes = np.unique(groups, return_counts=True)
    if rate > 0 and (sizes < 2).any():
        told = f"noise = {rate} within superclasses: superclass {kinds[sizes < 2][0]} has one class only, so that"
        mend = "leave the superclasses out of the data set or merge some."
        raise ValueError(f"{told} none of its labels can be mistaken; {mend}")
    wrong = np.flatnonzero(rng.random(len(labels)) < rate)
    skips = rng.random(len(wrong))
    given = labels.copy()
    for kind in kinds:
        members = np.flatnonzero(groups == kind)
        here = wrong[groups[labels[wrong]] == kind]
        skip = 1 + (skips[groups[labels[wrong]] == kind] * (len(members) - 1)).astype(np.int64)
        given[here] = members[(np.searchsorted(members, labels[here]) + skip) % len(members)]
    return given


class Oracle:
    """Answers with the label of any image that may be shown to it.

    Parameters
    ----------
    labels : int64 array, [N] or [N, H, W]
        What it says of each image of the training set. Nobody else on either side holds them.
    protected : iterable of int
        Images that must never be shown.
    """

    def __init__(self, labels: SomeLabels, protected: np.ndarray):
        self._labels = labels
        self._protected = as_mask(protected, len(labels), "protected")
        self.asked = 0

    def ask(self, indices: np.ndarray) -> np.ndarray:
        """The labels of the images, in the order asked, [B] or [B, H, W].

        Raises
        ------
        ProtectedDataError
            If one of the images is protected; then nothing is answered.
        """
        indices = as_indices(indices, len(self._labels))
        refuse_protected(indices, self._protected, "shown to the oracle")
        self.asked += indices.size
        return self._labels[indices]
