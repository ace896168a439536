"""Processes that compute, joblib's, one thread each: they end with the process that started them, whatever ended it."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from joblib import Parallel, delayed, parallel_config

_SECONDS = 1.0
_held: set[int] = set()

Task = tuple[Callable[..., Any], tuple[Any, ...]]
"""A function that can be named from its module, and what it is given."""


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
