"""What survives between a client and a server: kills of either side, a line that is cut, packets that are lost.

This script with options (``--help``), after ``make torture``. Survived is what ended in the record of a run in one
process, with nothing uploaded twice, nothing missing in a replay of the server's log and no fault in the server's; of
the canaries, that none of a protected picture was found. Namespaces want Linux and root, and are passed over elsewhere.
"""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torture
import wire
from PIL import ExifTags, Image
from torture import FORK, Trials, World

from pslcore import runs, strategies
from pslcore.sides import protected_setting
from psllab import grid
from psllab.album import Album
from psllab.remote import link, replay, service, stub
from psllab.remote.log import Log

MINUTE = 60.0
"""Seconds for which a line is cut."""
METHODS = [name for name in strategies.names() if name != "skactiveml"]
SCORED = [name for name in METHODS if strategies.get(name).uploads]
PHASES = {b"PUT /": METHODS, b"/epochs/": ["psl"], b"/answers": SCORED, b"/exam": METHODS}
"""Upload, training and logits, scoring, metrics: what their requests say, and methods that have them."""


class Forked(wire.Process):
    """A server whose imports are paid already: it begins at once."""

    def __init__(self, folder: Path, tls: bool = False, host: str = "127.0.0.1", namespace: str = ""):
        super().__init__(folder, tls, host)
        self._namespace = namespace

    def begin(self) -> "Forked":
        certificate = (str(self.certificate), str(self.key)) if self.tls else (None, None)

        def serve() -> None:
            _enter(self._namespace)
            with self.log.open("a") as log:
                os.dup2(log.fileno(), 2)
            service.serve(self.store, self.host, self.port, *certificate, "cpu")

        self.process = FORK.Process(target=serve)
        self.process.start()
        return self

    def alive(self) -> bool:
        return self.process.is_alive()

    def end(self, sign: int = signal.SIGKILL) -> None:
        os.kill(self.process.pid, sign)
        self.process.join()


def config_of(root: Path, method: str, seed: int, epochs: int = 4) -> runs.Config:
    """Of a run on pictures of noise, 14 of them labelled in three cycles; the pictures are made.

    A row of each has one of the set's two ``marks``, the picture's place, and 255 less it.
    """
    n, fraction = 40 + seed % 41, 0.2 + seed % 31 / 100
    config = runs.Config.of({
        "dataset": f"canaries-of-{seed}", "method": method, "teacher": "resnet8",
        "initial": 6, "budget": 4, "final": 14,
        "options": {"width": 4, "latents": 4} if method == "vaal" else {}, "seed": seed, "protected_fraction": fraction,
        "recipe": {"epochs": epochs, "batch_size": 8, "lr": 0.05},
    })  # fmt: skip
    folder, rng = root / config.dataset, np.random.default_rng(seed)
    images, protected = rng.integers(0, 256, (n + 20, 1, 8, 16), dtype=np.uint8), protected_of(config, n)
    for index in range(n):
        mark = marks(seed)[index not in protected] + bytes([index, 255 - index])
        images[index, 0, 4] = np.frombuffer(mark, np.uint8)
    folder.mkdir(parents=True)
    for split, rows in (("train", slice(n)), ("test", slice(n, None))):
        np.savez(folder / f"{split}.npz", images=images[rows], labels=np.arange(n + 20)[rows] % 3)
    return config


def protected_of(config: runs.Config, n: int) -> set[int]:
    return {*protected_setting(n, config.initial, config.protected_fraction, config.seed).protected.tolist()}


def marks(seed: int) -> tuple[bytes, bytes]:
    """Of the protected pictures of a set, and of its others."""
    drawn = np.random.default_rng((seed, 1)).bytes(28)
    return drawn[:14], drawn[14:]


def work(config: runs.Config, root: Path, folder: Path | None, way: link.Link, namespace: str = "") -> None:
    _enter(namespace)
    runs.run(config, root, folder, "cpu", cloud=stub.Remote(way, folder))


def lost(config: runs.Config, root: Path, folder: Path, server: wire.Process) -> str:
    """What is missing, other than in a run in one process, or there twice."""
    path = folder / f"{config.key}.json"
    if not path.exists():
        return "no record"
    if wire.said(grid.read(path)) != wire.said(runs.run(config, root, device="cpu")):
        return "records differ"
    (album,) = server.albums()
    held, log = set[str](), Log(album)
    for line in log.lines:
        if line["kind"] == "dropped":  # asked to forget what was scored, so that it goes up again if it must
            held -= {other["id"] for other in log.of("unlabelled")}
        elif line["kind"] in replay.RECEIVED:
            if line["id"] in held:
                return f"a message of kind {line['kind']} twice"
            held.add(line["id"])
    if [sum(line["items"] for line in log.of(kind)) for kind in ("labelled", "test")] != [14, 20]:
        return "pictures twice"
    if not all(same for _, same in replay.replay(album, "cpu")):
        return "the replay ends otherwise"
    return f"faults: {server.faults()[:2]}" if server.faults() else ""


