"""Sets composed from digits: their shapes, their balance, and no source digit on both sides."""

import time

import numpy as np
import pytest

from pslcore import data
from pslcore.data import composed
from pslcore.data.digits import N_TEST
from pslcore.losses import VOID


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


@pytest.fixture(scope="module")
def numbers():
    return data.load("numbers")


@pytest.fixture(scope="module")
def scenes():
    return data.load("digit_scenes")


def test_numbers(numbers):
    assert numbers.train.images.shape == (6000, 1, 8, 16)
    assert numbers.test.images.shape == (2000, 1, 8, 16)
    assert np.bincount(numbers.train.labels).tolist() == [60] * 100
    assert np.bincount(numbers.test.labels).tolist() == [20] * 100
    assert numbers.classes[0] == "00"
    assert numbers.classes[99] == "99"
    assert numbers.coarse.tolist() == [number // 10 for number in range(100)]
    assert not (np.diff(numbers.train.labels) >= 0).all()  # not sorted by class


@pytest.mark.parametrize("split", ["train", "test"])
def test_numbers_are_made_of_the_right_digits(numbers, digits, split):
    source = getattr(digits, split)
    label_of = {image.tobytes(): label for image, label in zip(source.images, source.labels, strict=True)}
    part = getattr(numbers, split)
    for image, number in zip(part.images, part.labels, strict=True):
        tens, units = (np.ascontiguousarray(half) for half in (image[:, :, :8], image[:, :, 8:]))
        assert 10 * label_of[tens.tobytes()] + label_of[units.tobytes()] == number


def test_no_digit_on_both_sides(numbers, digits):
    assert len(digits.train) == 1797 - N_TEST
    assert len(digits.test) == N_TEST
    halves = [
        {half.tobytes() for image in split.images for half in np.split(image, 2, axis=2)}
        for split in (numbers.train, numbers.test)
    ]
    assert not halves[0] & halves[1]
    assert len(halves[0]) > 1290
    assert len(halves[1]) > 490


def test_scenes(scenes):
    shape = (composed.HEIGHT, composed.WIDTH)
    assert scenes.train.images.shape == (400, 1, *shape)
    assert scenes.test.labels.shape == (100, *shape)
    assert scenes.pixel_labels
    assert len(scenes.classes) == 11
    assert scenes.classes[10] == "background"
    for split in (scenes.train, scenes.test):
        assert set(np.unique(split.labels)) == {*range(11), VOID}
        void = split.labels == VOID
        assert void[:, -composed.HOOD :].all()
        assert not void[:, : -composed.HOOD].any()
        shares = np.bincount(split.labels[~void], minlength=11) / (~void).sum()
        assert shares[:10].min() > 0.01
        assert 0.5 < shares[10] < 0.85
        per_scene = [len(np.unique(labels)) - 2 for labels in split.labels]  # without background and void
        assert set(per_scene) == {2}


def test_labelled_pixels_are_brighter_than_the_ground(scenes):
    images, labels = scenes.train.images[:, 0], scenes.train.labels
    assert images[labels < 10].mean() > 2 * images[labels == 10].mean()


def test_scenes_do_not_share_digits(monkeypatch, digits):
    """The drawing functions see one side's digits each: train scenes are the same whatever the test digits are."""
    train, (images, labels) = composed.digits.splits()
    expected = composed.read_digit_scenes(".")["train"]
    monkeypatch.setattr(composed.digits, "splits", lambda: (train, (images * 0, labels)))
    changed = composed.read_digit_scenes(".")
    np.testing.assert_array_equal(changed["train"][0], expected[0])
    assert set(np.unique(changed["test"][1])) == {10, VOID}


@pytest.mark.parametrize("name", ["numbers", "digit_scenes"])
def test_the_same_every_time_and_quick(name):
    start = time.process_time()
    first = data.load(name).fingerprint
    assert time.process_time() - start < 1
    assert data.load(name).fingerprint == first


def test_the_same_on_every_machine(numbers, scenes):
    """Fingerprints, so that a change of the composition is a decision and not an accident."""
    assert numbers.fingerprint[:16] == "9b21e0e863193cc7"
    assert scenes.fingerprint[:16] == "eb3037fde68613a3"


@pytest.mark.parametrize("size", [16, 20, 24])
def test_enlarged_keeps_a_constant_and_the_ends(monkeypatch, size):
    monkeypatch.setattr(composed, "DIGIT", size)
    np.testing.assert_allclose(composed._enlarged(np.full((8, 8), 7)), np.full((size, size), 7))
    ramp = composed._enlarged(np.tile(np.arange(8), (8, 1)))
    assert ramp[0, 0] == 0
    assert ramp[-1, -1] == 7
    assert (np.diff(ramp[0]) >= 0).all()
