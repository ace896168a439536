"""What a server does: albums of several clients, and their trainings, all in one thread and epoch by epoch in turn.

Networks draw their weights from one generator, so nothing else may draw meanwhile; and no client waits for the whole of
another's training. A training follows from the log alone: one that is lost, or that was let go, is done again.
"""

import asyncio
import hashlib
import json
import logging
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from prometheus_client import CollectorRegistry, Counter, Gauge

from psllab.remote.album import Album
from psllab.remote.messages import Refused
from psllab.remote.training import Training

WAIT = 10.0
"""Seconds that a client waits for a lesson in one request."""
_AHEAD = 64 << 20
"""Bytes of logits that a training is ahead of its client."""
_AT_ONCE = 32
"""Requests of a client that are served at once; its others wait, and nobody else's."""
_LIVE = 32
"""Trainings that are kept in memory; another is trained again when it is asked."""

T = TypeVar("T")
_log = logging.getLogger("pslcore.cloud")


class Work:
    """A training on its way, and the lessons that its client has not fetched yet."""

    def __init__(self, album: Album, order: str):
        self.album, self.order = album, order
        self.lessons: dict[int, np.ndarray] = {}
        self.done = 0
        self.training: Training | None = None
        self.trouble: Exception | None = None
        self.changed = asyncio.Condition()
        self.task: asyncio.Task | None = None

    @property
    def first(self) -> int:
        """The earliest lesson that can still be had."""
        return min(self.lessons, default=self.done)

    @property
    def finished(self) -> bool:
        return self.training is not None and self.done == self.training.epochs

    @property
    def failed(self) -> bool:
        """Whether it is worth another try; one that diverged is not."""
        return self.trouble is not None and not isinstance(self.trouble, FloatingPointError)

    async def run(self, compute: Callable, count: Callable[[], None], device: torch.device) -> None:
        try:
            training = await compute(Training, self.album.log, self.order, device)
            while training.done < training.epochs:
                lesson = await compute(training.epoch)
                self.training = training
                async with self.changed:
                    self.lessons[self.done] = lesson
                    self.done += 1
                    count()
                    self.changed.notify_all()
                    await self.changed.wait_for(self._asked)
            signature = await compute(training.signature)
            self.album.log.append("trained", id=self.order, weights=signature)
        except (ValueError, FloatingPointError, MemoryError, OSError) as error:
            self.trouble = error
        except Exception as error:
            _log.exception("a training failed")
            self.trouble = Refused(f"the training failed on the server ({type(error).__name__}): look into its log.")
        async with self.changed:
            self.changed.notify_all()

    def _asked(self) -> bool:
        return len(self.lessons) < 2 or sum(lesson.nbytes for lesson in self.lessons.values()) < _AHEAD

    async def until(self, there: Callable[[], bool]) -> bool:
        """Whether it is there within the time of a request; raises what ended the training."""
        async with self.changed:
            with suppress(TimeoutError):
                await asyncio.wait_for(self.changed.wait_for(lambda: there() or self.trouble is not None), WAIT)
            if self.trouble is not None:
                raise self.trouble
            return there()


class Server:
    """All albums under a folder, and the clients that may come.

    Parameters
    ----------
    store : path
    device : torch.device
    """

    def __init__(self, store: Path, device: torch.device):
        self.store, self.device = store, device
        self._albums: dict[tuple[str, str], Album] = {}
        self.locks: defaultdict[tuple[str, str], asyncio.Lock] = defaultdict(asyncio.Lock)
        self.requests: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(_AT_ONCE))
        self.live: OrderedDict[tuple[str, str], Work] = OrderedDict()
        self._pool = ThreadPoolExecutor(1)
        self.registry = CollectorRegistry()
        self.received = Counter("pslcore_received_bytes", "Bytes of messages", ["kind"], registry=self.registry)
        self.given = Counter("pslcore_given_bytes", "Bytes of replies", ["kind"], registry=self.registry)
        self.replies = Counter("pslcore_replies", "Replies by status", ["status"], registry=self.registry)
        self.epochs = Counter("pslcore_epochs", "Epochs trained", registry=self.registry)
        Gauge("pslcore_trainings", "Trainings on their way", registry=self.registry).set_function(
            lambda: sum(not work.finished and work.trouble is None for work in self.live.values())
        )

    async def compute(self, function: Callable[..., T], *given: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, function, *given)

    def client(self, token: str) -> str | None:
        """Whose token that is; the file is read anew, so that a client can be added while the server runs."""
        return clients(self.store).get(digest(token))

    def album(self, client: str, name: str, new: bool = False) -> Album:
        key = client, name
        if key not in self._albums:
            folder = self.store / "clients" / client / name
            if not new and not (folder / "log.jsonl").exists():
                raise Refused(f"you have no album {name[:12]}... here: open it first.", 404)
            self._albums[key] = Album(folder)
        return self._albums[key]

    def work(self, client: str, name: str, order: str, epoch: int | None = None) -> Work:
        """The training of an order: the one on its way or, where there is none or an earlier lesson is wanted, anew."""
        key, album = (client, name), self.album(client, name)
        work = self.live.get(key)
        if work is None or work.order != order or work.failed or (epoch is not None and epoch < work.first):
            if not album.log.holds(order):
                raise Refused(f"the order {order[:12]}... was not received: send it first.", 409)
            if work is not None and work.task is not None:
                work.task.cancel()
            work = self.live[key] = Work(album, order)
            work.task = asyncio.create_task(work.run(self.compute, self.epochs.inc, self.device))
        self.live.move_to_end(key)
        while len(self.live) > _LIVE:
            _, old = self.live.popitem(last=False)
            if old.task is not None:
                old.task.cancel()
        return work

    def keep(self, client: str, name: str) -> None:
        """Hold the album in memory, if anything of it was received."""
        if not self._albums[client, name].log.lines:
            del self._albums[client, name]

    def let_go(self, key: tuple[str, str]) -> None:
        """Hold nothing of an album in memory."""
        self._albums.pop(key, None)
        work = self.live.pop(key, None)
        if work is not None and work.task is not None:
            work.task.cancel()

    async def close(self) -> None:
        tasks = [work.task for work in self.live.values() if work.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._pool.shutdown(wait=True, cancel_futures=True)


def digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def clients(store: Path) -> dict[str, str]:
    """The digest of every token, and whose it is."""
    file = store / "clients.json"
    return json.loads(file.read_text("utf-8")) if file.exists() else {}
