"""The pipeline in a copy of the repository, with every experiment cut down to seconds."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from dvc.utils.hydra import apply_overrides

from psllab import grid

TOP = Path(__file__).parents[1]
BIN = Path(sys.executable).parent


def cut_down(params):
    """The same experiments: two methods (three once), two seeds, one epoch a cycle, at most one pick."""
    quick = params["scales"]["quick"]
    quick["base"]["recipe"]["epochs"] = 1
    for name in grid.experiments("quick", TOP / "params.yaml"):
        section = quick[name]
        section["seeds"] = min(2, section["seeds"])
        section["methods"] = dict(list(section["methods"].items())[: 3 if name == "fig3a" else 2])
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
        """Write the parameters and do what `make repro` does; the stages that ran, and all that was printed."""
        (self.top / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
        output = self.run("make", "-o", "env", "PYTHON=python", "repro")
        return re.findall(r"Running stage '([^']+)'", output), output

    def made(self, folder):
        """The files in that folder of the outputs, and when each was written."""
        return {path.name: path.stat().st_mtime_ns for path in (self.top / "outputs/quick" / folder).iterdir()}

    def wanted(self, params):
        """The records that the experiments of the parameters leave (table 2 keeps none)."""
        experiments = set(grid.experiments("quick", TOP / "params.yaml")) - {"table2"}
        cells = (cell for name in experiments for cell in grid.cells(name, "quick", self.top / "params.yaml"))
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
    exhibits = re.findall(r'<section id="(\w+)" class="exhibit"', page)
    figures, runs = copy.made("figures"), copy.made("runs")
    twice = {"fig3f"}  # the runs of fig3e once more: shown once
    assert {f"{name}{end}" for name in {*exhibits, *twice} for end in (".json", ".cost.json")} == set(figures)
    machinery = ("Kernel", "Executing", "Notebook", "WARNING", "\x1b", "\r", " runs of ")
    assert [line for line in output.splitlines() if any(word in line for word in machinery)] == []
    assert output.splitlines()[-1] == "The page: outputs/quick/report.html"
    locked = (copy.top / "dvc.lock").read_text()
    assert set(exhibits) >= {"table1", "table2", "fig3a", "fig3d", "fig7"}
    assert ran[0] == "runs"  # which is no notebook
    assert len(copy.made("notebooks")) == len(stages) - 1
    assert set(runs) == copy.wanted(params)

    # again: nothing runs
    ran, output = copy.repro(params)
    assert ran == [], output
    assert "up to date" in output
    assert output.splitlines()[-1] == "The page: outputs/quick/report.html"
    assert (copy.made("figures"), copy.made("runs")) == (figures, runs)

    # one experiment changed: its stage and the page, and no run that is there already
    params["scales"]["quick"]["fig7"]["seeds"] += 1
    ran, output = copy.repro(params)
    assert ran == ["runs", "buckets", "report"], output
    changed = {name for name, written in copy.made("figures").items() if written != figures[name]}
    assert changed == {"fig7.json", "fig7.cost.json"}
    after = copy.made("runs")
    assert {name: after[name] for name in runs} == runs
    assert set(after) == copy.wanted(params) > set(runs)
    assert "3 seeds" in (copy.top / "outputs/quick/report.html").read_text()

    # the whole of it from its records alone, and a page that somebody threw away
    params["scales"]["quick"]["fig7"]["seeds"] -= 1
    assert copy.repro(params)[0] == ["runs", "buckets", "report"]
    shutil.rmtree(copy.top / "outputs/quick/notebooks")
    (copy.top / "outputs/quick/report.html").unlink()
    assert copy.repro(params)[0] == ["report"]
    assert (copy.top / "dvc.lock").read_text() == locked  # bit for bit, whatever it cost

    # what git would see of it
    touched = copy.run("git", "diff", "--name-only") + copy.run("git", "ls-files", "--others", "--exclude-standard")
    assert set(touched.split()) == {"params.yaml", "dvc.lock"}


@pytest.mark.pipeline
def test_what_a_change_makes_stale(copy):
    """A word in a widget runs nothing, a line of the losses all; nothing is trained to find that out."""
    stages = set(copy.run("dvc", "stage", "list", "--name-only").split())
    outs = re.findall(r"^ *- (outputs/\S+)(?=:)", (copy.top / "dvc.yaml").read_text(), re.M)
    items = re.findall(r"foreach: \[(.*?)\]", (copy.top / "dvc.yaml").read_text())
    names = [name.strip() for group in items for name in group.split(",")]
    for out in {out.replace("${scale}", "quick").replace("${item}", name) for out in outs for name in names}:
        (copy.top / out).parent.mkdir(parents=True, exist_ok=True)
        (copy.top / out).write_text("made up\n")
    copy.run("dvc", "commit", "--force", "--quiet")
    assert json.loads(copy.run("dvc", "status", "--json")) == {}

    def stale_after(file, old, new):
        source = (copy.top / file).read_text()
        assert source.count(old) >= 1
        (copy.top / file).write_text(source.replace(old, new, 1))
        return set(json.loads(copy.run("dvc", "status", "--json")))

    assert stale_after("psllab/desk/desk.py", "import", "# A word.\nimport") == set()
    assert stale_after("tools/stage.py", "import", "# A word.\nimport") == set()
    assert stale_after("pslcore/losses.py", "import", "# A word.\nimport") == stages


@pytest.mark.slow
def test_dvc_lays_a_method_over_an_experiment(tmp_path):
    """``dvc exp run -S '+scales.quick.fig5b.methods.six={...}'``: yaml's aliases must not undo it."""
    path = tmp_path / "params.yaml"
    shutil.copy(TOP / "params.yaml", path)
    before = grid.scales(path)["quick"]
    apply_overrides(path, ["+scales.quick.fig5b.methods.six={method: psl, options: {peers: 6}}"])
    after = grid.scales(path)["quick"]
    assert after["fig5b"]["methods"] == before["fig5b"]["methods"] | {"six": {"method": "psl", "options": {"peers": 6}}}
    assert {name for name in before if before[name] != after[name]} == {"fig5b"}
    apply_overrides(path, ["scales.quick.fig5b.seeds=7"])
    assert grid.scales(path)["quick"]["fig5b"]["seeds"] == 7
