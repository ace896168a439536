"""Flower's processes, and where `ip netns` may be used a network for them."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

from pslcore import federated

BIN = Path(sys.executable).parent


def until(condition, what, seconds):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what} did not happen within {seconds} s"
        time.sleep(0.2)


def environment(folder, connection):
    """What a process of Flower's needs, with a connection ``here``, as far away from the user's own as can be."""
    home = folder / "home" / "flwr"
    home.mkdir(parents=True)
    (home / "config.toml").write_text(f'[superlink]\ndefault = "here"\n\n[superlink.here]\n{connection}\n')
    return os.environ | {
        "HOME": str(home.parent), "FLWR_HOME": str(home), "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1", "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(Path(federated.__file__).parents[2]), "OMP_NUM_THREADS": "1", "NO_PROXY": "*",
        "no_proxy": "*",
    }  # fmt: skip


@contextmanager
def processes(folder, env):
    """A function that starts a process with its own session and log; all of them end with the block."""
    begun = []

    def start(name, *command, **more):
        with (folder / f"{name}.log").open("w") as log:
            begun.append(subprocess.Popen(
                command, env=env | more, cwd=folder, stdout=log, stderr=log, start_new_session=True
            ))  # fmt: skip
        return begun[-1]

    try:
        yield start
    finally:
        for sign, patience in ((signal.SIGTERM, 15), (signal.SIGKILL, 5)):
            for process in begun:
                try:
                    os.killpg(process.pid, sign)  # with what it has started itself
                except ProcessLookupError:
                    continue
            for process in begun:
                try:
                    process.wait(patience)
                except subprocess.TimeoutExpired:
                    continue


@contextmanager
def machines(count):
    """The server's address, and words before a command that have it run on the server (first) or a client's machine.

    A network namespace each, joined to the server's by a cable of its own; where that is not allowed, the loopback.
    """
    names = [f"psl-flower{os.getpid()}-{number}" for number in range(count + 1)]

    def ip(*words):
        subprocess.run(["ip", *words], check=True, capture_output=True)

    try:
        with suppress(OSError, subprocess.CalledProcessError):
            for number, name in enumerate(names):
                ip("netns", "add", name)
                ip("-n", name, "link", "set", "lo", "up")
                if number == 0:
                    ip("-n", name, "addr", "add", "10.9.0.1/32", "dev", "lo")
                    continue
                ip("link", "add", "out", "netns", name, "type", "veth", "peer", "name", f"c{number}", "netns", names[0])
                for owner, device, last in ((names[0], f"c{number}", 1), (name, "out", 2)):
                    ip("-n", owner, "addr", "add", f"10.9.{number}.{last}/24", "dev", device)
                    ip("-n", owner, "link", "set", device, "up")
                ip("-n", name, "route", "add", "10.9.0.1", "via", f"10.9.{number}.1")
            yield "10.9.0.1", [["ip", "netns", "exec", name] for name in names]
            return
        yield "127.0.0.1", [[]] * len(names)
    finally:
        for name in names:
            with suppress(OSError):
                subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
