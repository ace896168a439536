"""The federation of ``federated`` over real machines, with Flower (flwr): the same clients, the same server's loop."""

from psllab.flower.apps import Remote, bundle, client, server
from psllab.flower.privacy import Privacy
