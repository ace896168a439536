"""Workers that end with the process that started them, whatever ended it: a signal, a kernel that was shut down."""

import os
import threading
import time

_SECONDS = 1.0
_held: set[int] = set()


def hold(owner: int) -> None:
    """Have this process end within seconds of its parent, the process ``owner``; nothing in the owner itself.

    A thread looks whether the parent is still the same. (Linux would send a signal, but when the parent's *thread* that
    started the worker ends, which in a notebook need not be the last.)
    """
    if os.getpid() == owner or owner in _held:
        return
    _held.add(owner)
    threading.Thread(target=_watch, args=(owner,), daemon=True, name="leash").start()


def _watch(owner: int) -> None:
    while os.getppid() == owner:
        time.sleep(_SECONDS)
    os._exit(1)  # nothing is lost: what is kept is kept whole, after every cycle
