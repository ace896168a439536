"""A server in a process of its own, over TLS on the loopback."""

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

import pytest

pytest.importorskip("fastapi", reason="fastapi is not installed: pip install '.[cloud]'")

from psllab.remote import link, service

TOP = Path(__file__).parents[3]


class Process:
    """One server: begun, killed and begun again on the same port."""

    def __init__(self, folder):
        self.store, self.certificate, self._key = folder / "store", folder / "cert.pem", folder / "key.pem"
        command = (
            "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=cloud -addext subjectAltName=IP:127.0.0.1"
        )
        files = ["-keyout", self._key, "-out", self.certificate]
        subprocess.run([*command.split(), *files], check=True, capture_output=True)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url, self.log = f"https://127.0.0.1:{self.port}", folder / "server.log"
        self.tokens = {name: service.admit(self.store, name) for name in ("ada", "bob")}
        self.process = None

    def begin(self):
        words = ["cloud", "--store", self.store, "--port", str(self.port), "--device", "cpu"]
        words += ["--cert", self.certificate, "--key", self._key]
        env = os.environ | {"PYTHONPATH": str(TOP), "OMP_NUM_THREADS": "1"}
        with self.log.open("a") as log:
            command = [sys.executable, "-m", "pslcore", *words]
            self.process = subprocess.Popen(command, env=env, stdout=log, stderr=log)
        return self

    def ready(self, seconds=120):
        context, end = ssl.create_default_context(cafile=self.certificate), time.monotonic() + seconds
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        while True:
            try:
                return opener.open(f"{self.url}/health", timeout=5).read()
            except OSError:
                told = self.log.read_text()[-2000:]
                assert self.process.poll() is None, told
                assert time.monotonic() < end, told
                time.sleep(0.1)

    def end(self, sign=signal.SIGKILL):
        if self.process is not None:
            self.process.send_signal(sign)
            self.process.wait(timeout=60)

    def link(self, name="ada"):
        return link.Link(self.url, self.tokens[name], str(self.certificate))

    def albums(self, name="ada"):
        return [path for path in self.store.glob(f"clients/{name}/*") if path.is_dir()]

    def faults(self):
        """Lines of the log that tell of a fault of the server's own."""
        return [line for line in self.log.read_text().splitlines() if re.search(r'"status": 5|"trace"|Traceback', line)]


@pytest.fixture(scope="package")
def server(tmp_path_factory):
    """A server that runs."""
    process = Process(tmp_path_factory.mktemp("cloud"))
    process.begin().ready()
    yield process
    process.end(signal.SIGTERM)


@pytest.fixture
def own_server(tmp_path):
    """A server to be killed; not begun yet."""
    process = Process(tmp_path)
    yield process
    process.end()
