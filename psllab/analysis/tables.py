"""Tables 1 and 2: how large the sampling models are, and how long each method takes to pick."""

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch

from pslcore import losses, models
from pslcore.runs import Config, hardware
from pslcore.strategies import LL4AL, VAE, LossPrediction, discriminator
from psllab import grid
from psllab.analysis import exhibit as report
from psllab.analysis.exhibit import Exhibit
from psllab.retrain import Trial, first_cycle


def model_sizes() -> pd.DataFrame:
    """Table 1: parameters of what each method samples with, counted, beside the paper's figures.

    Image labels: 32x32 colour images, 10 classes. Pixel labels: 19 classes. VAAL's networks do not depend on the task
    (at 32x32); the paper's 3.25 M for PSL is met only by *one* student together with an ImageNet classifier that it
    never uses (3,254,419).
    """
    count = models.count_parameters
    resnet18, drn = models.build("resnet18", 10), models.build("drn_d_22", 19)
    vaal = count(VAE(3, (32, 32))) + count(discriminator())
    loss_prediction = {network: count(LossPrediction(LL4AL(), network)) for network in (resnet18, drn)}
    peers = [2 * count(models.build(name, c)) for name, c in (("resnet8", 10), ("lraspp_mobilenet_v3_small", 19))]
    rows = [
        *((name, count(resnet18), "11.17 M", None, "–") for name in ("Entropy", "BADGE", "ALFA-Mix")),
        ("Core-set", count(resnet18), "11.17 M", count(drn), "15.90 M"),
        ("LL4AL", count(resnet18) + loss_prediction[resnet18], "11.29 M", count(drn) + loss_prediction[drn], "16.02 M"),
        ("VAAL", vaal, "23.11 M", vaal, "23.11 M"),
        ("PSL (two peers)", peers[0], "0.16 M", peers[1], "3.25 M"),
    ]
    return pd.DataFrame(
        [(name, f"{cls:,}", cls_paper, "–" if seg is None else f"{seg:,}", seg_paper)
         for name, cls, cls_paper, seg, seg_paper in rows],
        columns=["model", "image labels", "paper", "pixel labels", "paper (pixel labels)"],
    )  # fmt: skip


PAPER_SECONDS = {
    "entropy": 0.9, "badge": 17.2, "alfa_mix": 9.1, "core_set": 1.2, "ll4al": 8.9, "vaal": 2.5, "psl": 0.001,
}  # fmt: skip
"""Table 2, on one GTX 1080 Ti."""
_LONG = 30  # seconds of a phase that is repeated no more than twice


def sampling_seconds(configs: dict[str, Config], root: str = "data", repetitions: int = 5) -> pd.DataFrame:
    """Table 2: seconds to pick the first ``budget`` images of ``D_S``, per method, after one epoch of training.

    *Forward* is the pass of ``D_S`` (and of ``D_L``, for methods that need it) through the sampling network, upload
    included; *selection* is what follows. For PSL *scoring*, Eq. 6 on the peers' logits, is timed apart as well: no
    forward pass of anything takes the paper's 0.001 s. Warm-up once, then the median; the device is waited for.

    Parameters
    ----------
    configs : dict
        Label to config; one data set, one setting.
    root : path
        Folder of the data sets.
    repetitions : int

    Returns
    -------
    DataFrame
        ``method``, ``forward``, ``scoring``, ``selection``, ``paper`` in seconds; ``pool``, ``budget`` in images;
        ``hardware``.
    """
    rows = []
    for label, config in configs.items():
        trial = first_cycle(config, root)
        budget, session = trial.budget, trial.session
        seconds = {name: _median(phase, repetitions, session.device) for name, phase in _phases(trial).items()}
        machine, pool = hardware(session.device), session.client.pools.safe.size
        rows.append(
            {"method": label, "forward": seconds["forward"], "scoring": seconds.get("scoring", float("nan")),
             "selection": seconds["selection"], "paper": PAPER_SECONDS.get(config.method, float("nan")),
             "pool": pool, "budget": budget, "hardware": f"{machine['processor']} ({machine['device']})"}
        )  # fmt: skip
    return pd.DataFrame(rows)


NOTEBOOK = "notebooks/tables.ipynb"


def table1() -> Exhibit:
    """Table 1 for the page."""
    note = "Counted on freshly built networks: 32x32 colour images and 10 classes, or pixel labels of 19 classes."
    return report.exhibit("table1", NOTEBOOK, note).tabulate("Parameters", model_sizes())


def table2(scale: str, params: str = "params.yaml", root: str = "data") -> Exhibit:
    """Table 2 for the page, clocked now."""
    configs = {cell.label: cell.config for cell in grid.cells("table2", scale, params)}
    clocked, one = sampling_seconds(configs, root), next(iter(configs.values()))
    note = (
        f"Scale {scale}: {one.dataset}, task learner {one.teacher}; {clocked['budget'][0]} of {clocked['pool'][0]} "
        "images picked; seconds, median of 5 (of what takes over half a minute, of 2) after a warm-up, one thread."
    )
    exhibit = report.exhibit("table2", NOTEBOOK, note)
    exhibit.made = clocked["hardware"][0]
    return exhibit.price("Seconds", clocked[["method", "forward", "scoring", "selection", "paper"]].map(seconds))


def clocked(scale: str, out: str | Path = "outputs") -> Path:
    """The file of Table 2: where it was clocked here that one, else the published one, which need not exist."""
    here = Path(out) / scale / "figures" / "table2.json"
    return here if here.exists() else Path(out) / scale / here.name


def seconds(value: float | str) -> str:
    """For people: three digits; a dash where there is nothing."""
    if isinstance(value, str):
        return value
    return "–" if value != value else f"{value:.3g}" if value >= 0.001 else f"{value:.1e}"


def _phases(trial: Trial) -> dict[str, Callable[[], object]]:
    """The timed parts of one method's pick as functions without arguments."""
    session, learner, strategy = trial.session, trial.learner, trial.session.protocol.config.strategy
    store, query = session.client.store, session.query(learner, trial.budget, 0)
    phases: dict[str, Callable[[], object]] = {
        "forward": lambda: session.query(learner, trial.budget, 0), "selection": lambda: strategy.pick(query),
    }  # fmt: skip
    if learner is not None and strategy.students:
        logits = learner.answers(store.plain(query.safe))
        phases["forward"] = lambda: learner.answers(store.plain(query.safe))
        phases["scoring"] = lambda: losses.discrepancy(logits)
    return phases


def _median(phase: Callable[[], object], repetitions: int, device: torch.device) -> float:
    seconds: list[float] = []
    while len(seconds) <= (repetitions if max(seconds, default=0) < _LONG else 2):
        start = time.perf_counter()
        phase()
        torch.get_device_module(device).synchronize()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])
