"""The words of a stage on the terminal, and the scale of ``make repro``."""

import importlib.util
import io
import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from psllab.grid import progress

TOOLS = Path(__file__).parents[1] / "tools"


def tool(name):
    spec = importlib.util.spec_from_file_location(name, TOOLS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


stage = tool("stage")


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setenv("PSL_PROGRESS", str(tmp_path / "progress"))
    monkeypatch.setenv("DVC_STAGE", "comparison@fig3a")
    return tmp_path / "progress"


def test_a_stage_says_how_far_it_is(file):
    assert stage.line(file, 65) == "comparison@fig3a: 1:05"
    progress.tell("fig3a", done=12, of=30, seconds=100.0, made=2)
    assert stage.line(file, 125) == "comparison@fig3a: 12 of 30 runs of fig3a, about 15 min to go, 2:05"
    progress.tell("fig3a", done=10, of=30, seconds=0.0, made=0)
    assert stage.line(file, 1) == "comparison@fig3a: 10 of 30 runs of fig3a, 0:01"
    progress.tell("fig3a", done=30, of=30, seconds=100.0, made=20)
    assert stage.line(file, 1) == "comparison@fig3a: 30 of 30 runs of fig3a, 0:01"


def test_all_runs_are_one_stage(file, monkeypatch):
    monkeypatch.setenv("DVC_STAGE", "runs")
    progress.tell("all", done=12, of=30, seconds=0.0, made=0)
    assert stage.line(file, 65) == "runs: 12 of 30 runs, 1:05"


def test_nothing_is_told_where_nobody_asks(tmp_path, monkeypatch):
    monkeypatch.delenv("PSL_PROGRESS", raising=False)
    monkeypatch.chdir(tmp_path)
    progress.tell("fig3a", 1, 2, 3.0, 1)
    assert list(tmp_path.iterdir()) == []


def test_one_line_on_a_terminal_nothing_elsewhere(file):
    file.write_text(json.dumps({"experiment": "fig3a", "done": 1, "of": 2, "left": 60.0}))
    terminal, pipe = Terminal(), io.StringIO()
    with stage.told(file, terminal), stage.told(file, pipe):
        end = time.monotonic() + 10
        while "1 of 2" not in terminal.getvalue() and time.monotonic() < end:
            time.sleep(0.05)
    assert "1 of 2 runs of fig3a, about 1 min to go" in terminal.getvalue()
    assert "\n" not in terminal.getvalue()
    assert terminal.getvalue().endswith("\r\x1b[K")  # leaves nothing behind
    assert pipe.getvalue() == ""


def test_make_repro_sets_scale_and_seeds_runs_the_pipeline_and_names_the_page(tmp_path):
    text = (
        "# a word\nscale: quick  \nseeds: 200  # at most\n\nscales:\n  quick:\n    base: {}\n  laptop:\n    base: {}\n"
    )
    (tmp_path / "params.yaml").write_text(text)
    (tmp_path / "bin").mkdir()
    for name in ("dvc", "python"):  # tell what they were called with
        (tmp_path / "bin" / name).write_text(f'#!/bin/sh\necho {name} "$@"\n')
        (tmp_path / "bin" / name).chmod(0o755)

    def repro(*given):
        command = [
            "make",
            "--no-print-directory",
            "-f",
            str(TOOLS.parent / "Makefile"),
            "-o",
            "env",
            "PYTHON=x",
            "repro",
            *given,
        ]
        environment = os.environ | {
            "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
            "MAKEFLAGS": "",
            "MAKELEVEL": "0",
        }
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        return done.returncode, [line for line in done.stdout.splitlines() if line], done.stderr

    asked, again = "python tools/stage.py lacking", "dvc repro --force --single-item report"
    compared, page = "python tools/machine.py --compare", "The page: outputs/"
    assert repro()[:2] == (
        0, [f"{asked} quick", "dvc repro", again, f"{compared} quick", f"{page}quick/report.html"]
    )  # fmt: skip
    assert (tmp_path / "params.yaml").read_text() == text
    (tmp_path / "outputs/laptop").mkdir(parents=True)
    (tmp_path / "outputs/laptop/report.html").touch()
    assert repro("SCALE=laptop")[1] == [
        f"{asked} laptop", "dvc repro", f"{compared} laptop", f"{page}laptop/report.html"
    ]  # fmt: skip
    text = text.replace("scale: quick  ", "scale: laptop")
    assert (tmp_path / "params.yaml").read_text() == text
    for wrong in ("0", "-1", "few", "2 3", "1.5"):
        status, said, error = repro(f"SEEDS={wrong}")
        assert (status, said) == (2, [])
        assert f"SEEDS = {wrong} is no number of seeds: give one from 1." in error
    assert repro("SEEDS=20")[0] == 0
    assert (tmp_path / "params.yaml").read_text() == text.replace("seeds: 200", "seeds: 20")
    status, said, error = repro("SCALE=base")
    assert (status, said) == (2, [])
    assert "params.yaml has no scale 'base': name one of its sections" in error
    (tmp_path / "bin/python").write_text('#!/bin/sh\necho python "$@"\n[ $2 != lacking ]\n')
    assert repro()[:2] == (
        0, [f"{asked} laptop", "python -m pslcore grid all --scale laptop", "python tools/page.py laptop"]
    )  # fmt: skip


def test_a_scale_without_all_experiments_is_kept_from_the_pipeline(monkeypatch, capsys):
    monkeypatch.chdir(TOOLS.parent)
    for scale in ("quick", "laptop", "paper"):
        assert stage.main(["lacking", scale]) == 0
    assert capsys.readouterr().err == ""
    assert stage.main(["lacking", "features"]) == 1
    lacks = "Scale features has no fig4a, fig4b, fig8_dirichlet, table2: "
    assert capsys.readouterr().err == f"{lacks}`make repro` makes its runs and its page without dvc.\n"
    assert stage.main(["runs", "small"]) == 1  # before hours of runs that end in dvc's refusal
    assert "Scale small has no fig3a_low, fig3d, fig3e, fig3f, …: " in capsys.readouterr().err
    assert stage.main(["lacking", "sunday"]) == 1
    assert capsys.readouterr().err.startswith("unknown scale 'sunday': choose one of quick, ")
