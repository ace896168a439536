"""Processes that need not import anew: forks of one that has imported everything already.

``call("module:function", *arguments)`` does what a fresh process would do that runs this function with these arguments
on its command line, in a fork of a server that was started for this once (``serving``). It saves seconds of processor
time a process, and every stage of the pipeline has some of them. The server has one thread and runs nothing itself, so
that a fork of it is as good as a fresh process.
Where there is no server (another system than Linux, a batch machine, somebody's own script), nothing here is needed.

Nothing outlives who asked for it: a fork ends when its caller does, however that ended, and the server with its owner.
This file imports nothing that takes time.
"""

import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

_SOCKET = "PSL_WARM"
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
_SERVE = "--serve"
_INTERRUPT = b"i"
_LONGEST = 1 << 20  # of a request, bytes


def there() -> bool:
    """Whether there is a server to ask."""
    return _SOCKET in os.environ


@contextmanager
def serving(imports: Sequence[str]) -> Iterator[None]:
    """Have a server that has imported these modules, in this block: the one that is there, else one of its own."""
    if there() or sys.platform != "linux":
        yield
        return
    with tempfile.TemporaryDirectory(prefix="psl-") as folder:  # nobody else may look into it
        address = str(Path(folder) / "warm")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(address)
            listener.listen(64)
            server = subprocess.Popen(
                [sys.executable, "-m", "pslcore.warm", _SERVE, str(listener.fileno()), *imports],
                pass_fds=[listener.fileno()], stdin=subprocess.PIPE, env=os.environ | _ONE_THREAD,
            )  # fmt: skip
        os.environ[_SOCKET] = address
        try:
            yield
        finally:
            del os.environ[_SOCKET]
            server.kill()  # its forks end by themselves, as their callers do
            server.communicate()


def call(target: str, *arguments: str) -> int:
    """Run a function in a fork, with the standard streams of this process; the exit status.

    Parameters
    ----------
    target : str
        ``module:function``, or the path of a file that is run as a script.
    *arguments : str
        What it finds in ``sys.argv``.
    """
    parent = os.getppid()
    with start(target, arguments, [0, 1, 2]) as life:
        signal.signal(signal.SIGINT, lambda *_: life.send(_INTERRUPT))  # it is for the fork to say what comes of it
        life.settimeout(0.5)
        while True:
            try:
                told = life.recv(16)
            except TimeoutError:
                if os.getppid() != parent:  # whoever started this is gone
                    return 1
            else:
                return int(told or b"137")  # it was killed before it could say anything


def start(target: str, arguments: Sequence[str], descriptors: Sequence[int]) -> socket.socket:
    """Begin a fork; the socket that is its life: it ends when this is closed, and closes it when it ends.

    ``descriptors`` are its standard streams; any more get the numbers from 3 on.

    Raises
    ------
    OSError
        If the server is gone.
    """
    life = socket.socket(socket.AF_UNIX)
    try:
        life.connect(os.environ[_SOCKET])
        hidden = {"JPY_PARENT_PID"}  # ipykernel would take the server for its lost parent
        environment = {name: value for name, value in os.environ.items() if name not in hidden}
        asked = json.dumps([target, list(arguments), os.getcwd(), environment]).encode()
        socket.send_fds(life, [len(asked).to_bytes(4, "big")], list(descriptors))
        life.sendall(asked)
    except BaseException:
        life.close()
        raise
    return life


def serve(listener: socket.socket, imports: Sequence[str]) -> None:
    """Import, then fork for whoever connects, until the owner closes this process's standard input."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # for those who asked
    for module in imports:
        importlib.import_module(module)
    gc.freeze()  # so that a collection in a fork does not copy all of it
    if len(os.listdir("/proc/self/task")) != 1:
        raise RuntimeError("an import has started a thread: a fork would not be like a fresh process.")
    while True:
        ready, _, _ = select.select([listener.fileno(), 0], [], [], 1.0)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass
        if 0 in ready:
            return
        if not ready:
            continue
        life, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            _become(life)
        life.close()


def _become(life: socket.socket) -> None:
    """In the fork: take over what the caller has, run the module, tell the exit status, end."""
    status = 1
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.setsid()
        size, descriptors, _, _ = socket.recv_fds(life, 4, 16)
        asked = b""
        while len(asked) < (wanted := min(int.from_bytes(size, "big"), _LONGEST)):
            asked += life.recv(wanted - len(asked)) or os._exit(1)
        target, arguments, folder, environment = json.loads(asked)
        life = _lift(life, len(descriptors))
        _place(descriptors)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment | _ONE_THREAD)
        threading.Thread(target=_watch, args=(life,), daemon=True, name="life").start()
        status = _run(target, arguments)
    finally:
        with ExitStack() as last:
            last.callback(os._exit, status)
            sys.stdout.flush()
            sys.stderr.flush()
            life.sendall(str(status).encode())


def _lift(life: socket.socket, above: int) -> socket.socket:
    """The same socket under a number that leaves those below to the caller's descriptors."""
    import fcntl

    number = fcntl.fcntl(life.fileno(), fcntl.F_DUPFD_CLOEXEC, above + 64)
    life.close()
    return socket.socket(fileno=number)


def _place(descriptors: Sequence[int]) -> None:
    """Give the caller's descriptors the numbers from 0 on; nothing else that the server had open stays."""
    import fcntl

    lifted = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, len(descriptors) + 64) for descriptor in descriptors]
    for number, descriptor in enumerate(lifted):
        os.dup2(descriptor, number)
        os.close(descriptor)
    for descriptor in descriptors:
        if descriptor >= len(descriptors):
            os.close(descriptor)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w", buffering=1)  # noqa: SIM115


def _run(target: str, arguments: list[str]) -> int:
    module, _, function = target.partition(":")
    sys.argv = [module, *arguments]
    sys.path[0] = os.getcwd() if function else str(Path(target).parent)
    try:
        if function:
            getattr(importlib.import_module(module), function)()
        else:
            runpy.run_path(target, run_name="__main__")
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def _watch(life: socket.socket) -> None:
    """Hand on interrupts; end this process and all that it started when the caller has gone."""
    while life.recv(1):
        os.kill(os.getpid(), signal.SIGINT)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    if sys.argv[1] == _SERVE:
        serve(socket.socket(fileno=int(sys.argv[2])), sys.argv[3:])
    else:
        sys.exit(call(*sys.argv[1:]))
