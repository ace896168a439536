"""The federation of ``federated`` over real machines, with Flower (flwr): the same clients, the same server's loop.

On the server ``flower-superlink``; on every client ``flower-supernode --node-config 'partition-id=0 folder="..."'``,
numbered from 0; then, once, ``bundle("app", config, "runs")`` and ``flwr run app <connection>``. Flower may start a
new process for every message, so a client finds its state in its folder, by the code that resumes a killed run.
Flower's telemetry is off where the environment has ``FLWR_TELEMETRY_ENABLED=0``.

A machine that does nothing else needs ``pip install ".[federated]"``. See ``docs/federated.md``.
"""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from logging import WARNING
from pathlib import Path
from typing import Any, cast

from flwr.app import ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.common.logger import log
from flwr.serverapp import Grid, ServerApp

from pslcore.data import Dataset
from pslcore.federated.protocol import FederatedConfig, Step, resolve
from pslcore.federated.server import new_shelf, serve
from pslcore.federated.site import Reply, Site, Weights
from pslcore.runs import load, packed, prepare_process, records, steps
from psllab.flower import apart as apart_data
from psllab.flower.checks import ClientReply, brief, checked, near
from psllab.flower.privacy import Privacy

client, server = ClientApp(), ServerApp()

_APP = """[project]
name = "pslcore-federated"
version = "1.0.0"
license = "MIT"
description = "Federated active learning, the apps of psllab.flower"
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
    patience: float = 60, timeout: float = 3600, apart: bool = False, nodes: Sequence[int] = (),
    privacy: Privacy | None = None,
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
    apart : bool
        The clients bring data of their own: each names its ``dataset`` and its ``protected`` set in its node config.
        ``config.dataset`` is the server's, of which only the test split is used.
    nodes : list of int, optional
        Flower's identifier of each client's node, in the order of their numbers. No other node is asked, and a client
        that gives another's number is left out. Without it a node is the client that it says it is.
    privacy : Privacy, optional
        Clients clip their updates and add noise; the record's note states the epsilon.

    Raises
    ------
    ValueError
        If ``nodes`` are not one a client, or the config leaves to the server what only the clients know.
    """
    if nodes and (len(nodes) != config.clients or len(set(nodes)) != len(nodes)):
        raise ValueError(f"nodes = {list(nodes)}: give {config.clients} different ones, one a client.")
    if apart:
        apart_data.check(config)
    given = {
        "settings": json.dumps(config.settings()), "folder": str(Path(folder).absolute()),
        "root": str(Path(root).absolute()), "device": device, "patience": float(patience), "timeout": float(timeout),
        "apart": apart, "nodes": json.dumps(list(nodes)),
    }  # fmt: skip
    if privacy is not None:
        privacy.epsilon(config.rounds)  # whether Opacus is there
        given["privacy"] = privacy.model_dump_json()
    lines = "".join(f"{name} = {json.dumps(value)}\n" for name, value in given.items())
    records.write_bytes(Path(app) / "pyproject.toml", (_APP + lines).encode())
    records.write_bytes(Path(app) / "app.py", _MODULE.encode())
    return Path(app)


def _privacy(context: Context) -> Privacy | None:
    given = context.run_config.get("privacy")
    return None if given is None else Privacy.model_validate_json(str(given))


# The client


