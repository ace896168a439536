"""Forks of a warm process: like fresh ones to all who look, and never longer there than who asked for them."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from pslcore import warm

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks are safe and made on Linux alone")
SECONDS = 10.0


def alive(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def until(condition):
    end = time.monotonic() + SECONDS
    while not (found := condition()) and time.monotonic() < end:
        time.sleep(0.05)
    return found


@pytest.fixture
def script(tmp_path):
    """``script(source)``: the path of a script."""

    def write(source, name="script.py"):
        (tmp_path / name).write_text(textwrap.dedent(source))
        return str(tmp_path / name)

    return write


@pytest.fixture
def server(monkeypatch):
    monkeypatch.delenv("PSL_WARM", raising=False)
    with warm.serving(["json", "colorsys"]):
        yield


def test_a_fork_is_like_a_fresh_process(server, script, tmp_path, monkeypatch):
    out = tmp_path / "out"
    path = script(f"""
        import json, os, sys, threading
        known = "colorsys" in sys.modules
        open({str(out)!r}, "w").write(json.dumps([
            sys.argv[1:], os.getcwd(), os.environ.get("SAID"), known, __name__,
            len(os.listdir("/proc/self/fd")), os.getsid(0) == os.getpid(),
        ]))
        sys.exit(7)
    """)
    monkeypatch.setenv("SAID", "so – ü")
    monkeypatch.chdir(tmp_path)
    assert warm.call(path, "a", "b c") == 7
    words, folder, said, known, name, descriptors, leads = json.loads(out.read_text())
    assert (words, folder, said, known, name, leads) == (["a", "b c"], str(tmp_path), "so – ü", True, "__main__", True)
    assert descriptors == 6  # the three, its life, the file that is being written, the folder that is being listed


def test_streams_are_those_of_the_caller(script):
    path = script("print(input() + '!'); import sys; print('trouble', file=sys.stderr); raise ValueError('no good')")
    code = f"from pslcore import warm\nwith warm.serving(['json']):\n    raise SystemExit(warm.call({path!r}))"
    done = subprocess.run([sys.executable, "-c", code], input="hello\n", capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("hello!\n", 1)
    assert "trouble" in done.stderr
    assert "ValueError: no good" in done.stderr


@pytest.mark.parametrize(
    ("end", "status"), [("sys.exit()", 0), ("sys.exit('words')", 1), ("os._exit(3)", 137), ("", 0)]
)
def test_how_it_ended_is_told(server, script, end, status):
    assert warm.call(script(f"import os, sys\n{end}")) == status


def test_functions_are_called_by_name(server):
    assert warm.call("platform:platform") == 0
    assert warm.call("platform:nothing") == 1


def test_no_two_draw_the_same(server, script, tmp_path):
    """Random numbers that nobody seeds are as different as in fresh processes."""
    path = script(
        f"import os, random; open({str(tmp_path)!r} + f'/{{os.getpid()}}.txt', 'w').write(str(random.random()))"
    )
    for _ in range(2):
        warm.call(path)
    assert len({file.read_text() for file in tmp_path.glob("*.txt")}) == 2


def test_an_interrupt_is_handed_on(script, tmp_path):
    path = script(f"""
        import pathlib, time
        try:
            pathlib.Path({str(tmp_path / "begun")!r}).touch()
            time.sleep(60)
        except KeyboardInterrupt:
            raise SystemExit(9)
    """)
    code = f"from pslcore import warm\nwith warm.serving(['json']):\n    raise SystemExit(warm.call({path!r}))"
    caller = subprocess.Popen([sys.executable, "-c", code])
    assert until((tmp_path / "begun").exists)
    caller.send_signal(signal.SIGINT)
    assert caller.wait(SECONDS) == 9


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM])
def test_whatever_ends_the_caller_ends_fork_server_and_all_they_started(script, tmp_path, ending):
    path = script(f"""
        import os, pathlib, subprocess, time
        child = subprocess.Popen(["sleep", "60"])
        pathlib.Path({str(tmp_path / "new")!r}).write_text(f"{{os.getpid()}} {{os.getppid()}} {{child.pid}}")
        os.rename({str(tmp_path / "new")!r}, {str(tmp_path / "begun")!r})
        time.sleep(60)
    """)
    code = f"from pslcore import warm\nwith warm.serving(['json']):\n    raise SystemExit(warm.call({path!r}))"
    caller = subprocess.Popen([sys.executable, "-c", code])
    assert until((tmp_path / "begun").exists)
    processes = [int(word) for word in (tmp_path / "begun").read_text().split()]
    assert all(map(alive, processes))
    caller.send_signal(ending)
    caller.wait(SECONDS)
    assert until(lambda: not any(map(alive, processes)))


def test_one_server_is_enough(server):
    address = os.environ["PSL_WARM"]
    with warm.serving(["json"]):
        assert os.environ["PSL_WARM"] == address
    assert warm.call("platform:platform") == 0
    assert Path(address).parent.stat().st_mode & 0o077 == 0  # nobody else's business


def test_an_import_that_starts_a_thread_is_refused(monkeypatch, tmp_path):
    """A fork has one thread, whatever locks the others held."""
    monkeypatch.delenv("PSL_WARM", raising=False)
    (tmp_path / "threaded.py").write_text(
        "import threading, time; threading.Thread(target=time.sleep, args=(60,), daemon=True).start()"
    )
    code = "from pslcore import warm\nwith warm.serving(['threaded']):\n    warm.call('platform:platform')"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 1
    assert "an import has started a thread" in done.stderr
