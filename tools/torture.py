"""What survives kills, full disks, flipped bits and company: a table of kind, tried, survived, lost.

``make torture``, or this script with options (``--help``). Survived is what, called once more, leaves the records of
undisturbed work (``records.content``) and no file beside them. Full disks and read-only folders want Linux and root,
and are passed over elsewhere.
"""

import argparse
import asyncio
import logging
import multiprocessing
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from datetime import date
from functools import partial
from multiprocessing.context import ForkProcess
from pathlib import Path
from subprocess import PIPE, STDOUT
from typing import Any

import numpy as np
import ports
import torch
import yaml
from tqdm import tqdm

from pslcore import data, runs, strategies
from pslcore.runs import records
from pslcore.sides import Cloud
from psllab import grid
from psllab.extend import contract, resumable
from psllab.features import Backbone, backbones
from psllab.grid import runner

FORK = multiprocessing.get_context("fork")  # imports are paid once
PATIENCE = 300.0
BASE = {"dataset": "digits", "teacher": "resnet8",
        "recipe": {"epochs": 1, "batch_size": 16, "lr": 0.05, "padding": 1, "flip": False}}  # fmt: skip
PLAIN = {"protected_fraction": 0.9, "initial": 20, "budget": 10, "final": 40, "warm_start": True}
FEDERATED = {"clients": 3, "rounds": 3, "initial": 30, "budget": 15, "final": 45}
METHODS = {"PSL": {"method": "psl"}, "Random": {"method": "random"}}
SECTIONS = {
    "plain": {"config": PLAIN, "methods": METHODS, "seeds": 1},
    "federated": {"config": FEDERATED, "methods": {"PSL": {"method": "psl"}}, "seeds": 1},
}
Trials = Iterator[str]
"""Of each trial, what was lost; empty if nothing."""


class World:
    """A folder to work in, draws, and what undisturbed work leaves."""

    def __init__(self, folder: Path, seed: int):
        self.folder, self.draw, self.params = folder, random.Random(seed), folder / "params.yaml"
        self.params.write_text(yaml.safe_dump({"scale": "t", "scales": {"t": {"base": BASE} | SECTIONS}}))
        self.whole, self.seconds = {}, {}
        for name in SECTIONS:
            begun = time.monotonic()
            assert in_a_process(lambda name=name: self.run(name, folder / f"whole-{name}")) == 0
            self.seconds[name] = time.monotonic() - begun
            self.whole[name] = self.held(name, folder / f"whole-{name}")

    def run(self, name: str, out: Path, **more) -> None:
        grid.run(name, "t", self.params, out=out, jobs=1, device="cpu", **more)

    def held(self, name: str, out: Path) -> dict[str, object]:
        found = grid.collect(name, "t", self.params, out)
        return {cell.config.key: records.content(record) for cell, record in found.runs}

    def fresh(self) -> Path:
        return Path(tempfile.mkdtemp(dir=self.folder))

    def lost(self, name: str, out: Path, again: bool = True) -> str:
        """What is missing, other than it was or too much, once the work was called again."""
        if again and (code := in_a_process(lambda: self.run(name, out))):
            return f"the next call ended with {code}"
        folder, said = runner.runs_folder(out, "t"), ""
        if self.held(name, out) != self.whole[name]:
            said = "records differ"
        elif left := [path.name for path in folder.iterdir() if path.stem not in self.whole[name]]:
            said = f"left over: {left}"
        if not said:
            shutil.rmtree(out, ignore_errors=True)
        return said


def started(work: Callable[[], None]) -> ForkProcess:
    """It at work in a process, with quiet streams."""

    def quiet() -> None:
        logging.disable()
        with open(os.devnull, "w") as sink, redirect_stdout(sink), redirect_stderr(sink):
            work()

    child = FORK.Process(target=quiet)
    child.start()
    return child


def in_a_process(work: Callable[[], None], kill_after: float | None = None) -> int | None:
    """Its exit status, negative if it was killed."""
    child = started(work)
    child.join(kill_after)
    if child.is_alive():
        child.kill()
        child.join()
    return child.exitcode


