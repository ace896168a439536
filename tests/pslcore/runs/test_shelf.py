"""What a run keeps to go on with: whole, or not used."""

import random

import pytest
import torch

from pslcore.runs import packed, unpacked


def test_weights_with_a_bit_flipped_are_refused_or_the_same(tmp_path):
    """torch alone reads three files in four of these without a word, with other weights in them."""
    state, draw, refused = {"weight": torch.randn(1000), "steps": torch.arange(9)}, random.Random(0), 0
    whole, path = packed(state), tmp_path / "key.step1.pt"
    for _ in range(200):
        flipped, place = bytearray(whole), draw.randrange(len(whole))
        flipped[place] ^= 1 << draw.randrange(8)
        path.write_bytes(flipped)
        try:
            assert all(torch.equal(state[name], value) for name, value in unpacked(path).items())
        except ValueError as error:
            assert "key.step1.pt cannot be read" in str(error)  # noqa: PT017
            refused += 1
    assert refused > 100
    path.write_bytes(whole)
    assert unpacked(path).keys() == state.keys()


def test_no_bit_of_the_list_of_contents_makes_other_weights(tmp_path):
    """One bit calls an entry a folder, of which torch reads nothing, whatever its check sum."""
    state, path = {"weight": torch.randn(20)}, tmp_path / "key.step1.pt"
    whole = packed(state)
    for place in range(whole.index(b"PK\1\2"), len(whole)):
        for bit in range(8):
            flipped = bytearray(whole)
            flipped[place] ^= 1 << bit
            path.write_bytes(flipped)
            try:
                assert torch.equal(state["weight"], unpacked(path)["weight"])
            except ValueError as error:
                assert "key.step1.pt cannot be read" in str(error)  # noqa: PT017


def test_weights_that_are_gone_are_told(tmp_path):
    with pytest.raises(ValueError, match=r"none.pt cannot be read \(FileNotFoundError\): the run begins anew"):
        unpacked(tmp_path / "none.pt")
