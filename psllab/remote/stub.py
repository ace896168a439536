"""The client's stub of a cloud on another machine: it has the interface of ``Cloud``, and the door stands on it.

Nothing but what ``messages`` defines crosses. Pictures get ids that only a secret of the client's leads back to a place
in the training set; how many pictures there are, which are protected and what they are called is never said.
"""

import hashlib
import hmac
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pslcore.data import Plan, SomeLabels, plans
from pslcore.models import Network
from pslcore.runs import Protocol, records
from pslcore.sides import AuxiliaryModule, Cloud, ProtectedDataError, task_learner
from pslcore.streams import derive, torch_stream
from psllab.remote import messages
from psllab.remote.link import Link
from psllab.remote.messages import Exam, Opening, Order, Pictures, Question, Refused


@dataclass(frozen=True)
class Remote:
    """Makes the cloud of a session, as ``runs.run(..., cloud=)`` takes it: on a server.

    Attributes
    ----------
    link : Link
    folder : path or None
        Where a run keeps, until it is finished, under which ids the server knows its pictures.
    """

    link: Link
    folder: Path | None = None

    @classmethod
    def at(cls, url: str, folder: Path | None = None) -> "Remote":
        """As ``Link.of``."""
        return cls(Link.of(url), folder)

    def __call__(self, protocol: Protocol, protected: np.ndarray, device: torch.device) -> Cloud:
        return RemoteCloud(protocol, protected, device, self)


