"""Differential privacy of what a client sends (DP-FedAvg, McMahan et al. 2018): its update is clipped, then noised.

The noise is added before the update leaves, so nobody else has to be trusted with it: two updates of a client lie at
most twice the ``clip`` apart, whatever its images are, and each of its messages is a Gaussian mechanism over them.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field

from pslcore.federated.protocol import FederatedProtocol, Step
from pslcore.federated.site import Reply, Site, Weights
from pslcore.runs import packed, records, unpacked
from pslcore.settings import Real, Settings


class Privacy(Settings):
    """How much of a client's update leaves.

    Attributes
    ----------
    clip : float
        The greatest L2 norm of an update; a longer one is shortened.
    noise : float
        The standard deviation of the noise on each number, as a multiple of ``clip``.
    delta : float
        For which epsilon is stated.
    """

    clip: Real = Field(gt=0)
    noise: Real = Field(gt=0)
    delta: Real = Field(1e-5, gt=0, lt=1)

    def epsilon(self, rounds: int) -> float:
        """By the accountant of Opacus (Rényi), if all the images of one client are replaced by any others.

        Raises
        ------
        ValueError
            If Opacus is not installed.
        """
        try:
            from opacus.accountants import RDPAccountant
        except ImportError as error:
            raise ValueError(f"privacy needs opacus ({error}): install it with `pip install '.[dp]'`.") from None
        accountant = RDPAccountant()
        for _ in range(rounds):
            accountant.step(noise_multiplier=self.noise / 2, sample_rate=1.0)
        return accountant.get_epsilon(self.delta)

    def stated(self, protocol: FederatedProtocol) -> FederatedProtocol:
        """The protocol whose record says so, and whose records and states are no others'."""
        rounds, dataset = protocol.config.rounds, protocol.dataset
        told = (
            f"Updates of clients clipped to {self.clip:g}, with noise of {self.noise:g} times that: {rounds} rounds are"
        )
        note = f"{told} ({self.epsilon(rounds):.4g}, {self.delta:g})-differentially private in the images of a client."
        return replace(self.marked(protocol), dataset=replace(dataset, note=f"{dataset.note} {note}".strip()))

    def marked(self, protocol: FederatedProtocol) -> FederatedProtocol:
        return replace(protocol, source=records.key({"code": protocol.source, "privacy": self.model_dump()}))

    def noised(self, weights: Weights, sent: Weights) -> Weights:
        """Weights as they may leave; their whole numbers follow from the schedule and stay."""
        moved = {name: tensor.double() - sent[name] for name, tensor in weights.items() if tensor.is_floating_point()}
        norm = float(torch.stack([tensor.norm() for tensor in moved.values()]).norm())
        if not np.isfinite(norm):
            raise ValueError("its weights are no numbers: the training diverged, lower `lr`")
        draw, given = np.random.default_rng(), dict(weights)  # from the system's entropy: nobody else can draw it
        for name, step in moved.items():
            noise = torch.as_tensor(draw.normal(0, self.noise * self.clip, tuple(step.shape)))
            tensor = sent[name] + step * (self.clip / max(norm, self.clip)) + noise
            given[name] = (tensor.clamp(min=0) if name.endswith("running_var") else tensor).to(weights[name].dtype)
        return given

    def reply(self, site: Site, step: Step, sent: Weights, path: Path) -> Reply:
        """The client's, with noise; kept, so that who asks again gets the same: each round tells of the images once."""
        last: dict[str, Any] = unpacked(path) if path.exists() else {"step": -1}
        if step.kind == "train" and step.number < last["step"]:
            raise ValueError(
                f"step {step.number} was answered before, see {path}: another answer would not be private."
            )
        if step.number == last["step"]:
            return Reply(site.number, last["weights"], step.labelled)
        reply = site.reply(step, sent)
        if reply.weights is not None:
            reply = replace(reply, weights=self.noised(reply.weights, sent))
            records.write_bytes(path, packed({"step": step.number, "weights": reply.weights}))
        return reply
