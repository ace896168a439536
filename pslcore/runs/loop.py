"""One run of active learning: ``run(config) -> Record``. The whole loop is ``_cycles``, on one screen."""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from pslcore import losses
from pslcore.data import Dataset, chunks
from pslcore.runs import records
from pslcore.runs.device import clock, prepare_process
from pslcore.runs.metrics import METRICS
from pslcore.runs.protocol import Record, resolve
from pslcore.runs.session import CloudOf, Session
from pslcore.runs.settings import Config
from pslcore.runs.shelf import Shelf
from pslcore.strategies import ClientLearner


class OutOfTime(Exception):
    """The run stopped cleanly between two cycles because its time was up; the finished ones are kept."""


def run(
    config: Config, root: str | Path = "data", folder: str | Path | None = None, device: str = "auto",
    deadline: float | None = None, cloud: CloudOf | None = None,
) -> Record:  # fmt: skip
    """Run one configuration to its end, or take it up where it stopped.

    Parameters
    ----------
    config : Config
    root : path
        Folder of the data sets.
    folder : path, optional
        Where ``<key>.json`` is written, and after every cycle ``<key>.part.json``, from which a run that was stopped
        in any way goes on to the very same record. Without it nothing is kept.
    device : str
        ``auto`` takes the GPU where there is one.
    deadline : float, optional
        ``time.time()`` after which no further cycle is begun.
    cloud : callable, optional
        What makes the cloud, where it is not one of this process (``psllab.remote``); the record is the same.

    Returns
    -------
    dict
        ``config``, ``key``; ``data`` (name, fingerprint, sizes, note); ``pools`` (fingerprint of the initial ones);
        ``noise`` (rate as measured, and within what) where labels are noisy; ``metric`` (its name); ``cycles``: a
        list of ``labelled``, ``metric``, ``picked``, ``unlabelled_seen`` (by the cloud, so far), ``crossed`` (the
        ledger, so far), ``seconds`` (train, test, forward, pick), ``memory`` (peak of the process, bytes); ``peers``
        where they were examined; ``source``, ``versions``, ``hardware``.

    Raises
    ------
    ValueError, OSError
        On bad input, before anything is trained.
    OutOfTime
        If the deadline passed.
    """
    where = prepare_process(device)
    protocol = resolve(config, root, where)
    shelf = Shelf(None if folder is None else Path(folder), protocol)
    record, ledger, weights = shelf.resume()
    record |= {"versions": records.versions(), "hardware": records.hardware(where)}
    for kept, state in _cycles(Session(protocol, where, cloud), record, ledger, weights, deadline):
        shelf.keep(record, kept, state, len(record["cycles"]))
    shelf.finish(record)
    return record


def _cycles(
    session: Session, record: Record, ledger: dict | None, weights: dict, deadline: float | None
) -> Iterator[tuple[dict, dict]]:
    """The active-learning loop: appends one entry a cycle to the record, yields what a resumed run needs besides."""
    protocol, device = session.protocol, session.device
    config, counts, dataset = protocol.config, protocol.counts, protocol.dataset
    client, cloud = session.client, session.cloud
    for entry in record["cycles"]:  # finished before: only its picks matter
        client.annotate(cloud, np.array(entry["picked"], dtype=np.int64))
    if ledger is not None:
        cloud.ledger.restore(ledger)

    for cycle in range(len(record["cycles"]), len(counts)):
        if deadline is not None and time.time() > deadline:
            raise OutOfTime
        seconds: dict[str, float] = {}
        last = cycle == len(counts) - 1
        records.reset_peak()
        learner = session.begin(cycle, weights, students=not last or config.examine_peers > 0)
        with clock(seconds, "train", device):
            session.train(learner, cycle)
        with clock(seconds, "test", device):
            matrix = cloud.examine(dataset.test.images, dataset.test.labels, len(dataset.classes))
            metric = METRICS[protocol.metric](matrix)
        picked = np.empty(0, dtype=np.int64)
        if not last:
            with clock(seconds, "forward", device):
                query = session.query(learner, counts[cycle + 1] - counts[cycle], cycle)
            with clock(seconds, "pick", device):
                picked = config.strategy.pick(query)
        elif learner is not None:
            record["peers"] = _examine(learner, dataset, config.examine_peers, device)
        entry = {"labelled": counts[cycle], "metric": metric, "picked": picked.tolist(), **cloud.ledger.entry()}
        record["cycles"].append(entry | {"seconds": seconds, "memory": records.peak_memory()})
        if not last:
            client.annotate(cloud, picked)
            if config.warm_start:
                weights = {"cloud": cloud.weights()} | ({"learner": learner.weights()} if learner else {})
            yield cloud.ledger.state(), weights


def _examine(learner: ClientLearner, dataset: Dataset, n: int, device: torch.device) -> dict[str, list]:
    """The peers on the first ``n`` test images: discrepancy, consensus, and their joint answer (mean probability)."""
    logits = learner.answers(chunks(dataset.test.images[:n], device))
    labels = torch.as_tensor(dataset.test.labels[:n])
    return {
        "discrepancy": losses.discrepancy(logits).tolist(),
        "consensus": losses.consensus(logits).tolist(),
        "correct": (logits.softmax(2).mean(0).argmax(1) == labels).tolist(),
        "correct_each": (logits.argmax(2) == labels).tolist(),
    }