def killed(
    world: World, n: int, work: Callable[[Path], None], seconds: float, lost: Callable[[Path], str],
    prepared: Callable[[Path], object] = lambda out: None,
) -> Trials:  # fmt: skip
    """SIGKILL at random moments of some work; only those count that found it at work."""
    hit = 0
    while hit < n:
        out = world.fresh()
        prepared(out)
        if code := in_a_process(partial(work, out), world.draw.uniform(0, seconds)):
            hit += 1
            yield lost(out) if code == -9 else f"it ended with {code} before it was killed"


def grid_killed(world: World, n: int, name: str = "plain") -> Trials:
    return killed(world, n, partial(world.run, name), world.seconds[name], partial(world.lost, name))


def pack_killed(world: World, n: int) -> Trials:
    pack = partial(runner.pack, "t")

    def lost(out: Path) -> str:
        whole = world.whole["plain"]
        if world.held("plain", out) != whole or in_a_process(partial(pack, out)) or world.held("plain", out) != whole:
            return "packed records differ"
        return ""

    finished = partial(shutil.copytree, world.folder / "whole-plain", dirs_exist_ok=True)
    return killed(world, n, pack, 0.3, lost, finished)


def _extract(root: Path) -> None:
    weight = torch.randn(30, 192, generator=torch.Generator().manual_seed(0))
    backbones._BACKBONES["tiny"] = lambda: Backbone(
        lambda pixels: (pixels[:, :, :8, :8].flatten(1) / 255 @ weight.T).relu(), 30, "a" * 64, 20.0
    )
    resumable.KEPT_EVERY = -1
    data.load("small+tiny@8", root)


def features_killed(world: World, n: int) -> Trials:
    def made(root: Path) -> None:
        draw = np.random.default_rng(0)
        (root / "small").mkdir(parents=True)
        for split, size in (("train", 3000), ("test", 300)):
            images = draw.integers(0, 256, (size, 3, 8, 8), dtype=np.uint8)
            np.savez(root / "small" / f"{split}.npz", images=images, labels=np.arange(size) % 4, names=list("abcd"))

    def vectors(root: Path) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in root.glob("small/features/tiny*/*")}

    whole = world.fresh()
    made(whole)
    begun = time.monotonic()
    in_a_process(lambda: _extract(whole))
    seconds, wanted = time.monotonic() - begun, vectors(whole)
    assert wanted

    def lost(root: Path) -> str:
        return "" if in_a_process(partial(_extract, root)) == 0 and vectors(root) == wanted else "features differ"

    return killed(world, n, _extract, seconds, lost, made)


def often() -> None:
    """What a cluster does every second it does twenty times as often, and gives up early."""
    import dask

    from psllab.grid import cluster

    cluster._SECONDS, cluster._PATIENCE = 0.05, 15.0
    dask.config.set({"distributed.comm.timeouts.connect": "5s"})


class Dask:
    """A scheduler and two workers, a process each."""

    def __init__(self):
        from distributed import Scheduler

        (port,) = ports.free(1)
        self.address = f"tcp://127.0.0.1:{port}"
        self.scheduler = self._served(lambda: Scheduler(host="127.0.0.1", port=port, dashboard=False))
        self.workers = [self._worker(), self._worker()]

    def asked(self, world: World, out: Path) -> ForkProcess:
        """A grid that runs there."""

        def work() -> None:
            often()
            world.run("plain", out, cluster=self.address)

        return started(work)

    def _worker(self) -> ForkProcess:
        from distributed import Worker

        return self._served(lambda: Worker(self.address, nthreads=1, dashboard=False))

    def _served(self, made: Callable[[], Any]) -> ForkProcess:
        async def serve() -> None:
            often()
            async with made() as server:
                await server.finished()

        return started(lambda: asyncio.run(serve()))

    def killed(self, some: list[ForkProcess]) -> None:
        for process in some:
            process.kill()
            process.join()
        self.workers = [self._worker() if each in some else each for each in self.workers]


