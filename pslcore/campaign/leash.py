"""Workers that end with the process that started them, whatever ended it: a signal, a kernel that was shut down."""

import ctypes
import os
import signal
import sys
import threading
import time

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_SECONDS = 1.0
_held: set[int] = set()


def hold(owner: int) -> None:
    """Have this process end within seconds of its parent, the process ``owner``; nothing in the owner itself.

    On Linux the system sees to it at once. There and elsewhere a thread looks whether the parent is still the same, for
    where the system's word is not to be had, or came too late: the parent may have ended before it was asked.
    """
    if os.getpid() == owner or owner in _held:
        return
    _held.add(owner)
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    threading.Thread(target=_watch, args=(owner,), daemon=True, name="leash").start()


def _watch(owner: int) -> None:
    while os.getppid() == owner:
        time.sleep(_SECONDS)
    os._exit(1)  # nothing is lost: what is kept is kept whole, after every cycle
