"""What runs the runs of a grid: processes of this machine, or the workers of a cluster."""

from collections.abc import Callable, Collection, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from joblib import cpu_count

from pslcore.recipe import native_bfloat16
from pslcore.runs import Config, load, prepare_process
from psllab.grid import workers

Attempt = Callable[..., Any]
"""``attempt(number, config, root, folder, device, deadline)``: what comes of one run."""


class Executor(Protocol):
    """``native``: runs can train in bfloat16, which a worker computes itself; ``mixed``: another does not."""

    native: bool
    mixed: bool

    def answers(
        self, attempt: Attempt, tasks: Iterator[tuple[int, Config]], n: int, folder: Path, deadline: float | None
    ) -> Iterator[Any]:
        """What comes of the attempt at each of ``n`` tasks (number, config), as they end."""

    def close(self) -> None:
        """Let go of it."""


def of(cluster: str, jobs: int, root: str | Path, device: str, sets: Collection[str]) -> Executor:
    """The cluster, if one is named, else ``jobs`` processes; ``sets`` are the data sets that will be needed."""
    if not cluster:
        return LocalExecutor(jobs, root, device)
    return _dask().Cluster(cluster, jobs, root, device, {name: load(name, root).fingerprint for name in sets})


def extract(name: str, root: str | Path, cluster: str) -> None:
    """Have the workers of the cluster, if one is named, compute features; whoever loads them then finds them."""
    if cluster:
        _dask().extract(name, root, cluster, cpu_count())


def _dask() -> ModuleType:
    try:
        return import_module("psllab.grid.cluster")
    except ImportError as error:
        raise ValueError(f"a cluster needs Dask ({error}): install it with `pip install '.[cluster]'`.") from None


class LocalExecutor:
    """Processes of this machine."""

    mixed = False

    def __init__(self, jobs: int, root: str | Path, device: str):
        self._jobs, self._root, self._device = jobs, root, device
        self.native = native_bfloat16(prepare_process(device))

    def answers(
        self, attempt: Attempt, tasks: Iterator[tuple[int, Config]], n: int, folder: Path, deadline: float | None
    ) -> Iterator[Any]:
        given = self._root, folder, self._device, deadline
        return workers.answers(((attempt, (*task, *given)) for task in tasks), max(1, min(self._jobs, n)))

    def close(self) -> None:
        pass
