"""What arrives from a client: looked at before it is used. Nothing of it is unpickled."""

import io
from math import prod
from typing import Literal

import numpy as np
import torch
from flwr.app import Array, Message
from torch import Tensor

from pslcore.federated.protocol import Step
from pslcore.federated.site import Reply, Weights
from pslcore.runs import schema

_HEADER = 4096  # bytes before the numbers of an array; what NumPy writes has 128
_FAR = 100  # times as far from the weights sent as the median client


class ClientReply(schema.Form):
    """The reply of a client beside its weights."""

    client: schema.Count
    labelled: schema.Count
    error: str


def brief(told: object) -> str:
    """What a stranger said, as one short line."""
    line = " ".join(str(told).split())
    return line if len(line) <= 300 else line[:300] + " …"


def _tensor(name: str, array: Array, like: Tensor) -> Tensor:
    """The tensor that an array holds, of the shape and type of another; ``ValueError`` before any memory is taken."""
    wanted = like.detach().cpu().numpy()
    if not wanted.nbytes <= len(array.data) <= wanted.nbytes + _HEADER:
        raise ValueError(f"{name} has {len(array.data):,} bytes where {wanted.nbytes:,} are due")
    stream = io.BytesIO(array.data)  # no `np.load`: that takes other formats too
    if array.stype != "numpy.ndarray" or np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError(f"{name} is not an array as NumPy writes it")
    shape, transposed, dtype = np.lib.format.read_array_header_1_0(stream)
    body = array.data[stream.tell() :]
    if shape != wanted.shape or dtype != wanted.dtype or len(body) != wanted.nbytes:
        raise ValueError(f"{name} is {dtype} of the shape {shape} where {wanted.dtype} of {wanted.shape} is due")
    order: Literal["F", "C"] = "F" if transposed else "C"
    values: np.ndarray = np.frombuffer(body, dtype, prod(shape)).reshape(shape, order=order).copy()
    if not np.isfinite(values).all():
        raise ValueError(f"{name} holds what is no number: the training diverged, lower `lr`")
    return torch.from_numpy(values)


def checked(message: Message, step: Step, sent: Weights, most: int) -> Reply:
    """A reply as ``serve`` may have it.

    Raises
    ------
    Exception
        Of any kind, if it is not what a client says: it names more labelled images than it can have and so would weigh
        more than its share; or its weights are not of the form sent, or not finite; or a count of batches does not lie
        within the ``most`` that a round has.
    """
    if message.has_error():
        raise ValueError(message.error.reason)
    said = ClientReply.model_validate(dict(message.content.config_records["reply"]))
    if said.error or step.kind == "pick":
        due = step.labelled + step.budget
        wrong = "" if said.labelled == due else f"it claims {said.labelled} labelled images, {due} are due"
        return Reply(said.client, labelled=said.labelled, error=brief(said.error or wrong))
    if said.labelled != step.labelled:
        return Reply(said.client, error=f"it claims {said.labelled} labelled images, {step.labelled} are due")
    arrays = message.content.array_records["weights"]
    if arrays.keys() != sent.keys():
        return Reply(said.client, error="its weights are not of the global model's form")
    try:
        weights = {name: _tensor(name, arrays[name], sent[name]) for name in sent}
        for name in weights:
            if name.endswith("num_batches_tracked") and not sent[name] <= weights[name] <= sent[name] + most:
                raise ValueError(f"{name} is {weights[name]}, {sent[name]} to {sent[name] + most} are due")
    except Exception as error:  # NumPy raises many kinds over bytes that are no header
        return Reply(said.client, error=brief(f"its weights are nonsense: {error}"))
    return Reply(said.client, weights, said.labelled)


def near(replies: list[Reply], sent: Weights) -> list[Reply]:
    """Replies to a round; of three or more, weights that lie out of all proportion are left out."""
    far = {}
    for reply in replies:
        if reply.weights:
            moved = [(tensor.double() - sent[name].double()).norm() for name, tensor in reply.weights.items()]
            far[reply.client] = float(torch.stack(moved).norm())
    most = _FAR * float(np.median([*far.values()])) if len(far) > 2 else float("inf")
    told = f"its weights moved more than {_FAR} times as far as the median client's"
    return [Reply(each.client, error=told) if far.get(each.client, 0) > most else each for each in replies]
