"""What a run survives: killed, cut off, disturbed at random moments, it must end in the records of an undisturbed one.

``python tools/torture.py [KIND ...] [--times 10] [--seed 0]`` prints a table: kind, tried, survived, lost. The last
says what was lost, and the exit status is 1 if anything was. ``disk``, ``read-only`` and ``machines`` want root on
Linux; ``features`` the extra of that name. An hour or so; some of it runs in the tests.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import yaml

from pslcore import runs, strategies
from pslcore.runs import records
from pslcore.runs.settings import Config
from pslcore.sides import Cloud
from psllab.grid import archive

TOP = Path(__file__).parents[1]
RECIPE = {"epochs": 3, "batch_size": 32, "lr": 0.05, "padding": 1, "flip": False}
BASE = {"dataset": "digits", "teacher": "resnet8", "initial": 20, "budget": 10, "final": 60, "recipe": RECIPE}
METHODS = {"PSL": {"method": "psl"}, "Random": {"method": "random"}}
SECTIONS = {
    "fig": {"methods": METHODS, "seeds": 2},
    "federated": {"config": {"clients": 3, "rounds": 2, "initial": 30, "budget": 15}, "methods": METHODS, "seeds": 1},
}
JUMPS = """
import random, time
real, jumps = time.time, random.Random(0)
time.time = lambda: real() + jumps.choice([0, 0, 86_400, -86_400])
"""
FEATURES = "from pslcore import data; data.load('digits+efficientnet_lite0@32', 'data')"


class Lost(Exception):
    """What did not come out as without the disturbance."""


class Field:
    """A folder to work in, its random moments, and the records of runs that nobody disturbed."""

    def __init__(self, folder: Path, seed: int):
        self.folder, self.rng, self._number = folder, random.Random(seed), 0
        self.params = folder / "params.yaml"
        self.params.write_text(yaml.safe_dump({"scales": {"quick": {"base": BASE} | SECTIONS}}))
        self._whole: dict[str, dict] = {}

    def new(self) -> Path:
        """An empty folder."""
        self._number += 1
        made = self.folder / str(self._number)
        made.mkdir()
        return made

    def grid(self, out: Path, experiment: str = "fig", *more: str) -> list[str]:
        """The command of a grid, whose records go to ``out``."""
        return [
            sys.executable, "-m", "pslcore", "grid", experiment, "--params", str(self.params), "--out", str(out),
            "--jobs", "2", *more,
        ]  # fmt: skip

    def whole(self, experiment: str = "fig") -> dict:
        """What an undisturbed grid leaves."""
        if experiment not in self._whole:
            out = self.new()
            run(self.grid(out, experiment))
            self._whole[experiment] = left(out)
        return self._whole[experiment]

    def compare(self, out: Path, experiment: str = "fig") -> None:
        """Raises ``Lost`` if the records, or anything else in the folder, are not as ``whole``."""
        if left(out) != self.whole(experiment):
            raise Lost(f"records of {experiment} differ")
        if extra := [path.name for path in (out / "quick/runs").iterdir() if path.suffix != ".json"]:
            raise Lost(f"left behind: {', '.join(extra)}")


Kind = Callable[[Field], Iterator[int]]
"""Disturbs again and again; gives how often, once the records are known to be whole."""


def left(out: Path) -> dict:
    """The contents of the records in a folder, by name; ``DamagedRecord`` if one is not whole."""
    return {path.name: records.content(records.read(path)) for path in (out / "quick/runs").glob("*.json")}


def started(command: list[str], **more) -> subprocess.Popen:
    environment = os.environ | {"PYTHONPATH": str(TOP), "OMP_NUM_THREADS": "1"} | more.pop("env", {})
    return subprocess.Popen(
        command, cwd=more.pop("cwd", TOP), env=environment, start_new_session=True, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **more,
    )  # fmt: skip


def run(command: list[str], **more) -> str:
    """To its end; ``Lost`` with what it printed if that is a failure."""
    process = started(command, **more)
    output, _ = process.communicate()
    if process.returncode:
        raise Lost(f"exit {process.returncode}: {output.strip().splitlines()[-1:]}")
    return output


def killed(field: Field, command: list[str], seconds: float, **more) -> float:
    """Killed with all its children after a random part of the seconds; the time that it ran, all of it if it ended."""
    process, begun = started(command, **more), time.monotonic()
    with suppress(subprocess.TimeoutExpired):
        process.communicate(timeout=field.rng.uniform(0.3, 1) * seconds)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    return time.monotonic() - begun


def timed(command: list[str], **more) -> float:
    begun = time.monotonic()
    run(command, **more)
    return time.monotonic() - begun


def _grids(experiment: str, *more: str) -> Kind:
    """Kills of a grid on one folder, which at last may end; then on a new folder."""

    def kind(field: Field) -> Iterator[int]:
        field.whole(experiment)
        seconds = timed(field.grid(field.new(), experiment, *more))
        while True:
            out = field.new()
            kills = field.rng.randint(1, 4)
            for _ in range(kills):
                killed(field, field.grid(out, experiment, *more), seconds)
                left(out)  # whatever stands, stands whole
            run(field.grid(out, experiment, *more))
            field.compare(out, experiment)
            yield kills

    return kind


def workers(field: Field) -> Iterator[int]:
    """Workers of a cluster killed one by one while the grid runs."""
    seconds = timed(field.grid(field.new(), "fig", "--cluster", "local"))
    while True:
        out = field.new()
        process = started(field.grid(out, "fig", "--cluster", "local"))
        time.sleep(field.rng.uniform(0.4, 0.9) * seconds)
        found = subprocess.run(["pgrep", "-s", str(process.pid), "-f", "spawn_main"], capture_output=True, text=True)
        for victim in found.stdout.split()[-1:]:
            with suppress(ProcessLookupError):
                os.kill(int(victim), signal.SIGKILL)
        output, _ = process.communicate()
        if process.returncode:
            raise Lost(output.strip().splitlines()[-1])
        field.compare(out)
        yield 1


def pack(field: Field) -> Iterator[int]:
    field.whole()
    seconds = 0.0
    while True:
        out = field.new()
        run(field.grid(out))
        command = [sys.executable, "-m", "pslcore", "pack", "--scale", "quick", "--out", str(out)]
        keep = out.with_name(f"{out.name}-kept")
        shutil.copytree(out, keep)
        seconds = seconds or timed([*command[:-1], str(keep)])
        for _ in range(5):
            killed(field, command, seconds)
        run(command)
        packed = {f"{key}.json": record for part in archive.parts(out / "quick/runs") for key, record in
                  archive.sealed(part).items()}  # fmt: skip
        opened = {name: records.content(records.opened(dict(record), name)) for name, record in packed.items()}
        if opened != field.whole():
            raise Lost("the archive holds other records")
        yield 5


def features(field: Field) -> Iterator[int]:
    """An extraction of features, killed; the file of features is the same in the end."""

    def made(folder: Path) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in folder.rglob("*") if path.suffix in (".npy", ".bin")}

    whole = field.new()
    seconds = timed([sys.executable, "-c", FEATURES], cwd=whole)
    if not made(whole):
        raise Lost("no features were written")
    while True:
        folder = field.new()
        kills = field.rng.randint(1, 4)
        for _ in range(kills):
            killed(field, [sys.executable, "-c", FEATURES], seconds, cwd=folder)
        run([sys.executable, "-c", FEATURES], cwd=folder)
        if made(folder) != made(whole):
            raise Lost("other features")
        yield kills


def flips(field: Field) -> Iterator[int]:
    """One bit of a record, or of an archive: refused in a sentence, or the same as before."""
    out = field.new()
    run(field.grid(out))
    packed = out.with_name(f"{out.name}-packed")
    shutil.copytree(out, packed)
    run([sys.executable, "-m", "pslcore", "pack", "--scale", "quick", "--out", str(packed)])
    files = [*(out / "quick/runs").glob("*.json"), *archive.parts(packed / "quick/runs")]

    def said(path: Path) -> dict:
        if path.suffix == ".json":
            return {path.stem: records.read(path)}
        return {key: records.opened(dict(record), key) for key, record in archive.sealed(path).items()}

    while True:
        path = field.rng.choice([file for file in files if file.exists()])
        before, payload = said(path), bytearray(path.read_bytes())
        place = field.rng.randrange(len(payload) * 8)
        payload[place // 8] ^= 1 << place % 8
        path.write_bytes(payload)
        try:
            if said(path) != before:
                raise Lost(f"bit {place} of {path.name} changed what it says")
        except records.DamagedRecord:
            pass
        payload[place // 8] ^= 1 << place % 8
        path.write_bytes(payload)
        yield 1


def together(field: Field) -> Iterator[int]:
    """Two grids on one folder at once."""
    while True:
        out = field.new()
        both = [started(field.grid(out)) for _ in range(2)]
        for process in both:
            output, _ = process.communicate()
            if process.returncode:
                raise Lost(output.strip().splitlines()[-1])
        field.compare(out)
        yield 1


def machines(field: Field) -> Iterator[int]:
    """Two on one folder, one with a name and processes of its own, and killed."""
    own = ["--uts", "--pid", "--fork", "--kill-child", "--mount-proc"]
    away = ["unshare", *own, "sh", "-c", 'hostname away; exec "$@"', "sh"]
    seconds = timed(field.grid(field.new()))
    while True:
        out = field.new()
        here = started(field.grid(out))
        killed(field, [*away, *field.grid(out)], seconds)
        output, _ = here.communicate()
        if here.returncode:
            raise Lost(output.strip().splitlines()[-1])
        run([*away, *field.grid(out)])
        field.compare(out)
        yield 1


def clock(field: Field) -> Iterator[int]:
    """Every process sees the time jump by a day."""
    (field.folder / "sitecustomize.py").write_text(JUMPS)
    while True:
        out = field.new()
        run(field.grid(out), env={"PYTHONPATH": f"{field.folder}:{TOP}"})
        field.compare(out)
        yield 1


@contextmanager
def _mounted(folder: Path) -> Iterator[None]:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def _disk(disturb: Callable[[Path], None], mend: Callable[[Path], None]) -> Kind:
    def kind(field: Field) -> Iterator[int]:
        seconds = timed(field.grid(field.new()))
        while True:
            out = field.new()
            with _mounted(out):
                process = started(field.grid(out))
                time.sleep(field.rng.uniform(0.2, 1) * seconds)
                disturb(out)
                output, _ = process.communicate()
                if "Traceback" in output:
                    raise Lost(f"no sentence: {output.strip().splitlines()[-1]}")
                mend(out)
                run(field.grid(out))
                field.compare(out)
            yield 1

    return kind


def _fill(folder: Path) -> None:
    with suppress(OSError), (folder / "filler").open("wb") as file:
        while True:
            file.write(bytes(1 << 16))
            file.flush()


def _remount(mode: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        command = ["mount", "-o", f"remount,{mode}", str(folder)]
        for _ in range(500):  # refused as long as a file is being written
            if subprocess.run(command, stderr=subprocess.DEVNULL).returncode == 0:
                return
            time.sleep(0.01)
        subprocess.run(command, check=True)

    return change


def canaries(field: Field) -> Iterator[int]:
    """Random pools of random pictures, all methods in turn: no protected one in anything that the cloud was given."""
    given: list[bytes] = []

    def watched(function):
        def call(self, *args, **more):
            for value in (*args, *more.values()):
                with suppress(AttributeError, TypeError):
                    given.append(np.asarray(value).tobytes())
            return function(self, *args, **more)

        return call

    public = {name: value for name, value in vars(Cloud).items() if callable(value) and not name.startswith("_")}
    for name, value in public.items():
        setattr(Cloud, name, watched(value))
    root = field.new()
    try:
        for number, method in enumerate(_forever(sorted({*strategies.names()} - {"skactiveml"}))):
            rng = np.random.default_rng(field.rng.getrandbits(32))
            n, name = int(rng.integers(40, 80)), f"pool{number}"
            images = rng.integers(0, 256, (n + 20, 1, 8, 8), dtype=np.uint8)
            labels = np.arange(n + 20) % 3
            (root / name).mkdir()
            for split, rows in (("train", slice(n)), ("test", slice(n, None))):
                np.savez(root / name / f"{split}.npz", images=images[rows], labels=labels[rows])
            given.clear()
            options = {"width": 4, "latents": 4} if method == "vaal" else {}
            config = Config(
                dataset=name, method=method, options=options, teacher="resnet8", initial=6, budget=4, final=14,
                protected_fraction=float(rng.uniform(0.3, 0.6)), recipe=RECIPE | {"epochs": 1, "batch_size": 8},
                seed=int(rng.integers(1000)),
            )  # fmt: skip
            record = runs.run(config, root, device="cpu")
            crossed = b"".join(given)
            labelled = {index for entry in record["cycles"] for index in entry["picked"]}
            protected = runs.resolve(config, root).pools().protected
            if not all(images[index].tobytes() in crossed for index in labelled):
                raise Lost(f"{name}, {method}: the search missed a labelled picture")
            if any(images[index].tobytes()[:16] in crossed for index in protected):
                raise Lost(f"{name}, {method}: a protected picture crossed")
            shutil.rmtree(root / name)
            yield 1
    finally:
        for name, value in public.items():
            setattr(Cloud, name, value)


def _forever(some: list[str]) -> Iterator[str]:
    while True:
        yield from some


def dvc(field: Field) -> Iterator[int]:
    """A stage of the pipeline, in a clone."""
    clone = field.new() / "clone"
    run(["git", "clone", "--quiet", str(TOP), str(clone)])
    params = yaml.safe_load((clone / "params.yaml").read_text())
    params["scales"]["quick"]["base"]["recipe"]["epochs"] = 2
    (clone / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    command, own = ["dvc", "repro", "--single-item", "buckets"], {"cwd": clone, "env": {"PYTHONPATH": str(clone)}}
    seconds = timed(command, **own)
    whole = left(clone / "outputs")
    while True:
        for name in ("outputs/quick", ".dvc/cache"):
            shutil.rmtree(clone / name, ignore_errors=True)
        kills = field.rng.randint(1, 3)
        for _ in range(kills):
            killed(field, command, seconds, **own)
        run(command, **own)
        if left(clone / "outputs") != whole:
            raise Lost("records differ")
        yield kills


KINDS: dict[str, Kind] = {
    "grid": _grids("fig"),
    "federated": _grids("federated"),
    "cluster": _grids("fig", "--cluster", "local"),
    "workers": workers,
    "pack": pack,
    "features": features,
    "dvc": dvc,
    "together": together,
    "machines": machines,
    "clock": clock,
    "disk": _disk(_fill, lambda folder: (folder / "filler").unlink(missing_ok=True)),
    "read-only": _disk(_remount("ro"), _remount("rw")),
    "flips": flips,
    "canaries": canaries,
}
CHEAP = {"flips": 50, "canaries": 100}
"""Kinds of which a minute holds so many times more."""


def torture(name: str, times: int, seed: int) -> tuple[int, list[str]]:
    """One kind, begun anew when something was lost: how often it was tried, and what was lost."""
    tried, lost = 0, list[str]()
    with tempfile.TemporaryDirectory(prefix="psl-torture-") as scratch:
        field = Field(Path(scratch), seed)
        while tried < times and len(lost) < 5:
            try:
                for survived in KINDS[name](field):
                    tried += survived
                    if tried >= times:
                        break
            except (Lost, records.DamagedRecord) as error:
                lost.append(str(error))
                tried += 1
    return tried, lost


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"of {', '.join(KINDS)} (default: all)")
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print("| kind | tried | survived | lost |\n|---|---|---|---|")
    every = []
    for name in options.kinds or KINDS:
        tried, lost = torture(name, options.times * CHEAP.get(name, 1), options.seed)
        every += lost
        print(f"| {name} | {tried:,} | {tried - len(lost):,} | {'; '.join(lost) or '–'} |", flush=True)
    return bool(every)


if __name__ == "__main__":
    sys.exit(main())
