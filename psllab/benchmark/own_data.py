"""A user's method on a data set of the user's own; the methods that it is compared with run here as well."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from pslcore.data import known, load
from pslcore.runs import records
from psllab import grid
from psllab.benchmark.published import Published
from psllab.grid import Results

SCALE, LOOKS = "own", (20, 60, 200)
_METHODS: dict[str, dict[str, Any]] = {
    "PSL": {"method": "psl", "options": {"student": "mlp32"}},
    "Random": {"method": "random"},
    "Entropy": {"method": "entropy"},
    "Core-set": {"method": "core_set"},
    "BADGE": {"method": "badge"},
    "ALFA-Mix": {"method": "alfa_mix"},
}
_CYCLES, _A_CLASS = 6, 5


def plan(dataset: str, root: str | Path = "data") -> Published:
    """The experiment of a data set: recipe and budgets of the scale ``features_few``, five labels a class and cycle.

    Where the safe images are few, a cycle asks for an eighth of them.

    Raises
    ------
    ValueError, OSError
        In one sentence: there is no such data set, it holds images in place of features, or too few of them.
    """
    content = load(dataset, root)
    if not content.vectors:
        raise ValueError(f"{dataset} holds images: name its features, such as {dataset}+efficientnet_lite0@128.")
    classes, safe = len(content.classes), len(content.train) // 10
    budget = min(_A_CLASS * classes, safe // (_CYCLES + 2))
    if budget < classes:
        raise ValueError(
            f"{dataset} holds {len(content.train):,} images to train, of which a tenth is safe: {_CYCLES} cycles of a "
            f"label for each of {classes} classes need {10 * classes * (_CYCLES + 2):,}."
        )
    shared = {
        "dataset": known(dataset), "teacher": "mlp256", "initial": budget, "budget": budget,
        "final": _CYCLES * budget, "recipe": {"epochs": 30, "batch_size": 128, "lr": 0.05},
    }  # fmt: skip
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", content.name)
    return Published(name, SCALE, LOOKS, shared, Results(name, SCALE))


def run(
    planned: Published, seeds: int, out: str | Path, root: str | Path, jobs: int | None, device: str
) -> Published:  # fmt: skip
    """Run the methods that it is compared with on so many seeds; what is finished is not run again."""
    experiment = {"config": planned.shared, "methods": _METHODS, "seeds": seeds}
    params = Path(out) / SCALE / f"{planned.experiment}.yaml"
    content = {"scale": SCALE, "scales": {SCALE: {"looks": list(LOOKS), planned.experiment: experiment}}}
    records.write_bytes(params, yaml.safe_dump(content, sort_keys=False).encode())
    results = grid.run(planned.experiment, SCALE, params, root, out, jobs, device=device)
    return replace(planned, results=results)
