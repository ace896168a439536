"""The workers of a grid as forks of a process that has imported everything already, where there is one (``warm``)."""

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from multiprocessing.connection import Connection, wait
from typing import Any

from pslcore import warm

Task = tuple[Callable[..., Any], tuple[Any, ...]]
"""A function that can be named from its module, and what it is given."""


class Worker:
    """One fork that does one task after the other; it ends with this process, or when it is closed."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._life = warm.start(f"{__name__}:work", [], [0, 1, 2, theirs.fileno()])
        self.connection = Connection(ours.detach())

    def close(self) -> None:
        self._life.close()
        self.connection.close()

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def answers(tasks: Iterator[Task], size: int) -> Iterator[Any]:
    """What comes of each task, as they end; the next one is asked for when a worker is free.

    Raises
    ------
    RuntimeError
        If a worker ended before its task did.
    """
    with ExitStack() as stack:
        crew = {worker.connection: worker for worker in (stack.enter_context(Worker()) for _ in range(size))}
        busy: set[Connection] = set()
        for connection in crew:
            if (task := next(tasks, None)) is not None:
                connection.send(task)
                busy.add(connection)
        while busy:
            for connection in busy & set(wait(busy)):
                try:
                    answer = connection.recv()
                except EOFError:
                    raise RuntimeError("a worker ended in the middle of a run: too little memory, perhaps.") from None
                busy.discard(connection)
                yield answer
                if (task := next(tasks, None)) is not None:
                    connection.send(task)
                    busy.add(connection)


def work() -> None:
    """In the fork: do what comes, until nothing comes any more."""
    with Connection(3) as connection:
        while True:
            try:
                function, given = connection.recv()
            except EOFError:
                return
            connection.send(function(*given))
