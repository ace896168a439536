"""Subprocesses that run a user's method (``sandbox_worker``): a file that hangs, floods or crashes does no harm here.

It is no security sandbox: the file runs with all rights of its user.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import Pipe, wait
from pathlib import Path
from typing import Any

LIMIT = 120.0
"""Seconds that loading a file, a step of its contract, or a pick may take."""

KEPT = 4096
"""Bytes that are kept of what a process writes to its standard output."""

_STEP = 0.2
_GUEST = "from psllab.benchmark import sandbox_worker as guest; guest.main()"
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

Event = dict[str, Any]


class Guest:
    """A subprocess that does one task of ``sandbox_worker``; it ends with this process, or by ``end``.

    ``number`` is its place among the orders, ``seed`` that of its present run, ``printed`` the beginning of what it
    wrote to standard output and ``written`` all of it, in bytes; what it tells and writes is heard from ``sources``.
    """

    def __init__(self, number: int, order: dict[str, Any]):
        self.number = number
        self.seed: int | None = None
        self.what, self.soft = "its start", False
        self.since: float | None = None
        self.printed, self.written = b"", 0
        self._door, inside = Pipe(duplex=False)
        package = str(Path(__file__).parents[2])
        path = os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH"))))
        environment = os.environ | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"} | dict.fromkeys(_THREADS, "1")
        order = order | {"door": inside.fileno(), "owner": os.getpid()}
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-W", "ignore", "-c", _GUEST, json.dumps(order)], env=environment, bufsize=0,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, pass_fds=(inside.fileno(),),
            start_new_session=True,
        )  # fmt: skip
        inside.close()
        assert self._process.stdout is not None
        self._out: Any = self._process.stdout
        self.sources: list[Any] = [self._door, self._out]

    def heard(self, source: Any) -> Event | None:
        """What stands in one of its sources; None if it is no event."""
        if source is self._out:
            if chunk := self._out.read(1 << 16):
                self.printed += chunk[: KEPT - len(self.printed)]
                self.written += len(chunk)
            else:
                self.sources.remove(source)
            return None
        try:
            event = json.loads(self._door.recv_bytes())
        except (EOFError, OSError):
            return {"say": "gone", "sentence": f"the process ended in {self.what} ({self._ended()}): mend the file."}
        if event["say"] == "begin":
            self.what, self.soft, self.since = event["what"], "timed" in event, time.monotonic()
        else:
            self.since, self.seed = None, event.get("seed", self.seed)
        return event

    def late(self, limit: float) -> Event | None:
        """The event that it is at one thing for longer than it may."""
        if self.since is None or time.monotonic() - self.since <= limit:
            return None
        sentence = f"{self.what} took more than {limit:g} seconds: make it faster, or raise --limit."
        return {"say": "late", "what": self.what, "soft": self.soft, "sentence": sentence}

    def _ended(self) -> str:
        try:
            code = self._process.wait(5)
        except subprocess.TimeoutExpired:
            return "it closed its door"
        return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"

    def end(self) -> None:
        """End the process and whatever it started, at once."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        while self._out in self.sources and wait([self._out], 0):
            self.heard(self._out)
        self._door.close()
        self.sources.clear()


def listen(orders: list[dict[str, Any]], limit: float = LIMIT) -> Iterator[tuple[Guest, Event]]:
    """Start a process for each order, and give what they tell as they tell it, until all have ended.

    Beside the events of ``sandbox_worker`` there is ``late``, where one thing took longer than ``limit`` seconds (it is
    ended then), and ``gone`` where it ended before its end; both with a ``sentence``. Whoever stops listening ends all.
    """
    guests = [Guest(number, order) for number, order in enumerate(orders)]
    try:
        while any(guest.sources for guest in guests):
            ready = wait([source for guest in guests for source in guest.sources], _STEP)
            for guest in [each for each in guests if each.sources]:
                heard = [guest.heard(source) for source in guest.sources[::-1] if source in ready]
                event = next(filter(None, heard), None) or guest.late(limit)
                if event is None:
                    continue
                if event["say"] in ("end", "gone", "late"):
                    guest.end()
                yield guest, event
    finally:
        for guest in guests:
            guest.end()
