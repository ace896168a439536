"""Near copies: the hash is that of its definition, copies are found, and what was compared once stays true."""

import io

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from psllab.album.copies import BITS, NEAR, Copies, perceptual, views


def scene(seed, side=96):
    """A picture with large and small shapes."""
    rng = np.random.default_rng(seed)
    rough = [Image.fromarray(rng.integers(0, 256, (n, n, 3), dtype=np.uint8)) for n in (4, 9, 20)]
    layers = [one.resize((side, side), Image.Resampling.BICUBIC) for one in rough]
    return Image.fromarray(np.mean([np.asarray(layer) for layer in layers], 0).astype(np.uint8))


def jpeg(picture, quality=90):
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return file.getvalue()


def apart(one, other):
    return int(np.bitwise_count(np.frombuffer(one, np.uint8) ^ np.frombuffer(other, np.uint8)).sum())


def test_the_hash_is_that_of_its_definition():
    """Bits of the lowest 16x16 frequencies of a 64x64 picture above their median, by a cosine transform written out."""
    grey = np.asarray(scene(0).convert("L").resize((64, 64), Image.Resampling.LANCZOS), np.float64)
    at = np.arange(64)
    basis = np.cos(np.pi * np.outer(at, 2 * at + 1) / 128)
    low = (basis @ grey @ basis.T)[:16, :16]
    bits = (low > np.median(low)).ravel()
    assert perceptual(scene(0)) == np.packbits(bits).tobytes()


@pytest.mark.parametrize(
    "change",
    [
        lambda p: p.resize((50, 40)), lambda p: p.crop((0, 0, 92, 96)), lambda p: p.crop((3, 4, 95, 96)),
        lambda p: p.transpose(Image.Transpose.FLIP_TOP_BOTTOM), lambda p: p.rotate(90), lambda p: p.convert("L"),
        lambda p: Image.open(io.BytesIO(jpeg(p, 30))),
    ],
)  # fmt: skip
def test_copies_are_near_and_strangers_are_not(change):
    kept = views(jpeg(scene(1)))
    parts = [kept[at : at + BITS // 8] for at in range(0, len(kept), BITS // 8)]
    assert len(parts) == 17
    assert parts[0] == perceptual(Image.open(io.BytesIO(jpeg(scene(1)))))
    assert min(apart(part, perceptual(change(scene(1)))) for part in parts) <= NEAR
    assert min(apart(part, perceptual(change(scene(2)))) for part in parts) > NEAR


HASHES = {f"{number}": perceptual(scene(number // 2).resize((96 - number % 2, 96))) for number in range(8)}


@given(st.lists(st.tuples(st.sampled_from(["add", "forget", "ask"]), st.integers(0, 7)), max_size=20))
@example([("add", 0), ("ask", 0), ("forget", 0), ("add", 4), ("ask", 0)])
def test_what_was_compared_once_stays_true(tmp_path_factory, acts):
    copies, kept = Copies(tmp_path_factory.mktemp("copies") / "copies.db"), set()
    for act, number in acts:
        if act == "add":
            copies.add([(f"{number}", jpeg(scene(number // 2)))])
            kept.add(number)
        elif act == "forget":
            copies.forget([f"{number}"])
            kept.discard(number)
        else:
            found = copies.near(
                {one: HASHES[one] for one in HASHES if int(one) not in kept and (int(one) + number) % 3}
            )
            for one in HASHES:
                if int(one) not in kept and (int(one) + number) % 3:
                    twin = int(one) ^ 1  # the only other picture of this scene
                    assert found.get(one) == (f"{twin}" if twin in kept else None)
        assert copies.known() == {f"{number}" for number in kept}
    copies.close()
