"""Federated active learning (section 3.5, Fig. 8): ``run(config) -> Record``, the server's loop is ``serve``.

Every client owns a part of the training set and protects most of it. It holds peer students (or what else the method
trains on a client) and a *helper*, which has the task learner's architecture and sees labelled images alone. The
server averages the helpers; it never meets an image. What crosses the network is weights.

*Decisions.* The rounds are spread evenly over the active-learning cycles. A round is a training by the recipe of its
own, with a fresh optimiser and schedule. A cycle begins with fresh weights, the same for all methods of a seed. A
client picks with its own students; where a method asks the task learner, it asks the average of the cycle's last
round. Nothing but weights, picks and the ledger lives on between two rounds, and every random stream is named by
(seed of the client, purpose, round), so a run that was killed between any two goes on to the very same record.
"""

import io
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from pslcore.data import Dataset
from pslcore.runs import Config, Record, check, records, steps, train
from pslcore.runs import loop as experiment
from pslcore.sides import Client, Cloud, Ledger, Oracle, Pools, protected_setting, task_learner
from pslcore.strategies.base import ClientLearner, Setup
from pslcore.streams import derive, numpy_stream

SPLITS = ("random", "dirichlet")
_DRAWS = 100
_UP, _DOWN = "up: helper weights", "down: global weights"


