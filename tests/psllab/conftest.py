"""What tests of the compendium share: grids of made-up curves, and small ones that really run."""

import shutil

import numpy as np
import pytest
import yaml

from pslcore.runs import records
from pslcore.sides import protected_setting
from psllab import grid
from psllab.analysis.exhibit import Exhibit
from psllab.claims.evidence import Evidence
from psllab.grid import runner

PAIR = {"PSL": {"method": "psl"}, "Random": {"method": "random"}}


@pytest.fixture
def here(tmp_path, root, settings_of_tiny, monkeypatch):
    """A grid in a temporary folder: ``here(experiment, **arguments)`` runs it, ``here.params(...)`` writes its file."""

    class Here:
        methods = PAIR
        params_file = tmp_path / "params.yaml"
        runs = tmp_path / "outputs" / "quick" / "runs"

        def params(self, methods=PAIR, seeds=2, **config):
            base = {name: value for name, value in settings_of_tiny.items() if name not in ("method", "final")}
            section = {"config": {"final": 12} | config, "methods": methods, "seeds": seeds}
            content = {"scale": "quick", "scales": {"quick": {"base": base, "fig": section, "other": section}}}
            self.params_file.write_text(yaml.safe_dump(content))

        def __call__(self, experiment="fig", scale="quick", **arguments):
            where = {"params": self.params_file, "root": root, "out": tmp_path / "outputs", "jobs": 1, "device": "cpu"}
            return runner.run(experiment, scale, **where | arguments)

        def collect(self):
            return runner.collect("fig", "quick", self.params_file, tmp_path / "outputs")

        def files(self):
            return sorted(path.name for path in self.runs.iterdir())

    here = Here()
    here.params()
    return here


@pytest.fixture
def begun(monkeypatch):
    """The configs of all runs that were begun."""
    begun, original = [], runner.run_one

    def run_one(config, *given):
        begun.append(config)
        return original(config, *given)

    monkeypatch.setattr(runner, "run_one", run_one)
    return begun


N = 200
METHODS = {"Random": "random", "Entropy": "entropy", "LL4AL": "ll4al", "VAAL": "vaal", "Core-set": "core_set"}
METHODS |= {"BADGE": "badge", "ALFA-Mix": "alfa_mix"}


def config_of(number, label):
    if label in METHODS:
        return {"method": METHODS[label]}
    return {"method": "psl", "options": {"margin": 0.01 * (number + 1)}}


@pytest.fixture
def world(tmp_path):
    """``world({experiment: {label: metrics [seeds, cycles]}})``: an ``Evidence`` of records written for it.

    ``looks`` are of the scale;
    ``absent`` takes (experiment, label, seed) out again; ``change(experiment, cell, record)`` alters a record.
    """

    def build(curves, scale="quick", dataset="made-up", absent=(), change=lambda *run: None, interim=None):
        cycles = np.shape(next(iter(next(iter(curves.values())).values())))[1]
        base = {"dataset": dataset, "teacher": "resnet8", "protected_fraction": 0.75}
        base |= {"initial": 10, "budget": 4, "final": 10 + 4 * (cycles - 1)}
        sections = {
            experiment: {
                "config": {"warm_start": False, "recipe": {"epochs": 10 + place}},  # no two experiments share a record
                "methods": {label: config_of(number, label) for number, label in enumerate(methods)},
                "seeds": len(next(iter(methods.values()))),
            }
            for place, (experiment, methods) in enumerate(curves.items())
        }
        looked = {"looks": interim} if interim else {}
        params = tmp_path / "params.yaml"
        params.write_text(yaml.safe_dump({"scales": {scale: {"base": base} | sections | looked}}, sort_keys=False))
        shutil.rmtree(tmp_path / "outputs", ignore_errors=True)
        for experiment, methods in curves.items():
            for cell in grid.cells(experiment, scale, params):
                seed = cell.config.seed
                if (experiment, cell.label, seed) in absent:
                    continue
                record = made(cell, np.asarray(methods[cell.label][seed]) / 100, dataset)
                change(experiment, cell, record)
                records.write(tmp_path / "outputs" / scale / "runs" / f"{cell.config.key}.json", record)
        return Evidence(scale, params, tmp_path / "outputs")

    return build


def made(cell, metrics, dataset):
    pools = protected_setting(N, 10, 0.75, cell.config.seed)
    safe, uploads = pools.safe.tolist(), cell.config.method in ("entropy", "ll4al", "core_set", "badge", "alfa_mix")
    return {
        "config": cell.config.settings(), "key": cell.config.key, "pools": pools.fingerprint(), "metric": "accuracy",
        "data": {"name": dataset, "fingerprint": "0" * 16, "note": "", "train": N, "test": 1500, "classes": 10},
        "source": grid.source(cell.config),
        "versions": {"torch": "9.9"}, "hardware": {"device": "cpu", "processor": "Abacus", "cores": 2},
        "cycles": [
            {"labelled": 10 + 4 * number, "metric": float(metric), "picked": safe[4 * number : 4 * number + 4],
             "unlabelled_seen": 4 * number * uploads, "crossed": {}, "seconds": {"train": 1.0}}
            for number, metric in enumerate(metrics)
        ],
    }  # fmt: skip


@pytest.fixture
def timed(world, tmp_path):
    """``timed({method: (forward, scoring, selection)})``: evidence with Table 2, and one run."""

    def build(seconds, scale="quick"):
        evidence = world({"fig3a": {"PSL": [[40.0, 50.0]]}}, scale)
        note = f"Scale {scale}: digits, task learner resnet8; 50 of 130 picked; median of 5, one thread."
        rows = [[name, *(str(part) for part in parts), "–"] for name, parts in seconds.items()]
        table = {"title": "Seconds", "columns": ["method", "forward", "scoring", "selection", "paper"], "rows": rows}
        made = {"made": "Abacus (cpu)", "costs": [table]}
        exhibit = Exhibit("table2", "Table 2", "", note, "notebooks/tables.ipynb", **made)
        exhibit.write(tmp_path / "outputs" / scale / "figures")
        return evidence

    return build
