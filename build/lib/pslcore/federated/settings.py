"""What decides a federated run, as data alone."""

from typing import Literal

from pydantic import Field, model_validator

from pslcore import models
from pslcore.runs import Config, records
from pslcore.settings import Real, Whole


class FederatedConfig(Config):
    """All that decides the result of a federated run; ``initial``, ``budget``, ``final`` count over all clients.

    Attributes
    ----------
    teacher : str
        The architecture of the helpers and of the server's model.
    clients, rounds : int
        Clients; communication rounds of the whole run, each of the recipe's epochs.
    split : {"random", "dirichlet"}
        Equal random parts; or, for each class, its part on every client drawn from a Dirichlet distribution (Hsu et
        al. 2019). A draw that leaves a client too few images for its labels is drawn again, 100 times at most.
    concentration : float
        Of the Dirichlet distribution: the smaller, the less alike the clients; below a thousandth the draws underflow.

    Raises
    ------
    ValueError
        As ``Config``; and for ``warm_start`` or ``examine_peers``, which mean nothing here.
    """

    teacher: models.NetworkName = "resnet8"
    clients: Whole = Field(10, ge=1, le=10_000)
    rounds: Whole = Field(50, ge=1, le=100_000)
    split: Literal["random", "dirichlet"] = "random"
    concentration: Real = Field(0.5, ge=1e-3, le=1e6)

    @model_validator(mode="after")
    def _meaningful(self) -> "FederatedConfig":
        for name in ("warm_start", "examine_peers"):
            if getattr(self, name):
                raise ValueError(f"{name} = {getattr(self, name)} has no meaning in a federated run: leave it out.")
        return self

    @property
    def key(self) -> str:
        """As of ``Config``; never that of a run without clients."""
        return records.key({"federated": super().key})
