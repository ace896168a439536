"""A grid in a temporary folder."""

import pytest
import yaml

from pslcore.campaign import grid

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
            return grid.run(experiment, scale, **where | arguments)

        def collect(self):
            return grid.collect("fig", "quick", self.params_file, tmp_path / "outputs")

        def files(self):
            return sorted(path.name for path in self.runs.iterdir())

    here = Here()
    here.params()
    return here


@pytest.fixture
def begun(monkeypatch):
    """The configs of all runs that were begun."""
    begun, original = [], grid.run_one

    def run_one(config, *given):
        begun.append(config)
        return original(config, *given)

    monkeypatch.setattr(grid, "run_one", run_one)
    return begun
