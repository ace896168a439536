"""One run of active learning: settings, the protocol they resolve to, the loop, and the record it leaves."""

from pslcore.runs.loop import (
    METRICS,
    Config,
    OutOfTime,
    Record,
    _query,
    check,
    device_name,
    prepare_process,
    run,
)
from pslcore.runs.records import DamagedRecord, hardware
from pslcore.runs.training import steps, train
from pslcore.runs.trial import Trial, first_cycle
