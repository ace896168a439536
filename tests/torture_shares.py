"""A small share of ``make torture``, which ``test_torture`` runs in a process of its own."""

import os
import sys

import pytest
import torture

LINUX = pytest.mark.skipif(sys.platform != "linux" or os.getuid() != 0, reason="mounts a small disk")
SHARES = {
    "SIGKILL of a grid": 2, "SIGKILL of a federated run": 1, "SIGKILL of packing records": 3,
    "SIGKILL of feature extraction": 3, "SIGKILL of a cluster's worker": 1, "SIGKILL of a cluster's scheduler": 1,
    "a bit flipped in records and archives": 40,
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


def fails(out):
    raise OSError


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="forks")
def test_work_that_fails_by_itself_is_lost_and_not_tried_for_ever(world):
    assert list(torture.killed(world, 2, fails, 9, str)) == ["it ended with 1 before it was killed"] * 2


@pytest.mark.slow
@LINUX
@pytest.mark.parametrize("kind", ["a disk that fills up", "a folder that turns read-only"])
def test_nothing_is_lost_on_a_disk_that_fails(world, kind):
    assert list(torture.KINDS[kind][0](world, 1)) == [""]


@pytest.mark.slow
@LINUX
@pytest.mark.parametrize(("kind", "n"), [("SIGKILL of a server", 2), ("SIGKILL of its client", 2),
                                         ("a line cut for a minute, in every phase", 4),
                                         ("50 ms and a packet in a hundred lost", 1),
                                         ("canaries of protected pictures, on a server", 5)])  # fmt: skip
def test_nothing_is_lost_on_the_wire_nor_found_there(world, kind, n, monkeypatch):
    pytest.importorskip("fastapi", reason="fastapi is not installed: pip install '.[cloud]'")
    import torture_wire

    monkeypatch.setattr(torture_wire, "MINUTE", 1.0)
    if "packet" in kind and not torture_wire.namespaces():
        pytest.skip("no network namespaces here")
    assert list(torture_wire.KINDS[kind][0](world, n)) == [""] * n
