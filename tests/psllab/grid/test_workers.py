"""The workers of a grid: they do all tasks, and whatever ends the grid ends them within seconds."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from psllab.grid import workers

SECONDS = 10.0
linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")


def children(owner):
    """The children of a process that compute: those with torch in their memory."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((place / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == owner and "libtorch" in (place / "maps").read_text():
                found.append(int(place.name))
        except (OSError, ValueError):
            continue
    return found


def alive(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def until(condition, seconds):
    end = time.monotonic() + seconds
    while not (found := condition()) and time.monotonic() < end:
        time.sleep(0.1)
    return found


@linux
@pytest.mark.slow
@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_with_their_grid(tmp_path, ending):
    base = {"dataset": "digits", "teacher": "resnet8", "initial": 20, "budget": 1, "final": 120}
    base["recipe"] = {"epochs": 5, "batch_size": 32, "padding": 1, "flip": False}
    section = {"methods": {"Random": {"method": "random"}}, "seeds": 4}
    params = tmp_path / "params.yaml"
    params.write_text(yaml.safe_dump({"scales": {"quick": {"base": base, "fig": section}}}))
    command = [sys.executable, "-m", "pslcore", "grid", "fig", "--params", str(params), "--out", str(tmp_path / "out")]
    grid = subprocess.Popen(
        [*command, "--jobs", "2"], cwd=Path(__file__).parents[3], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        assert until(lambda: len([*tmp_path.glob("out/quick/runs/*.part.json")]) == 2, 120)  # well inside two runs
        computing = children(grid.pid)
        assert len(computing) == 2
        grid.send_signal(ending)
        grid.wait(SECONDS)
        assert until(lambda: not any(map(alive, computing)), SECONDS)
    finally:
        grid.kill()
        grid.wait()


@pytest.mark.slow
@linux
def test_a_worker_ends_though_its_parent_was_gone_before_it_looked():
    worker = f"import runpy, time; hold = runpy.run_path({workers.__file__!r})['hold']; "
    start = (
        "import os, subprocess, sys, time; code = sys.argv[1].format(os.getpid()); "
        "print(subprocess.Popen([sys.executable, '-c', code]).pid, flush=True); time.sleep(float(sys.argv[2]))"
    )
    for lives in ("0", "3"):
        code = worker + "hold({}); time.sleep(600)"
        parent = subprocess.Popen([sys.executable, "-c", start, code, lives], stdout=subprocess.PIPE, text=True)
        child = int(parent.stdout.readline())
        assert alive(child)
        assert parent.wait(30) == 0
        gone = until(lambda child=child: not alive(child), SECONDS)
        if not gone:
            os.kill(child, signal.SIGKILL)
        assert gone


def test_the_owner_itself_is_left_alone():
    workers.hold(os.getpid())
    assert os.getpid() not in workers._held


@pytest.mark.slow
def test_workers_do_all_and_take_the_next_task_when_one_is_free(tmp_path):
    asked, go = [], tmp_path / "go"

    def tasks():
        for number in range(8):
            asked.append(number)
            wait = f"until [ {number} = 0 ] || [ -e {go} ]; do sleep .05; done; exit {number}"  # all but the first wait
            yield subprocess.call, (["sh", "-c", wait],)

    answers = workers.answers(tasks(), 2)
    assert next(answers) == 0
    assert len(asked) <= 4
    go.touch()
    assert sorted(answers) == list(range(1, 8))
    assert list(workers.answers(iter([]), 2)) == []
    assert sorted(workers.answers(((pow, (number, 2)) for number in range(20)), 2)) == [n**2 for n in range(20)]


@pytest.mark.slow
def test_a_worker_that_is_killed_is_told():
    with pytest.raises(RuntimeError, match="unexpectedly terminated"):
        list(workers.answers(iter([(os._exit, (1,))] * 2), 2))
