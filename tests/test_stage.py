"""The words of a stage on the terminal, and the scale of ``make repro``."""

import importlib.util
import io
import json
import sys
import time
from pathlib import Path

import pytest

from pslcore.campaign import progress

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


def test_the_scale_of_make_repro_is_that_of_params(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "stage", stage)
    monkeypatch.setitem(sys.modules, "machine", tool("machine"))
    repro = tool("repro")
    monkeypatch.chdir(tmp_path)
    text = "# a word\nscale: quick  \n\nscales:\n  quick:\n    base: {}\n  laptop:\n    base: {}\n"
    Path("params.yaml").write_text(text)
    assert repro.chosen(None) == repro.chosen("quick") == "quick"
    assert Path("params.yaml").read_text() == text
    assert repro.chosen("laptop") == "laptop"
    assert Path("params.yaml").read_text() == text.replace("scale: quick  ", "scale: laptop")
    with pytest.raises(SystemExit, match="has no scale 'base': name one of its sections"):
        repro.chosen("base")
