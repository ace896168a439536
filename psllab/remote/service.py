"""The process of a server: who may come, what is forgotten, and how it listens."""

import argparse
import fcntl
import json
import logging
import secrets
import sys
import time
from pathlib import Path
from typing import Any

import uvicorn

from pslcore.runs import records
from psllab.remote.log import Log
from psllab.remote.server import application
from psllab.remote.work import clients, digest


def command(options: argparse.Namespace) -> None:
    """What ``pslcore cloud`` does."""
    if options.admit:
        print(admit(options.store, options.admit))
    elif options.forget:
        print(f"{forget(options.store, options.forget)} albums of {options.forget} forgotten.")
    else:
        serve(options.store, options.host, options.port, options.cert, options.key, options.device)


def admit(store: str | Path, client: str) -> str:
    """A new token for a client, who loses the one before; the store keeps its hash alone."""
    if not client.isalnum() or not client.isascii() or len(client) > 64:
        raise ValueError(f"the client {client[:80]!r}: a name is letters and digits.")
    store, token = Path(store), secrets.token_urlsafe(32)
    others = {digest: name for digest, name in clients(store).items() if name != client}
    text = json.dumps(others | {digest(token): client}, indent=1)
    records.write_bytes(store / "clients.json", text.encode())
    return token


def forget(store: str | Path, client: str) -> int:
    """Remove all payloads of a client, while no server runs; the chains of its logs stay. How many albums it was."""
    albums = sorted((Path(store) / "clients" / client).glob("*/log.jsonl"))
    if not albums:
        raise ValueError(f"{store} has no albums of a client {client[:80]!r}: name a folder of {store}/clients.")
    with held(Path(store)):
        for file in albums:
            Log(file.parent).forget()
    return len(albums)


class _Lines(logging.Formatter):
    """A JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        said = {"at": at, "level": record.levelname.lower(), "told": record.getMessage(), **getattr(record, "said", {})}
        if record.exc_info:
            said["trace"] = self.formatException(record.exc_info)
        return json.dumps(said)


def held(store: Path) -> Any:
    """The store, for one process alone; ``ValueError`` while another has it."""
    store.mkdir(parents=True, exist_ok=True)
    file = (store / "lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise ValueError(f"a server is at work in {store}: stop it first, or name another --store.") from None
    return file


def encrypted(host: str, cert: str | None, key: str | None) -> bool:
    """Whether TLS is spoken; ``ValueError`` without it on anything but the loopback, or if a file is not there."""
    if (cert is None or key is None) and host not in ("127.0.0.1", "::1", "localhost"):
        raise ValueError(
            f"--host {host} without --cert and --key: pictures would cross in the clear; see docs/remote.md."
        )
    for name in filter(None, (cert, key)):
        if not Path(name).is_file():
            raise ValueError(f"{name} is no file: name the certificate and its key.")
    return cert is not None and key is not None


def serve(store: str | Path, host: str, port: int, cert: str | None, key: str | None, device: str) -> None:
    """Serve until the process is told to end; what was acknowledged by then is on the disk.

    Raises
    ------
    ValueError
        Without TLS on anything but the loopback; or if nobody may come.
    """
    store = Path(store)
    encrypted(host, cert, key)
    if not clients(store):
        raise ValueError(f"nobody may come to {store}: begin with --admit NAME, which prints a token.")
    lock = held(store)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines())
    for logger in map(logging.getLogger, ("pslcore.cloud", "uvicorn.error")):
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.INFO)
    with lock:
        uvicorn.run(
            application(store, device), host=host, port=port, ssl_certfile=cert, ssl_keyfile=key, log_config=None,
            access_log=False, server_header=False, timeout_graceful_shutdown=3, timeout_keep_alive=60,
        )  # fmt: skip
