"""The runs of a grid on the workers of a Dask cluster: no disk is shared, files come back over the network.

Every second a worker hands over what its run has kept, so that another goes on from there when it dies, and the next
grid when this one is stopped. Runs go only to workers with the same code, libraries and data.
"""

import asyncio
import hashlib
import logging
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import CancelledError, Executor
from contextlib import closing, suppress
from importlib import import_module
from pathlib import Path
from queue import Empty, SimpleQueue
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any
from uuid import uuid4

from distributed import Client, Future, Queue, Variable, Worker, WorkerPlugin, get_client, get_worker

import psllab
from pslcore.recipe import native_bfloat16
from pslcore.runs import Config, load, prepare_process, records
from psllab import features
from psllab.features import backbones
from psllab.grid.executors import Attempt
from psllab.grid.precision import Settled

ENGINES = {
    "local": ("distributed", "LocalCluster"),
    "slurm": ("dask_jobqueue", "SLURMCluster"),
    "pbs": ("dask_jobqueue", "PBSCluster"),
    "kubernetes": ("dask_kubernetes.operator", "KubeCluster"),
}
"""What can start workers here, all but the first as its own configuration says."""
FIT, BFLOAT16 = "psl", "psl-bfloat16"
"""Resources of a worker: it may run anything, and in bfloat16, too, since it computes that itself."""
_SECONDS = 1.0
_PATIENCE = 60.0
_AWAY = "the cluster's scheduler went away: what was finished is kept; call it again."

Files = dict[str, bytes]
"""What a run has kept in its folder, by name."""


class Fitness(WorkerPlugin):
    """Gives a worker, also one that joins later, the resources that runs ask for, if it has what they need."""

    def __init__(self, root: str | Path, device: str, sets: Mapping[str, str], weights: Mapping[str, str]):
        self.root, self.device, self.sets, self.weights = root, device, sets, weights
        self.code, self.versions, self.trouble = _code(), records.versions(), ""

    async def setup(self, worker: Worker) -> None:
        try:
            native = await asyncio.to_thread(self._examine)
        except Exception as error:  # whatever it lacks
            self.trouble = str(error)
            print(f"No run comes here: {self.trouble}")
        fit = not self.trouble
        await worker.set_resources(**{FIT: float(fit), BFLOAT16: float(fit and native)})

    def _examine(self) -> bool:
        if _code() != self.code:
            raise ValueError("its code is another one: install the same version.")
        if other := sorted(
            f"{name} {found}" for name, found in records.versions().items() if found != self.versions[name]
        ):
            raise ValueError(f"it has {', '.join(other)}: install the versions of the machine that asks.")
        for name, identity in self.weights.items():
            if backbones.backbone(name).identity != identity:
                raise ValueError(f"its weights of {name} are others: use the same files.")
        for name, fingerprint in self.sets.items():
            if "+" in name and (lacks := features.missing(name, self.root)):
                raise ValueError(f"{lacks.rstrip('.')}, or copy them there.")
            if load(name, self.root).fingerprint != fingerprint:
                raise ValueError(f"its {name} under {self.root} is another data set: copy it there.")
        return native_bfloat16(prepare_process(self.device))


