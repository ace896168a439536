"""`dvc repro` in a copy of the repository, with every experiment cut down to seconds."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pslcore import campaign

TOP = Path(__file__).parents[1]
BIN = Path(sys.executable).parent


def cut_down(params):
    """The same experiments: three methods, two seeds, one epoch a cycle, at most one pick."""
    quick = params["scales"]["quick"]
    quick["base"]["recipe"]["epochs"] = 1
    for section in (quick[name] for name in campaign.experiments("quick", TOP / "params.yaml")):
        section["seeds"] = min(2, section["seeds"])
        section["methods"] = dict(list(section["methods"].items())[:3])
        config = section["config"]
        config["final"] = min(config["final"], round(config["initial"] + config.get("budget", 0), 6))
        for settings in (config, *section["methods"].values()):
            settings.get("recipe", {}).pop("epochs", None)
    return params | {"scale": "quick"}


class Copy:
    """Files of this repository in one of its own, on a machine without anybody's settings."""

    def __init__(self, folder, names):
        self.top = folder / "copy"
        self.environment = {
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(folder / "home"),
            "PYTHONPATH": str(self.top),  # the copy, not what the environment has installed
            "PYTHONDONTWRITEBYTECODE": "1",
            "OMP_NUM_THREADS": "1",
            "DVC_SITE_CACHE_DIR": str(folder / "site"),
            "DVC_NO_ANALYTICS": "1",
        }
        (folder / "home").mkdir()
        for name in names:
            (self.top / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(TOP / name, self.top / name)
        self.run("git", "init", "--quiet")
        self.run("git", "add", ".")

    def run(self, *command):
        done = subprocess.run(
            command, cwd=self.top, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    def repro(self, params):
        """Write the parameters and run the pipeline; the stages that ran, and all that was printed."""
        (self.top / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
        output = self.run("dvc", "repro")
        return re.findall(r"Running stage '([^']+)'", output), output

    def made(self, folder):
        """The files in that folder of the outputs, and when each was written."""
        return {path.name: path.stat().st_mtime_ns for path in (self.top / "outputs/quick" / folder).iterdir()}

    def wanted(self, params):
        """The records that the experiments of the parameters leave (table 2 keeps none)."""
        experiments = set(campaign.experiments("quick", TOP / "params.yaml")) - {"table2"}
        cells = (cell for name in experiments for cell in campaign.cells(name, "quick", self.top / "params.yaml"))
        return {f"{cell.config.key}.json" for cell in cells}


@pytest.fixture
def copy(tmp_path):
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=TOP, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git repository")
    return Copy(tmp_path, [name for name in listed.stdout.split("\0") if name and (TOP / name).is_file()])


@pytest.mark.pipeline
def test_the_pipeline_from_nothing_again_and_after_a_change(copy):
    params = cut_down(yaml.safe_load((TOP / "params.yaml").read_text()))

    # from nothing to the page
    ran, output = copy.repro(params)
    stages = copy.run("dvc", "stage", "list", "--name-only").split()
    assert sorted(ran) == sorted(stages), output
    assert ran[-1] == "report"
    page = (copy.top / "outputs/quick/report.html").read_text()
    assert "3 seeds" not in page
    around = {"claims", "cost", "deviations", "environment"}
    exhibits = [name for name in re.findall(r'<section id="(\w+)">', page) if name not in around]
    figures, runs = copy.made("figures"), copy.made("runs")
    assert {f"{name}.json" for name in exhibits} == set(figures)
    assert set(exhibits) >= {"table1", "table2", "fig3a", "fig3d", "fig7"}
    assert len(copy.made("notebooks")) == len(stages)
    assert set(runs) == copy.wanted(params)

    # again: nothing runs
    ran, output = copy.repro(params)
    assert ran == [], output
    assert "up to date" in output
    assert (copy.made("figures"), copy.made("runs")) == (figures, runs)

    # one experiment changed: its stage and the page, and no run that is there already
    params["scales"]["quick"]["fig7"]["seeds"] += 1
    ran, output = copy.repro(params)
    assert ran == ["buckets", "report"], output
    changed = {name for name, written in copy.made("figures").items() if written != figures[name]}
    assert changed == {"fig7.json"}
    after = copy.made("runs")
    assert {name: after[name] for name in runs} == runs
    assert set(after) == copy.wanted(params) > set(runs)
    assert "3 seeds" in (copy.top / "outputs/quick/report.html").read_text()

    # what git would see of it
    touched = copy.run("git", "diff", "--name-only") + copy.run("git", "ls-files", "--others", "--exclude-standard")
    assert set(touched.split()) == {"params.yaml", "dvc.lock"}
