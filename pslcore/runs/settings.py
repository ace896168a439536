"""What decides a run, as data alone; what it comes to on a data set is ``protocol``'s."""

from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from pslcore import data, models, strategies
from pslcore.recipe import Recipe
from pslcore.runs import records
from pslcore.settings import Real, Seed, Settings, Whole


def _images(value: float) -> float:
    if value >= 1 and value % 1 == 0:
        return int(value)  # 500 and 500.0 are one config
    if not 0 < value < 1:
        raise ValueError(f"= {value} is no number of images: give a whole number, or a fraction below 1.")
    return value


Images = Annotated[Real, Field(le=10**9), AfterValidator(_images)]
"""So many images or, below 1, a fraction of the training set."""


class Config(Settings):
    """All that decides a run's result, and nothing else.

    Attributes
    ----------
    dataset, method, teacher : str
        Names known to ``data``, ``strategies``, ``models``.
    seed : int
    setting : {"protected", "standard"}
        Section 4.1 or 4.4.
    initial, budget, final : int or float
        ``N_L``, ``b`` and ``N_f``: images, or below 1 a fraction of the training set.
    protected_fraction : float
        Of the training set, in the protected setting.
    recipe : Recipe
    options : dict
        The method's own, see its class in ``strategies``.
    warm_start : bool
        Go on from the weights of the cycle before in place of fresh ones (the paper is silent).
    examine_peers : int
        If positive, the first so many test images are put to the peer students of the last cycle (Fig. 7).
    noise : float
        Part of the labels, those of the initial pool included, that the oracle gets wrong: within the superclass, or
        among all classes where the data set has no superclasses (Fig. 6).

    Raises
    ------
    ValueError
        If a name is unknown or a number impossible, in one sentence.
    """

    dataset: Annotated[
        str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.@-]*(\+.+)?$", max_length=300), AfterValidator(data.known)
    ]
    method: Annotated[str, Field(json_schema_extra=lambda schema: schema.update(enum=strategies.names()))]
    seed: Seed = 0
    setting: Literal["protected", "standard"] = "protected"
    initial: Images = 500
    budget: Images = 500
    final: Images = 3000
    protected_fraction: Real = Field(0.9, ge=0, lt=1)
    teacher: models.NetworkName = "resnet18"
    recipe: Recipe = Field(default_factory=Recipe)
    options: dict[str, Any] = Field(default_factory=dict)
    warm_start: bool = False
    examine_peers: Whole = Field(0, ge=0, le=10**9)
    noise: Real = Field(0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _together(self) -> "Config":
        students = self.strategy.students  # checks method and options
        if self.examine_peers and not students:
            raise ValueError(f"examine_peers = {self.examine_peers}: the method {self.method!r} has no peer students.")
        return self

    @cached_property
    def strategy(self) -> strategies.Strategy:
        """The method with its options."""
        return strategies.get(self.method, self.options)

    @property
    def fraction(self) -> float:
        """The part of the training set that is protected, in its setting."""
        return self.protected_fraction if self.setting == "protected" else 0.0

    def settings(self) -> dict[str, Any]:
        """Everything, the method's options at their defaults included; ``of`` takes it back."""
        return self.model_dump() | {"options": self.strategy.model_dump()}

    @property
    def key(self) -> str:
        """Name of its record: the hash of what differs from the defaults, so that a new setting renames nothing."""
        return records.key(self.changed() | {"options": self.strategy.changed()})