class Cluster:
    """The workers of a cluster that fit.

    Parameters
    ----------
    where : str
        The address of a scheduler (``tcp://``, ``tls://``), or what is started: one of ``ENGINES``.
    jobs : int
        How many workers are started.
    root, device
        As for ``runs.run``, on the workers.
    sets, weights : mapping
        The fingerprint of each data set that they need, the identity of each backbone.

    Attributes
    ----------
    native, mixed : bool
        Whether a worker computes bfloat16 itself, and whether another does not.

    Raises
    ------
    ValueError, OSError
        In one sentence: unknown, not installed, no answer, no worker, none that fits.
    """

    def __init__(
        self, where: str, jobs: int, root: str | Path, device: str, sets: Mapping[str, str],
        weights: Mapping[str, str] = MappingProxyType({}),
    ):  # fmt: skip
        self._engine = None if "://" in where else _started(where, jobs)
        self._device, self._root, self._session, self._asked = device, root, f"psl-{uuid4().hex[:8]}", -_SECONDS
        try:
            self._client = Client(self._engine or where, timeout=_PATIENCE, set_as_default=False)
            self._kept = Queue(self._session, client=self._client)
            troubles = self._examined(Fitness(root, device, sets, dict(weights)))
        except OSError as error:  # a timeout is one
            self.close()
            raise OSError(f"{where}: no Dask scheduler with a worker answers ({error}): start both there.") from None
        for worker, trouble in troubles.items():
            if trouble:
                print(f"{worker} gets no run: {trouble}")
        if not self._fit:
            self.close()
            raise ValueError(f"{where}: none of its workers can run this.")
        able = [bool(resources[BFLOAT16]) for resources in self._fit.values()]
        self.native, self.mixed = any(able), len(set(able)) > 1

    def _examined(self, fitness: Fitness) -> dict[str, str]:
        """What the workers lack that do not fit; asked again where one goes away meanwhile."""
        end = time.monotonic() + _PATIENCE
        while True:
            try:
                self._client.wait_for_workers(1, timeout=_PATIENCE)
                self._client.register_plugin(fitness, name=FIT)
                found = self._client.run(lambda dask_worker: getattr(dask_worker.plugins.get(FIT), "trouble", ""))
                self._fit = self._workers()
                if self._fit or any(found.values()):
                    return found
                raise OSError("its workers went away")
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(_SECONDS)

    def close(self) -> None:
        """Leave it; workers that were started here end."""
        for part in (getattr(self, "_client", None), self._engine):
            if part is not None:
                part.close()

    def answers(
        self, attempt: Attempt, tasks: Iterator[tuple[int, Config]], n: int, folder: Path, deadline: float | None
    ) -> Iterator[Any]:
        """What comes of each attempt, as they end; its files are in the folder by then."""
        ended, going, known = SimpleQueue[Future](), dict[Future, tuple[int, Config]](), set(self._fit)

        def submit(number: int, config: Config) -> None:
            left = None if deadline is None else deadline - time.time()
            settled = isinstance(config.recipe, Settled) and config.recipe.settled == "bfloat16"
            future = self._client.submit(
                _there, attempt, number, config, self._root, self._device, left, self._session, pure=False,
                key=f"{self._session}-{config.key}-{uuid4().hex[:8]}", resources={BFLOAT16 if settled else FIT: 1},
            )  # fmt: skip
            going[future] = number, config
            future.add_done_callback(ended.put)

        try:
            while True:
                while len(going) < 2 * self.slots() and (task := next(tasks, None)) is not None:  # one waits for each
                    self._newest(task[1].key).set(_files(folder, task[1].key))
                    submit(*task)
                if not going:
                    return
                with suppress(Empty):
                    future = ended.get(timeout=_SECONDS)
                    if future in going:
                        number, config = going.pop(future)
                        yield self._ended(future, number, config.key, folder)
                for key, files in self._kept.get(batch=True):
                    if any(key == config.key for _, config in going.values()):
                        _put(folder, key, files)
                if fresh := set(self._fit) - known:  # Dask does not give them what waited for a worker to come
                    known |= fresh
                    placed = {key for keys in self._client.processing().values() for key in keys}
                    for future in [each for each in going if each.key not in placed and not each.done()]:
                        task = going.pop(future)
                        future.cancel()
                        submit(*task)
        except OSError as error:
            raise error if error.errno else OSError(_AWAY) from None  # those of Dask have no number
        finally:
            with suppress(OSError):
                self._client.cancel(list(going))

    def _ended(self, future: Future, number: int, key: str, folder: Path) -> Any:
        """What came of an attempt; trouble, if its workers died again and again."""
        if future.status not in ("finished", "error"):
            raise OSError(_AWAY)
        if (error := future.exception()) is not None:
            return number, (f"{type(error).__name__}: {error}", ""), 0.0
        answer, files = future.result()
        _put(folder, key, files)
        self._newest(key).delete()
        return answer

    def _newest(self, key: str) -> Variable:
        return Variable(f"{self._session}-{key}", client=self._client)

    def executor(self) -> Executor:
        """For other work than runs, one piece a worker."""
        return self._client.get_executor(pure=False, resources={FIT: 1})

    def slots(self) -> int:
        """How many workers fit, as it was a second ago at most."""
        if time.monotonic() - self._asked > _SECONDS:
            self._fit, self._asked = self._workers(), time.monotonic()
        return max(1, len(self._fit))

    def _workers(self) -> dict[str, dict[str, float]]:
        """The resources of those that fit, by address."""
        found = self._client.scheduler_info(n_workers=-1)["workers"]
        return {at: worker["resources"] for at, worker in found.items() if worker["resources"].get(FIT)}


