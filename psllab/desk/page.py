"""A page on which several people label one album in a browser; the machine that has the pictures serves it."""

import argparse
import asyncio
import json
import secrets
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from psllab.album import Album, Picture
from psllab.desk import parts
from psllab.widgets.job import Job

HOLD = 120.0
"""Seconds for which a picture is one person's; then it may be shown to another."""

TRAIN = "train"
_LARGEST = 4096
"""Bytes of a message."""
_PAGE = Path(__file__).with_name("label.html")
_HEADERS = {"cache-control": "no-store", "referrer-policy": "no-referrer", "x-content-type-options": "nosniff"}


class Table:
    """An album that several people sit at; each page in a browser is a seat.

    Parameters
    ----------
    album : Album
        Open; nothing else uses it meanwhile.
    n : int
        Pictures a round.
    """

    def __init__(self, album: Album, n: int = 20):
        self.album, self.n, self.note, self.part = album, n, "", 0.0
        self.job: Job | None = None
        self._held: dict[Picture, tuple[str, float]] = {}
        if album._state.rounds:
            self.note = f"{album.report().estimate}."
        if not album.waiting and not album.ready:
            self._go_on()

    @property
    def busy(self) -> bool:
        return self.job is not None and self.job.running

    def turn(self, seat: str, by: str, key: str = "", shown: str = "") -> dict[str, Any]:
        """What a seat sees next, after a key pressed there while the picture with the digest ``shown`` was on it."""
        told, bad = "", False
        try:
            told = self._pressed(seat, by, key, shown) if key else ""
        except (ValueError, OSError) as error:
            told, bad = str(error), True
        if self.busy:
            return {"busy": True, "part": self.part, "told": told, "bad": bad}
        album, state = self.album, self.album._state
        waiting, picture = album.waiting, self._picture(seat)
        return {
            "busy": False, "told": told, "bad": bad, "note": self.note, "buttons": parts.buttons(album.classes),
            "picture": picture and picture.digest, "name": picture and Path(picture.path).name,
            "done": len(state.open) - len(waiting), "round": len(state.open), "mine": state.people().get(by, 0),
            "ready": not waiting and album.ready, "more": not waiting and album.left > 0, "waiting": len(waiting),
        }  # fmt: skip

    def shown(self, seat: str, digest: str) -> bytes:
        """The picture that a seat is asked about, and no other; ``ValueError`` for any that is not its turn."""
        picture = None if self.busy else self._picture(seat)
        if picture is None or picture.digest != digest:
            raise ValueError("this picture is not asked about here.")
        self._check(picture)
        return parts.large(self.album, picture)

    def _check(self, picture: Picture) -> None:
        """Raise if the picture is protected, gone or changed; then nobody is asked about it any more."""
        try:
            self.album.check_answer(picture)
        except ValueError:
            self.album.refresh()
            raise

    def _picture(self, seat: str, first: Picture | None = None) -> Picture | None:
        """A picture that waits: the seat's own, else one that nobody holds; it is the seat's from now on."""
        now, waiting = time.monotonic(), self.album.waiting
        self._held = {key: held for key, held in self._held.items() if key in waiting}
        mine = [key for key, (whose, _) in self._held.items() if whose == seat]
        free = [key for key in waiting if key not in self._held or self._held[key][1] < now]
        chosen = next(iter([*filter(None, [first]), *mine, *free]), None)
        if chosen is not None:
            self._held = {chosen: (seat, now + HOLD)} | {k: held for k, held in self._held.items() if k != chosen}
        return chosen

    def _pressed(self, seat: str, by: str, key: str, shown: str) -> str:
        album = self.album
        if self.busy:
            raise ValueError("The networks are learning: nothing was taken in.")
        if not by:
            raise ValueError("Say who you are first: nothing was taken in.")
        if key == TRAIN:
            if album.waiting or not (album.ready or album.left):
                raise ValueError("Nothing to learn from yet: answer the pictures that wait.")
            self._go_on()
            return ""
        if key == parts.UNDO:
            back = album.undo(by)
            self._picture(seat, back)
            return f"Taken back: {Path(back.path).name}."
        if key not in (*parts.keys(album.classes), parts.SKIP, parts.NOT_SURE):
            return ""  # any other key of the keyboard
        held = {picture.digest: picture for picture, (whose, _) in self._held.items() if whose == seat}
        picture = held.get(shown)
        if picture is None or picture not in album.waiting:
            raise ValueError("Somebody else has that picture by now: nothing was taken in.")
        self._check(picture)
        told = parts.respond(album, picture, key, by)
        if not album.waiting and not album.ready:
            self._go_on()  # a round of skips: there is nothing to learn from it
        return f"{told}."

    def _go_on(self) -> None:
        """In a thread: learn from what is new, then ask the next round."""
        album, self.part = self.album, 0.0

        def work(part: Any) -> str:
            def progress(done: int, total: int) -> None:
                part(done / max(1, total))

            report = album.train(progress, reading=progress) if album.ready else None
            if album.left:
                album.next(self.n, progress)
            return f"{report.estimate}." if report else ""

        def shown(part: float) -> None:
            self.part = part

        def ended(job: Job) -> None:
            self.note = str(job.error) if job.error else job.result or self.note

        self.job = Job(work, shown, ended).start()


