"""The two sides of Figure 1, the sets of section 3.1, and all that stands between an image and the cloud."""

from pslcore.sides.client import Client
from pslcore.sides.cloud import AuxiliaryModule, Cloud, ask, task_learner
from pslcore.sides.guard import ProtectedDataError, as_indices, refuse_protected
from pslcore.sides.ledger import Ledger
from pslcore.sides.oracle import Oracle, mislabel
from pslcore.sides.pools import Pools, protected_setting, standard_setting
