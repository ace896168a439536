"""A federation whose clients bring data of their own: what the server knows of it, and what one client knows."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from pslcore.data import Dataset, Split
from pslcore.federated.protocol import FederatedConfig, FederatedProtocol
from pslcore.runs import CPU, Protocol
from pslcore.sides import Pools
from pslcore.streams import numpy_stream


@dataclass(frozen=True)
class _Own(Protocol):
    """The protocol of one client on a data set of its own; ``protected`` are its indices."""

    protected: np.ndarray

    def pools(self) -> Pools:
        n = len(self.dataset.train)
        order = numpy_stream(self.config.seed, "pools").permutation(np.setdiff1d(np.arange(n), self.protected))
        return Pools(n, order[: self.counts[0]], self.protected)


@dataclass(frozen=True)
class _Member(FederatedProtocol):
    """A federated protocol as one of the clients knows it: its own part."""

    own: Protocol

    def client(self, number: int) -> Protocol:
        return self.own


def check(config: FederatedConfig) -> None:
    for name, wanted in (("setting", "standard"), ("split", "random"), ("noise", 0)):
        if (value := getattr(config, name)) != wanted:
            mend = f"give {wanted!r}, each client has a set and a protected set of its own"
            raise ValueError(f"{name} = {value!r} has no meaning where the clients' data lie apart: {mend}.")


def between(config: FederatedConfig, dataset: Dataset, device: torch.device = CPU) -> FederatedProtocol:
    """The protocol of a federation whose data lie apart, on a set of which only the test split is used.

    Its training images stand for those that will be labelled: so many, all of them the first test image.
    """
    check(config)
    if config.final < 1 or config.initial < 1 or config.budget < 1:
        raise ValueError(
            "where the clients' data lie apart, `initial`, `budget` and `final` must be numbers of images."
        )
    test, n = dataset.test, int(config.final)
    images, labels = test.images[:1], np.asarray(test.labels[:1])
    blank = Split(np.broadcast_to(images, (n, *images.shape[1:])), np.broadcast_to(labels, (n, *labels.shape[1:])))
    return FederatedProtocol.of(config, replace(dataset, train=blank, contents=""), device)


def member(
    config: FederatedConfig, number: int, dataset: Dataset, protected: str | Path, device: torch.device = CPU
) -> FederatedProtocol:
    """The protocol of one client on its own data.

    Parameters
    ----------
    config : FederatedConfig
    number : int
        Which client it is.
    dataset : Dataset
    protected : path
        A text file: the index of each protected training image. It must exist; an empty one protects nothing.
    device : torch.device

    Raises
    ------
    ValueError, OSError
        If the file cannot be read, an index is none of the set's, or too few images are left to be labelled.
    """
    whole, n = between(config, dataset, device), len(dataset.train)
    base, words = whole.client(number), Path(protected).read_text().split()
    wrong = [word for word in words if not (word.isascii() and word.isdigit() and int(word) < n)]
    if wrong:
        raise ValueError(f"{protected}: {wrong[0]!r} is no training image of {dataset.name}: give 0 to {n - 1}.")
    kept = np.unique(np.array(words, dtype=np.int64))
    if n - kept.size < base.counts[-1]:
        told = f"{base.counts[-1]} images of {dataset.name} will be labelled, but {kept.size} of {n} are protected"
        raise ValueError(f"{told}: protect fewer, or take part in a run with a lower `final`.")
    own = _Own(base.config, dataset, base.counts, dataset.train.labels, base.source, base.recipe, kept)
    parts = [np.arange(n)] * config.clients
    return _Member(config, dataset, whole.counts, whole.labels, whole.source, whole.recipe, parts, own)
