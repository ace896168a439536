"""Many runs: the grid of an experiment, and the proof that a change of the code changed no record."""

from pslcore.campaign.grid import Cell, GridError, Results