def extract(name: str, root: str | Path, where: str, jobs: int) -> None:
    """Have workers compute features (``features.load``): they need the weights, and are sent the pictures."""
    _, backbone, _ = features.parse(features.known(name))
    weights = {backbone: backbones.backbone(backbone).identity}
    with closing(Cluster(where, jobs, root, "cpu", {}, weights)) as cluster, cluster.executor() as executor:
        try:
            features.load(name, root, executor, cluster.slots())
        except CancelledError:
            raise OSError(_AWAY) from None


def _started(name: str, jobs: int) -> Any:
    """A cluster of this machine's, or of a batch system that knows it."""
    if name not in ENGINES:
        raise ValueError(f"cluster {name!r} is no address (tcp://host:port): give one, or {', '.join(ENGINES)}.")
    module, engine = ENGINES[name]
    try:
        start = getattr(import_module(module), engine)
    except ImportError:
        raise ValueError(f"cluster {name!r} needs {module.partition('.')[0].replace('_', '-')}: install it.") from None
    if name == "local":
        return start(n_workers=jobs, threads_per_worker=1, dashboard_address=None, silence_logs=logging.ERROR)
    cluster = start()
    cluster.scale(jobs)
    return cluster


def _there(
    attempt: Attempt, number: int, config: Config, root: str | Path, device: str, left: float | None, session: str
) -> tuple[Any, Files]:
    """An attempt on a worker, from the newest files, which may be those of a worker that died; and its own files."""
    worker, client, key, over = get_worker(), get_client(), config.key, threading.Event()
    until = _Until(float("inf") if left is None else time.time() + left)
    newest, kept = Variable(f"{session}-{key}", client=client), Queue(session, client=client)
    task = worker.get_current_task()

    def wanted() -> bool:
        return getattr(worker.state.tasks.get(task), "state", "") == "executing"

    def watch(last: Files) -> None:
        while not over.wait(_SECONDS):
            if not wanted():
                until.past = True
            elif (now := _files(folder, key)) != last:
                with suppress(OSError):  # the network is away: tried again
                    newest.set(now)
                    kept.put((key, now))
                    last = now

    files: Files | None = None
    while files is None:
        try:
            files = newest.get(timeout=_PATIENCE)
        except OSError:  # the same
            if not wanted():
                raise
    with TemporaryDirectory(prefix="psl-") as name:
        folder = Path(name)
        _put(folder, key, files)
        thread = threading.Thread(target=watch, args=(files,), daemon=True)
        thread.start()
        try:
            answer = attempt(number, config, root, folder, device, until)
        finally:
            over.set()
            thread.join()
        return answer, _files(folder, key)


class _Until(float):
    """A deadline that can be brought forward: every ``time > deadline`` holds once it is ``past``."""

    past = False

    def __lt__(self, now: float) -> bool:
        return self.past or float(self) < now


def _files(folder: Path, key: str) -> Files:
    """What a run has kept, all of one moment."""
    part = folder / f"{key}.part.json"
    while True:
        with suppress(FileNotFoundError):  # the run went on meanwhile
            before = part.read_bytes() if part.exists() else b""
            found = {path.name: path.read_bytes() for path in sorted(folder.glob(f"{key}.*"))}
            if found.get(part.name, b"") == before:
                return found


def _put(folder: Path, key: str, files: Files) -> None:
    """Keep a run's files as it would: weights before the part record, nothing beside a finished one."""
    for name in sorted(files, key=lambda name: name.endswith(".part.json")):
        records.write_bytes(folder / name, files[name])
    for leftover in folder.glob(f"{key}.[pcs]*"):
        if leftover.name not in files:
            leftover.unlink(missing_ok=True)


def _code() -> str:
    """Fingerprint of both packages, as they stand."""
    files = sorted(Path(psllab.__file__).parents[1].glob("ps*/**/*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
