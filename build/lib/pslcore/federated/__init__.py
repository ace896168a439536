"""Federated active learning (section 3.5, Fig. 8), in one process; on several machines by ``flower``, an extra."""

from pslcore.federated.average import aggregate, size
from pslcore.federated.protocol import FederatedProtocol, Step, fingerprint, resolve
from pslcore.federated.server import Federation, FederationError, Local, new_shelf, run, serve
from pslcore.federated.settings import FederatedConfig
from pslcore.federated.site import DOWN, UP, Reply, Site
