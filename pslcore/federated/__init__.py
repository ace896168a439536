"""Federated active learning (section 3.5, Fig. 8), in one process; on several machines by ``flower``, an extra."""

from pslcore.federated.protocol import FederatedConfig, FederatedProtocol, Step, fingerprint, resolve
from pslcore.federated.server import Federation, FederationError, Local, aggregate, new_shelf, run, serve
from pslcore.federated.site import DOWN, UP, Reply, Site, size
