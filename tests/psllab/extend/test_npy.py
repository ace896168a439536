"""Data sets in .npy files: mapped from the disk, and the same set as in .npz files."""

import numpy as np
import pytest

from pslcore import data
from psllab.extend import npy


def save(folder, images, labels, names=None, split="train"):
    folder.mkdir(exist_ok=True)
    np.save(folder / f"{split}-images.npy", images)
    np.save(folder / f"{split}-labels.npy", labels)
    if names is not None:
        (folder / "names.txt").write_text("\n".join(names) + "\n")


def made(n, shape=(3, 6, 5), seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, *shape), dtype=np.uint8), np.arange(n) % 3


@pytest.mark.parametrize("shape", [(3, 6, 5), (6, 5, 3), (6, 5)])
def test_the_same_set_as_in_npz_files(tmp_path, shape):
    parts = {split: made(n, shape, n) for split, n in (("train", 12), ("test", 6))}
    (tmp_path / "b").mkdir()
    for split, (images, labels) in parts.items():
        save(tmp_path / "a", images, labels, ["x", "y", "z"], split)
        np.savez(tmp_path / "b" / f"{split}.npz", images=images, labels=labels, names=["x", "y", "z"])
    one, other = data.load("a", tmp_path), data.load("b", tmp_path)
    assert one.fingerprint == other.fingerprint
    assert one.classes == other.classes == ("x", "y", "z")
    assert isinstance(one.train.images, np.memmap)
    picks = np.array([5, 1])
    np.testing.assert_array_equal(one.train.images[picks], other.train.images[picks])


def test_names_are_optional_in_both_forms(tmp_path):
    images, labels = made(9)
    for split in ("train", "test"):
        save(tmp_path / "a", images, labels, None, split)
    assert data.load("a", tmp_path).classes == ("0", "1", "2")
    (tmp_path / "b").mkdir()
    for split in ("train", "test"):
        np.savez(tmp_path / "b" / f"{split}.npz", images=images, labels=labels)
    assert data.load("b", tmp_path).classes == ("0", "1", "2")


def test_pixel_labels_stay_on_the_disk(tmp_path):
    images, _ = made(4)
    labels = np.array([[0, 1, 255, 2, 1]] * 6, np.uint8)[None].repeat(4, 0)
    for split in ("train", "test"):
        save(tmp_path / "a", images, labels, None, split)
    dataset = data.load("a", tmp_path)
    assert isinstance(dataset.train.labels, data.Labels)
    assert dataset.classes == ("0", "1", "2")
    assert dataset.train.labels[1].dtype == np.int64


def test_what_is_wrong_is_said_in_a_sentence(tmp_path):
    images, labels = made(9)
    save(tmp_path / "a", images, labels)
    with pytest.raises(FileNotFoundError, match=r"test-images\.npy is missing: a data set in \.npy files has"):
        data.load("a", tmp_path)
    save(tmp_path / "a", images, labels[:5], split="test")
    with pytest.raises(ValueError, match=r"test-images\.npy: 9 images but 5 labels"):
        data.load("a", tmp_path)
    whole = (tmp_path / "a" / "test-images.npy").read_bytes()
    for content in (b"", whole[:-1], b"x" * 99, whole[:20]):
        (tmp_path / "a" / "test-images.npy").write_bytes(content)
        with pytest.raises(ValueError, match=r"test-images\.npy is damaged or no \.npy file"):
            data.load("a", tmp_path)
    save(tmp_path / "a", images, labels, ["x", "x"], split="test")
    with pytest.raises(ValueError, match=r"names\.txt holds a name twice"):
        npy.read(tmp_path / "a")
    np.save(tmp_path / "a" / "train-labels.npy", np.array([{}] * 9), allow_pickle=True)
    with pytest.raises(ValueError, match=r"train-labels\.npy is damaged or no \.npy file"):
        data.load("a", tmp_path)
