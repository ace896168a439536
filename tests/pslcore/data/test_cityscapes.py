"""Cityscapes on a small made-up tree of the same shape."""

import numpy as np
import pytest
from PIL import Image

from pslcore import data
from pslcore.losses import VOID

FRAMES = {"train": ["aachen/aachen_000000_000019", "aachen/aachen_000001_000019", "bochum/bochum_000000_000313"],
          "val": ["lindau/lindau_000000_000019", "munster/munster_000001_000019"]}  # fmt: skip
H, W = 16, 34
TRAIN_IDS = {7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10, 24: 11, 25: 12, 26: 13, 27: 14,
             28: 15, 31: 16, 32: 17, 33: 18}  # fmt: skip


def image_of(root, split, frame):
    return root / "cityscapes" / "leftImg8bit" / split / f"{frame}_leftImg8bit.png"


def label_of(root, split, frame):
    return root / "cityscapes" / "gtFine" / split / f"{frame}_gtFine_labelIds.png"


def write(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


@pytest.fixture
def root(tmp_path):
    rng = np.random.default_rng(0)
    for split, frames in FRAMES.items():
        for frame in frames:
            write(image_of(tmp_path, split, frame), rng.integers(0, 256, (H, W, 3), dtype=np.uint8))
            ids = np.tile(np.arange(W, dtype=np.uint8), (H, 1))  # column c is id c: all 34 of them
            write(label_of(tmp_path, split, frame), ids)
            write(label_of(tmp_path, split, frame).with_name("x_gtFine_color.png"), ids)  # the archive holds more
    return tmp_path


def test_loads(root):
    dataset = data.load("cityscapes", root)
    assert dataset.train.images.shape == (3, 3, H, W)
    assert dataset.test.labels.shape == (2, H, W)
    assert len(dataset.classes) == 19
    assert dataset.classes[0] == "road"
    assert dataset.classes[18] == "bicycle"
    assert dataset.pixel_labels
    assert dataset.channels == 3
    assert len(dataset.fingerprint) == 64
    expected = [TRAIN_IDS.get(number, VOID) for number in range(34)]
    np.testing.assert_array_equal(dataset.train.labels[1], np.tile(expected, (H, 1)))
    first = np.asarray(Image.open(image_of(root, "train", FRAMES["train"][0])))
    np.testing.assert_array_equal(dataset.train.images[0].transpose(1, 2, 0), first)
    assert "3 training and 2 test" in dataset.note
    assert "2,975" in dataset.note


def test_reduced_size(root):
    dataset = data.load("cityscapes@8x17", root)
    assert dataset.train.images.shape == (3, 3, 8, 17)
    assert dataset.train.labels.shape == (3, 8, 17)
    assert set(np.unique(dataset.train.labels[:])) <= {*range(19), VOID}
    assert dataset.fingerprint != data.load("cityscapes", root).fingerprint


def test_absent_says_where_to_get_it(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"register at https://www.cityscapes-dataset.com") as error:
        data.load("cityscapes", tmp_path)
    assert "\n" not in str(error.value)
    assert str(error.value).endswith(".")


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize(("gone", "kept"), [(image_of, label_of), (label_of, image_of)])
def test_half_a_pair_is_named(root, split, gone, kept):
    frame = FRAMES[split][0]
    gone(root, split, frame).unlink()
    with pytest.raises(FileNotFoundError, match=f"{gone(root, split, frame).name} is missing") as error:
        data.load("cityscapes", root)
    assert str(kept(root, split, frame)) in str(error.value)


def test_empty_split_is_named(root):
    for frame in FRAMES["val"]:
        image_of(root, "val", frame).unlink()
        label_of(root, "val", frame).unlink()
    with pytest.raises(FileNotFoundError, match=r"leftImg8bit/val holds no"):
        data.load("cityscapes", root)


@pytest.mark.parametrize("number", [34, 200, 255])
def test_id_outside_the_table_is_named(root, number):
    path = label_of(root, "train", FRAMES["train"][2])
    ids = np.full((H, W), 7, dtype=np.uint8)
    ids[5, 6] = number
    write(path, ids)
    with pytest.raises(ValueError, match=f"{path.name} holds the label {number}"):
        data.load("cityscapes", root)


@pytest.mark.parametrize("of", [image_of, label_of])
def test_wrong_size_and_cut_short_are_named(root, of):
    path = of(root, "val", FRAMES["val"][1])
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=f"{path.name} is damaged or cut short"):
        data.load("cityscapes", root)
    write(path, np.zeros((H, W + 1, 3) if of is image_of else (H, W + 1), dtype=np.uint8))
    with pytest.raises(ValueError, match=rf"{path.name} has {W + 1}x{H} pixels"):
        data.load("cityscapes", root)
