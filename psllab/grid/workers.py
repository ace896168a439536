"""What runs a grid: processes here, joblib's, one thread each, or a cluster's workers.

Those here end with the process that started them, whatever ended it.
"""

import os
import threading
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, Protocol

from joblib import Parallel, delayed, parallel_config

_SECONDS = 1.0
_held: set[int] = set()

Task = tuple[Callable[..., Any], tuple[Any, ...]]
"""A function that can be named from its module, and what it is given."""


Attempt = Callable[..., Any]
"""``attempt(number, config, root, folder, device, deadline)``: what comes of one run."""
# Nothing of torch is imported before it is needed: the thread below must be at work at once.


class Executor(Protocol):
    """``native``: runs can train in bfloat16, which a worker computes itself; ``mixed``: another does not."""

    native: bool
    mixed: bool

    def answers(
        self, attempt: Attempt, tasks: Iterator[tuple[int, Any]], n: int, folder: Path, deadline: float | None
    ) -> Iterator[Any]:
        """What comes of the attempt at each of ``n`` tasks (number, config), as they end."""

    def close(self) -> None:
        """Let go of it."""


def of(cluster: str, jobs: int, root: str | Path, device: str, sets: Collection[str]) -> Executor:
    """The cluster, if one is named, else ``jobs`` processes; ``sets`` are the data sets that will be needed."""
    if not cluster:
        return LocalExecutor(jobs, root, device)
    try:
        from psllab.grid.cluster import Cluster
    except ImportError as error:
        raise ValueError(f"a cluster needs Dask ({error}): pip install 'pslcore[cluster]'.") from None
    from pslcore.runs import load

    return Cluster(cluster, jobs, root, device, {name: load(name, root).fingerprint for name in sets})


class LocalExecutor:
    """Processes of this machine."""

    mixed = False

    def __init__(self, jobs: int, root: str | Path, device: str):
        from pslcore.recipe import native_bfloat16
        from pslcore.runs import prepare_process

        self._jobs, self._root, self._device = jobs, root, device
        self.native = native_bfloat16(prepare_process(device))

    def answers(
        self, attempt: Attempt, tasks: Iterator[tuple[int, Any]], n: int, folder: Path, deadline: float | None
    ) -> Iterator[Any]:
        given = self._root, folder, self._device, deadline
        return answers(((attempt, (*task, *given)) for task in tasks), max(1, min(self._jobs, n)))

    def close(self) -> None:
        pass


def answers(tasks: Iterator[Task], size: int) -> Iterator[Any]:
    """What comes of each task, as they end; the next one is asked for when a worker is free. Of one worker: here."""
    if size == 1:
        yield from (function(*given) for function, given in tasks)
        return
    with parallel_config(backend="loky", inner_max_num_threads=1):
        calls = (delayed(_in_worker)(os.getpid(), function, given) for function, given in tasks)
        yield from Parallel(n_jobs=size, return_as="generator_unordered", pre_dispatch=size, batch_size=1)(calls)


def _in_worker(owner: int, function: Callable[..., Any], given: tuple[Any, ...]) -> Any:
    hold(owner)
    return function(*given)


def hold(owner: int) -> None:
    """Have this process end within seconds of its parent, the process ``owner``; nothing in the owner itself.

    A thread looks whether the parent is still the same. (Linux would send a signal, but when the parent's *thread* that
    started the worker ends, which in a notebook need not be the last.)
    """
    if os.getpid() == owner or owner in _held:
        return
    _held.add(owner)
    threading.Thread(target=_watch, args=(owner,), daemon=True, name="watch parent").start()


def _watch(owner: int) -> None:
    while os.getppid() == owner:
        time.sleep(_SECONDS)
    os._exit(1)  # nothing is lost: what is kept is kept whole, after every cycle
