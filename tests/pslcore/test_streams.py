"""Randomness by name."""

import hashlib

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from pslcore.streams import derive, numpy_stream, torch_stream

names = st.tuples(st.integers(0, 10**6), st.sampled_from(["pools", "teacher-init", "loader"]), st.integers(0, 99))


@given(names, names)
def test_a_seed_for_each_name_and_one_only(one, two):
    assert derive(*one) == derive(*one)
    assert 0 <= derive(*one) < 2**63
    assert (derive(*one) == derive(*two)) == (one == two)


def test_the_derivation_never_changes():
    """Else all records would have to be made again."""
    digest = hashlib.sha256(b"7/pools/3").digest()
    assert derive(7, "pools", 3) == int.from_bytes(digest[:8], "big") // 2
    assert derive(7, "pools") == derive(7, "pools", 0)
    assert derive(np.int64(7), "pools", np.int32(3)) == derive(7, "pools", 3)


def test_a_stream_does_not_depend_on_what_was_drawn_before():
    torch.manual_seed(0)
    first = torch.rand(5, generator=torch_stream(1, "loader", 2)), numpy_stream(1, "loader", 2).random(5)
    torch.manual_seed(1)
    torch.rand(3)
    other = torch_stream(1, "query", 2)
    torch.rand(3, generator=other)
    before = torch.get_rng_state()
    again = torch.rand(5, generator=torch_stream(1, "loader", 2)), numpy_stream(1, "loader", 2).random(5)
    assert torch.equal(first[0], again[0])
    assert np.array_equal(first[1], again[1])
    assert torch.equal(torch.get_rng_state(), before)


def test_neighbouring_streams_are_unrelated():
    draws = [numpy_stream(seed, purpose, cycle).normal(size=2000)
             for seed in (0, 1) for purpose in ("student-init-0", "student-init-1") for cycle in (0, 1)]  # fmt: skip
    correlations = np.corrcoef(draws)[np.triu_indices(8, 1)]
    assert np.abs(correlations).max() < 0.1
