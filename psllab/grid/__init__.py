"""The runs of an experiment in parallel, and the check that a change of the code changes no record."""
# isort: skip_file

from psllab.grid import archive
from psllab.grid.archive import digest, is_brief, picks
from psllab.grid.equivalence import ATTESTED, attest, current, difference
from psllab.grid.params import (
    ALL, BASE, CEILING, Cell, cells, config_of, experiments, interim, merge, run_one, scales, section, source, top,
)  # fmt: skip
from psllab.grid.precision import settle
from psllab.grid.runner import GridError, Results, collect, pack, read, run, runs_folder, seconds_of, stored, take_in
