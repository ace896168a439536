"""Federated active learning (section 3.5, Fig. 8)."""

from pslcore.federated.server import (
    FederatedConfig,
    FederationError,
    Reply,
    Rounds,
    Site,
    Step,
    aggregate,
    crossings,
    run,
)
