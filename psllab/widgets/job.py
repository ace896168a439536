"""Work in a thread, so that sliders still answer while something is trained; it can be stopped."""

import threading
from collections.abc import Callable
from typing import Any


class Stopped(Exception):
    """Somebody pressed stop."""


class Job:
    """One piece of work in a thread.

    Parameters
    ----------
    work : callable
        Is given the function ``progress(part)``, to be called with the part that is done, from 0 to 1; it raises
        ``Stopped`` once ``stop`` was called.
    progress : callable, optional
        What that passes the fraction on to.
    done : callable, optional
        Called in the thread at the end, with the job; ``result``, ``stopped`` or ``error`` say how it went.
    """

    def __init__(
        self,
        work: Callable[[Callable[[float], None]], Any],
        progress: Callable[[float], None] | None = None,
        done: Callable[["Job"], None] | None = None,
    ):
        self.result: Any = None
        self.error: Exception | None = None
        self.stopped = False
        self._work, self._progress, self._done = work, progress, done
        self._halt = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> "Job":
        """Begin."""
        self._thread.start()
        return self

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    @property
    def halting(self) -> bool:
        """Whether ``stop`` was called."""
        return self._halt.is_set()

    def stop(self) -> None:
        """Ask it to end; it does at its next step."""
        self._halt.set()

    def wait(self, seconds: float | None = None) -> "Job":
        """Until it has ended."""
        self._thread.join(seconds)
        return self

    def _report(self, part: float) -> None:
        if self._halt.is_set():
            raise Stopped
        if self._progress is not None:
            self._progress(part)

    def _run(self) -> None:
        try:
            self.result = self._work(self._report)
        except Stopped:
            self.stopped = True
        except Exception as error:  # whatever it is, a person must see it
            self.error = error
        try:
            if self._done is not None:
                self._done(self)
        except Exception as error:
            self.error = error
