"""A training as it was ordered, from the log of its album alone: by the server, and by whoever replays it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

import numpy as np
import torch
from torch import nn

from pslcore import models, strategies
from pslcore.data import Plan
from pslcore.models import Network
from pslcore.recipe import Recipe
from pslcore.sides import AuxiliaryModule, Cloud, task_learner
from psllab.remote import messages
from psllab.remote.log import Log
from psllab.remote.messages import Arrays, Opening, Order, Refused

ROOM = 1 << 16
"""Pictures of a group that can be scored at once."""

N = TypeVar("N", bound=nn.Module)


class Training:
    """One order of an album: the very ``Cloud`` of the experiments, with nothing protected on its side of the door.

    Parameters
    ----------
    log : Log
    name : str
        Of the order.
    device : torch.device

    Raises
    ------
    ValueError
        In a sentence, if it cannot be trained.
    """

    def __init__(self, log: Log, name: str, device: torch.device):
        order, weights = log.message(name, "order")
        opening, _ = log.message(log.lines[0]["id"])
        assert isinstance(order, Order)
        assert isinstance(opening, Opening)
        labelled = [log.message(line["id"])[1] for line in log.of("labelled")]
        ids = np.concatenate([part["ids"] for part in labelled] or [np.empty(0, np.int64)])
        self._log, self._order, self._recipe = log, order, Recipe.of(opening.recipe)
        self._rows = {int(one): row for row, one in enumerate(ids)}
        self._plans = [
            {name: array[row] for name, array in plan.items()}
            for plan in (log.message(plan, "plan")[1] for plan in order.plans)
            for row in range(len(plan["ids"]))
        ]
        self.done, self.classes, self.pixels = 0, opening.classes, models.for_pixel_labels(opening.teacher)
        build = partial(_drawn, order.weights_stream, task_learner(opening.teacher, self.classes, opening.channels))
        strategy = strategies.get(opening.method, opening.options) if opening.method else None
        given = {name: torch.from_numpy(array) for name, array in weights.items()}

        def auxiliary(network: Network) -> AuxiliaryModule:
            assert strategy is not None
            return _drawn(order.auxiliary_stream, partial(strategy.auxiliary, network))

        with _told():
            self._cloud = Cloud(len(ids) + ROOM, np.empty(0, np.int64), build, self._recipe, device)
            for part in labelled:
                self._cloud.upload(self._at(part["ids"]), part["images"], part["labels"])
            self._cloud.restart(0, 0, order.steps, given or None, None if strategy is None else auxiliary)

    @property
    def pictures(self) -> int:
        """How many labelled pictures it trains on."""
        return self._plans[0]["ids"].size

    @property
    def epochs(self) -> int:
        return len(self._plans)

    def epoch(self) -> np.ndarray:
        """Train one more; the teacher's logits on its batches, one after the other, or none if it does not teach.

        Raises
        ------
        FloatingPointError
            If the training diverged.
        """
        plan, lessons = self._plans[self.done], []
        rows, size = torch.from_numpy(self._at(plan["ids"])), self._recipe.batch_size
        crops = [torch.from_numpy(plan[name]) for name in ("top", "left")]
        zoom = [torch.from_numpy(plan[name]) for name in ("zoom", "shift") if name in plan]
        wholes = [rows, *(crop.long() for crop in crops), torch.from_numpy(plan["mirrored"]), *zoom]
        with _told():
            for batch in zip(*(whole.tensor_split(-(-len(rows) // size), -1) for whole in wholes), strict=True):
                planned = Plan(*batch)
                self._cloud.step(planned)
                if self._order.taught:
                    lessons.append(self._cloud.teach(planned).cpu())
            self._cloud.check()
        self.done += 1
        return torch.cat(lessons).numpy() if lessons else np.empty(0, np.float32)

    def score(self, what: list[str], groups: list[list[str]]) -> Arrays:
        """What the task learner answers about pictures that were sent to be scored, each group as a client has it."""
        for group in groups:
            images = np.concatenate([self._log.message(part, "unlabelled")[1]["images"] for part in group])
            if len(images) > ROOM:
                raise Refused(f"{len(images)} pictures to be scored at once: send {ROOM} at most.")
            self._cloud.upload(np.arange(len(images)) + len(self._rows), images)
        with _told():
            return self._cloud.ask(tuple(what))

    def recall(self, what: list[str], labelled: list[int]) -> Arrays:
        """The same about labelled pictures."""
        with _told():
            return self._cloud.ask(tuple(what), self._at(np.array(labelled, dtype=np.int64)))

    def head(self) -> Arrays:
        return dict(zip(("weight", "bias"), self._cloud.head(), strict=True))

    def weights(self) -> Arrays:
        """All weights and buffers, their names numbered: safetensors forget the order."""
        named = enumerate(self._cloud.weights().items())
        return {f"{number:06} {name}": tensor.numpy() for number, (name, tensor) in named}

    def signature(self) -> str:
        """The SHA-256 of all weights and buffers."""
        return messages.name_of(messages.pack(None, self.weights()))

    def examine(self, test: list[str]) -> Arrays:
        """The confusion ``matrix`` on the test pictures."""
        parts = [self._log.message(part, "test")[1] for part in test]
        images, labels = (np.concatenate([part[what] for part in parts]) for what in ("images", "labels"))
        with _told():
            return {"matrix": self._cloud.examine(images, labels, self.classes)}

    def _at(self, ids: np.ndarray) -> np.ndarray:
        try:
            return np.array([self._rows[int(one)] for one in ids], dtype=np.int64)
        except KeyError as error:
            raise Refused(f"the picture {error} was not received with its label: send it first.") from None


def _drawn(stream: int, build: Callable[[], N]) -> N:
    """What is built, its weights drawn from a stream that the client derived from the seed."""
    torch.manual_seed(stream)  # inside ``recipe.fresh``, which forks the generator
    return build()


@contextmanager
def _told() -> Iterator[None]:
    """Whatever torch raises about these pictures and that network, as a sentence."""
    try:
        yield
    except (ValueError, FloatingPointError, MemoryError):
        raise
    except Exception as error:
        told = " ".join(str(error).split())[:200]
        raise Refused(f"the task learner cannot be trained on these pictures ({told}): send others.") from error
