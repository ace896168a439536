"""A small share of ``make torture``: nothing is lost."""

import os
import sys

import pytest
import torture

LINUX = pytest.mark.skipif(sys.platform != "linux" or os.getuid() != 0, reason="mounts a small disk")
SHARES = {
    "SIGKILL of a grid": 2, "SIGKILL of a federated run": 1, "SIGKILL of packing records": 3,
    "SIGKILL of feature extraction": 3, "a bit flipped in records and archives": 40,
    "a bit flipped in part records and weights": 1, "two grids in one folder": 1,
    "a clock that jumps by up to 30 days": 1, "protected pictures in what the cloud is given": 8,
}  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return torture.World(tmp_path_factory.mktemp("torture"), seed=0)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="forks")
@pytest.mark.parametrize("kind", SHARES)
def test_nothing_is_lost(world, kind):
    assert list(torture.KINDS[kind][0](world, SHARES[kind])) == [""] * SHARES[kind]


@pytest.mark.slow
@LINUX
@pytest.mark.parametrize("kind", ["a disk that fills up", "a folder that turns read-only"])
def test_nothing_is_lost_on_a_disk_that_fails(world, kind):
    assert list(torture.KINDS[kind][0](world, 1)) == [""]