class RemoteCloud(Cloud):
    """A cloud on another machine. What it is told and what it tells is what ``Cloud`` is told and tells.

    Parameters
    ----------
    protocol : Protocol
    protected : int array
        Indices of pictures that the door refuses, under whatever index they come.
    device : torch.device
        Of the client.
    remote : Remote
    """

    def __init__(self, protocol: Protocol, protected: np.ndarray, device: torch.device, remote: Remote):
        config, dataset = protocol.config, protocol.dataset
        network = task_learner(config.teacher, len(dataset.classes), dataset.channels)
        super().__init__(len(dataset.train), protected, network, protocol.recipe, device)
        self._link, self._images = remote.link, dataset.train.images
        self._contents = {_digest(self._images[index]) for index in protected}
        self._ids: dict[int, int] = {}
        self._album, self._secret = _identity(remote, config.key)
        self._receipt = remote.folder and remote.folder / f"{config.key}.receipt.json"
        self._look()
        method = config.method if config.strategy.has_auxiliary else ""
        options = config.strategy.model_dump() if method else {}
        self._send(Opening(
            protocol=messages.PROTOCOL, code=messages.code(config.teacher, method), teacher=config.teacher,
            classes=len(dataset.classes), channels=dataset.channels, recipe=protocol.recipe.model_dump(),
            method=method, options=options,
        ))  # fmt: skip

    # The wire

    def _look(self) -> None:
        """What the server holds of this album already: of a run that was stopped, or of a round before."""
        self._held, self._known = set[str](), set[int]()
        try:
            there = self._link.send("GET", f"/albums/{self._album}", self.ledger, "state").json()
            self._held, self._known = set(there["held"]), set(there["labelled"])
        except Refused as error:
            if error.status != 404:
                raise
        except (ValueError, KeyError, TypeError):
            told = "does not say what it holds of the album"
            raise Refused(f"{self._link.url} {told}: is it a server of `pslcore cloud`?") from None

    def _send(self, message: messages.Message, **arrays: np.ndarray) -> str:
        """Have the server receive a message, if it has not; its name."""
        body = messages.pack(message, arrays)
        if len(body) > messages.LIMIT:
            told = f"a message of {len(body) >> 20} MiB (kind {message.kind})"
            raise ValueError(
                f"{told}: a server takes {messages.LIMIT >> 20}; use smaller pictures, or a smaller network."
            )
        name = messages.name_of(body)
        if name not in self._held:
            self._link.send("PUT", f"/albums/{self._album}/messages/{name}", self.ledger, message.kind, body)
            self._held.add(name)
        return name

    def _ask(
        self, method: str, what: str, kind: str, question: Question | Exam | None = None, wanted: tuple[str, ...] = ()
    ) -> messages.Arrays:  # fmt: skip
        """What it answers; with the arrays ``wanted``, if some are."""
        body = question.model_dump_json().encode() if question else b""
        path = f"/albums/{self._album}/orders/{self._ordered}/{what}"
        reply = self._link.send(method, path, self.ledger, kind, body)
        self._seal = reply.headers.get("log-head", "")
        found = messages.arrays_of(reply.content, finite=False)  # of a training that diverges they are not
        if wanted and found.keys() != set(wanted):
            raise Refused(f"{self._link.url} sent other arrays as {kind} than {', '.join(wanted)}.")
        return found

    # The door

    def upload(self, indices: np.ndarray, images: np.ndarray, labels: np.ndarray | None = None) -> None:
        """As ``Cloud.upload``; refuses a protected picture by its content too, under whatever index it comes.

        A safe picture that is by itself the same as a protected one may go up: it is not protected.
        """
        for index, image in zip(indices, images, strict=False):
            if _digest(image) in self._contents and not np.array_equal(image, self._images[index]):
                told = f"a protected image was about to be uploaded as image {index}"
                raise ProtectedDataError(f"{told}: only images of the safe pool may leave the client.")
        super().upload(indices, images, labels)
        if labels is not None:
            for index, image, label in zip(indices, images, labels, strict=True):
                self._ids[int(index)] = self._drawn(int(index), image.tobytes() + np.asarray(label).tobytes())
            ids = self._named(indices)
            new = np.array([int(one) not in self._known for one in ids], dtype=bool)
            self._known.update(ids.tolist())
            ids, images, labels = ids[new], images[new], labels[new]
            for part in messages.parts(images):
                self._send(Pictures(kind="labelled"), ids=ids[part], images=images[part], labels=labels[part])

    def _drawn(self, index: int, content: bytes) -> int:
        """An id that is another for another picture in that place, or for another label of it."""
        digest = hmac.digest(self._secret, str(index).encode() + b" " + content, "sha256")
        return int.from_bytes(digest[:8], "big") >> 1

    def _named(self, indices: np.ndarray) -> np.ndarray:
        return np.array([self._ids[int(index)] for index in indices], dtype=np.int64)

    # What it does with what it has

    def restart(
        self, seed: int, cycle: int, steps: int, weights: dict | None = None,
        auxiliary: Callable[[Network], AuxiliaryModule] | None = None,
    ) -> None:  # fmt: skip
        """As ``Cloud.restart``. The order goes out with the first step that says whether the task learner teaches."""
        recipe = self._recipe
        labelled, loader = np.flatnonzero(self._labelled), torch_stream(seed, "loader", cycle)
        self._plans = [
            list(plans(labelled, recipe.batch_size, recipe.padding, recipe.flip, loader, recipe.zoom))
            for _ in range(recipe.epochs)
        ]
        streams = [derive(seed, purpose, cycle) for purpose in ("teacher-init", "companion-init")]
        self._given = {name: tensor.numpy() for name, tensor in (weights or {}).items()}
        self._order = Order(
            plans=["0" * 64], weights_stream=streams[0], auxiliary_stream=streams[1], steps=steps, taught=False
        )
        self._ordered, self._steps, self._progress = "", steps, 0
        self._lessons: dict[int, np.ndarray] = {}

    def _go(self, taught: bool) -> None:
        """Send the order: the batches of all epochs, by the ids of what was uploaded."""
        if self._ordered:
            return
        names, rows = [], max(1, messages.PART // (13 * len(self._ids)))
        for start in range(0, len(self._plans), rows):
            epochs = [_joined(epoch, self._ids) for epoch in self._plans[start : start + rows]]
            stacked = {name: np.stack([epoch[name] for epoch in epochs]) for name in epochs[0]}
            names.append(self._send(Pictures(kind="plan"), **stacked))
        self._order = self._order.model_copy(update={"plans": names, "taught": taught})
        self._ordered = self._send(self._order, **self._given)

    def step(self, plan: Plan) -> None:
        """The server trains by itself; this step must be one that was ordered."""
        epoch, at = divmod(self._progress, len(self._plans[0]))
        ordered = self._plans[epoch][at]
        if any(not torch.equal(getattr(plan, name), getattr(ordered, name)) for name in ("indices", "top", "left")):
            raise ValueError("a batch that does not come from the stream `loader`: a server trains by no other.")
        self._progress += 1

    def teach(self, plan: Plan) -> Tensor:
        """As ``Cloud.teach``; the logits of whole epochs come at once."""
        self._go(taught=True)
        epoch, at = divmod(self._progress - 1, len(self._plans[0]))
        if epoch not in self._lessons:
            self._fetch(epoch)
        start = sum(map(len, self._plans[epoch][:at]))
        logits = torch.from_numpy(self._lessons[epoch][start : start + len(plan)]).to(self._device)
        self.ledger.enter("down: logits on labelled images", len(plan), logits.numel() * 4)
        return logits

    def _fetch(self, epoch: int) -> None:
        """The lessons from that epoch on that are there; waits for one at least."""
        told = self._ask("GET", f"epochs/{epoch}", "logits")
        if told.keys() != set(map(str, range(len(told)))) or (self._order.taught and not told):
            raise Refused(f"{self._link.url} sent no logits of epoch {epoch}.")
        self._lessons = {epoch + number: told[str(number)] for number in range(len(told))}
        wanted = sum(map(len, self._plans[epoch])) if self._order.taught else 0
        for lesson in self._lessons.values():
            if lesson.dtype != np.float32 or len(lesson) != wanted:
                raise Refused(f"{self._link.url} sent {lesson.dtype} {lesson.shape} as logits on {wanted} pictures.")

    def check(self) -> None:
        """As ``Cloud.check``; where nobody is taught, not before the last step."""
        if self._ordered and self._order.taught:
            return  # a training that diverged gives no lesson
        self._go(taught=False)
        if self._progress == self._steps:
            self._fetch(len(self._plans) - 1)

    def ask(self, what: tuple[str, ...], labelled: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """As ``Cloud.ask``."""
        if labelled is not None:
            kind, count = "labelled", len(labelled)
            asked = Question(what=list(what), labelled=self._named(labelled).tolist())
        else:
            kind, count = "unlabelled", sum(len(images) for images in self._inbox)
            groups = [
                [self._send(Pictures(kind="unlabelled"), images=images[part]) for part in messages.parts(images)]
                for images in self._inbox
            ]
            asked = Question(what=list(what), unlabelled=groups)
        answers = self._ask("POST", "answers", f"answers on {kind}", asked)
        if {name: len(array) for name, array in answers.items()} != dict.fromkeys(what, count):
            raise Refused(f"{self._link.url} answered with other arrays than {count} rows of {', '.join(what)}.")
        answers = {name: answers[name] for name in what}
        if labelled is None:
            self._inbox.clear()
            self._link.send("POST", f"/albums/{self._album}/unlabelled/drop", self.ledger, "drop")
            self._look()
        self.ledger.enter(f"down: answers on {kind} images", count, sum(array.nbytes for array in answers.values()))
        return answers

    def head(self) -> tuple[np.ndarray, np.ndarray]:
        """As ``Cloud.head``."""
        told = self._ask("GET", "head", "last layer", wanted=("weight", "bias"))
        weight, bias = told["weight"], told["bias"]
        self.ledger.enter("down: weights of the last layer", len(weight), weight.nbytes + bias.nbytes)
        return weight, bias

    def examine(self, images: np.ndarray, labels: SomeLabels, num_classes: int) -> np.ndarray:
        """As ``Cloud.examine``; the test pictures go up once. Down comes the seal of the log as well, for an audit."""
        self._go(taught=False)
        names = [
            self._send(Pictures(kind="test"), images=images[part], labels=np.asarray(labels[part]))
            for part in messages.parts(images)
        ]
        matrix = self._ask("POST", "exam", "metrics", Exam(test=names), ("matrix",))["matrix"]
        if matrix.shape != (num_classes, num_classes) or matrix.dtype != np.int64:
            raise Refused(
                f"{self._link.url} sent a confusion matrix of shape {matrix.shape}, not of {num_classes} classes."
            )
        if self._receipt is not None:
            receipt = {"url": self._link.url, "album": self._album, "seal": self._seal}
            records.write_bytes(self._receipt, f"{records.canonical(receipt)}\n".encode())
        return matrix

    def weights(self) -> dict[str, Tensor]:
        """As ``Cloud.weights``: brought down from the server."""
        told = sorted(self._ask("GET", "weights", "weights").items())
        return {name.partition(" ")[2]: torch.from_numpy(array) for name, array in told}


def _joined(epoch: list[Plan], ids: dict[int, int]) -> dict[str, np.ndarray]:
    """The batches of an epoch, one after the other."""
    indices = torch.cat([plan.indices for plan in epoch]).tolist()
    joined = {"ids": np.array([ids[index] for index in indices], dtype=np.int64)}
    for name in ("top", "left"):
        joined[name] = torch.cat([getattr(plan, name) for plan in epoch]).numpy().astype(np.int16)
    joined["mirrored"] = torch.cat([plan.mirrored for plan in epoch]).numpy()
    if epoch[0].zoom is not None:
        joined |= {name: torch.cat([getattr(plan, name) for plan in epoch], -1).numpy() for name in ("zoom", "shift")}
    return joined


def _digest(image: np.ndarray) -> bytes:
    return hashlib.blake2b(image.tobytes(), digest_size=16).digest()


def _identity(remote: Remote, key: str) -> tuple[str, bytes]:
    """Name and secret of an album: those of the run that is gone on with, or new ones, kept until it is finished."""
    fresh = secrets.token_hex(16), secrets.token_bytes(32)
    if remote.folder is None:
        return fresh
    path = remote.folder / f"{key}.cloud.json"
    try:
        kept = json.loads(path.read_text("utf-8"))
        if kept["url"] == remote.link.url:
            return str(kept["album"]), bytes.fromhex(kept["secret"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # none yet, or not whole: everything is sent anew
    text = json.dumps({"url": remote.link.url, "album": fresh[0], "secret": fresh[1].hex()})
    records.write_bytes(path, text.encode())
    path.chmod(0o600)
    return fresh
