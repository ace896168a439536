"""What a method of active learning is. A new one is one file here and one line in ``strategies/__init__.py``."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from pslcore.data import Floats, Indices, Plan
from pslcore.models import Network
from pslcore.recipe import Recipe
from pslcore.settings import Settings
from pslcore.sides import AuxiliaryModule, Client


@dataclass(frozen=True)
class Setup:
    """What a client-side learner needs to know at the start of a cycle."""

    num_classes: int
    recipe: Recipe
    seed: int
    cycle: int
    steps: int
    weights: dict | None = None  # of the cycle before, with ``warm_start``


class ClientLearner:
    """Base of the networks that train on the client, in step with the task learner."""

    def study(self, plan: Plan, teacher_logits: Tensor | None) -> None:
        """One iteration: the labelled batch that the teacher just trained on, and its logits on it [B, C] if taught."""
        raise NotImplementedError

    def check(self) -> None:
        """Raise ``FloatingPointError`` if the training diverged."""
        raise NotImplementedError

    def score(self, batches: Iterator[Tensor]) -> Floats:
        """How much each image is wanted, float [N], higher first; eval mode, no augmentation."""
        raise NotImplementedError

    def weights(self) -> dict[str, Tensor]:
        """All weights, on the CPU."""
        raise NotImplementedError

    # Of learners with peer students; nobody asks others

    def answers(self, batches: Iterator[Tensor]) -> Tensor:
        """All peers' logits in eval mode, float32 [P, N, C]."""
        raise NotImplementedError

    def ask(self, what: tuple[str, ...], batches: Iterator[Tensor]) -> dict[str, Floats]:
        """What the first peer answers, as ``Cloud.ask``."""
        raise NotImplementedError

    def head(self) -> tuple[Floats, Floats]:
        """Of the first peer, as ``Cloud.head``."""
        raise NotImplementedError


@dataclass(frozen=True)
class Query:
    """All that a method may look at when it picks; which of the arrays are there is what it asked for.

    Attributes
    ----------
    safe : int64 array, [N]
        ``D_S``, sorted; rows of ``answers`` and ``scores`` belong to it.
    labelled : int64 array, [M]
        ``D_L``, sorted; rows of ``labelled_answers`` belong to it.
    budget : int
        ``b``, at most N.
    stream : numpy Generator
        The method's own randomness.
    answers, labelled_answers : dict
        The cloud's answers, as declared in ``Strategy.requires`` and ``Strategy.requires_labelled``.
    head : (float array [C, D], float array [C]), or None
        Weight and bias of the task learner's last layer, if asked for.
    labels : int64 array, [M]
        Labels of ``labelled``.
    scores : float array, [N], or None
        The client-side learner's, where the method has one.
    """

    safe: Indices
    labelled: Indices
    budget: int
    stream: np.random.Generator
    answers: dict[str, Floats] = field(default_factory=dict)
    labelled_answers: dict[str, Floats] = field(default_factory=dict)
    head: tuple[Floats, Floats] | None = None
    labels: Indices | None = None
    scores: Floats | None = None


_RENAMED = {
    "asks": "requires", "asks_labelled": "requires_labelled", "asks_head": "requires_head",
    "accompanied": "has_auxiliary", "companion": "auxiliary",
}  # fmt: skip


class Strategy(Settings):
    """A method. Its fields are its options, checked by pydantic; its class attributes declare what it needs.

    A method that names anything in ``requires`` has ``D_S`` uploaded to the cloud, unless it picks by a student
    (``at_home``); one with a ``learner`` works on the client and meets the task learner through its logits on ``D_L``
    alone. It must not have an ``auxiliary`` module as well, which would put raw images and the task learner in the same
    hands: a file that defines such a method is refused.
    """

    asks: ClassVar[Any]  # what some of these were called, see ``_RENAMED``
    asks_labelled: ClassVar[Any]
    asks_head: ClassVar[Any]
    accompanied: ClassVar[Any]

    requires: ClassVar[tuple[str, ...]] = ()
    requires_labelled: ClassVar[tuple[str, ...]] = ()
    has_auxiliary: ClassVar[bool] = False  # whether there is an ``auxiliary`` module
    requires_head: ClassVar[bool] = False  # whether ``pick`` uses the task learner's last layer
    taught: ClassVar[bool] = False  # whether ``ClientLearner.study`` uses the teacher's logits
    pixels: ClassVar[bool] = True  # whether it has a form for pixel labels

    def __init_subclass__(cls, **given: Any) -> None:
        """Take former names of what a method declares, and say the new one."""
        super().__init_subclass__(**given)
        for old, new in _RENAMED.items():
            if old in vars(cls):
                warnings.warn(f"{cls.__name__}: `{old}` is now called `{new}`.", FutureWarning, stacklevel=2)
                setattr(cls, new, vars(cls)[old])

    @property
    def students(self) -> tuple[str, ...]:
        """The network of each peer student; none for most methods."""
        return ()

    def ready(self) -> None:
        """Raise ``ValueError`` if something that the method needs is not there; asked before anything is trained."""

    @property
    def at_home(self) -> bool:
        """Whether what it asks for is answered by a student on the client, not by the task learner."""
        return False

    @property
    def uploads(self) -> bool:
        """Whether ``D_S`` is uploaded for it."""
        return bool(self.requires) and not self.at_home

    def learner(self, client: Client, setup: Setup) -> ClientLearner | None:
        """The networks that this method trains on the client, freshly made; none for most methods."""
        return None

    def auxiliary(self, network: Network) -> AuxiliaryModule:
        """A module that the cloud trains together with this freshly made task learner, if it is to be
        ``has_auxiliary``."""
        raise NotImplementedError

    def pick(self, query: Query) -> Indices:
        """``query.budget`` different indices out of ``query.safe``, most wanted first."""
        raise NotImplementedError


def top(query: Query, scores: Floats | None) -> Indices:
    """The ``budget`` safe images with the highest scores (of the client, or answered by the cloud); ties go to the
    lower dataset index.

    Raises
    ------
    ValueError
        If there is not one score per safe image.
    FloatingPointError
        If a score is NaN.
    """
    if (scores := np.asarray(scores)).shape != query.safe.shape:
        raise ValueError(f"{len(query.safe)} safe images have scores of the shape {scores.shape}: give one each.")
    if len(bad := query.safe[np.isnan(scores)]):
        raise FloatingPointError(f"the score of image {bad[0]} is not a number: the training has diverged; lower `lr`.")
    low, rows = -scores, np.arange(len(scores))
    if 0 < query.budget < len(rows):  # a look at all, and those that may be picked are sorted
        rows = np.flatnonzero(low <= np.partition(low, query.budget - 1)[query.budget - 1])
    return query.safe[rows[np.lexsort((query.safe[rows], low[rows]))[: query.budget]]]
