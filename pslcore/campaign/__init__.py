"""Many runs: the grid of an experiment, and the proof that a change of the code changed no record."""

from pslcore import extend
from pslcore.campaign import archive
from pslcore.campaign.attest import ATTESTED, attest, current, difference
from pslcore.campaign.grid import GridError, Results, collect, pack, read, run, runs_folder, stored, take_in
from pslcore.campaign.params import (
    BASE,
    CEILING,
    Cell,
    cells,
    config_of,
    experiments,
    looks,
    merge,
    run_one,
    scales,
    section,
    source,
    top,
)
from pslcore.campaign.precision import settle