class FederationError(RuntimeError):
    """A round that no client came back from, or a client that could not pick."""


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
        Of the Dirichlet distribution: the smaller, the less alike the clients.

    Raises
    ------
    ValueError
        As ``Config``; and for ``warm_start`` or ``examine_peers``, which mean nothing here.
    """

    teacher: str = "resnet8"
    clients: int = 10
    rounds: int = 50
    split: str = "random"
    concentration: float = 0.5

    def __post_init__(self):
        super().__post_init__()
        for name in ("clients", "rounds"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not 1 <= value < float("inf") or value % 1:
                raise ValueError(f"{name} = {value} must be a whole number from 1.")
            object.__setattr__(self, name, int(value))
        if self.split not in SPLITS:
            raise ValueError(f"unknown split {self.split!r}: choose one of {', '.join(SPLITS)}.")
        # Below a thousandth the draws underflow.
        if not isinstance(self.concentration, int | float) or not 1e-3 <= self.concentration < float("inf"):
            raise ValueError(f"concentration = {self.concentration} must be a number from 0.001.")
        for name in ("warm_start", "examine_peers"):
            if getattr(self, name):
                raise ValueError(f"{name} = {getattr(self, name)} has no meaning in a federated run: leave it out.")

    @property
    def key(self) -> str:
        """As of ``Config``; never that of a run without clients."""
        return records.key({"federated": super().key})

    def source(self) -> str:
        """Fingerprint of the code that decides this run's numbers."""
        own = records.source_fingerprint([Path(__file__)])
        return records.key({"federated": own, "common": super().source()})

    def counts(self, dataset: Dataset) -> list[int]:
        """Labelled images over all clients at each cycle.

        Raises
        ------
        ValueError
            As ``Config.counts``; if a number does not split evenly over the clients; or if a cycle has no round.
        """
        counts = super().counts(dataset)
        for name in ("initial", "budget", "final"):
            images = self._images(name, len(dataset.train))
            if images % self.clients:
                raise ValueError(
                    f"{name} = {getattr(self, name)} is {images} labelled images, which do not split evenly over "
                    f"{self.clients} clients: give a multiple of {self.clients}."
                )
        if self.rounds < len(counts):
            raise ValueError(
                f"rounds = {self.rounds} are fewer than the {len(counts)} cycles from {counts[0]} to {counts[-1]} "
                "labelled images: give each cycle at least one."
            )
        return counts

    def check(self, dataset: Dataset) -> None:
        """Raise ``ValueError`` if this cannot be run on that data set, before any work is done."""
        super().check(dataset)
        self.parts(dataset)

    def parts(self, dataset: Dataset) -> list[np.ndarray]:
        """The training images of each client: sorted dataset indices, disjoint, all together.

        Raises
        ------
        ValueError
            If the data have no class per image to split by, or no draw leaves every client enough images.
        """
        if self.split == "dirichlet" and dataset.pixel_labels:
            raise ValueError(f"split = 'dirichlet' needs one class an image, {dataset.name} has pixels: use 'random'.")
        share = self.counts(dataset)[-1] // self.clients
        stream = numpy_stream(self.seed, "split")
        for _ in range(_DRAWS if self.split == "dirichlet" else 1):
            parts = self._draw(dataset.train.labels, stream)
            if all(len(part) - round(self._fraction * len(part)) >= share for part in parts):
                return parts
        raise ValueError(
            f"final = {self.final}: each of {self.clients} clients needs {share} images that are not protected, and "
            f"with split = {self.split!r} some client has fewer. Lower `final`, `clients` or the protected fraction"
            + (", or raise `concentration`." if self.split == "dirichlet" else ".")
        )

    def _draw(self, labels: np.ndarray, stream: np.random.Generator) -> list[np.ndarray]:
        if self.split == "random":
            return [np.sort(part) for part in np.array_split(stream.permutation(len(labels)), self.clients)]
        owner = np.empty(len(labels), dtype=np.int64)
        for label in np.unique(labels):
            images = stream.permutation(np.flatnonzero(labels == label))
            ends = np.cumsum(stream.dirichlet([self.concentration] * self.clients))[:-1] * len(images)
            for client, own in enumerate(np.split(images, ends.round().astype(np.int64))):
                owner[own] = client
        return [np.flatnonzero(owner == client) for client in range(self.clients)]

    @property
    def _fraction(self) -> float:
        return self.protected_fraction if self.setting == "protected" else 0.0

    def client_seed(self, number: int) -> int:
        """What all random streams of a client are derived from."""
        return derive(self.seed, f"client-{number}")

    def client_pools(self, dataset: Dataset) -> list[tuple[np.ndarray, Pools]]:
        """Of each client: its dataset indices, and its pools, which count within them."""
        initial = self.counts(dataset)[0] // self.clients
        return [
            (part, protected_setting(len(part), initial, self._fraction, self.client_seed(number)))
            for number, part in enumerate(self.parts(dataset))
        ]

    def pools(self, dataset: Dataset) -> Pools:
        """The pools of all clients before the first cycle, as one; the same for every method of a seed."""
        both = self.client_pools(dataset)
        labelled, protected = (
            np.concatenate([part[getattr(pools, name)] for part, pools in both]) for name in ("labelled", "protected")
        )
        return Pools(len(dataset.train), labelled, protected)

    def schedule(self, dataset: Dataset) -> list[Step]:
        """All exchanges of the run: the rounds of a cycle, its selection, the rounds of the next, and so on."""
        counts, found = [count // self.clients for count in self.counts(dataset)], []
        for cycle, rounds in enumerate(np.array_split(np.arange(self.rounds), len(counts))):
            first, last, picks = int(rounds[0]), int(rounds[-1]), cycle < len(counts) - 1
            budget = counts[cycle + 1] - counts[cycle] if picks else 0
            for kind, number in [("train", int(number)) for number in rounds] + [("pick", last)] * picks:
                found.append(Step(len(found), kind, cycle, number, first, last, counts[cycle], budget))
        return found


@dataclass(frozen=True)
class Reply:
    """What comes back from a client: its helper's ``weights`` after a round, the number of images ``labelled`` (which
    the schedule tells anyway), or what went wrong; from a selection nothing but the number."""

    client: int
    weights: dict[str, Tensor] | None = None
    labelled: int = 0
    error: str = ""


class Site:
    """One client. Its local ``Cloud`` holds the helper: the same door, so that no helper sees a protected image.

    What is uploaded to that helper does not leave the client; what does is in ``ledger``.

    Parameters
    ----------
    config : FederatedConfig
    number : int
        Which client it is.
    dataset : Dataset
        The client takes its own part of it.
    device : torch.device
    folder : path, optional
        Where its state is kept after every step.
    """

    def __init__(
        self, config: FederatedConfig, number: int, dataset: Dataset, device: torch.device, folder: Path | None = None
    ):
        self.number, self.config, self._folder, self._classes = number, config, folder, len(dataset.classes)
        self._own = replace(config, seed=config.client_seed(number))
        self.part, pools = config.client_pools(dataset)[number]
        oracle = Oracle(config.labels(dataset)[self.part], pools.protected)
        self.client = Client(dataset.train.images[self.part], pools, oracle, config.recipe.padding, device)
        network = task_learner(config.teacher, self._classes, dataset.channels)
        self.helper = Cloud(pools.n, pools.protected, network, config.recipe, device)
        self.ledger = Ledger()
        self.picked: list[list[int]] = []  # of each cycle, counted within its part
        self._students: tuple[int, dict] = (-1, {})  # the round that they are from, and their weights
        self.client.open(self.helper)

    def reply(self, step: Step, weights: dict[str, Tensor]) -> Reply:
        """Do a step from the server's weights, keep the state; an error becomes a reply that says so."""
        try:
            reply = self._train(step, weights) if step.kind == "train" else self._pick(step, weights)
        except Exception as error:  # the other clients go on
            reply = Reply(self.number, error=f"{type(error).__name__}: {error}")
        if self._folder is not None:
            self._keep(step.number)
        return reply

    def _begin(self, step: Step, weights: dict[str, Tensor]) -> ClientLearner | None:
        """The helper from the server's weights; the students from those of the cycle's round before, if they have one.

        After the last selection nobody needs students.
        """
        self.ledger.enter(_DOWN, 1, size(weights))
        strategy, recipe, seed, n_labelled = self.config.strategy, self.config.recipe, self._own.seed, self.labelled
        if n_labelled != step.labelled:
            raise RuntimeError(
                f"client {self.number} has {n_labelled} labelled images where round {step.round} needs "
                f"{step.labelled}: its state is not that of this run."
            )
        n_steps = steps(n_labelled, recipe)
        self.helper.restart(seed, step.round, n_steps, weights, strategy.companion if strategy.accompanied else None)
        if not step.budget:
            return None
        students = self._students[1] if self._students[0] >= step.first else None
        return strategy.learner(self.client, Setup(self._classes, recipe, seed, step.round, n_steps, students))

    def _train(self, step: Step, weights: dict[str, Tensor]) -> Reply:
        learner, config = self._begin(step, weights), self.config
        labelled, taught = self.client.pools.labelled, config.strategy.taught
        train(self.helper, learner, taught, labelled, config.recipe, self._own.seed, step.round)
        if learner is not None:
            self._students = step.round, learner.weights()
        trained = self.helper.weights()
        self.ledger.enter(_UP, 1, size(trained))
        return Reply(self.number, trained, self.labelled)

    def _pick(self, step: Step, weights: dict[str, Tensor]) -> Reply:
        learner = self._begin(step, weights)
        query = experiment._query(self._own, self.client, self.helper, learner, step.budget, step.round)
        self._annotate(self.config.strategy.pick(query))
        return Reply(self.number, labelled=self.labelled)

    def _annotate(self, picked: np.ndarray) -> None:
        self.client.annotate(self.helper, picked)
        self.picked.append(picked.tolist())

    @property
    def labelled(self) -> int:
        """Images labelled so far."""
        return self.client.pools.labelled.size

    def summary(self) -> dict:
        """What the record says of it: its images, those protected, those labelled by now, and what crossed so far."""
        pools = self.client.pools
        return {
            "images": pools.n, "protected": pools.protected.size, "labelled": self.labelled,
            "crossed": self.ledger.summary(),
        }  # fmt: skip

    # Its state between two steps

    def _kept(self, before: float = float("inf")) -> list[Path]:
        """The files of its states after steps before that one, in order."""
        paths = self._folder.glob(f"{self.config.key}.client{self.number}.step*.pt")
        numbered = sorted((int(path.suffixes[-2].removeprefix(".step")), path) for path in paths)
        return [path for number, path in numbered if number < before]

    def _keep(self, step: int) -> None:
        """The state after a step. Of the older ones the newest stays, in case the step has to be done again."""
        state = {
            "run": [self.config.key, self.config.source()], "step": step, "picked": self.picked,
            "students": self._students, "ledger": self.ledger.state(),
        }  # fmt: skip
        path = self._folder / f"{self.config.key}.client{self.number}.step{step}.pt"
        records.write_bytes(path, packed(state))
        for older in self._kept(step)[:-1]:
            older.unlink()

    def resume(self, before: int) -> int:
        """Take up the newest state from before a step; the step it is from, -1 if there is none.

        Raises
        ------
        ValueError
            If it cannot be read, or is of another run.
        """
        kept = self._kept(before)
        if not kept:
            return -1
        state = unpacked(kept[-1])
        if state["run"] != [self.config.key, self.config.source()]:
            raise ValueError(f"{kept[-1]} was kept by other code than today's: remove it, and begin anew.")
        for picked in state["picked"]:
            self._annotate(np.array(picked, dtype=np.int64))
        self._students = tuple(state["students"])
        self.ledger.restore(state["ledger"])
        return state["step"]


class Local:
    """All clients in this process, one after the other. (Over a network: ``flower``.)"""

    def __init__(self, config: FederatedConfig, dataset: Dataset, device: torch.device, folder: Path | None):
        self._given = config, dataset, device, folder
        self.restart()

    def restart(self) -> None:
        """Be as before the first step."""
        config, *others = self._given
        self.sites = [Site(config, number, *others) for number in range(config.clients)]

    def resume(self, step: int) -> bool:
        """Be as after all steps before this one; False or ``ValueError`` if that cannot be."""
        return all(site.resume(step) == step - 1 for site in self.sites)

    def ask(self, step: Step, weights: dict[str, Tensor]) -> list[Reply]:
        """Have all clients do a step from the server's weights; their replies, by ascending number."""
        return [site.reply(step, weights) for site in self.sites]

    def picked(self) -> list[int]:
        """The dataset indices picked last."""
        return np.concatenate([site.part[site.picked[-1]] for site in self.sites]).tolist()

    def summary(self) -> list[dict]:
        """``Site.summary`` of each client."""
        return [site.summary() for site in self.sites]


def size(weights: dict[str, Tensor]) -> int:
    """Bytes of all tensors."""
    return sum(tensor.numel() * tensor.element_size() for tensor in weights.values())


def packed(state: dict) -> bytes:
    """What ``torch.load`` reads, as bytes."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def unpacked(path: Path) -> dict:
    """What was ``packed`` into a file; ``ValueError`` if it is not whole."""
    try:
        return torch.load(path, weights_only=True)
    except Exception as error:  # cut short, gone, unreadable: torch raises whatever it meets
        raise ValueError(f"{path} cannot be read ({type(error).__name__}): remove it, and begin anew.") from error


def aggregate(states: list[dict[str, Tensor]], labelled: list[int]) -> dict[str, Tensor]:
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
            total = sum(tensor.double() * count for tensor, count in zip(column, labelled, strict=True))
            merged[name] = (total / sum(labelled)).to(first.dtype)
        else:
            merged[name] = torch.stack(column).amax(0)
    return merged


@dataclass
class _State:
    """What the server goes on from: the next step, its weights, its ledger's state, the seconds of this cycle."""

    step: int = 0
    weights: dict[str, Tensor] = field(default_factory=dict)
    ledger: dict = field(default_factory=Ledger().state)
    seconds: dict = field(default_factory=dict)


class Rounds(experiment._Shelf):
    """Keeps a federated run after every step."""

    def begin(self, dataset: Dataset, federation: Local) -> tuple[Record, _State]:
        """The record so far and the server's state; all from the start where any side cannot go on."""
        record, kept = self.resume(dataset)
        if kept is not None:
            try:
                state = _State(weights=unpacked(self._path(f".part{kept['step']}.pt")), **kept)
                if federation.resume(state.step):
                    return record, state
                print("the state of some client is gone: the run begins anew.")
            except ValueError as error:
                print(error)
            federation.restart()
            self._path(".part.json").unlink()
            record, _ = self.resume(dataset)
        return record | {"clients": [], "failed": []}, _State()

    def keep(self, record: Record, state: _State) -> None:
        """After a step. Weights go first: whenever the part record stands, its weights stand too."""
        if self._folder is None:
            return
        records.write_bytes(self._path(f".part{state.step}.pt"), packed(state.weights))
        kept = {"step": state.step, "ledger": state.ledger, "seconds": state.seconds}
        records.write(self._path(".part.json"), {"record": record, "ledger": kept})
        self._path(f".part{state.step - 1}.pt").unlink(missing_ok=True)


def run(
    config: FederatedConfig, root: str | Path = "data", folder: str | Path | None = None, device: str = "auto",
    deadline: float | None = None,
) -> Record:  # fmt: skip
    """Run one federated configuration to its end, or take it up where it stopped; all clients in this process.

    Parameters are those of ``experiment.run``; what is kept is kept after every round, and after ``deadline`` no
    further one is begun.

    Returns
    -------
    dict
        As of ``experiment.run``, ``pools`` and ``picked`` over all clients. ``crossed`` is what crossed the network,
        all clients together: weights (items are models). ``clients``: of each its ``images``, ``protected``,
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
    device, folder = experiment.prepare_process(device), None if folder is None else Path(folder)
    dataset = check(config, root)
    shelf = Rounds(folder, config)  # finds out first whether the folder can be written to
    return serve(config, dataset, device, shelf, Local(config, dataset, device, folder), deadline)[0]


def serve(
    config: FederatedConfig, dataset: Dataset, device: torch.device, shelf: Rounds, federation: Local,
    deadline: float | None = None,
) -> tuple[Record, dict[str, Tensor]]:  # fmt: skip
    """The server's side of ``run``, with anything that speaks to clients as ``Local`` does.

    Returns
    -------
    The record, and the weights of the global model (with those of the method's companion).
    """
    n, network = len(dataset.train), task_learner(config.teacher, len(dataset.classes), dataset.channels)
    server = Cloud(n, np.arange(n), network, config.recipe, device)  # its door refuses every image
    companion = config.strategy.companion if config.strategy.accompanied else None
    record, state = shelf.begin(dataset, federation)
    record |= {"versions": records.versions(), "hardware": records.hardware(experiment.device_name(device))}
    server.ledger.restore(state.ledger)
    for step in config.schedule(dataset)[state.step :]:
        if deadline is not None and time.time() > deadline:
            raise experiment.OutOfTime
        if step.kind == "train" and step.round == step.first:
            server.restart(config.seed, step.cycle, 1, companion=companion)
            state.weights, state.seconds = server.weights(), {}
            records.reset_peak()
        spent = {}
        with experiment._clock(spent, step.kind, device):
            replies = federation.ask(step, state.weights)
        server.ledger.enter(_DOWN, config.clients, config.clients * size(state.weights))
        if step.kind == "train":
            state.weights = _gather(step, replies, state.weights, record["failed"], server.ledger)
        if step.kind == "train" and step.round == step.last:
            server.restart(config.seed, step.cycle, 1, state.weights, companion)
            with experiment._clock(spent, "test", device):
                matrix = server.examine(dataset.test.images, dataset.test.labels, len(dataset.classes))
            metric = experiment.METRICS[record["metric"]](matrix)
            record["cycles"].append({"labelled": step.labelled * config.clients, "metric": metric, "picked": []})
        if step.kind == "pick":
            for reply in replies:
                if reply.error:
                    raise FederationError(
                        f"client {reply.client} could not pick after round {step.round} ({reply.error}): "
                        "mend that and run again, all rounds so far are kept."
                    )
            record["cycles"][-1]["picked"] = federation.picked()
        state.seconds |= {name: round(state.seconds.get(name, 0) + spent[name], 4) for name in spent}
        if step.round == step.last:
            record["cycles"][-1] |= {
                "unlabelled_seen": server.ledger.unlabelled_seen, "crossed": server.ledger.summary(),
                "seconds": state.seconds, "memory": records.peak_memory(),
            }  # fmt: skip
        state.step, state.ledger = step.number + 1, server.ledger.state()
        shelf.keep(record, state)
    record["clients"] = federation.summary()
    shelf.finish(record)
    return record, state.weights


def _gather(
    step: Step, replies: list[Reply], sent: dict[str, Tensor], failed: list[dict], ledger: Ledger
) -> dict[str, Tensor]:
    """The new global weights; clients that failed are left out and listed."""
    sound, form = [], {name: (tensor.shape, tensor.dtype) for name, tensor in sent.items()}
    for reply in replies:
        error, weights = reply.error, reply.weights or {}
        if weights:
            ledger.enter(_UP, 1, size(weights))
        if not error and {name: (tensor.shape, tensor.dtype) for name, tensor in weights.items()} != form:
            error = "its weights are not of the global model's form"
        if not error and not all(torch.isfinite(tensor).all() for tensor in weights.values()):
            error = "its weights are no numbers: the training diverged, lower `lr`"
        if error:
            failed.append({"round": step.round, "client": reply.client, "error": error})
        else:
            sound.append(reply)
    if not sound:
        raise FederationError(f"all clients failed in round {step.round}; the last said: {failed[-1]['error']}.")
    return aggregate([reply.weights for reply in sound], [reply.labelled for reply in sound])


def crossings(runs: list[tuple]) -> pd.DataFrame:
    """What left each client, from the (cell, record) pairs of an experiment: a row per method and client.

    Images, those protected and those labelled at the end are means over the seeds, as is what crossed, in MB (10^6).
    """
    rows = pd.DataFrame(
        {
            "method": cell.label,
            "client": number,
            "images": client["images"],
            "protected": client["protected"],
            "labelled at the end": client["labelled"],
            "helper models up": client["crossed"].get(_UP, {"items": 0})["items"],
            "MB up": client["crossed"].get(_UP, {"bytes": 0})["bytes"] / 1e6,
            "MB down": client["crossed"].get(_DOWN, {"bytes": 0})["bytes"] / 1e6,
            "images that left": sum(row["items"] for kind, row in client["crossed"].items() if "image" in kind),
        }
        for cell, record in runs
        for number, client in enumerate(record["clients"])
    )
    return rows.groupby(["method", "client"], sort=False).mean().round(1).reset_index()
