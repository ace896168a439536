"""A federated config and its data set, resolved once: whose images are whose, and every exchange of the run."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Self

import numpy as np
import torch
from pydantic import Field, model_validator

from pslcore import models
from pslcore.data import Dataset, Split
from pslcore.runs import CPU, Config, Protocol, check_batches, images, load, records
from pslcore.runs import fingerprint as common_fingerprint
from pslcore.settings import Real, Whole
from pslcore.sides import Pools, protected_setting
from pslcore.streams import derive, numpy_stream

DECIDES = "protocol site server"
"""The files of this folder that decide a run's numbers, beside those of ``runs``."""
_DRAWS = 100


class FederatedConfig(Config):
    """All that decides the result of a federated run; ``initial``, ``budget``, ``final`` count over all clients.

    Attributes
    ----------
    teacher : str
        The architecture of the helpers and of the server's model.
    clients, rounds : int
        Clients; communication rounds of the whole run, each of the recipe's epochs.
    split : {"random", "dirichlet"}
        Equal random parts; or, for each class, its part on every client drawn from a Dirichlet distribution (Hsu et
        al. 2019). A draw that leaves a client too few images for its labels is drawn again, 100 times at most.
    concentration : float
        Of the Dirichlet distribution: the smaller, the less alike the clients; below a thousandth the draws underflow.

    Raises
    ------
    ValueError
        As ``Config``; and for ``warm_start`` or ``examine_peers``, which mean nothing here.
    """

    teacher: models.NetworkName = "resnet8"
    clients: Whole = Field(10, ge=1, le=10_000)
    rounds: Whole = Field(50, ge=1, le=100_000)
    split: Literal["random", "dirichlet"] = "random"
    concentration: Real = Field(0.5, ge=1e-3, le=1e6)

    @model_validator(mode="after")
    def _meaningful(self) -> Self:
        for name in ("warm_start", "examine_peers"):
            if getattr(self, name):
                raise ValueError(f"{name} = {getattr(self, name)} has no meaning in a federated run: leave it out.")
        return self

    @property
    def key(self) -> str:
        """As of ``Config``; never that of a run without clients."""
        return records.key({"federated": super().key})


@dataclass(frozen=True)
class Step:
    """One exchange of the server with all clients: the ``kind`` is ``train``, a round, or ``pick``, the selection after
    the ``last`` round of a cycle. ``labelled`` and ``budget`` count the images of one client; all others are from 0."""

    number: int
    kind: str
    cycle: int
    round: int
    first: int
    last: int
    labelled: int
    budget: int


