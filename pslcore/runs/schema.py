"""The form of a record and of what an unfinished run leaves: nothing that is read is trusted before it fits.

A seal tells that a file is what somebody wrote; the form, that it is what a run writes.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pslcore.runs import records
from pslcore.settings import sentence

Count = Annotated[int, Field(ge=0)]
Hash = Annotated[str, Field(pattern="^[0-9a-f]{16,64}$")]


class Form(BaseModel):
    """What it names must be there and fit; what else is there is left alone."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)


class Crossing(Form):
    items: Count
    bytes: Count


class Cycle(Form):
    labelled: Count
    metric: Annotated[float, Field(ge=0, le=1)]
    picked: list[Count]
    unlabelled_seen: Count
    crossed: dict[str, Crossing]
    seconds: dict[str, Annotated[float, Field(ge=0)]]
    memory: Count = 0


class Data(Form):
    name: str
    fingerprint: str
    note: str
    train: Count
    test: Count
    classes: Count


class Peers(Form):
    discrepancy: list[float]
    consensus: list[bool]
    correct: list[bool]
    correct_each: list[list[bool]]


class Hardware(Form):
    device: str
    processor: str


class Site(Form):
    images: Count
    protected: Count
    labelled: Count
    crossed: dict[str, Crossing]


class Failure(Form):
    round: Count
    client: Count
    error: str


class Unfinished(Form):
    """A record on its way."""

    config: dict[str, Any]
    key: Hash
    data: Data
    pools: Hash
    metric: Literal["accuracy", "mean IoU"]
    precision: Literal["float32", "bfloat16"] | None = None
    source: Annotated[str, Field(min_length=1)]
    cycles: list[Cycle]
    peers: Peers | None = None
    clients: list[Site] | None = None
    failed: list[Failure] | None = None


class Finished(Unfinished):
    """A record as ``loop.run`` documents it."""

    cycles: Annotated[list[Cycle], Field(min_length=1)]
    versions: dict[str, str]
    hardware: Hardware


class LedgerState(Form):
    crossings: dict[str, Crossing]
    seen_unlabelled: list[Count]


class Part(Form):
    """``<key>.part.json`` of a plain run: the record so far, the ledger's state, after which step weights were kept."""

    record: Unfinished
    kept: LedgerState
    weights: Count | None


def read(path: Path, form: type[BaseModel] = Finished) -> dict[str, Any]:
    """Read a sealed file of that form.

    Raises
    ------
    DamagedRecord
        If it is no file, its seal is broken, or it does not fit the form: which, where, and the mend.
    """
    return checked(records.read(path), str(path), form)


def checked(content: dict[str, Any], place: str, form: type[BaseModel] = Finished) -> dict[str, Any]:
    """What was read, if it fits the form; ``DamagedRecord`` as in ``read`` if not."""
    try:
        form.model_validate(content)
    except ValidationError as error:
        raise records.DamagedRecord(f"{sentence(error, place)} It is not trusted; run it again.") from None
    return content
