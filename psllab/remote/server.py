"""The pages of a cloud that is a server: what a client sends is written down before it is acknowledged."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from fastapi import Depends, FastAPI, Request, Response
from fastapi import Path as InPath
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from prometheus_client import generate_latest
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

import pslcore
from pslcore.runs import prepare_process
from psllab.remote import messages
from psllab.remote.album import Album
from psllab.remote.log import DamagedLog
from psllab.remote.messages import Arrays, Exam, Question, Refused
from psllab.remote.training import Training
from psllab.remote.work import Server

_BODY = 120.0
"""Seconds in which a body must have come."""


class Tensors(Response):
    media_type = "application/octet-stream"


_REFUSALS = {
    400: "a body that was cut off",
    401: "no token, or one that is not known",
    404: "no album of that name of this client's",
    408: "a body that came too slowly",
    409: "an album, an order or a payload that is not there, or other code",
    413: "a body that is too large",
    422: "what does not have the form that it must have",
    507: "a disk that is full",
}
_TEXT = {"type": "string"}
_SENTENCE = {"application/json": {"schema": {"type": "object", "properties": {"error": _TEXT, "kind": _TEXT}}}}
_LATER: dict[int | str, dict[str, Any]] = {202: {"description": "not trained yet: ask again"}}


def _takes(media: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {media: {"schema": schema}}}}


Name = Annotated[str, InPath(pattern="^[0-9a-f]{32}$")]
MessageId = Annotated[str, InPath(pattern="^[0-9a-f]{64}$")]
_log = logging.getLogger("pslcore.cloud")


def application(store: Path, device: str = "auto") -> FastAPI:
    """The server's pages; ``/openapi.json`` describes them. A page to read it with would load scripts from elsewhere.

    Parameters
    ----------
    store : path
        Where everything that is received is kept.
    device : str
        Where task learners train.
    """
    server = Server(store, prepare_process(device))

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        yield
        await server.close()

    app = FastAPI(
        title="pslcore cloud", version=pslcore.__version__, lifespan=life, docs_url=None, redoc_url=None,
        responses={status: {"description": told, "content": _SENTENCE} for status, told in _REFUSALS.items()},
    )  # fmt: skip
    bearer = HTTPBearer(auto_error=False)

    async def client_of(given: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]) -> AsyncIterator[str]:
        client = server.client(given.credentials) if given else None
        if client is None:
            raise Refused("no token, or one that this server does not know: ask whoever runs it for one.", 401)
        async with server.requests[client]:
            yield client

    Client = Annotated[str, Depends(client_of)]

    async def question(request: Request, client: Client) -> Question:
        return messages.form(Question, await _body(request))

    async def exam_of(request: Request, client: Client) -> Exam:
        return messages.form(Exam, await _body(request))

    def given(album: Album, kind: str, body: bytes, **said: Any) -> Response:
        """A reply with content, which the log says that it was given."""
        album.log.append("gave", what=kind, bytes=len(body), **said)
        server.given.labels(kind).inc(len(body))
        return Tensors(body, headers={"log-head": album.log.head})

    @app.get("/health")
    async def health() -> dict[str, Any]:
        return {"status": "ok", "protocol": messages.PROTOCOL, "version": pslcore.__version__}

    @app.get("/metrics", response_class=PlainTextResponse)
    async def metrics(client: Client) -> Response:
        return PlainTextResponse(generate_latest(server.registry), media_type="text/plain; version=0.0.4")

    @app.get("/albums/{name}")
    async def state(client: Client, name: Name) -> dict[str, Any]:
        """Which messages the server holds, the labelled pictures in them, and the seal of the last line of its log."""
        album = server.album(client, name)
        return {"held": album.log.held(), "labelled": sorted(album.ids), "head": album.log.head}

    binary = _takes("application/octet-stream", {"type": "string", "format": "binary"})

    @app.put("/albums/{name}/messages/{message}", responses={201: {"description": "new here"}}, openapi_extra=binary)
    async def receive(request: Request, client: Client, name: Name, message: MessageId) -> JSONResponse:
        """Take a message in; the same one twice is one."""
        body = await _body(request)
        async with server.locks[client, name]:
            album = server.album(client, name, new=True)
            try:
                new = await asyncio.to_thread(album.receive, message, body)
            finally:
                server.keep(client, name)
        if new:
            server.received.labels(album.log.lines[-1]["kind"]).inc(len(body))
        return JSONResponse({"new": new, "head": album.log.head}, 201 if new else 200)

    there: dict[str, Any] = {"response_class": Tensors, "responses": _LATER}

    @app.get("/albums/{name}/orders/{order}/epochs/{epoch}", **there)
    async def lessons(client: Client, name: Name, order: MessageId, epoch: Annotated[int, InPath(ge=0)]) -> Response:
        """The teacher's logits of the epochs from this one on that are there; 202 while it is not."""
        work = server.work(client, name, order, epoch)
        async with work.changed:
            for old in [number for number in work.lessons if number < epoch]:
                del work.lessons[old]
            work.changed.notify_all()
        if not await work.until(lambda: epoch < work.done):
            return Response(status_code=202)
        found: dict[str, np.ndarray] = {}
        while (lesson := work.lessons.get(epoch + len(found))) is not None:
            if found and sum(each.nbytes for each in found.values()) + lesson.nbytes > messages.PART:
                break
            found[str(len(found))] = lesson
        said = {"items": sum(len(lesson) for lesson in found.values()), "id": order, "epoch": epoch}
        return given(work.album, "logits on labelled pictures", messages.pack(None, found), **said)

    async def told(
        at: tuple[str, str, str],
        kind: str,
        ask: Callable[..., Arrays],
        *asked: Any,
        note: Callable[[Arrays], dict] = lambda said: {},
    ) -> Response:
        """What a training that is finished says; 202 while it is not."""
        work = server.work(*at)
        if not await work.until(lambda: work.finished):
            return Response(status_code=202)
        said = await server.compute(ask, work.training, *asked)
        items = len(np.atleast_1d(next(iter(said.values()))))
        return given(work.album, kind, messages.pack(None, said), items=items, id=at[2], **note(said))

    @app.post(
        "/albums/{name}/orders/{order}/answers",
        **there,
        openapi_extra=_takes("application/json", Question.model_json_schema()),
    )
    async def answers(
        client: Client, name: Name, order: MessageId, asked: Annotated[Question, Depends(question)]
    ) -> Response:
        """What the trained task learner says of labelled pictures, or of those that were sent for that."""
        at = client, name, order
        if asked.labelled is not None and asked.unlabelled is None:
            return await told(at, "answers on labelled pictures", Training.recall, asked.what, asked.labelled)
        if asked.unlabelled is not None and asked.labelled is None:
            return await told(at, "answers on unlabelled pictures", Training.score, asked.what, asked.unlabelled)
        raise Refused("a question about both or neither of `unlabelled` and `labelled`: ask about one.")

    @app.get("/albums/{name}/orders/{order}/head", **there)
    async def head(client: Client, name: Name, order: MessageId) -> Response:
        """Weight and bias of the trained task learner's last layer."""
        return await told((client, name, order), "weights of the last layer", Training.head)

    @app.get("/albums/{name}/orders/{order}/weights", **there)
    async def weights(client: Client, name: Name, order: MessageId) -> Response:
        """All weights of the trained task learner."""
        return await told((client, name, order), "weights of the task learner", Training.weights)

    @app.post(
        "/albums/{name}/orders/{order}/exam",
        **there,
        openapi_extra=_takes("application/json", Exam.model_json_schema()),
    )
    async def exam(client: Client, name: Name, order: MessageId, asked: Annotated[Exam, Depends(exam_of)]) -> Response:
        """The confusion matrix of the trained task learner on test pictures: true classes down, given ones across."""

        def note(said: Arrays) -> dict[str, Any]:
            return {"test": asked.test, "matrix": said["matrix"].tolist()}

        return await told((client, name, order), "metrics", Training.examine, asked.test, note=note)

    @app.post("/albums/{name}/unlabelled/drop")
    async def drop(client: Client, name: Name) -> dict[str, int]:
        """Forget the pictures that were sent to be scored."""
        log = server.album(client, name).log
        names = [line["id"] for line in log.of("unlabelled") if log.holds(line["id"])]
        if names:
            log.drop(names)
            log.append("dropped", items=len(names))
        return {"dropped": len(names)}

    @app.delete("/albums/{name}/payloads")
    async def forget(client: Client, name: Name) -> dict[str, int]:
        """Remove all that was received, keep the chain of the log."""
        async with server.locks[client, name]:
            count = server.album(client, name).log.forget()
            server.let_go((client, name))
        return {"forgotten": count}

    def refused(request: Request, error: Exception) -> JSONResponse:
        status = error.status if isinstance(error, Refused) else 409 if isinstance(error, DamagedLog) else 422
        status = 507 if isinstance(error, OSError) else status
        kind = "diverged" if isinstance(error, FloatingPointError) else ""
        told = " ".join(str(error).split()).replace(str(store), "STORE")
        unread = {"connection": "close"} if status in (401, 413) else None  # what is left of a body is not waited for
        return JSONResponse({"error": told, "kind": kind}, status, unread)

    for kind in (ValueError, FloatingPointError, OSError, MemoryError):
        app.exception_handler(kind)(refused)

    @app.exception_handler(RequestValidationError)
    async def malformed(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))[:100]
        return JSONResponse({"error": f"{place}: {first['msg'].lower()}.", "kind": ""}, 422)

    @app.exception_handler(HTTPException)
    async def unknown(request: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse(
            {"error": f"{error.detail}: see /openapi.json.", "kind": ""}, error.status_code, error.headers
        )

    @app.middleware("http")
    async def noted(request: Request, following: Callable) -> Response:
        begun = time.perf_counter()
        response = await following(request)
        server.replies.labels(response.status_code).inc()
        said = {"method": request.method, "path": request.url.path[:300], "status": response.status_code}
        _log.info("request", extra={"said": said | {"seconds": round(time.perf_counter() - begun, 3)}})
        return response

    return app


async def _body(request: Request) -> bytes:
    """The body, if it is no larger and no slower than it may be."""
    told = f"a body of more than {messages.LIMIT >> 20} MiB: cut it into smaller messages."
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > messages.LIMIT:
        raise Refused(told, 413)
    body = bytearray()
    try:
        async with asyncio.timeout(_BODY):
            async for part in request.stream():
                body += part
                if len(body) > messages.LIMIT:
                    raise Refused(told, 413)
    except TimeoutError:
        raise Refused(f"a body that did not come within {_BODY:.0f} s: send smaller messages.", 408) from None
    except ClientDisconnect:
        raise Refused("a body that was cut off: send it again.", 400) from None
    return bytes(body)
