"""One client of a federation: peer students (or what else the method trains on a client), and the *helper*."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pslcore.federated.protocol import FederatedProtocol, Step
from pslcore.runs import Session, packed, records, unpacked
from pslcore.sides import Ledger

UP, DOWN = "up: helper weights", "down: global weights"
Weights = dict[str, Tensor]


def size(weights: Weights) -> int:
    """Bytes of all tensors."""
    return sum(tensor.numel() * tensor.element_size() for tensor in weights.values())


@dataclass(frozen=True)
class Reply:
    """What comes back from a client: its helper's ``weights`` after a round, the number of images ``labelled`` (which
    the schedule tells anyway), or what went wrong; from a selection nothing but the number."""

    client: int
    weights: Weights | None = None
    labelled: int = 0
    error: str = ""


class Site:
    """One client: a session of its own part, whose cloud is local and holds the helper.

    So no helper sees a protected image: it is the same door. What is uploaded to that helper does not leave the
    client; what does is in ``ledger``.

    Parameters
    ----------
    protocol : FederatedProtocol
    number : int
        Which client it is.
    device : torch.device
    folder : path, optional
        Where its state is kept after every step.
    """

    def __init__(self, protocol: FederatedProtocol, number: int, device: torch.device, folder: Path | None = None):
        self.number, self.part, self._folder = number, protocol.parts[number], folder
        self._run = [protocol.config.key, protocol.source]
        self._strategy = protocol.config.strategy
        self.session = Session(protocol.client(number), device)
        self.ledger = Ledger()
        self.picked: list[list[int]] = []  # of each cycle, counted within its part
        self._students: tuple[int, Weights] = (-1, {})  # the round that they are from, and their weights

    def reply(self, step: Step, weights: Weights) -> Reply:
        """Do a step from the server's weights, keep the state; an error becomes a reply that says so."""
        try:
            reply = self._do(step, weights)
        except Exception as error:  # the other clients go on
            reply = Reply(self.number, error=f"{type(error).__name__}: {error}")
        if self._folder is not None:
            self._keep(step.number)
        return reply

    def _do(self, step: Step, weights: Weights) -> Reply:
        """Begun with the helper from the server's weights, the students from those of the cycle's round before, if they
        have one. After the last selection nobody needs students.
        """
        self.ledger.enter(DOWN, 1, size(weights))
        if self.labelled != step.labelled:
            told = f"client {self.number} has {self.labelled} labelled images where round {step.round} needs"
            raise RuntimeError(f"{told} {step.labelled}: its state is not that of this run.")
        given = {"cloud": weights} | ({"learner": self._students[1]} if self._students[0] >= step.first else {})
        learner = self.session.begin(step.round, given, students=step.budget > 0)
        if step.kind == "pick":
            self._annotate(self._strategy.pick(self.session.query(learner, step.budget, step.round)))
            return Reply(self.number, labelled=self.labelled)
        self.session.train(learner, step.round)
        if learner is not None:
            self._students = step.round, learner.weights()
        trained = self.session.cloud.weights()
        self.ledger.enter(UP, 1, size(trained))
        return Reply(self.number, trained, self.labelled)

    def _annotate(self, picked: np.ndarray) -> None:
        self.session.client.annotate(self.session.cloud, picked)
        self.picked.append(picked.tolist())

    @property
    def labelled(self) -> int:
        """Images labelled so far."""
        return self.session.client.pools.labelled.size

    def summary(self) -> dict[str, Any]:
        """What the record says of it: its images, those protected, those labelled by now, and what crossed so far."""
        pools = self.session.client.pools
        sizes = {"images": pools.n, "protected": pools.protected.size, "labelled": self.labelled}
        return sizes | {"crossed": self.ledger.summary()}

    # Its state between two steps

    def _kept(self, before: float = float("inf")) -> list[Path]:
        """The files of its states after steps before that one, in order."""
        assert self._folder is not None
        paths = self._folder.glob(f"{self._run[0]}.client{self.number}.step*.pt")
        numbered = sorted((int(path.suffixes[-2].removeprefix(".step")), path) for path in paths)
        return [path for number, path in numbered if number < before]

    def _keep(self, step: int) -> None:
        """The state after a step. Of the older ones the newest stays, in case the step has to be done again."""
        assert self._folder is not None
        state = {"run": self._run, "step": step, "picked": self.picked, "students": self._students}
        state["ledger"] = self.ledger.state()
        records.write_bytes(self._folder / f"{self._run[0]}.client{self.number}.step{step}.pt", packed(state))
        for older in self._kept(step)[:-1]:
            older.unlink(missing_ok=True)  # of two that keep at once, either may be first

    def resume(self, before: int) -> int:
        """Take up the newest state from before a step; the step it is from, -1 if there is none.

        Raises
        ------
        ValueError
            If it cannot be read, or is of another run.
        """
        kept = self._kept(before)
        if not kept:
            return -1
        state = unpacked(kept[-1])
        if state["run"] != self._run:
            raise ValueError(f"{kept[-1]} was kept by other code than today's: remove it, and begin anew.")
        for picked in state["picked"]:
            self._annotate(np.array(picked, dtype=np.int64))
        round_, students = state["students"]
        self._students = round_, students
        self.ledger.restore(state["ledger"])
        return state["step"]
