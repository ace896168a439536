"""Federated active learning (section 3.5, Fig. 8): ``run(config) -> Record``, the server's loop is ``serve``.

Every client (``site``) owns a part of the training set and protects most of it. It holds peer students (or what else
the method trains on a client) and a *helper*, which has the task learner's architecture and sees labelled images
alone. The server averages the helpers; it never meets an image. What crosses the network is weights.

*Decisions.* The rounds are spread evenly over the active-learning cycles. A round is a training by the recipe of its
own, with a fresh optimiser and schedule. A cycle begins with fresh weights, the same for all methods of a seed. A
client picks with its own students; where a method asks the task learner, it asks the average of the cycle's last
round. Nothing but weights, picks and the ledger lives on between two rounds, and every random stream is named by
(seed of the client, purpose, round), so a run that was killed between any two goes on to the very same record.
"""

import time
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from pslcore.federated.protocol import FederatedConfig, FederatedProtocol, Step, resolve
from pslcore.federated.site import DOWN, UP, Reply, Site, Weights, size
from pslcore.runs import METRICS, OutOfTime, Record, Shelf, clock, cloud_of, prepare_process, records, schema
from pslcore.sides import Ledger


class FederationError(RuntimeError):
    """A round that no client came back from, or a client that could not pick."""


class Federation(Protocol):
    """All clients of a run, wherever they are."""

    def restart(self) -> None:
        """Be as before the first step."""

    def resume(self, step: int) -> bool:
        """Be as after all steps before this one; False or ``ValueError`` if that cannot be."""

    def ask(self, step: Step, weights: Weights) -> list[Reply]:
        """Have all clients do a step from the server's weights; their replies, by ascending number."""

    def picked(self) -> list[int]:
        """The dataset indices picked last, where they are known."""

    def summary(self) -> list[dict[str, Any]]:
        """``Site.summary`` of each client, where it is known."""


class Local:
    """All clients in this process, one after the other. (Over a network: ``flower``.)"""

    def __init__(self, protocol: FederatedProtocol, device: torch.device, folder: Path | None):
        self._given = protocol, device, folder
        self.restart()

    def restart(self) -> None:
        protocol, device, folder = self._given
        self.sites = [Site(protocol, number, device, folder) for number in range(protocol.config.clients)]

    def resume(self, step: int) -> bool:
        return all(site.resume(step) == step - 1 for site in self.sites)

    def ask(self, step: Step, weights: Weights) -> list[Reply]:
        return [site.reply(step, weights) for site in self.sites]

    def picked(self) -> list[int]:
        return np.concatenate([site.part[site.picked[-1]] for site in self.sites]).tolist()

    def summary(self) -> list[dict[str, Any]]:
        return [site.summary() for site in self.sites]


class _Kept(schema.LedgerState):
    step: schema.Count
    seconds: dict[str, float]


class _Part(schema.Part):
    """``<key>.part.json`` of a federated run: kept are the ledger's state, the next step, the seconds of this cycle."""

    kept: _Kept


def _begin(protocol: FederatedProtocol, shelf: Shelf, federation: Federation) -> tuple[Record, dict, dict]:
    """The record so far, what was kept, and the weights; all from the start where any side cannot go on."""
    record, kept, weights = shelf.resume()
    if kept is not None:
        try:
            if federation.resume(kept["step"]):
                return record, kept, weights
            print("the state of some client is gone: the run begins anew.")
        except ValueError as error:
            print(error)
        federation.restart()
    return protocol.head() | {"clients": [], "failed": []}, Ledger().state() | {"step": 0, "seconds": {}}, {}


def run(
    config: FederatedConfig, root: str | Path = "data", folder: str | Path | None = None, device: str = "auto",
    deadline: float | None = None,
) -> Record:  # fmt: skip
    """Run one federated configuration to its end, or take it up where it stopped; all clients in this process.

    Parameters are those of ``runs.run``; what is kept is kept after every round, and after ``deadline`` no further
    one is begun.

    Returns
    -------
    dict
        As of ``runs.run``, ``pools`` and ``picked`` over all clients. ``crossed`` is what crossed the network, all
        clients together: weights (items are models). ``clients``: of each its ``images``, ``protected``,
        ``labelled``, ``crossed``. ``failed``: list of ``round``, ``client``, ``error``.

    Raises
    ------
    ValueError, OSError
        On bad input, before anything is trained.
    FederationError
        If all clients fail in a round, or one fails to pick. What is finished is kept.
    OutOfTime
        If the deadline passed.
    """
    where, kept = prepare_process(device), None if folder is None else Path(folder)
    protocol = resolve(config, root, where)
    shelf = new_shelf(kept, protocol)  # finds out first whether the folder can be written to
    return serve(protocol, where, shelf, Local(protocol, where, kept), deadline)[0]


def new_shelf(folder: Path | None, protocol: FederatedProtocol) -> Shelf:
    """Where ``serve`` keeps its record and state."""
    return Shelf(folder, protocol, _Part)


