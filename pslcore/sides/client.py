"""The client side: all raw images, the pools, the oracle. It answers to nobody for what it does with its own images."""

import numpy as np
import torch

from pslcore.data import ImageStore
from pslcore.sides.cloud import Cloud
from pslcore.sides.oracle import Oracle
from pslcore.sides.pools import Pools

_RESIDENT = 1 << 30
"""Bytes of a memory-mapped training set up to which the client keeps all of it on its device."""


class Client:
    """The client side: all raw images, the pools, the oracle.

    Parameters
    ----------
    images : uint8 array, [N, C, H, W]
        The whole training set, without labels: those are the oracle's.
    pools : Pools
    oracle : Oracle
    padding : int
        As in the recipe.
    device : torch.device
        Where the client's networks train.
    """

    def __init__(self, images: np.ndarray, pools: Pools, oracle: Oracle, padding: int, device: torch.device):
        self.pools, self.device = pools, device
        self._images, self._oracle, self._padding = images, oracle, padding
        self._resident: ImageStore | None = None
        self._answers: list[tuple[np.ndarray, np.ndarray]] = []  # the oracle's, in the order of asking
        self._told = 0  # how many of them the store knows

    @property
    def channels(self) -> int:
        return self._images.shape[1]

    @property
    def store(self) -> ImageStore:
        """All images, resident on the client's device from the first use on or, of a large set, looked up on the
        disk; and the labels known so far."""
        if self._resident is None:
            self._resident = ImageStore(len(self._images), self._padding, self.device)
            if isinstance(self._images, np.memmap) and self._images.nbytes > _RESIDENT:
                self._resident.lend(self._images)
            else:
                self._resident.add(np.arange(len(self._images)), self._images)
        for indices, labels in self._answers[self._told :]:
            self._resident.tell(indices, labels)
        self._told = len(self._answers)
        return self._resident

    def labels(self) -> np.ndarray:
        """The labels of ``D_L``, in the order of ``pools.labelled``."""
        indices, labels = (np.concatenate(column) for column in zip(*self._answers, strict=True))
        return labels[np.argsort(indices)]

    def open(self, cloud: Cloud) -> None:
        """Have the initial pool labelled and hand it to the cloud."""
        self._share(cloud, self.pools.labelled)

    def annotate(self, cloud: Cloud, picked: np.ndarray) -> None:
        """Have picked images labelled by the oracle, move them to ``D_L``, and hand them to the cloud.

        Raises
        ------
        ProtectedDataError, ValueError
            As ``Pools.label``, ``Oracle.ask`` and ``Cloud.upload``; whoever refuses, no pool has changed.
        """
        self._share(cloud, self.pools.check(picked))
        self.pools.label(picked)

    def submit(self, cloud: Cloud) -> None:
        """Upload all of ``D_S`` for scoring, which is what baselines that score with the task learner need."""
        for part in np.array_split(self.pools.safe, -(-len(self.pools.safe) // 512) or 1):
            cloud.upload(part, self._images[part])

    def _share(self, cloud: Cloud, indices: np.ndarray) -> None:
        labels = self._oracle.ask(indices)
        cloud.upload(indices, self._images[indices], labels)
        self._answers.append((indices, labels))
