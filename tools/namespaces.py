"""A grid on a cluster whose machines share nothing: killed and cut off, its records are those of a plain grid.

    python tools/namespaces.py fig3a [--scale quick] [--params params.yaml] [--data data] [--seconds 60] [--plain OUT]

A scheduler, two machines with a worker each and the grid run in four network namespaces of this machine (Linux, root),
each with its own mounts, HOME, code and data. Once something of a run is kept the worker of machine one is killed
(SIGKILL); with a quarter of the runs there machine two is cut off from the network for so many seconds.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil

from pslcore.runs import records
from psllab import grid

TOP = Path(__file__).parents[1]
NET, HERE, PORT = "10.87.0", "/mnt", 8786
"""Its own network; where a machine finds its own folder."""
DASK = [sys.executable, "-m", "dask"]
FINISHED = "*[0-9a-f].json"
MACHINES = ("scheduler", "one", "two", "grid")


class Machine:
    """A namespace, and a folder of its own that it sees as ``/mnt``; those of others are hidden from it."""

    def __init__(self, base: Path, bridge: str, number: int, data: Path):
        self.base, self.name, self.folder = base, f"{bridge}{number}", base / MACHINES[number - 1]
        self.address = f"{NET}.{number}"
        for package in ("pslcore", "psllab"):
            shutil.copytree(TOP / package, self.folder / package, ignore=shutil.ignore_patterns("__pycache__"))
        if data.is_dir() and number > 1:
            shutil.copytree(data, self.folder / "data")
        (self.folder / "home").mkdir()
        _ip("netns", "add", self.name)
        _ip("link", "add", self.name, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        _ip("link", "set", self.name, "master", bridge, "up")
        _ip("-n", self.name, "addr", "add", f"{self.address}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            _ip("-n", self.name, "link", "set", device, "up")

    def start(self, *command: str, **more) -> subprocess.Popen:
        """The process itself: what stands before it replaces itself by it."""
        hide = f"mount --bind {self.folder} {HERE}; mount -t tmpfs tmpfs {self.base}; mount -t tmpfs tmpfs /tmp"
        environment = os.environ | {
            "HOME": f"{HERE}/home", "PYTHONPATH": HERE, "OMP_NUM_THREADS": "1",
            "DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": "10m",
        }  # fmt: skip
        inside = ["unshare", "--mount", "sh", "-ec", f'{hide}; cd {HERE}; exec "$@"', "sh", *command]
        return subprocess.Popen(["ip", "netns", "exec", self.name, *inside], env=environment, **more)

    def link(self, state: str) -> None:
        _ip("link", "set", self.name, state)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def _ended(process: subprocess.Popen) -> None:
    """A process and whatever it started are gone."""
    with suppress(psutil.NoSuchProcess):
        for each in [*psutil.Process(process.pid).children(recursive=True), process]:
            each.kill()
    process.wait()


def compared(
    experiment: str, scale: str, params: Path, data: Path, seconds: float, plain: Path, base: Path
) -> tuple[int, list[str]]:
    """How many records there are, and the keys of those that differ or lack, the files that are left over."""

    def held(out: Path) -> dict[str, object]:
        found = grid.collect(experiment, scale, params, out)
        return {cell.config.key: records.content(record) for cell, record in found.runs}

    grid.run(experiment, scale, params, data, plain, jobs=2, device="cpu")
    bridge = f"apart{os.getpid() % 10**6}-"
    with ExitStack() as stack:
        _ip("link", "add", bridge, "type", "bridge")
        stack.callback(_ip, "link", "delete", bridge)
        _ip("link", "set", bridge, "up")
        machines = []
        for number in range(1, 5):
            machines.append(Machine(base, bridge, number, data))
            stack.callback(_ip, "netns", "delete", machines[-1].name)

        def started(machine: Machine, *command: str) -> subprocess.Popen:
            with open(base / f"{machine.folder.name}.log", "w") as log:
                process = machine.start(*command, stdout=log, stderr=subprocess.STDOUT)
            stack.callback(_ended, process)
            return process

        scheduler, one, two, client = machines
        at = f"tcp://{scheduler.address}:{PORT}"
        started(scheduler, *DASK, "scheduler", "--port", str(PORT), "--no-dashboard")
        first, _ = [started(each, *DASK, "worker", at, "--nthreads", "1", "--no-dashboard") for each in (one, two)]
        shutil.copy(params, client.folder / "params.yaml")
        call = ["-m", "pslcore", "grid", experiment, "--scale", scale, "--cluster", at, "--device", "cpu"]
        asked = started(client, sys.executable, *call)
        runs = grid.runs_folder(client.folder / "outputs", scale)

        def wait(what: str, n: int = 1) -> None:
            while len(list(runs.glob(what))) < n and asked.poll() is None:
                time.sleep(0.05)
            if asked.poll() is not None:
                raise RuntimeError((base / "grid.log").read_text())

        def tell(what: str) -> None:
            print(f"{what}; {len(list(runs.glob(FINISHED)))} of {len(held(plain))} runs are there", flush=True)

        wait("*.part.json")
        workers = psutil.Process(first.pid).children()
        next(each for each in workers if "spawn_main" in " ".join(each.cmdline())).kill()
        tell("the worker of machine one is killed")
        wait(FINISHED, max(1, len(held(plain)) // 4))
        two.link("down")
        tell("machine two is cut off")
        time.sleep(seconds)
        two.link("up")
        tell("it is back")
        if asked.wait():
            raise RuntimeError((base / "grid.log").read_text())
        wanted, there = held(plain), held(client.folder / "outputs")
        left = {path.name for path in runs.iterdir()} ^ {f"{key}.json" for key in wanted}
        return len(wanted), sorted(left | {key for key in wanted if wanted[key] != there.get(key)})


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment")
    parser.add_argument("--scale", default="quick")
    parser.add_argument("--params", type=Path, default=TOP / "params.yaml")
    parser.add_argument("--data", type=Path, default=TOP / "data")
    parser.add_argument("--seconds", type=float, default=60, help="so long machine two is cut off")
    parser.add_argument("--plain", type=Path, help="where a plain grid's records are or go (a folder that is removed)")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="apart-") as name:
        n, wrong = compared(
            options.experiment, options.scale, options.params, options.data, options.seconds,
            options.plain or Path(name) / "plain", Path(name),
        )  # fmt: skip
    print(f"{n} records, all those of a plain grid, bit for bit" if not wrong else f"of {n} records differ: {wrong}")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
