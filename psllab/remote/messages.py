"""What crosses between client and server: arrays and a few settings as safetensors, a format without code in it.

A message is named by its SHA-256, so one that is sent twice is received once. Whatever does not fit its form is
refused in a sentence, on either side.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors import numpy as tensors

from pslcore import models, strategies
from pslcore.runs import records
from pslcore.runs.protocol import DECIDES
from pslcore.settings import sentence

PROTOCOL = 1
LIMIT = 64 << 20
"""Bytes of a message."""
PART = 8 << 20
"""Bytes of pictures that a client puts into one message, or of logits that a server puts into one reply."""

Id = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Stream = Annotated[int, Field(ge=0, lt=1 << 63)]
_Answer = Annotated[str, Field(pattern="^(logits|features|entropy|auxiliary)$")]
Count = Annotated[int, Field(ge=1, le=1 << 24)]


class Refused(ValueError):
    """What the other side sent cannot be taken; ``status`` is HTTP's."""

    def __init__(self, told: str, status: int = 422):
        super().__init__(told)
        self.status = status


class _Form(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class Opening(_Form):
    """The first message of an album: what is to be learned, and by which code."""

    kind: Literal["open"] = "open"
    protocol: int
    code: str
    teacher: Annotated[str, Field(max_length=100)]
    classes: Annotated[int, Field(ge=1, le=65_536)]
    channels: Annotated[int, Field(ge=1, le=65_536)]
    recipe: dict[str, Any]
    method: Annotated[str, Field(max_length=100)] = ""  # where it has an auxiliary module; else the cloud never knows
    options: dict[str, Any] = Field(default_factory=dict)


class Pictures(_Form):
    """Pictures or feature vectors: labelled, to test on, or to be scored; or the planned batches of some epochs."""

    kind: Literal["labelled", "test", "unlabelled", "plan"]


class Order(_Form):
    """A training: the batches of all its epochs, and the streams of the fresh weights. The seed itself stays away."""

    kind: Literal["order"] = "order"
    plans: Annotated[list[Id], Field(min_length=1, max_length=100_000)]
    weights_stream: Stream
    auxiliary_stream: Stream
    steps: Count
    taught: bool


Message = Opening | Pictures | Order
_MESSAGE: TypeAdapter[Message] = TypeAdapter(Annotated[Message, Field(discriminator="kind")])


class Question(_Form):
    """What a trained task learner is asked: about pictures sent for that, group by group, or about labelled ones."""

    what: Annotated[list[_Answer], Field(min_length=1, max_length=4)]
    unlabelled: (
        Annotated[list[Annotated[list[Id], Field(min_length=1)]], Field(min_length=1, max_length=100_000)] | None
    ) = None
    labelled: Annotated[list[Stream], Field(min_length=1, max_length=1 << 24)] | None = None


class Exam(_Form):
    """The test pictures that a trained task learner is put to."""

    test: Annotated[list[Id], Field(min_length=1, max_length=100_000)]


Arrays = dict[str, np.ndarray]
Shape = tuple[str, int]  # dtype, dimensions
_IMAGES: dict[str, Shape] = {"images": ("uint8", 4)}
ARRAYS: dict[str, dict[str, Shape]] = {
    "open": {},
    "labelled": {"ids": ("int64", 1)} | _IMAGES,
    "test": _IMAGES,
    "unlabelled": _IMAGES,
    "plan": {"ids": ("int64", 2), "top": ("int16", 2), "left": ("int16", 2), "mirrored": ("bool", 2)},
}
"""What each kind of message holds, beside the labels of pictures and the zoom of a plan; an order: any weights."""


RECEIVED = (*ARRAYS, "order")


F = TypeVar("F", bound=_Form)


def form(kind: type[F], text: bytes) -> F:
    """What a text of JSON says, if it has that form."""
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        raise Refused(sentence(error, kind.__name__.lower())) from None


def pack(message: Message | None, arrays: Mapping[str, np.ndarray]) -> bytes:
    """One text for the same content, always."""
    given = None if message is None else {"message": records.canonical(message.model_dump())}
    return tensors.save({name: np.asarray(array, order="C") for name, array in arrays.items()}, given)


def name_of(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def unpack(body: bytes) -> tuple[Message, Arrays]:
    """A message and its arrays, checked as far as it can be without knowing the album."""
    arrays = arrays_of(body)
    try:
        header = json.loads(body[8 : 8 + int.from_bytes(body[:8], "little")])
        text = header["__metadata__"]["message"]
        message = _MESSAGE.validate_json(text)
    except ValidationError as error:
        raise Refused(sentence(error, "message")) from None
    except (KeyError, TypeError, ValueError, RecursionError):
        raise Refused(
            "a message without the text `message` in its head: send what the client of this version does."
        ) from None
    _check(message.kind, arrays)
    return message, arrays


def arrays_of(body: bytes, finite: bool = True) -> Arrays:
    """The arrays; every number in them finite, if they are to be."""
    try:
        arrays = tensors.load(body)
    except (SafetensorError, KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        told = " ".join(str(error).split())[:100]
        raise Refused(f"{len(body)} bytes that are no safetensors ({told}): send them again.") from None
    for name, array in arrays.items():
        if finite and array.dtype.kind == "f" and not np.isfinite(array).all():
            raise Refused(f"the array {name[:40]!r} holds NaN or infinity: send finite numbers.")
    return arrays


def _check(kind: str, arrays: Arrays) -> None:
    if kind == "order":
        return
    wanted = dict(ARRAYS[kind])
    if kind in ("labelled", "test"):
        wanted["labels"] = "int64", 3 if arrays.get("labels", np.empty(0)).ndim == 3 else 1
    if kind == "plan" and {"zoom", "shift"} & set(arrays):
        wanted |= {"zoom": ("float32", 2), "shift": ("float32", 3)}
    if (found := {name: (str(array.dtype), array.ndim) for name, array in arrays.items()}) != wanted:
        raise Refused(f"a message of kind {kind} holds {short(found)}, not {short(wanted)}: send these arrays.")
    rows = {array.shape[0] for array in arrays.values()}
    if kind != "open" and (len(rows) != 1 or not all(array.size for array in arrays.values())):
        raise Refused(
            f"a message of kind {kind} holds arrays that are empty or of different lengths: send one row each."
        )
    if kind == "plan":
        columns = {array.shape[-1] for array in arrays.values()}
        if len(columns) != 1 or arrays.get("shift", np.empty((0, 2, 0))).shape[1] != 2:
            raise Refused("a plan whose arrays are of different lengths: send one entry for each picture of an epoch.")


def short(shapes: Mapping[str, Shape]) -> str:
    return ", ".join(f"{name[:40]} ({dtype}, {ndim}-D)" for name, (dtype, ndim) in shapes.items())[:300] or "nothing"


def parts(images: np.ndarray) -> Sequence[slice]:
    """Where to cut pictures so that each part is a message of moderate size."""
    rows = max(1, PART // max(1, images[0].nbytes)) if len(images) else 1
    return [slice(start, start + rows) for start in range(0, len(images), rows)]


def code(teacher: str, method: str) -> str:
    """Fingerprint of the code that decides what the task learner becomes; equal on both sides or nothing is trained.

    Raises
    ------
    Refused
        If network or method are not those of the package: a server runs nobody else's code.
    """
    if teacher not in models.names():
        told = f"the task learner {teacher[:100]!r} is none of the package's, and a server runs no other code"
        raise Refused(f"{told}: choose one of {', '.join(models.names())}.")
    if method and (method not in strategies.names() or not strategies.kind(method).has_auxiliary):
        told = f"the method {method[:100]!r} has no auxiliary module of the package's, and a server runs no other code"
        raise Refused(f"{told}: leave the method away.")
    package = Path(models.__file__).parents[1]
    files = {package / f"{name}.py" for name in DECIDES.split()} | models.sources(teacher)
    return records.source_fingerprint(files | (strategies.sources(method) if method else set()))
