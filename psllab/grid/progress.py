"""The progress of a grid, in a small file, if the environment names one (``PSL_PROGRESS``)."""

import json
import os
from pathlib import Path

from pslcore.runs import records

_FILE = "PSL_PROGRESS"


def tell(experiment: str, done: int, of: int, seconds: float, made: int) -> None:
    """Write that so many runs of all are done, ``made`` of them in so many seconds."""
    if path := os.environ.get(_FILE):
        left = seconds / made * (of - done) if made else None
        now = {"experiment": experiment, "done": done, "of": of, "left": left}
        records.write_bytes(Path(path), json.dumps(now).encode())
