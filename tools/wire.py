"""A server of task learners in a process of its own, for tests, ``torture`` and ``bench/remote.py``."""

import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import ports

from pslcore.runs import records
from psllab.remote import link, service

TOP = Path(__file__).parents[1]


class Process:
    """One server: begun, killed and begun again on the same port.

    Parameters
    ----------
    folder : path
    tls : bool
        Whether it has a certificate; without one it speaks plain HTTP.
    host : str
        Address at which it listens.
    """

    def __init__(self, folder: Path, tls: bool = True, host: str = "127.0.0.1"):
        self.store, self.certificate, self.key = folder / "store", folder / "cert.pem", folder / "key.pem"
        self.tls, self.host, self.log, self.process = tls, host, folder / "server.log", None
        if tls:
            command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=cloud"
            more = ["-addext", f"subjectAltName=IP:{host}", "-keyout", self.key, "-out", self.certificate]
            subprocess.run([*command.split(), *more], check=True, capture_output=True)
        (self.port,) = ports.free(1)
        self.url = f"http{'s' * tls}://{host}:{self.port}"
        self.log.touch()
        self.tokens = {name: service.admit(self.store, name) for name in ("ada", "bob")}

    def begin(self) -> "Process":
        words = ["cloud", "--store", self.store, "--port", str(self.port), "--device", "cpu"]
        words += ["--cert", self.certificate, "--key", self.key] if self.tls else []
        env = os.environ | {"PYTHONPATH": str(TOP), "OMP_NUM_THREADS": "1"}
        with self.log.open("a") as log:
            command = [sys.executable, "-m", "pslcore", *words]
            self.process = subprocess.Popen(command, env=env, stdout=log, stderr=log)
        return self

    def ready(self, seconds: float = 600) -> "Process":
        """Wait until it answers."""
        context = ssl.create_default_context(cafile=self.certificate) if self.tls else None
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        end = time.monotonic() + seconds
        while True:
            try:
                opener.open(f"{self.url}/health", timeout=5).read()
                return self
            except OSError:
                told = self.log.read_text()[-2000:]
                assert self.alive(), told
                assert time.monotonic() < end, told
                time.sleep(0.1)

    def alive(self) -> bool:
        return self.process.poll() is None

    def end(self, sign: int = signal.SIGKILL) -> None:
        if self.process is not None:
            self.process.send_signal(sign)
            self.process.wait(timeout=60)

    def link(self, name: str = "ada", url: str = "") -> link.Link:
        return link.Link(url or self.url, self.tokens[name], str(self.certificate) if self.tls else "")

    def albums(self, name: str = "ada") -> list[Path]:
        return [path for path in self.store.glob(f"clients/{name}/*") if path.is_dir()]

    def faults(self) -> list[str]:
        """Lines of the log that tell of a fault of the server's own."""
        return [line for line in self.log.read_text().splitlines() if re.search(r'"status": 5|"trace"|Traceback', line)]


def page(*words: object, **more: str) -> subprocess.Popen:
    """``pslcore label`` with these words and variables, on a port of its own."""
    command = [sys.executable, "-m", "pslcore", "label", *words, "--port", str(*ports.free(1))]
    env = os.environ | {"PYTHONPATH": str(TOP), "OMP_NUM_THREADS": "1"} | more
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)


def link_of(page: subprocess.Popen) -> str:
    """The link that it prints, perhaps before it listens."""
    return next(found for line in page.stdout if (found := re.search(r"http://\S+", line)))[0]


def said(record: dict) -> dict:
    """What a record says, without the rows of the wire."""
    record = records.content(record)
    for entry in record["cycles"]:
        entry["crossed"] = {row: count for row, count in entry["crossed"].items() if not row.startswith("wire")}
    return record


def crossed(record: dict) -> dict:
    """The rows of the wire at the end of a run."""
    return {row: count for row, count in record["cycles"][-1]["crossed"].items() if row.startswith("wire")}


class Tap:
    """A proxy on the loopback that keeps what passes in the clear, and can cut the line.

    Parameters
    ----------
    port : int
        Where the server listens.
    """

    def __init__(self, port: int):
        self.passed, self.cuts, self._port = bytearray(), 0, port
        self._phase, self._left, self._seconds, self._forwarded, self._until = b"", 0, 0.0, False, 0.0
        self._door = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._door.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self, phase: bytes, after: int, seconds: float, forwarded: bool) -> None:
        """Cut the line for some seconds at a request with ``phase`` in it, but ``after`` so many.

        ``forwarded`` says whether the server has the request by then, and is at work on it.
        """
        self._phase, self._left, self._seconds, self._forwarded = phase, after, seconds, forwarded

    def _accept(self) -> None:
        with suppress(OSError):  # until it is closed
            while True:
                near, _ = self._door.accept()
                try:
                    assert time.monotonic() > self._until
                    far = socket.create_connection(("127.0.0.1", self._port))
                except (AssertionError, OSError):
                    near.close()
                    continue
                for ends in ((near, far, True), (far, near, False)):
                    threading.Thread(target=self._carry, args=ends, daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket, up: bool) -> None:
        with suppress(OSError):
            while (data := source.recv(1 << 16)) and time.monotonic() > self._until:
                met = up and self._phase and self._phase in data
                self._left -= bool(met)
                cut = met and self._left < 0
                if not cut or self._forwarded:
                    sink.sendall(data)
                    self.passed += data
                if cut:
                    self._phase, self.cuts, self._until = b"", self.cuts + 1, time.monotonic() + self._seconds
                    break
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._door.close()


def memory(pid: int) -> Iterator[bytes]:
    """All that a process has in its memory, but for what is mapped from files and never written."""
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as file:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            where, rights, *_, name = line.split()
            if rights[0] != "r" or name == "[vvar]" or (rights[1] != "w" and name.startswith("/")):
                continue
            start, end = (int(at, 16) for at in where.split("-"))
            with suppress(OSError, OverflowError):
                file.seek(start)
                while start < end and (part := file.read(end - start)):
                    start += len(part)
                    yield part


def after(mark: bytes, parts: Iterable[bytes], size: int) -> set[bytes]:
    """What stands behind a mark, wherever it stands."""
    found = set()
    for part in parts:
        at = part.find(mark)
        while at >= 0:
            found.add(bytes(part[at + len(mark) : at + len(mark) + size]))
            at = part.find(mark, at + 1)
    return found