def killed(world: World, n: int, victim: str) -> Trials:
    """SIGKILL at random moments, up to three in a run; only those count that found the client at work."""
    root, done = world.folder / "data", 0
    while done < n:
        folder, hits = world.fresh(), 0
        config = config_of(root, METHODS[done % len(METHODS)], world.draw.randrange(10**6), 20)
        server = Forked(world.fresh()).begin().ready()
        client = partial(work, config, root, folder, server.link())
        process = torture.started(client)
        for _ in range(3):
            process.join(world.draw.uniform(0, 3))
            if not process.is_alive() or done + hits == n:
                break
            hits += 1
            if victim == "server":
                server.end()
                time.sleep(world.draw.uniform(0, 0.5))
                server.begin()
            else:
                process.kill()
                process.join()
                process = torture.started(client)
        process.join(600)
        told = lost(config, root, folder, server)
        server.end()
        yield from [told] * hits
        done += hits


def line_cut(world: World, n: int) -> Trials:
    """In every phase in turn, before the server has the request and after, for a minute; each comes twice at least."""
    root = world.folder / "data"
    for number in range(n):
        phase, methods = [*PHASES.items()][number % len(PHASES)]
        config = config_of(root, methods[number // len(PHASES) % len(methods)], world.draw.randrange(10**6))
        folder, server = world.fresh(), Forked(world.fresh()).begin().ready()
        tap = wire.Tap(server.port)
        tap.cut(phase, world.draw.randrange(2), MINUTE, forwarded=number // len(PHASES) % 2 == 1)
        torture.in_a_process(partial(work, config, root, folder, server.link(url=tap.url)), 600)
        told = lost(config, root, folder, server) if tap.cuts else f"{phase} was never said"
        server.end()
        tap.close()
        yield told


# Two namespaces


def _enter(namespace: str) -> None:
    if namespace:
        with open(f"/run/netns/{namespace}") as file:
            assert ctypes.CDLL(None).setns(file.fileno(), 0) == 0


@contextmanager
def two_machines(delay: float, loss: float, draw: Callable[[], float]) -> Iterator[tuple[str, str, str]]:
    """Two network namespaces, and packets between them that come late or not at all: their names, the second's address.

    Two tunnels whose other ends are held here do what ``tc netem`` would, which not every kernel has.
    """
    import fcntl
    import struct

    names, tunnels = [f"psl{os.getpid()}{side}" for side in "ab"], []

    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True)

    def carry(source: int, sink: int) -> None:
        def later(packet: bytes) -> None:
            with suppress(OSError):
                os.write(sink, packet)

        with suppress(OSError):
            while packet := os.read(source, 1 << 16):
                if draw() >= loss:
                    threading.Timer(delay, later, (packet,)).start()

    try:
        for number, name in enumerate(names):
            ip("netns", "add", name)
            tunnels.append(os.open("/dev/net/tun", os.O_RDWR))
            fcntl.ioctl(tunnels[-1], 0x400454CA, struct.pack("16sH", name.encode(), 0x1001))  # TUNSETIFF: TUN, NO_PI
            ip("link", "set", name, "netns", name)
            there = ["-n", name]
            ip(*there, "addr", "add", f"10.77.0.{number + 1}/24", "dev", name)
            ip(*there, "link", "set", name, "up")
            ip(*there, "link", "set", "lo", "up")
        for ends in (tunnels, tunnels[::-1]):
            threading.Thread(target=carry, args=ends, daemon=True).start()
        yield *names, "10.77.0.2"
    finally:
        for tunnel in tunnels:
            os.close(tunnel)
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False)


def namespaces() -> bool:
    """Whether network namespaces and tunnels can be made here."""
    tools = shutil.which("ip") and shutil.which("unshare") and os.path.exists("/dev/net/tun") and os.getuid() == 0
    return bool(tools) and subprocess.run(["unshare", "-n", "true"], check=False).returncode == 0


def far_apart(world: World, n: int) -> Trials:
    """Two namespaces, 50 ms each way, one packet in a hundred lost; TLS."""
    root = world.folder / "data"
    if not namespaces():
        return
    with two_machines(0.05, 0.01, world.draw.random) as (here, there, address):
        for number in range(n):
            config = config_of(root, METHODS[number % len(METHODS)], world.draw.randrange(10**6))
            folder, server = world.fresh(), Forked(world.fresh(), True, address, there).begin()
            torture.in_a_process(partial(work, config, root, folder, server.link(), here), 600)
            told = lost(config, root, folder, server)
            server.end()
            yield told


# Canaries


def canaries(world: World, n: int) -> Trials:
    """Marks of protected pictures are nowhere in a server's memory, store, log and traffic; of labelled ones they are.

    Every eighth pool is an album of JPEG files, with marks in names and EXIF; the others are data sets.
    """
    server = wire.Process(world.fresh(), tls=False).begin()
    tap, known = wire.Tap(server.port), set[Path]()
    os.environ |= {"PSLCORE_TOKEN": server.tokens["ada"], "XDG_DATA_HOME": str(world.fresh())}

    def places() -> dict[str, list[bytes]]:
        (album,) = set(server.albums()) - known
        known.add(album)
        files = [path for path in album.rglob("*") if path.is_file()]
        return {
            "memory": [*wire.memory(server.process.pid)], "log": [server.log.read_bytes()],
            "traffic": [bytes(tap.passed)], "store": [str(path).encode() + path.read_bytes() for path in files],
        }  # fmt: skip

    try:
        server.ready()
        for number in range(n):
            seed = world.draw.randrange(10**6)
            tap.passed.clear()
            pool = an_album if number % 8 == 7 else a_set
            told = pool(world, number, seed, stub.Remote(server.link(url=tap.url)), places)
            told = told or "; ".join(server.faults()[:1])
            yield told and f"pool {number}, seed {seed}: {told}"
    finally:
        server.end()
        tap.close()


def a_set(world: World, number: int, seed: int, remote: stub.Remote, places: Callable) -> str:
    root = world.folder / "data"
    config = config_of(root, METHODS[number % len(METHODS)], seed, 1)
    record, pools = runs.run(config, root, device="cpu", cloud=remote), runs.resolve(config, root).pools()
    labelled = {*pools.labelled.tolist(), *(index for entry in record["cycles"] for index in entry["picked"])}
    may = labelled | ({*pools.safe.tolist()} if config.method in SCORED else set())
    protected, safe = marks(seed)
    hidden = [protected, np.frombuffer(protected, np.uint8).astype(np.float32).tobytes(), config.dataset.encode()]
    for place, parts in places().items():
        found = {there[0] for there in wire.after(safe, parts, 2) if sum(there) == 255}  # else freed and half gone
        leaked = [len(mark) for mark in hidden if wire.after(mark, parts, 0)]
        if leaked or not (set() if place == "log" else labelled) <= found <= may:
            return f"{config.method}, {place}: leaked {leaked}, found {sorted(found)} of {sorted(labelled)}"
    return ""


def an_album(world: World, number: int, seed: int, remote: stub.Remote, places: Callable) -> str:
    folder, rows, mark = world.fresh(), {}, f"CANARY-{seed}-"
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = mark
    for index in range(24):
        path = folder / ("private" if index % 2 else "shared") / f"{mark}{index}.jpg"
        path.parent.mkdir(exist_ok=True)
        noise = np.random.default_rng((seed, index)).integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(noise).save(path, quality=95, exif=exif)
        rows[f"{path.parent.name}/{path.name}"] = np.asarray(Image.open(path).convert("RGB"))[4, :, 0].tobytes()
    method = ("psl", "random", "entropy", "badge", "alfa_mix")[number // 8 % 5]
    learning = {"size": 16, "method": method, "seed": seed, "recipe": {"epochs": 1, "batch_size": 8, "lr": 0.05}}
    more = {
        "out": world.fresh(),
        "cloud": remote.link.url,
        "protect": {"patterns": ["private/*"]},
        "learning": learning,
    }
    with Album(folder, classes=("a", "b", "c"), warn=False, **more) as album:
        for _ in range(2):
            for place, picture in enumerate(album.next(4)):
                album.answer(picture, "abc"[place % 3], by="somebody")
            album.train()
        labelled = {*album.labels()}
    own = [path.read_bytes() for path in folder.glob("*/*")]
    if len(wire.after(mark.encode(), [*map(str.encode, rows)], 3)) < 12 or not wire.after(mark.encode(), own, 0):
        return "the marks are not in names and EXIF"
    for place, parts in places().items():
        found = {name for name, row in rows.items() if wire.after(row, parts, 0)}
        few = not found and place != "log"  # what checks the estimate stays at home, and memory that is free fades
        if wire.after(mark.encode(), parts, 0) or not found <= labelled or few:
            return f"album, {method}, {place}: found {sorted(found)} of {sorted(labelled)}, or names"
    return ""


KINDS = {
    "SIGKILL of a server": (partial(killed, victim="server"), "kills", 2.5),
    "SIGKILL of its client": (partial(killed, victim="client"), "kills", 2.5),
    "a line cut for a minute, in every phase": (line_cut, "kills", 0.8),
    "50 ms and a packet in a hundred lost": (far_apart, "kills", 0.4),
    "canaries of protected pictures, on a server": (canaries, "pools", 0.2),
}

if __name__ == "__main__":
    torch.set_num_threads(1)
    os.fsync = lambda handle: None  # a kill takes no power away
    sys.exit(torture.main(sys.argv[1:], KINDS))