@client.train()
@client.query()
def answer(message: Message, context: Context) -> Message:
    """One step of the client whose number is the node's ``partition-id``: ``query`` for a selection.

    Where the data lie apart or updates are private, an error may name a file, an index or a number of images: it is
    printed here, and only its kind is sent.

    Raises
    ------
    ValueError
        If the node config names no client of this run, or no folder; or the state cannot be read. Flower sends
        it to the server.
    """
    own, given = context.node_config, context.run_config
    config, apart = FederatedConfig.of(json.loads(str(given["settings"]))), bool(given.get("apart", False))
    number, clients, quiet = own.get("partition-id", -1), config.clients, apart or "privacy" in given
    if not isinstance(number, int) or not 0 <= number < clients or "folder" not in own:
        told = f"node config of {', '.join(own)}: it needs a `folder`, and"
        raise ValueError(f"{told} as `partition-id` a number from 0 to {clients - 1}.")
    if apart != all(name in own for name in ("dataset", "protected")):
        told = "needs its own" if apart else "takes its part of a set that all know: leave out"
        raise ValueError(f"client {number} {told} `dataset` and `protected`.")
    try:
        reply = _step(message, context, config, number, apart)
    except Exception as error:
        if not quiet:
            raise
        reply = Reply(number, error=f"{type(error).__name__}: {error}")
    if quiet and reply.error:
        log(WARNING, "client %d: %s", number, reply.error)
        reply = replace(reply, error=f"{reply.error.partition(':')[0]}, its own log says more")
    fields = ClientReply(client=number, labelled=reply.labelled, error=reply.error)
    content = RecordDict({"reply": ConfigRecord(fields.model_dump())})
    if reply.weights is not None:
        content["weights"] = ArrayRecord(reply.weights)
    return Message(content, reply_to=message)


def _step(message: Message, context: Context, config: FederatedConfig, number: int, apart: bool) -> Reply:
    own, asked = context.node_config, message.content.config_records["step"]
    device, root = prepare_process(str(own.get("device", "auto"))), str(own.get("root", "data"))
    if apart:
        dataset, places = apart_data.own(str(own["dataset"]), root, cast(list[int], asked["shape"]))
        ours = [*dataset.classes], [*dataset.train.images.shape[1:]]
        if ours != (wanted := (asked["classes"], asked["shape"])):
            raise ValueError(f"classes and size of the images are {ours}, but the server's are {wanted}.")
        protocol = apart_data.member(config, number, dataset, str(own["protected"]), device, places)
    else:
        protocol = resolve(config, root, device)
    privacy, folder = _privacy(context), Path(str(own["folder"]))
    if privacy:
        protocol = privacy.marked(protocol)
    step = protocol.schedule()[int(cast(int, asked["number"]))]
    site = Site(protocol, number, device, folder)
    try:
        site.resume(step.number)
    except ValueError as error:
        changed = " Or its images or protected set changed: bring them back." if apart else ""
        raise ValueError(f"{error}{changed}") from None
    sent = dict(message.content.array_records["weights"].to_torch_state_dict())
    if privacy:
        return privacy.reply(site, step, sent, folder / f"{config.key}.client{number}.sent.pt")
    return site.reply(step, sent)


# The server


