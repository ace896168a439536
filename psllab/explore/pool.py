"""The pool of one cycle as its peer students see it. A record holds no weights: ``open_cycle`` retrains the cycle
from it, puts the whole pool to students and teacher, and keeps the answers on the disk.
"""

import io
import math
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pslcore import losses, strategies
from pslcore.data import Bytes, Dataset, Floats, Indices
from pslcore.losses import VOID
from pslcore.runs import Config, Record, fingerprint, records
from pslcore.runs import load as load_data
from pslcore.sides import ask
from psllab import features, grid
from psllab.retrain import Trial, Watch, once_more

_FORMAT = 1
_AT_ONCE, _SIDE = 64, 128
"""Images with pixel labels that are asked about together; the longest side of the maps that are kept of them."""


Picture = Callable[[int], Bytes]
"""From a dataset index to the training image as people see it, uint8 [C, H, W]."""


def missing_photographs(scale: str) -> str:
    """How to get the features that the first experiment of a scale learns from, in one sentence; empty if there."""
    return features.missing(grid.cells(grid.experiments(scale)[0], scale)[0].config.dataset)


@dataclass(frozen=True)
class Predictions:
    """The predictions of students and teacher for the N images of a pool; P students, C classes, D features.

    Attributes
    ----------
    index : int64 array, [N]
        Dataset indices: ``D_U``, sorted.
    protected, consensus : bool array, [N]
    score : float array, [N]
        What PSL picks by: the discrepancy in nats or, with one student, its entropy.
    entropy : float array, [N]
        Of the students' mean answer, in nats; for pixel labels the mean over the pixels.
    peers, teacher : float32 array, [P, N, C] and [N, C]
        Probabilities; for pixel labels their mean over the pixels.
    right : float array, [N]
        Whether the students' joint answer is the truth, 0 or 1; for pixel labels the part of the pixels.
    features : float32 array, [N, D]
        Of the first student.
    metric : float
        Of the task learner trained again.
    answers, answer, heat : uint8 array, [P, N, h, w] and [N, h, w]; float16 array, [N, h, w]
        Pixel labels alone, else of size 0: classes that each student and the teacher give, and the discrepancy.
    """

    index: Indices
    protected: np.ndarray
    consensus: np.ndarray
    score: Floats
    entropy: Floats
    peers: Floats
    teacher: Floats
    right: Floats
    features: Floats
    metric: float
    answers: Bytes
    answer: Bytes
    heat: Floats

    def __len__(self) -> int:
        return len(self.index)

    @property
    def pixels(self) -> bool:
        """Whether these are pixel labels."""
        return self.heat.size > 0

    @property
    def joint(self) -> Floats:
        """The students' mean probabilities, [N, C]."""
        return self.peers.mean(0)

    @property
    def place(self) -> Indices:
        """Place of each image in the order that PSL picks in, from 1, [N]; 0 for protected ones, which it cannot."""
        safe = np.flatnonzero(~self.protected)
        place = np.zeros(len(self), dtype=np.int64)
        place[safe[np.lexsort((self.index[safe], -self.score[safe]))]] = np.arange(1, len(safe) + 1)
        return place


