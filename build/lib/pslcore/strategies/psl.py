"""Peer Study Learning, sections 3.2 to 3.4: the active learner on the client is ``peers.Peers``."""

from typing import ClassVar

from pslcore.data import Indices
from pslcore.sides import Client
from pslcore.strategies.base import Query, Setup, Strategy, top
from pslcore.strategies.peers import Peers, Study


class PSL(Study, Strategy):
    """Peer Study Learning. Uploads nothing that is unlabelled. Its options are those of ``peers.Study``."""

    taught: ClassVar[bool] = True

    @property
    def students(self) -> tuple[str, ...]:
        return (self.student,) * self.peers

    def learner(self, client: Client, setup: Setup) -> Peers:
        return Peers(self, client, setup)

    def pick(self, query: Query) -> Indices:
        """Peer Study Feedback, Eq. 6: the top ``b`` of ``D_S`` by discrepancy."""
        return top(query, query.scores)