def serve(
    protocol: FederatedProtocol, device: torch.device, shelf: Shelf, federation: Federation,
    deadline: float | None = None,
) -> tuple[Record, Weights]:  # fmt: skip
    """The server's side of ``run``.

    Returns
    -------
    The record, and the weights of the global model (with those of the method's auxiliary module).
    """
    config, dataset, n = protocol.config, protocol.dataset, len(protocol.dataset.train)
    server = cloud_of(protocol, np.arange(n), device)  # its door refuses every image
    auxiliary = config.strategy.auxiliary if config.strategy.has_auxiliary else None
    record, kept, weights = _begin(protocol, shelf, federation)
    record |= {"versions": records.versions(), "hardware": records.hardware(device)}
    server.ledger.restore(kept)
    seconds: dict[str, float] = kept["seconds"]  # of this cycle
    for step in protocol.schedule()[kept["step"] :]:
        if deadline is not None and time.time() > deadline:
            raise OutOfTime
        if step.kind == "train" and step.round == step.first:
            server.restart(config.seed, step.cycle, 1, auxiliary=auxiliary)
            weights, seconds = server.weights(), {}
            records.reset_peak()
        spent: dict[str, float] = {}
        with clock(spent, step.kind, device):
            replies = federation.ask(step, weights)
        server.ledger.enter(DOWN, config.clients, config.clients * size(weights))
        if step.kind == "train":
            weights = _gather(step, replies, weights, record["failed"], server.ledger)
        if step.kind == "train" and step.round == step.last:
            server.restart(config.seed, step.cycle, 1, weights, auxiliary)
            with clock(spent, "test", device):
                matrix = server.examine(dataset.test.images, dataset.test.labels, len(dataset.classes))
            metric = METRICS[protocol.metric](matrix)
            # What crossed, and how long it took, is known after the selection.
            record["cycles"].append({"labelled": step.labelled * config.clients, "metric": metric, "picked": []})
        if step.kind == "pick":
            for reply in replies:
                if reply.error:
                    told = f"client {reply.client} could not pick after round {step.round} ({reply.error})"
                    raise FederationError(f"{told}: mend that and run again, all rounds so far are kept.")
            record["cycles"][-1]["picked"] = federation.picked()
        seconds = seconds | {name: round(seconds.get(name, 0) + spent[name], 4) for name in spent}
        if step.round == step.last:
            record["cycles"][-1] |= server.ledger.entry() | {"seconds": seconds, "memory": records.peak_memory()}
        kept = server.ledger.state() | {"step": step.number + 1, "seconds": seconds}
        shelf.keep(record, kept, weights, step.number + 1)
    record["clients"] = federation.summary()
    shelf.finish(record)
    return record, weights


def _gather(step: Step, replies: list[Reply], sent: Weights, failed: list[dict], ledger: Ledger) -> Weights:
    """The new global weights; clients that failed are left out and listed."""
    sound, form = [], {name: (tensor.shape, tensor.dtype) for name, tensor in sent.items()}
    for reply in replies:
        error, weights = reply.error, reply.weights or {}
        if weights:
            ledger.enter(UP, 1, size(weights))
        if not error and {name: (tensor.shape, tensor.dtype) for name, tensor in weights.items()} != form:
            error = "its weights are not of the global model's form"
        if not error and not all(torch.isfinite(tensor).all() for tensor in weights.values()):
            error = "its weights are no numbers: the training diverged, lower `lr`"
        if error:
            failed.append({"round": step.round, "client": reply.client, "error": error})
        else:
            sound.append((weights, reply.labelled))
    if not sound:
        raise FederationError(f"all clients failed in round {step.round}; the last said: {failed[-1]['error']}.")
    return aggregate([weights for weights, _ in sound], [labelled for _, labelled in sound])


def aggregate(states: list[Weights], labelled: list[int]) -> Weights:
    """FedAvg (McMahan et al. 2017): the mean of the clients' weights, each counted by its labelled images.

    Summed in float64 in the order given, then cast back. The running means and variances of batch norm are averaged
    with the same weights; whole numbers (how many batches a batch norm has seen) take the largest.

    Parameters
    ----------
    states : list of dict
        One state dict a client, of the same names, shapes and types.
    labelled : list of int
        Its labelled images, positive.

    Raises
    ------
    ValueError
        If there is no state, or a number is missing or not positive.
    """
    if not states or len(states) != len(labelled) or min(labelled) < 1:
        raise ValueError(f"{len(states)} states with {labelled} labelled images cannot be averaged: give one to each.")
    merged = {}
    for name, first in states[0].items():
        column = [state[name] for state in states]
        if first.is_floating_point():
            # Sum first, divide last: counts times float32 are exact in float64, so equal states stay what they are.
            weighted = [tensor.double() * count for tensor, count in zip(column, labelled, strict=True)]
            total = sum(weighted[1:], weighted[0])
            merged[name] = (total / sum(labelled)).to(first.dtype)
        else:
            merged[name] = torch.stack(column).amax(0)
    return merged
