"""Methods that score with a network: the task learner in the cloud or, for the price of nothing, a student at home."""

from typing import Literal

from pslcore import models
from pslcore.sides import Client
from pslcore.strategies.base import Setup, Strategy
from pslcore.strategies.peers import Peers, Study


class Sided(Strategy):
    """Base of the methods that ask a network for logits, features or its last layer.

    Attributes
    ----------
    side : {"cloud", "client"}
        Who answers: the task learner, for which all of ``D_S`` is uploaded; or (ours, not in the paper) one student on
        the client, trained in class just as PSL trains one peer, for which nothing is.
    student : str
        Network of that student.
    """

    side: Literal["cloud", "client"] = "cloud"
    student: models.NetworkName = "resnet8"

    @property
    def at_home(self) -> bool:
        return self.side == "client"

    @property
    def students(self) -> tuple[str, ...]:
        return (self.student,) if self.at_home else ()

    def learner(self, client: Client, setup: Setup) -> Peers | None:
        if not self.at_home:
            return None
        return Peers(Study(student=self.student, peers=1, out_of_class=False), client, setup)