def application(table: Table, token: str, host: str = "127.0.0.1") -> Starlette:
    """The page and what it asks for; everything but the empty page needs the token.

    Parameters
    ----------
    table : Table
    token : str
        What a browser has to send with each request; the link carries it behind ``#``, which is never sent by itself.
    host : str
        Name under which it is reached, beside addresses and this machine's own name.
    """

    def check(request: Request) -> None:
        told, origin = request.headers.get("host", ""), request.headers.get("origin")
        with suppress(ValueError):  # what cannot be parsed is another site's too
            name = urlsplit(f"//{told}").hostname or ""
            known = _is_address(name) or name in ("localhost", host.lower(), socket.gethostname().lower())
            if known and (origin is None or urlsplit(origin)[:2] == (request.url.scheme, told)):
                return
        raise HTTPException(403, "another site's name leads here, or asks: use the link that was printed.")

    def admitted(request: Request) -> None:
        check(request)
        given = request.headers.get("authorization", "").encode("latin-1")
        if not secrets.compare_digest(given, f"Bearer {token}".encode()):
            raise HTTPException(401, "no token, or an old one: use the link that was printed last.")

    async def page(request: Request) -> Response:
        check(request)
        nonce = secrets.token_urlsafe(16)
        policy = f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'unsafe-inline'; img-src blob: data:"
        policy += "; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
        text = _PAGE.read_text("utf-8").replace("@nonce", nonce)
        return HTMLResponse(text, headers=_HEADERS | {"content-security-policy": policy})

    async def turn(request: Request) -> Response:
        admitted(request)
        try:
            body = b""
            async for part in request.stream():
                body += part
                if len(body) > _LARGEST:
                    raise HTTPException(413, "that is longer than any message of the page: load it again.")
            asked = json.loads(body)
            seat, by, key, shown = (str(asked.get(name) or "")[:80] for name in ("seat", "by", "key", "shown"))
        except (ValueError, AttributeError, RecursionError):
            raise HTTPException(400, "that is no message of the page: load it again.") from None
        return JSONResponse(table.turn(seat, " ".join(by.split()), key, shown), headers=_HEADERS)

    async def picture(request: Request) -> Response:
        admitted(request)
        try:
            shown = table.shown(request.query_params.get("seat", "")[:80], request.path_params["digest"])
        except (ValueError, OSError) as error:
            raise HTTPException(404, str(error)) from None
        return Response(shown, media_type="image/png" if shown[1:4] == b"PNG" else "image/jpeg", headers=_HEADERS)

    async def refused(request: Request, error: Any) -> Response:
        return JSONResponse({"error": error.detail}, error.status_code, _HEADERS | {"connection": "close"})

    @asynccontextmanager
    async def life(app: Starlette) -> AsyncIterator[None]:
        yield
        if table.job is not None:
            table.job.stop()
            await asyncio.to_thread(table.job.wait)

    routes = [Route("/", page), Route("/turn", turn, methods=["POST"]), Route("/picture/{digest}", picture)]
    return Starlette(routes=routes, lifespan=life, exception_handlers={HTTPException: refused})


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def command(options: argparse.Namespace, encrypted: bool) -> None:
    """What ``pslcore label`` does: serve until it is told to end; every answer is on the disk by then."""
    scheme = "https" if encrypted else "http"
    given = (options.folder, options.classes, options.protect, options.out)
    with Album(*given, warn=False, cloud=options.cloud) as album:
        print(album.preview(), *album.rewritten, sep="\n")
        parts.warm_up()
        token, host = secrets.token_urlsafe(24), options.host
        reached = socket.gethostname() if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
        print(f"Label at {scheme}://{reached}:{options.port}/#{token}\nWho has this link can see what is asked about.",
              flush=True)  # fmt: skip
        uvicorn.run(
            application(Table(album, options.budget), token, host), host=host, port=options.port,
            ssl_certfile=options.cert, ssl_keyfile=options.key, log_level="warning", server_header=False,
        )  # fmt: skip