@dataclass(frozen=True)
class Opened:
    """A cycle of a finished run, ready to be explored.

    Attributes
    ----------
    record : dict
    cycle : int
    predictions : Predictions
    dataset : Dataset
    fresh : bool
        Whether it has just been trained; else it comes from the disk.
    own : bool
        Whether the students are those of the method itself; else two that learned beside it.
    picture : callable
        See ``viewer``.
    """

    record: Record
    cycle: int
    predictions: Predictions
    dataset: Dataset
    fresh: bool
    own: bool
    picture: Picture

    @property
    def picked(self) -> np.ndarray:
        """Whether the run picked it in this cycle, bool [N]."""
        return np.isin(self.predictions.index, self.record["cycles"][self.cycle]["picked"])

    @property
    def truth(self) -> Indices:
        """True classes [N], or [N, H, W] for pixel labels."""
        return self.dataset.train.labels[self.predictions.index]

    def has(self, label: int) -> np.ndarray:
        """Whether an image is of a class or, for pixel labels, shows it, bool [N]."""
        truth = self.truth == label
        return truth if truth.ndim == 1 else truth.any(axis=(1, 2))

    def summary(self) -> str:
        """What was trained and how it compares with the record, in a few sentences."""
        config, entry, name = self.record["config"], self.record["cycles"][self.cycle], self.record["metric"]
        then, now = entry["metric"], self.predictions.metric
        how = "is exactly the record's" if now == then else f"stands beside {100 * then:.2f} % in the record"
        sentences = [
            f"{'Trained again' if self.fresh else 'From the disk, where it was kept when it was trained again'}: "
            f"{config['method']}, seed {config['seed']}, cycle {self.cycle}, {entry['labelled']:,} labels.",
            f"The task learner's {name} of {100 * now:.2f} % {how}.",
            f"The pool: {len(self.predictions):,} images, {int((~self.predictions.protected).sum()):,} of them safe.",
        ]
        if now != then:
            sentences.append("Other hardware, library versions or code than the record's give slightly other weights.")
        if not self.own:
            sentences.append("The method has no students: two of PSL learned beside it, changing nothing.")
        sentences.append(
            "The teacher's answers here come from a copy of its weights on this machine, for inspection only: in a run "
            "it never meets an image that is neither labelled nor uploaded."
        )
        return " ".join(sentences)


def open_cycle(
    record: Record, cycle: int, folder: str | Path, root: str | Path = "data", device: str = "auto",
    watch: Watch | None = None,
) -> Opened:  # fmt: skip
    """Retrain a cycle of a finished run and predict its pool, or take the predictions that were kept.

    Parameters
    ----------
    record : dict
        As ``run`` gives it; not of a federation.
    cycle : int
        From 0.
    folder : path
        What is kept goes to ``<key>-<cycle>-<source>.npz`` in it.
    root, device
        As for ``run``.
    watch : callable, optional
        Called with the fraction done; what it raises ends the training.

    Raises
    ------
    ValueError, OSError
        If there is no such cycle, or its data set is not to be had.
    """
    if "clients" in record["config"]:
        raise ValueError("a federation's cycle has no single client to show: choose a run of one cloud.")
    if not 0 <= cycle < len(record["cycles"]):
        raise ValueError(f"there is no cycle {cycle}: this run has {len(record['cycles'])}, counted from 0.")
    config = Config.of(record["config"])
    own = bool(config.strategy.students)
    dataset = load_data(config.dataset, root)
    if dataset.fingerprint != record["data"]["fingerprint"]:
        raise ValueError(f"{config.dataset} under {root} is not the data that this record was made on: put that there.")
    file = Path(folder) / f"{record['key']}-{cycle}-{fingerprint(config)}.npz"
    kept = read(file)
    if kept is not None:
        return Opened(record, cycle, kept, dataset, False, own, viewer(dataset, root))
    picks = grid.picks(record)[:cycle]
    onlookers = strategies.get("psl", {"student": usual_student(dataset)})
    trial = once_more(config, picks, root, device, onlookers, None if watch is None else lambda part: watch(0.9 * part))
    predictions = predict_pool(trial)
    if watch is not None:
        watch(1.0)
    write(file, predictions)
    return Opened(record, cycle, predictions, dataset, True, own, viewer(dataset, root))


def usual_student(dataset: Dataset) -> str:
    """The student where no method names one."""
    return "lraspp_mobilenet_v3_small" if dataset.pixel_labels else "mlp32" if dataset.vectors else "resnet8"


def viewer(dataset: Dataset, root: str | Path) -> Picture:
    """How people see a data set: features as the pictures that the backbone got, other vectors as squares."""
    images, side = dataset.train.images, math.isqrt(dataset.channels)
    if "+" in dataset.name:
        size, pictures = features.parse(dataset.name)[2], features.pictures(dataset.name, root).train.images
        return lambda index: features.resized(pictures[index : index + 1], size)[0].byte().numpy()
    return lambda index: np.resize(images[index], (1, side, side)) if dataset.vectors else images[index]


