"""The door asks the same as plain set arithmetic does, at the cost of one look an image."""

from contextlib import nullcontext

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pslcore.sides import Cloud, Ledger, Oracle, Pools, ProtectedDataError, as_indices, refuse_protected
from pslcore.sides.guard import as_mask

N = 12
INDICES = st.lists(st.integers(-2, N + 1), max_size=8) | st.lists(st.integers(0, N - 1), unique=True, max_size=N)


def by_sets(indices, protected):
    """What happens to an upload, by sorting and intersecting."""
    outside = [index for index in indices if not 0 <= index < N]
    if outside:
        return ValueError, f"indices holds {outside[0]}, but the training set has the indices 0 to {N - 1}."
    if len(set(indices)) < len(indices):
        return ValueError, "indices names an image more than once: pass each index once."
    caught = sorted(set(indices) & set(protected))
    if caught:
        told = f"{len(caught)} protected image(s) were about to be uploaded (the first is {caught[0]})"
        return ProtectedDataError, f"{told}: only images of the safe pool may leave the client."
    return list(indices)


def by_mask(indices, protected):
    try:
        given = as_indices(indices, N)
        refuse_protected(given, as_mask(protected, N, "protected"), "uploaded")
    except ValueError as error:
        return type(error), str(error)
    assert given.dtype == np.int64
    return given.tolist()


@given(INDICES, st.sets(st.integers(0, N - 1)), st.sampled_from([list, tuple, np.array, np.int8, np.uint16]))
def test_the_door_does_what_set_arithmetic_does(indices, protected, kind):
    indices = sorted(map(abs, indices)) if kind is np.uint16 else indices  # in rising order, repeated or not
    given = np.array(indices, dtype=kind) if isinstance(kind, type) and issubclass(kind, np.number) else kind(indices)
    assert by_mask(given, protected) == by_sets(indices, protected)


@given(st.lists(st.integers(0, N - 1)), st.sets(st.integers(0, N - 1)))
def test_an_image_that_is_named_twice_is_counted_once(indices, protected):
    caught, mask = sorted(set(indices) & protected), as_mask(protected, N, "protected")
    told = rf"^{len(caught)} protected image\(s\) were .*\(the first is {min(caught, default=None)}\)"
    with pytest.raises(ProtectedDataError, match=told) if caught else nullcontext():
        refuse_protected(np.array(indices, dtype=np.int64), mask, "uploaded")


class OneLook:
    """A mask of which nothing can be had but what is at some indices."""

    def __init__(self, mask):
        self._mask, self.looks = mask, 0

    def __getitem__(self, indices):
        self.looks += len(indices)
        return self._mask[indices]


def test_an_image_costs_one_look_however_many_are_protected():
    mask = OneLook(as_mask(np.arange(10, 1000), 1000, "protected"))
    refuse_protected(np.arange(7), mask, "uploaded")
    with pytest.raises(ProtectedDataError, match="the first is 10"):
        refuse_protected(np.array([3, 11, 10]), mask, "uploaded")
    assert mask.looks == 7 + 3


@pytest.mark.parametrize("door", ["pools", "oracle", "cloud"])
def test_every_door_holds_a_mask_of_its_own(door):
    """Whoever made it may change what it was made from."""
    protected = np.array([2, 5])
    made = {
        "pools": lambda: Pools(N, [0], protected),
        "oracle": lambda: Oracle(np.zeros(N, dtype=np.int64), protected),
        "cloud": lambda: Cloud(N, protected, None, type("R", (), {"padding": 0}), "cpu"),
    }[door]()
    protected[:] = 0
    asked = {"pools": "label", "oracle": "ask", "cloud": "upload"}[door]
    with pytest.raises(ProtectedDataError, match="the first is 5"):
        getattr(made, asked)(*[np.array([1, 5])] * (2 if door == "cloud" else 1))


@given(st.lists(st.lists(st.integers(0, N - 1), max_size=6), max_size=5))
def test_the_ledger_counts_different_images(uploads):
    ledger, seen = Ledger(N), set()
    for upload in uploads:
        ledger.saw_unlabelled(np.array(upload, dtype=np.int64))
        seen.update(upload)
        assert ledger.unlabelled_seen == len(seen)
    assert ledger.state()["seen_unlabelled"] == sorted(seen)
    other = Ledger(N)
    other.saw_unlabelled(np.array([1, 2]))
    other.restore(ledger.state())
    assert other.state() == ledger.state()
