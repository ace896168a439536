"""The federation of ``federated`` over real machines, with Flower (flwr): the same clients, the same server's loop.

On the server ``flower-superlink``; on every client ``flower-supernode --node-config 'partition-id=0 folder="..."'``,
numbered from 0; then, once, ``bundle("app", config, "runs")`` and ``flwr run app <connection>``. Flower may start a
new process for every message, so a client finds its state in its folder, by the code that resumes a killed run.
Flower's telemetry is off where the environment has ``FLWR_TELEMETRY_ENABLED=0``.

A machine that does nothing else needs ``pip install ".[federated]"``. See ``docs/federated.md``.
"""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from torch import Tensor

from pslcore.federated.protocol import FederatedConfig, FederatedProtocol, Step, resolve
from pslcore.federated.server import new_shelf, serve
from pslcore.federated.site import Reply, Site
from pslcore.runs import packed, prepare_process, records, schema

client, server = ClientApp(), ServerApp()

_APP = """[project]
name = "pslcore-federated"
version = "1.0.0"
license = "MIT"
description = "Federated active learning, the apps of pslcore.flower"
dependencies = []

[tool.flwr.app]
publisher = "pslcore"

[tool.flwr.app.components]
serverapp = "app:server"
clientapp = "app:client"

[tool.flwr.app.config]
"""

# Flower looks for plain assignments.
_MODULE = "from psllab import flower\n\nclient = flower.client\nserver = flower.server\n"


def bundle(
    app: str | Path, config: FederatedConfig, folder: str | Path, root: str | Path = "data", device: str = "auto",
    patience: float = 60, timeout: float = 3600,
) -> Path:  # fmt: skip
    """Write the folder that ``flwr run`` takes.

    Parameters
    ----------
    app : path
        The folder to write.
    config : FederatedConfig
    folder, root, device
        The server's: where ``<key>.json`` and ``<key>.weights.pt``, its global model, go; the data sets; the device.
        A client's own ``folder``, ``root``, ``device`` stand in its node config.
    patience, timeout : float
        Seconds to wait at most for all clients to be there, and for their replies; a late one has failed in
        that round.
    """
    given = {
        "settings": json.dumps(config.settings()), "folder": str(Path(folder).absolute()),
        "root": str(Path(root).absolute()), "device": device, "patience": float(patience), "timeout": float(timeout),
    }  # fmt: skip
    lines = "".join(f"{name} = {json.dumps(value)}\n" for name, value in given.items())
    records.write_bytes(Path(app) / "pyproject.toml", (_APP + lines).encode())
    records.write_bytes(Path(app) / "app.py", _MODULE.encode())
    return Path(app)


class _ClientReply(schema.Form):
    """The reply of a client beside its weights."""

    client: schema.Count
    labelled: schema.Count
    error: str


def _given(context: Context, own: Mapping[str, Any]) -> tuple[FederatedProtocol, torch.device]:
    """The run's protocol, and the device of this side."""
    config = FederatedConfig.of(json.loads(str(context.run_config["settings"])))
    device = prepare_process(str(own.get("device", "auto")))
    return resolve(config, str(own.get("root", "data")), device), device


@client.train()
@client.query()
def answer(message: Message, context: Context) -> Message:
    """One step of the client whose number is the node's ``partition-id``: ``query`` for a selection.

    Raises
    ------
    ValueError
        If the node config names no client of this run, or no folder; or the state cannot be read. Flower sends
        it to the server.
    """
    own = context.node_config
    protocol, device = _given(context, own)
    clients = protocol.config.clients
    number = own.get("partition-id", -1)
    if not isinstance(number, int) or not 0 <= number < clients or "folder" not in own:
        raise ValueError(
            f"node config {dict(own)}: it needs a `folder` and as `partition-id` a number from 0 to {clients - 1}."
        )
    step = protocol.schedule()[int(str(message.content.config_records["step"]["number"]))]
    site = Site(protocol, number, device, Path(str(own["folder"])))
    site.resume(step.number)
    reply = site.reply(step, dict(message.content.array_records["weights"].to_torch_state_dict()))
    fields = _ClientReply(client=number, labelled=reply.labelled, error=reply.error)
    content = RecordDict({"reply": ConfigRecord(fields.model_dump())})
    if reply.weights is not None:
        content["weights"] = ArrayRecord(reply.weights)
    return Message(content, reply_to=message)


class Remote:
    """``federated.Local`` over Flower. Picks and what the clients hold stay unknown to the server."""

    def __init__(self, config: FederatedConfig, grid: Grid, patience: float, timeout: float):
        self._clients, self._grid, self._patience, self._timeout = config.clients, grid, patience, timeout

    def restart(self) -> None:
        """Nothing to do: a client goes by the number of the step."""

    def resume(self, step: int) -> bool:
        return True

    def ask(self, step: Step, weights: dict[str, Tensor]) -> list[Reply]:
        content = RecordDict({"weights": ArrayRecord(weights), "step": ConfigRecord({"number": step.number})})
        kind = "train" if step.kind == "train" else "query"
        messages = [Message(content, dst_node_id=node, message_type=kind) for node in self._nodes()]
        replies, troubles = {}, []
        for message in self._grid.send_and_receive(messages, timeout=self._timeout):
            if message.has_error():
                troubles.append(message.error.reason)
                continue
            try:
                answer = _ClientReply.model_validate(dict(message.content.config_records["reply"]))
            except (KeyError, ValueError) as error:
                troubles.append(f"a reply is not what a client says: {error}")
                continue
            if answer.client in replies:
                troubles.append(f"two nodes have the partition-id {answer.client}")
            arrays = message.content.array_records.get("weights")
            trained = None if arrays is None else dict(arrays.to_torch_state_dict())
            replies[answer.client] = Reply(answer.client, trained, answer.labelled, answer.error)
        missing = " ".join(["it did not answer", *(f"({trouble})" for trouble in troubles)])
        return [replies.get(number, Reply(number, error=missing)) for number in range(self._clients)]

    def _nodes(self) -> list[int]:
        """The nodes that are there; waits for all clients to be, within patience."""
        end = time.monotonic() + self._patience
        while len(nodes := list(self._grid.get_node_ids())) < self._clients and time.monotonic() < end:
            time.sleep(0.2)
        return nodes

    def picked(self) -> list[int]:
        return []

    def summary(self) -> list[dict]:
        return []


@server.main()
def main(grid: Grid, context: Context) -> None:
    """The server's side of a run; started again after a kill, it goes on from its folder."""
    given = context.run_config
    protocol, device = _given(context, given)
    config = protocol.config
    folder = Path(str(given["folder"]))
    remote = Remote(config, grid, float(given["patience"]), float(given["timeout"]))
    _, weights = serve(protocol, device, new_shelf(folder, protocol), remote)
    records.write_bytes(folder / f"{config.key}.weights.pt", packed(weights))
