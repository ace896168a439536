"""A server of task learners in a process of its own, for tests, ``torture`` and ``bench/remote.py``."""

import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from pslcore.runs import records
from psllab.remote import link, service

TOP = Path(__file__).parents[1]


class Process:
    """One server on the loopback: begun, killed and begun again on the same port.

    Parameters
    ----------
    folder : path
    tls : bool
        Whether it has a certificate; without one it speaks plain HTTP.
    """

    def __init__(self, folder: Path, tls: bool = True):
        self.store, self.certificate, self._key = folder / "store", folder / "cert.pem", folder / "key.pem"
        self._tls, self.log, self.process = tls, folder / "server.log", None
        if tls:
            command = (
                "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=cloud -addext subjectAltName=IP:127.0.0.1"
            )
            files = ["-keyout", self._key, "-out", self.certificate]
            subprocess.run([*command.split(), *files], check=True, capture_output=True)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url = f"http{'s' * tls}://127.0.0.1:{self.port}"
        self.tokens = {name: service.admit(self.store, name) for name in ("ada", "bob")}

    def begin(self) -> "Process":
        words = ["cloud", "--store", self.store, "--port", str(self.port), "--device", "cpu"]
        words += ["--cert", self.certificate, "--key", self._key] if self._tls else []
        env = os.environ | {"PYTHONPATH": str(TOP), "OMP_NUM_THREADS": "1"}
        with self.log.open("a") as log:
            command = [sys.executable, "-m", "pslcore", *words]
            self.process = subprocess.Popen(command, env=env, stdout=log, stderr=log)
        return self

    def ready(self, seconds: float = 120) -> "Process":
        """Wait until it answers."""
        context = ssl.create_default_context(cafile=self.certificate) if self._tls else None
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
                assert self.process.poll() is None, told
                assert time.monotonic() < end, told
                time.sleep(0.1)

    def end(self, sign: int = signal.SIGKILL) -> None:
        if self.process is not None:
            self.process.send_signal(sign)
            self.process.wait(timeout=60)

    def link(self, name: str = "ada", url: str = "") -> link.Link:
        return link.Link(url or self.url, self.tokens[name], str(self.certificate) if self._tls else "")

    def albums(self, name: str = "ada") -> list[Path]:
        return [path for path in self.store.glob(f"clients/{name}/*") if path.is_dir()]

    def faults(self) -> list[str]:
        """Lines of the log that tell of a fault of the server's own."""
        return [line for line in self.log.read_text().splitlines() if re.search(r'"status": 5|"trace"|Traceback', line)]


def said(record: dict) -> dict:
    """What a record says, without the rows of the wire."""
    record = records.content(record)
    for entry in record["cycles"]:
        entry["crossed"] = {row: count for row, count in entry["crossed"].items() if not row.startswith("wire")}
    return record


def crossed(record: dict) -> dict:
    """The rows of the wire at the end of a run."""
    return {row: count for row, count in record["cycles"][-1]["crossed"].items() if row.startswith("wire")}