def worker_killed(world: World, n: int) -> Trials:
    """One of two workers, or both; another comes in its place."""
    servers, seconds, hit = Dask(), 30.0, 0
    while hit < n:
        out, begun = world.fresh(), time.monotonic()
        work = servers.asked(world, out)
        work.join(world.draw.uniform(0, seconds))
        if work.is_alive():
            hit += 1
            servers.killed(world.draw.sample(servers.workers, world.draw.choice([1, 1, 2])))
            work.join(PATIENCE)
            work.kill()
            work.join()
            yield f"the grid ended with {work.exitcode}" if work.exitcode else world.lost("plain", out, again=False)
        else:
            seconds = time.monotonic() - begun
    for process in (servers.scheduler, *servers.workers):
        process.kill()


def scheduler_killed(world: World, n: int) -> Trials:
    """The grid ends by itself, and what was finished is there."""
    seconds, hit = 30.0, 0
    while hit < n:
        servers, out, begun = Dask(), world.fresh(), time.monotonic()
        work = servers.asked(world, out)
        work.join(world.draw.uniform(0, seconds))
        alive = work.is_alive()
        servers.scheduler.kill()
        work.join(PATIENCE)
        for process in (work, servers.scheduler, *servers.workers):
            process.kill()
            process.join()
        if alive:
            hit += 1
            yield "the grid did not end" if work.exitcode == -9 else world.lost("plain", out)
        else:
            seconds = time.monotonic() - begun


