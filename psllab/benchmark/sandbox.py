"""Subprocesses that run a user's method (``sandbox_worker``): a file that hangs, floods or crashes does no harm here.

It is no security sandbox: the file runs with all rights of its user.
"""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

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
    wrote to standard output and ``written`` all of it, in bytes.
    """

    def __init__(self, number: int, order: dict[str, Any], heard: "queue.Queue[tuple[Guest, Event]]"):
        self.number = number
        self.seed: int | None = None
        self.what, self.soft = "its start", False
        self.since: float | None = None
        self.printed, self.written = b"", 0
        door, inside = os.pipe()
        package = str(Path(__file__).parents[2])
        path = os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH"))))
        environment = os.environ | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"} | dict.fromkeys(_THREADS, "1")
        order = order | {"door": inside, "owner": os.getpid()}
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-W", "ignore", "-c", _GUEST, json.dumps(order)], env=environment,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, pass_fds=(inside,),
            start_new_session=True,
        )  # fmt: skip
        os.close(inside)
        assert self._process.stdout is not None
        self._threads = [
            threading.Thread(target=self._listen, args=(os.fdopen(door), heard), daemon=True),
            threading.Thread(target=self._drain, args=(self._process.stdout,), daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def _listen(self, door: IO[str], heard: "queue.Queue[tuple[Guest, Event]]") -> None:
        with door:
            for line in door:
                heard.put((self, json.loads(line)))
        heard.put((self, {"say": "closed"}))

    def _drain(self, out: IO[bytes]) -> None:
        with out:
            while chunk := out.read1(1 << 16):  # type: ignore[attr-defined]
                self.printed += chunk[: KEPT - len(self.printed)]
                self.written += len(chunk)

    def note(self, event: Event) -> None:
        """Keep in mind what the process is at."""
        if event["say"] == "begin":
            self.what, self.soft, self.since = event["what"], "timed" in event, time.monotonic()
        else:
            self.since = None
            self.seed = event.get("seed", self.seed)

    def late(self, limit: float) -> bool:
        """Whether it is at one thing for longer than it may."""
        return self.since is not None and time.monotonic() - self.since > limit

    def ended(self) -> str:
        """How the process ended, for a sentence."""
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
        for thread in self._threads:
            thread.join(1)


def listen(orders: list[dict[str, Any]], limit: float = LIMIT) -> Iterator[tuple[Guest, Event]]:
    """Start a process for each order, and give what they tell as they tell it, until all have ended.

    Beside the events of ``sandbox_worker`` there is ``late``, where one thing took longer than ``limit`` seconds (it is
    ended then), and ``gone`` where it ended before its end; both with a ``sentence``. Whoever stops listening ends all.
    """
    heard: queue.Queue[tuple[Guest, Event]] = queue.Queue()
    guests = [Guest(number, order, heard) for number, order in enumerate(orders)]
    going = set(guests)
    try:
        while going:
            try:
                guest, event = heard.get(timeout=_STEP)
            except queue.Empty:
                for guest in [each for each in going if each.late(limit)]:
                    going.discard(guest)
                    guest.end()
                    sentence = f"{guest.what} took more than {limit:g} seconds: make it faster, or raise --limit."
                    yield guest, {"say": "late", "what": guest.what, "soft": guest.soft, "sentence": sentence}
                continue
            if guest not in going:
                continue
            guest.note(event)
            if event["say"] == "end":
                going.discard(guest)
                guest.end()
            elif event["say"] == "closed":
                going.discard(guest)
                how = guest.ended()
                guest.end()
                event = {"say": "gone", "sentence": f"the process ended in {guest.what} ({how}): mend the file."}
            yield guest, event
    finally:
        for guest in guests:
            guest.end()
