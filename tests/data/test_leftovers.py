"""What systems leave in people's folders, by name: all that is known, in any case, and nothing of people's own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pslcore.data import LEFTOVERS, leftover

NAMES = [name for names in LEFTOVERS.values() for name in names]


@given(st.sampled_from(NAMES), st.randoms(use_true_random=False), st.text("abc019", min_size=3, max_size=3))
def test_known_names_are_found_in_any_case_and_with_anything_where_they_have_a_star(name, rng, filling):
    name = name.replace("[0-9][0-9][0-9]", "003").replace("*", filling)
    name = "".join(rng.choice([letter.upper(), letter.lower()]) for letter in name)
    assert leftover(name).startswith("it is ")


@given(st.text(min_size=1, max_size=8).map(lambda name: f".{name}"))
def test_whatever_is_hidden_is_left_out(name):
    assert leftover(name)


@pytest.mark.parametrize(
    "name",
    ["beach", "Strand", "thumbs", "trash", "recycling", "found", "snapshot", "#1 party.jpg", "@home", "a._b"],
)  # fmt: skip
def test_what_people_call_their_own_folders_is_kept(name):
    assert leftover(name) == ""