def stage_killed(world: World, n: int) -> Trials:
    """``dvc repro`` of a stage that runs the grid, in a repository of its own; the whole group is killed."""
    call = [sys.executable, "-m", "pslcore", "grid", "plain", "--scale", "t", "--out", "out", "--jobs", "1"]
    stage = {"cmd": " ".join(call), "deps": ["params.yaml"], "outs": [{"out": {"persist": True, "cache": False}}]}
    top = Path(__file__).parents[1]
    environment = os.environ | {"PYTHONPATH": str(top), "DVC_NO_ANALYTICS": "1"}
    seconds, hit = 60.0, 0
    while hit < n:
        here = world.fresh()
        shutil.copy(world.params, here)
        (here / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"grid": stage}}))
        options = {"cwd": here, "env": environment, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run(["dvc", "init", "--no-scm", "--quiet"], check=True, **options)
        begun = time.monotonic()
        repro = subprocess.Popen(["dvc", "repro"], start_new_session=True, **options)
        with suppress(subprocess.TimeoutExpired):
            repro.wait(world.draw.uniform(0, seconds))
        if repro.poll() is None:
            hit += 1
            os.killpg(repro.pid, 9)
            repro.wait()
            options |= {"stdout": PIPE, "stderr": STDOUT, "text": True}
            again = subprocess.run(["dvc", "repro"], check=False, **options)
            told = f"dvc repro ended with {again.returncode}: {again.stdout[-500:]}"
            yield told if again.returncode else world.lost("plain", here / "out", again=False)
        else:
            seconds = time.monotonic() - begun


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A disk of 24 MiB; of them the grid asks for 16."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def _fill(disk: Path) -> None:
    with suppress(OSError), open(disk / "filler", "wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def _remount(disk: Path, how: str) -> None:
    for _ in range(100):  # busy while a file is open to be written
        if subprocess.run(["mount", "-o", f"remount,{how}", disk], stderr=subprocess.DEVNULL).returncode == 0:
            return
        time.sleep(0.01)


def _spoiled(world: World, n: int, spoil: Callable[[Path], None], mend: Callable[[Path], None]) -> Trials:
    for _ in range(n if sys.platform == "linux" and os.getuid() == 0 else 0):
        with small_disk(world.fresh()) as disk:
            work = FORK.Process(target=in_a_process, args=(partial(world.run, "plain", disk / "out"),))
            work.start()
            time.sleep(world.draw.uniform(0, world.seconds["plain"]))
            spoil(disk)
            work.join()
            mend(disk)
            yield world.lost("plain", disk / "out")


def disk_full(world: World, n: int) -> Trials:
    return _spoiled(world, n, _fill, lambda disk: (disk / "filler").unlink(missing_ok=True))


def read_only(world: World, n: int) -> Trials:
    return _spoiled(world, n, lambda disk: _remount(disk, "ro"), lambda disk: _remount(disk, "rw"))


def _flip(world: World, path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[world.draw.randrange(len(content))] ^= 1 << world.draw.randrange(8)
    path.write_bytes(content)


def records_flipped(world: World, n: int) -> Trials:
    """In records and, every third time, in archives: what is given nevertheless is what it was."""
    files, packed = world.fresh(), world.fresh()
    for out in (files, packed):
        shutil.copytree(world.folder / "whole-plain", out, dirs_exist_ok=True)
    runner.pack("t", packed)
    for number in range(n):
        out = packed if number % 3 == 0 else files
        path = world.draw.choice(sorted(out.glob("t/runs.*" if out is packed else "t/runs/*.json")))
        whole, told = path.read_bytes(), ""
        _flip(world, path)
        with suppress(records.DamagedRecord), open(os.devnull, "w") as sink, redirect_stdout(sink):
            found = world.held("plain", out)
            told = "" if found.items() <= world.whole["plain"].items() else "used silently"
        path.write_bytes(whole)
        yield told


def parts_flipped(world: World, n: int) -> Trials:
    """In what an interrupted run left: its part record, its weights."""
    tried = 0
    while tried < n:
        out = world.fresh()
        in_a_process(partial(world.run, "plain", out), world.draw.uniform(0, world.seconds["plain"]))
        if left := [*out.glob("t/runs/*.part.json"), *out.glob("t/runs/*.pt")]:
            _flip(world, world.draw.choice(left))
            tried += 1
            yield world.lost("plain", out)


def two_grids(world: World, n: int) -> Trials:
    for _ in range(n):
        out = world.fresh()
        calls = [FORK.Process(target=in_a_process, args=(partial(world.run, "plain", out),)) for _ in range(2)]
        for call in calls:
            call.start()
            time.sleep(world.draw.uniform(0, world.seconds["plain"] / 4))
        for call in calls:
            call.join()
        yield world.lost("plain", out, again=False)


def clock_jumps(world: World, n: int) -> Trials:
    def work(out: Path, draw: random.Random) -> None:
        clock = time.time
        time.time = lambda: clock() + draw.uniform(-30, 30) * 86_400
        world.run("plain", out, minutes=60)

    for seed in world.draw.sample(range(10**6), n):
        out = world.fresh()
        code = in_a_process(partial(work, out, random.Random(seed)))
        yield f"it ended with {code}" if code else world.lost("plain", out)


def canaries(world: World, n: int) -> Trials:
    """Every method asked of random pools: it names safe images alone, each once (``psllab.extend.contract``)."""
    names = strategies.names()
    for number in range(n):
        strategy, draw = strategies.get(names[number % len(names)]), world.draw
        safe = draw.randint(1, 200)
        pool = contract.Pool(
            "a random pool", safe, draw.randint(1, 60), draw.randint(1, safe), draw.randint(2, 30), draw.randint(2, 40),
            draw.choice([0, 0, draw.randint(1, 20)]), draw.random() < 0.2,
        )  # fmt: skip
        with suppress(Exception):  # whatever a first pick imports may draw random numbers
            strategy.model_copy().pick(contract.made(strategy, contract.ORDINARY))
        try:
            contract.ask(strategy, contract.made(strategy, pool, number))
            yield ""
        except contract.Broken as error:
            yield f"{names[number % len(names)]}, {pool}, seed {number}: {error}"


def crossing(world: World, n: int) -> Trials:
    """Runs on random pictures, method after method: of protected ones nothing is in what the cloud was given."""
    given = list[bytes]()

    def watched(function: Callable) -> Callable:
        def call(self, *args, **more):
            for value in (*args, *more.values()):
                with suppress(AttributeError, TypeError):
                    given.append(np.asarray(value).tobytes())
            return function(self, *args, **more)

        return call

    asked = {name: value for name, value in vars(Cloud).items() if callable(value) and not name.startswith("_")}
    names, root = [name for name in strategies.names() if name != "skactiveml"], world.fresh()
    for name, value in asked.items():
        setattr(Cloud, name, watched(value))
    try:
        for number in range(n):
            method, rng = names[number % len(names)], np.random.default_rng(world.draw.getrandbits(32))
            size, folder = int(rng.integers(40, 80)), root / f"pool{number}"
            images = rng.integers(0, 256, (size + 20, 1, 8, 8), dtype=np.uint8)
            folder.mkdir(parents=True)
            for split, rows in (("train", slice(size)), ("test", slice(size, None))):
                np.savez(folder / f"{split}.npz", images=images[rows], labels=np.arange(len(images))[rows] % 3)
            config = runs.Config.model_validate({
                "dataset": folder.name, "method": method, "teacher": "resnet8", "initial": 6, "budget": 4, "final": 14,
                "options": {"width": 4, "latents": 4} if method == "vaal" else {}, "seed": number,
                "protected_fraction": float(rng.uniform(0.3, 0.6)), "recipe": {"epochs": 1, "batch_size": 8},
            })  # fmt: skip
            given.clear()
            record = runs.run(config, root, device="cpu")
            crossed, pools = b"".join(given), runs.resolve(config, root).pools()
            uploaded = [*pools.labelled, *(index for entry in record["cycles"] for index in entry["picked"])]
            missed = [index for index in uploaded if images[index].tobytes() not in crossed]
            leaked = [index for index in pools.protected if images[index].tobytes()[:16] in crossed]
            yield f"{method}, pool {number}: missed {missed}, leaked {leaked}" if missed or leaked else ""
            shutil.rmtree(folder)
    finally:
        for name, value in asked.items():
            setattr(Cloud, name, value)


Kinds = dict[str, tuple[Callable[["World", int], Trials], str, float]]
KINDS: Kinds = {
    "SIGKILL of a grid": (grid_killed, "kills", 1.5),
    "SIGKILL of a federated run": (partial(grid_killed, name="federated"), "kills", 1),
    "SIGKILL of packing records": (pack_killed, "kills", 1.5),
    "SIGKILL of feature extraction": (features_killed, "kills", 1.5),
    "SIGKILL of a cluster's worker": (worker_killed, "kills", 1.5),
    "SIGKILL of a cluster's scheduler": (scheduler_killed, "kills", 1),
    "SIGKILL of dvc repro": (stage_killed, "kills", 0.5),
    "a disk that fills up": (disk_full, "kills", 0.5),
    "a folder that turns read-only": (read_only, "kills", 0.5),
    "a bit flipped in records and archives": (records_flipped, "flips", 1),
    "a bit flipped in part records and weights": (parts_flipped, "flips", 0.04),
    "two grids in one folder": (two_grids, "kills", 0.5),
    "a clock that jumps by up to 30 days": (clock_jumps, "kills", 0.5),
    "every method in random pools": (canaries, "pools", 1),
    "protected pictures in what the cloud is given": (crossing, "pools", 1),
}
"""The trials of each kind, the option that says how many, and times how much."""


def main(arguments: list[str], kinds: Kinds = KINDS) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("seed", 0), ("kills", 20), ("flips", 500), ("pools", 1000)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--only", nargs="+", choices=kinds, default=list(kinds), metavar="KIND")
    options, bad = parser.parse_args(arguments), 0
    with tempfile.TemporaryDirectory(prefix="torture-") as folder:
        print(
            f"{date.today()}, seed {options.seed}\n\n| kind | tried | survived | lost |\n|---|---|---|---|", flush=True
        )
        world = World(Path(folder), options.seed)
        for kind in options.only:
            trials, counted, share = kinds[kind]
            wanted, found, stopped = max(1, round(share * getattr(options, counted))), list[str](), True
            with suppress(KeyboardInterrupt):
                for told in tqdm(trials(world, wanted), kind, wanted, leave=False):
                    found.append(told)
                stopped = False
            lost = [told for told in found if told]
            bad += len(lost)
            print(f"| {kind} | {len(found)} | {len(found) - len(lost)} | {len(lost)} |", flush=True)
            for told in lost[:5]:
                print(f"{kind}: {told}", file=sys.stderr, flush=True)
            if stopped:
                return 130
    return min(bad, 1)


if __name__ == "__main__":
    torch.set_num_threads(1)
    os.fsync = lambda handle: None  # a kill takes no power away
    sys.exit(main(sys.argv[1:]))
