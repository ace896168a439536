"""The human in the loop, simulated: the labels of the training set behind one question."""

import numpy as np

from pslcore.guard import as_indices, refuse_protected


class Oracle:
    """Answers with the true label of any image that may be shown to it.

    Parameters
    ----------
    labels : int64 array, [N] or [N, H, W]
        The labels of the whole training set. Nobody else on either side holds them.
    protected : iterable of int
        Images that must never be shown.
    """

    def __init__(self, labels: np.ndarray, protected: np.ndarray):
        self._labels = labels
        self._protected = as_indices(protected, len(labels), "protected")
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