@dataclass(frozen=True)
class FederatedProtocol(Protocol):
    """``Protocol`` over all clients; ``parts`` are their training images: sorted indices, disjoint, all together."""

    config: FederatedConfig
    parts: list[np.ndarray]

    @classmethod
    def of(cls, config: FederatedConfig, dataset: Dataset, device: torch.device = CPU) -> Self:  # type: ignore[override]
        """Resolve.

        Raises
        ------
        ValueError
            As ``Protocol.of``; if a number does not split evenly over the clients; if a cycle has no round; if the
            data have no class per image to split by; or if no draw leaves every client enough images.
        """
        plain = Protocol.of(config, dataset, device)
        for name in ("initial", "budget", "final"):
            count = images(config, name, len(dataset.train))
            if count % config.clients:
                told = f"{name} = {getattr(config, name)} is {count} labelled images, which do not split evenly over"
                raise ValueError(f"{told} {config.clients} clients: give a multiple of {config.clients}.")
        if config.rounds < len(plain.counts):
            told = f"rounds = {config.rounds} are fewer than the {len(plain.counts)} cycles from {plain.counts[0]} to"
            raise ValueError(f"{told} {plain.counts[-1]} labelled images: give each cycle at least one.")
        check_batches(config, dataset, [count // config.clients for count in plain.counts])
        parts = _parts(config, dataset, plain.counts[-1] // config.clients)
        return cls(config, dataset, plain.counts, plain.labels, fingerprint(config), plain.recipe, parts)

    def client(self, number: int) -> Protocol:
        """The protocol of one client's own part; all of its streams are derived from a seed of its own."""
        part, dataset = self.parts[number], self.dataset
        own = Split(dataset.train.images[part], dataset.train.labels[part])
        config = self.config.but(seed=self._seed(number))
        counts = [count // self.config.clients for count in self.counts]
        return Protocol(config, replace(dataset, train=own), counts, self.labels[part], self.source, self.recipe)

    def pools(self) -> Pools:
        """The pools of all clients before the first cycle, as one; the same for every method of a seed."""
        initial, fraction, labelled, protected = self.counts[0] // self.config.clients, self.config.fraction, [], []
        for number, part in enumerate(self.parts):
            pools = protected_setting(len(part), initial, fraction, self._seed(number))
            labelled.append(part[pools.labelled])
            protected.append(part[pools.protected])
        return Pools(len(self.dataset.train), np.concatenate(labelled), np.concatenate(protected))

    def _seed(self, number: int) -> int:
        return derive(self.config.seed, f"client-{number}")

    def schedule(self) -> list[Step]:
        """All exchanges of the run: the rounds of a cycle, its selection, the rounds of the next, and so on."""
        counts, found = [count // self.config.clients for count in self.counts], list[Step]()
        for cycle, rounds in enumerate(np.array_split(np.arange(self.config.rounds), len(counts))):
            first, last, picks = int(rounds[0]), int(rounds[-1]), cycle < len(counts) - 1
            budget = counts[cycle + 1] - counts[cycle] if picks else 0
            for kind, number in [("train", int(number)) for number in rounds] + [("pick", last)] * picks:
                found.append(Step(len(found), kind, cycle, number, first, last, counts[cycle], budget))
        return found


def resolve(config: FederatedConfig, root: str | Path = "data", device: torch.device = CPU) -> FederatedProtocol:
    """The protocol of a config on its data set under ``root``; raises as ``FederatedProtocol.of`` and ``data.load``."""
    return FederatedProtocol.of(config, load(config.dataset, root), device)


def fingerprint(config: FederatedConfig) -> str:
    """Fingerprint of the code that decides this run's numbers."""
    files = [Path(__file__).with_name(f"{name}.py") for name in DECIDES.split()]
    return records.key({"federated": records.source_fingerprint(files), "common": common_fingerprint(config)})


def _parts(config: FederatedConfig, dataset: Dataset, share: int) -> list[np.ndarray]:
    """The training images of each client, ``share`` of which at least may leave it."""
    if config.split == "dirichlet" and dataset.pixel_labels:
        raise ValueError(f"split = 'dirichlet' needs one class an image, {dataset.name} has pixels: use 'random'.")
    stream = numpy_stream(config.seed, "split")
    for _ in range(_DRAWS if config.split == "dirichlet" else 1):
        parts = _draw(config, dataset, stream)
        if all(len(part) - round(config.fraction * len(part)) >= share for part in parts):
            return parts
    told = f"final = {config.final}: each of {config.clients} clients needs {share} images that are not protected, and"
    more = ", or raise `concentration`" if config.split == "dirichlet" else ""
    mend = f"Lower `final`, `clients` or the protected fraction{more}."
    raise ValueError(f"{told} with split = {config.split!r} some client has fewer. {mend}")


def _draw(config: FederatedConfig, dataset: Dataset, stream: np.random.Generator) -> list[np.ndarray]:
    if config.split == "random":
        return [np.sort(part) for part in np.array_split(stream.permutation(len(dataset.train)), config.clients)]
    labels = np.asarray(dataset.train.labels)
    owner = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        members = stream.permutation(np.flatnonzero(labels == label))
        ends = np.cumsum(stream.dirichlet([config.concentration] * config.clients))[:-1] * len(members)
        for client, own in enumerate(np.split(members, ends.round().astype(np.int64))):
            owner[own] = client
    return [np.flatnonzero(owner == client) for client in range(config.clients)]
