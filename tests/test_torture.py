"""A small share of ``make torture``: nothing is lost.

It forks, and a child that is forked where other tests have left threads may wait for ever: so a process of its own.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SHARES = Path(__file__).with_name("torture_shares.py")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="forks")
@pytest.mark.parametrize("which", ["wire", "not wire"])
def test_nothing_is_lost(which, tmp_path):
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-n", "0", "-k", which]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        [*command, "--basetemp", tmp_path / "base", SHARES],
        cwd=SHARES.parents[1],
        env=environment | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
