"""Peer students on the client: how they learn (Algorithm 1, lines 7 to 11) and what they say.

The teacher's step (line 6) comes just before, in ``runs.training``.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from pslcore import models
from pslcore.data import Endless, Floats, Plan
from pslcore.losses import discrepancy, entropy, in_class_loss, out_of_class_loss
from pslcore.models import gradients
from pslcore.recipe import Descent, answer, forward, fresh
from pslcore.settings import Real, Settings, Whole
from pslcore.sides import Client, ask
from pslcore.strategies.base import ClientLearner, Setup
from pslcore.streams import torch_stream


class Study(Settings):
    """How peer students learn.

    Attributes
    ----------
    student : str
        Network of every peer.
    peers : int
        ``P``, from 1; with one peer there is no out-of-class study and the score is its entropy (section 4.5).
    alpha, temperature : float
        Of Eq. 2.
    margin : float
        ``xi`` of Eq. 5.
    ranking : {"paper", "ordered"}
        Which reading of Eq. 5, see ``losses.margin_loss``.
    in_class, out_of_class : bool
        Switches of Fig. 5a. Without in-class study the peers learn from the labels alone (``alpha = 0``).
    study_protected : bool
        Whether out-of-class study uses the protected images as well, as the paper does.
    """

    student: models.NetworkName = "resnet8"
    peers: Whole = Field(default=2, ge=1, le=64)
    alpha: Real = Field(default=0.1, ge=0, le=1)
    temperature: Real = Field(default=4.0, gt=0, le=1000)
    margin: Real = Field(default=0.01, ge=0, le=1000)
    ranking: Literal["paper", "ordered"] = "paper"
    in_class: bool = True
    out_of_class: bool = True
    study_protected: bool = True


class Peers(nn.Module, ClientLearner):
    """P peer students, independently initialised (``student-init-<j>``), on the client."""

    def __init__(self, options: Study, client: Client, setup: Setup):
        super().__init__()
        self._options, self._client, self._recipe = options, client, setup.recipe
        recipe = setup.recipe
        build = partial(models.build, options.student, setup.num_classes, client.channels)
        names = (f"student-init-{j}" for j in range(options.peers))
        self.students = nn.ModuleList(fresh(build, setup.seed, name, setup.cycle, client.device) for name in names)
        if setup.weights is not None:
            self.load_state_dict(setup.weights)
        self._heads = models.stacked(list(self.students)) if recipe.precision == "float32" else None
        parameters = list(self.parameters()) if self._heads is None else self._heads.parameters
        # Each lesson: how the weights descend, the loss of the logits, and the same with its gradient by hand
        self._in_class = Descent(parameters, recipe, setup.steps), in_class_loss, gradients.in_class
        # Decision: Eq. 5 has its own momentum and no weight decay, so that a batch without a pair changes no weight
        # (but for what momentum is left; the running statistics of batch norm follow every batch).
        descent = Descent(parameters, recipe, setup.steps, weight_decay=0.0)
        self._out_of_class = descent, out_of_class_loss, gradients.out_of_class
        self._pairs = torch_stream(setup.seed, "pairs", setup.cycle)
        unlabelled = client.pools.unlabelled if options.study_protected else client.pools.safe
        stream = torch_stream(setup.seed, "unlabelled", setup.cycle)
        self._unlabelled = Endless(unlabelled, recipe.padding, recipe.flip, stream, recipe.zoom)

    def forward(self, images: Tensor) -> Tensor:
        """All peers' logits, [P, N, C]."""
        return torch.stack([student(images) for student in self.students])

    def study(self, plan: Plan, teacher_logits: Tensor | None) -> None:
        """One iteration: in class on the labelled batch (Eq. 2), then out of class on an unlabelled one (Eq. 5)."""
        assert teacher_logits is not None
        options = self._options
        alpha, labels = options.alpha if options.in_class else 0.0, self._client.store.labels(plan)
        self._step(self._in_class, plan, teacher_logits, labels, alpha, options.temperature)
        unlabelled = self._unlabelled.draw(len(plan)) if options.out_of_class and options.peers > 1 else None
        if unlabelled is not None:
            self._step(self._out_of_class, unlabelled, options.margin, options.ranking, self._pairs)

    def _step(self, lesson: tuple[Descent, Callable, Callable], plan: Plan, *given: Any) -> None:
        """One step down a loss of all peers' logits: by autograd, or if they are heads by hand."""
        (descent, loss, by_hand), images = lesson, self._client.store.batch(plan)
        if self._heads is None:
            descent.step(loss(forward(self, images, self._recipe), *given))
        else:
            self._heads.step(descent.step, images, lambda logits: by_hand(logits, *given))

    def check(self) -> None:
        for descent, *_ in (self._in_class, self._out_of_class):
            descent.check("peer students")

    def answers(self, batches: Iterator[Tensor]) -> Tensor:
        """All peers' logits in eval mode, float32 [P, N, C], on the CPU."""
        return answer(self, batches, lambda images: (self(images),), dim=1)[0]

    def score(self, batches: Iterator[Tensor]) -> Floats:
        """Eq. 6: the discrepancy of each image, [N]; with one peer its entropy."""
        score = discrepancy if self._options.peers > 1 else lambda logits: entropy(logits[0])
        return answer(self, batches, lambda images: (score(self(images)),))[0].numpy()

    def ask(self, what: tuple[str, ...], batches: Iterator[Tensor]) -> dict[str, Floats]:
        """What the first student answers, as ``Cloud.ask`` has it of the task learner."""
        return ask(self._first, what, batches)

    def head(self) -> tuple[Floats, Floats]:
        """Weight [C, D] and bias [C] of the first student's last layer."""
        return self._first.last_layer()

    @property
    def _first(self) -> models.Network:
        return cast(models.Network, self.students[0])  # a ModuleList has forgotten what it holds

    def weights(self) -> dict[str, Tensor]:
        return {name: tensor.cpu() for name, tensor in self.state_dict().items()}
