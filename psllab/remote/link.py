"""The way to a server: over TLS, with a token, and with patience."""

import os
import ssl
import sys
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import httpx

from pslcore.sides import Ledger
from psllab.remote.messages import Refused

_PATIENCE = 3600.0
"""Seconds that a server may be away."""
_LONGEST = 30.0
"""Seconds between two attempts."""


@dataclass(frozen=True)
class Link:
    """The way to a server.

    Attributes
    ----------
    url : str
        ``https://host:port``; ``http`` on the loopback alone.
    token : str
        Of this client.
    certificate : str
        File of the certificate that the server's is held against; the system's where there is none.
    """

    url: str
    token: str
    certificate: str = ""

    @classmethod
    def of(cls, url: str) -> "Link":
        """With ``PSLCORE_TOKEN`` and ``PSLCORE_CERTIFICATE`` of the environment."""
        parsed = httpx.URL(url)
        loopback = parsed.host in ("127.0.0.1", "localhost", "::1")
        if not parsed.host or not (parsed.scheme == "https" or (parsed.scheme == "http" and loopback)):
            raise ValueError(f"the cloud {url!r}: write https://host:port (http is for the loopback alone).")
        token, certificate = (os.environ.get(f"PSLCORE_{name}", "") for name in ("TOKEN", "CERTIFICATE"))
        if not token or not token.isascii():
            raise ValueError(f"no token for {url}: set PSLCORE_TOKEN to what `pslcore cloud --admit NAME` printed.")
        if certificate and not Path(certificate).is_file():
            raise ValueError(f"PSLCORE_CERTIFICATE = {certificate!r} is no file: name the server's certificate.")
        return cls(url.rstrip("/"), token, certificate)

    @cached_property
    def _client(self) -> httpx.Client:
        verify = ssl.create_default_context(cafile=self.certificate or None)
        head = {"authorization": f"Bearer {self.token}"}
        return httpx.Client(base_url=self.url, headers=head, verify=verify, timeout=60, trust_env=False)

    def send(self, method: str, path: str, ledger: Ledger, kind: str, body: bytes = b"") -> httpx.Response:
        """Ask until there is an answer; a server that is away is waited for, with growing pauses, and so is a training.

        Raises
        ------
        OSError
            If the server stays away, or its disk is full, or the two do not trust each other.
        FloatingPointError
            If the training diverged there.
        Refused
            If the server takes no such message; its own sentence.
        """
        pause, since = 0.5, time.monotonic()
        while True:
            ledger.enter(f"wire up: {kind}", 1, len(body))
            try:
                reply = self._client.request(method, path, content=body)
            except httpx.TransportError as error:
                if "CERTIFICATE_VERIFY_FAILED" in str(error):
                    mend = "set PSLCORE_CERTIFICATE to the server's own."
                    raise OSError(f"the certificate of {self.url} is not trusted here ({error}): {mend}") from None
                trouble = f"{type(error).__name__}: {error}".rstrip(": ")
            else:
                ledger.enter(f"wire down: {kind}", 1, len(reply.content))
                if reply.status_code == 202:
                    since = time.monotonic()
                    continue
                if reply.status_code not in (502, 503, 504):
                    return self._checked(reply)
                trouble = f"status {reply.status_code}"
            if time.monotonic() - since > _PATIENCE:
                told = f"{self.url} did not answer for {_PATIENCE / 60:.0f} minutes"
                raise OSError(f"{told} ({trouble}): start it, then go on.")
            print(f"{self.url} does not answer ({trouble}): trying again in {pause:g} s.", file=sys.stderr)
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST)

    def _checked(self, reply: httpx.Response) -> httpx.Response:
        if reply.is_success:
            return reply
        try:
            said = reply.json()
            told, kind = str(said["error"])[:500], said.get("kind")
        except (ValueError, KeyError, TypeError, AttributeError):
            told, kind = "no reason given", None
        if kind == "diverged":
            raise FloatingPointError(told)
        if reply.status_code in (401, 507):
            raise OSError(f"{self.url}: {told}")
        raise Refused(f"{self.url} refused a message: {told}", reply.status_code)