def predict_pool(trial: Trial) -> Predictions:
    """Put the pool of a trial to its students and to a local copy of its task learner.

    Raises
    ------
    ValueError
        If it has no students.
    """
    session, learner = trial.session, trial.learner
    if learner is None:
        raise ValueError("this trial has no students: train it with onlookers.")
    pools, store, dataset = session.client.pools, session.client.store, session.protocol.dataset
    index, safe = pools.unlabelled, pools.safe
    score = np.empty(len(index))
    for part in (safe, pools.protected):  # the safe ones just as a run scores them
        if part.size:
            score[np.searchsorted(index, part)] = learner.score(store.plain(part))
    hidden = learner.ask(("features",), store.plain(index))["features"]
    teacher = trial.local_copy()
    parts = []
    for some in np.array_split(index, -(-len(index) // (_AT_ONCE if dataset.pixel_labels else len(index)))):
        students = learner.answers(store.plain(some))
        logits = torch.as_tensor(ask(teacher, ("logits",), store.plain(some))["logits"])
        parts.append(_summed(students, logits, np.asarray(dataset.train.labels[some])))
    joined = {name: np.concatenate([part[name] for part in parts], axis=axis) for name, axis in _AXES.items()}
    protected = np.isin(index, pools.protected)
    return Predictions(index=index, protected=protected, score=score, features=hidden, metric=trial.metric, **joined)


_AXES = {"consensus": 0, "entropy": 0, "peers": 1, "teacher": 0, "right": 0, "answers": 1, "answer": 0, "heat": 0}


def _summed(students: Tensor, teacher: Tensor, truth: Indices) -> dict[str, np.ndarray]:
    """What is kept of logits [P, N, C] and [N, C] or, for pixel labels, [P, N, C, H, W] and [N, C, H, W]."""
    peers, answer = students.softmax(2), teacher.softmax(1)
    joint = peers.mean(0)
    entropy = -(joint * joint.clamp_min(1e-12).log()).sum(1)
    right = joint.argmax(1) == torch.as_tensor(truth)
    found = {"consensus": losses.consensus(students)}
    if students.ndim == 3:
        none = torch.empty(0)
        found |= {"entropy": entropy, "peers": peers, "teacher": answer, "right": right.double()}
        found |= {"answers": none[None].byte(), "answer": none.byte(), "heat": none.half()}
    else:
        counted = torch.as_tensor(truth != VOID)
        step = -(-max(truth.shape[1:]) // _SIDE)
        flat = students.permute(0, 1, 3, 4, 2).flatten(1, 3)  # every pixel as an image of its own
        heat = losses.discrepancy(flat) if len(students) > 1 else losses.entropy(flat[0])
        found |= {"entropy": entropy.flatten(1).mean(1), "peers": peers.mean((3, 4)), "teacher": answer.mean((2, 3))}
        found["right"] = (right & counted).flatten(1).sum(1) / counted.flatten(1).sum(1).clamp_min(1)
        found["answers"] = students.argmax(2)[..., ::step, ::step].byte()
        found["answer"] = teacher.argmax(1)[..., ::step, ::step].byte()
        found["heat"] = heat.view(truth.shape)[..., ::step, ::step].half()
    return {name: tensor.numpy() for name, tensor in found.items()}


def write(file: Path, pool: Predictions) -> None:
    """Keep predictions, whole or not at all."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, format=_FORMAT, **vars(pool))
    records.write_bytes(file, buffer.getvalue())


def read(file: Path) -> Predictions | None:
    """What was kept; None where nothing was, or what is there is not whole."""
    try:
        with np.load(file, allow_pickle=False) as kept:
            if int(kept["format"]) != _FORMAT:
                return None
            arrays = {one.name: kept[one.name] for one in fields(Predictions)}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    return Predictions(**arrays | {"metric": float(arrays["metric"])})
