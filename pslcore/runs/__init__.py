"""One run of active learning: its settings, the protocol they resolve to, the loop, and the record it leaves."""

from pslcore.runs import records, schema
from pslcore.runs.device import clock, prepare_process
from pslcore.runs.loop import OutOfTime, run
from pslcore.runs.metrics import METRICS
from pslcore.runs.protocol import CPU, Protocol, Record, check_batches, counts, fingerprint, images, load, resolve
from pslcore.runs.records import DamagedRecord, hardware
from pslcore.runs.session import CloudOf, Session, cloud_of
from pslcore.runs.settings import Config
from pslcore.runs.shelf import Shelf, packed, unpacked
from pslcore.runs.training import steps, train