class Remote:
    """``federated.Local`` over Flower. Picks and what the clients hold stay unknown to the server.

    Whatever a client answers, twice, too late or not at all, is its own trouble: ``ask`` gives one reply a client, and
    an unsound one is an error in one sentence.
    """

    def __init__(
        self, config: FederatedConfig, grid: Grid, patience: float, timeout: float, nodes: Sequence[int] = (),
        hello: Dataset | None = None,
    ):  # fmt: skip
        self._config, self._grid, self._patience, self._timeout, self._known = config, grid, patience, timeout, nodes
        self._lost: dict[int, str] = {}  # why a client's selection failed
        self._hello: dict[str, Any] = {}
        if hello is not None:  # what the clients' own data must be like
            self._hello = {"classes": [*hello.classes], "shape": [*hello.test.images.shape[1:]]}

    def restart(self) -> None:
        """Nothing to do: a client goes by the number of the step."""

    def resume(self, step: int) -> bool:
        return True

    def ask(self, step: Step, weights: Weights) -> list[Reply]:
        clients, most = range(self._config.clients), steps(step.labelled, self._config.recipe)
        found: dict[int, list[Reply]] = {number: [] for number in clients}
        troubles = []
        for node, message in self._exchange(step, weights):
            number = self._known.index(node) if self._known else None
            try:
                if isinstance(message, Exception):
                    raise message
                reply = checked(message, step, weights, most)
            except Exception as error:  # whatever Flower or pydantic raise over a stranger's words
                trouble = brief(f"a reply is not what a client says: {error}")
                if number is None:
                    troubles.append(trouble)
                else:
                    found[number].append(Reply(number, error=trouble))
                continue
            if number is not None and reply.client != number:
                reply = Reply(number, error=f"it says that it is client {reply.client}")
            if reply.client in found:
                found[reply.client].append(reply)
            else:
                troubles.append(f"a node says that it is client {reply.client}, the last is {clients[-1]}")
        missing = " ".join(["it did not answer", *(f"({trouble})" for trouble in troubles)])
        replies = []
        for number, given in found.items():
            if len(given) > 1:
                given = [Reply(number, error=f"{len(given)} nodes have the partition-id {number}")]
            replies += given or [Reply(number, error=missing)]
        replies = near(replies, weights) if step.kind == "train" else replies
        for reply in replies:
            if reply.error:
                log(WARNING, "round %d: client %d is left out: %s", step.round, reply.client, reply.error)
        return self._picked(step, replies) if step.kind == "pick" else [self._reminded(reply) for reply in replies]

    def _picked(self, step: Step, replies: list[Reply]) -> list[Reply]:
        """A client that did not pick does not stop the others; it is left out while its labels are not those due."""
        if all(reply.error for reply in replies):
            return replies
        self._lost |= {
            reply.client: f"it did not pick after round {step.round}: {reply.error}" for reply in replies if reply.error
        }
        return [replace(reply, error="") for reply in replies]

    def _reminded(self, reply: Reply) -> Reply:
        lost = self._lost.get(reply.client)
        return replace(reply, error=f"{reply.error} ({lost})") if reply.error and lost else reply

    def _exchange(self, step: Step, weights: Weights) -> Iterator[tuple[int, Message | Exception]]:
        """Each node that answers in time, with its message or what Flower raised over it."""
        asked = ConfigRecord({"number": step.number} | self._hello)
        content = RecordDict({"weights": ArrayRecord(weights), "step": asked})
        kind = "train" if step.kind == "train" else "query"
        nodes, life = self._nodes(), self._timeout + 60  # clocks may differ; a client that was away skips what is old
        messages = [Message(content, dst_node_id=node, message_type=kind, ttl=life) for node in nodes]
        pushed = self._grid.push_messages(messages)
        waiting = {name: node for name, node in zip(pushed, nodes, strict=False) if name}
        end = time.monotonic() + self._timeout
        while waiting:
            for name in list(waiting):  # one by one: what one client sent must not spoil the others'
                found: list[Message | Exception]
                try:
                    found = list(self._grid.pull_messages([name]))
                except Exception as error:
                    found = [error]
                if found:
                    yield waiting.pop(name), found[0]
            if time.monotonic() > end:
                return
            time.sleep(0.3 if waiting else 0)

    def _nodes(self) -> list[int]:
        """The nodes that are there; waits for all clients to be, within patience."""
        end = time.monotonic() + self._patience
        while True:
            nodes = [node for node in self._grid.get_node_ids() if not self._known or node in self._known]
            if len(nodes) >= self._config.clients or time.monotonic() > end:
                return nodes
            time.sleep(0.2)

    def picked(self) -> list[int]:
        return []

    def summary(self) -> list[dict]:
        return []


@server.main()
def main(grid: Grid, context: Context) -> None:
    """The server's side of a run; started again after a kill, it goes on from its folder."""
    given = context.run_config
    config = FederatedConfig.of(json.loads(str(given["settings"])))
    folder, root, device = Path(str(given["folder"])), str(given["root"]), prepare_process(str(given["device"]))
    if given["apart"]:
        protocol = apart_data.between(config, load(config.dataset, root), device)
    else:
        protocol = resolve(config, root, device)
    if privacy := _privacy(context):
        protocol = privacy.stated(protocol)
    nodes, hello = json.loads(str(given["nodes"])), protocol.dataset if given["apart"] else None
    remote = Remote(config, grid, float(given["patience"]), float(given["timeout"]), nodes, hello)
    _, weights = serve(protocol, device, new_shelf(folder, protocol), remote)
    records.write_bytes(folder / f"{config.key}.weights.pt", packed(weights))
