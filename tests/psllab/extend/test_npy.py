"""Data sets in .npy files: mapped from the disk, and the same set as in .npz files."""

import json
import os
import time
from functools import cached_property

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
    save(tmp_path / "a", images, labels, ["x", "", "z"], split="test")
    with pytest.raises(ValueError, match=r"names\.txt, line 2 is empty: name a class on each line"):
        npy.read(tmp_path / "a")
    np.save(tmp_path / "a" / "train-labels.npy", np.array([{}] * 9), allow_pickle=True)
    with pytest.raises(ValueError, match=r"train-labels\.npy is damaged or no \.npy file"):
        data.load("a", tmp_path)


@pytest.fixture
def large(tmp_path, monkeypatch):
    """``large()``: the fingerprint of a set that counts as large, written an hour ago, and whether it was computed."""
    monkeypatch.setattr(npy, "_LARGE", 1)
    computed, original = [], data.Dataset.fingerprint.func
    spy = cached_property(lambda self: computed.append(1) or original(self))
    spy.__set_name__(data.Dataset, "fingerprint")
    monkeypatch.setattr(npy.data.Dataset, "fingerprint", spy)
    for split, n in (("train", 12), ("test", 6)):
        save(tmp_path / "a", *made(n, (6, 5, 3)), None, split)

    def loaded(hours=1):
        for path in (tmp_path / "a").glob("*.npy"):
            os.utime(path, (time.time() - 3600 * hours,) * 2)
        computed.clear()
        contents = data.load("a", tmp_path).contents
        return contents, bool(computed)

    return loaded


def kept_in(tmp_path):
    return tmp_path / "a" / ".fingerprint.json"


def test_the_fingerprint_of_a_large_set_is_computed_once(large, tmp_path, monkeypatch):
    first, computed = large(hours := 1)
    assert computed
    stamps = json.loads(kept_in(tmp_path).read_text())["files"]
    for name, (_, written) in stamps.items():  # `large` gives the files another time: back to what was kept
        os.utime(tmp_path / "a" / name, ns=(written, written))
    monkeypatch.setattr(os, "utime", lambda *_, **__: None)
    assert large(hours) == (first, False)
    monkeypatch.setattr(npy, "_LARGE", 1 << 40)
    small = data.load("a", tmp_path)
    assert (small.contents, small.fingerprint) == ("", first)  # what it is without being kept


@pytest.mark.parametrize("how", ["another time", "another size", "damaged", "of other files", "no text"])
def test_a_fingerprint_that_may_be_of_something_else_is_computed_anew(large, tmp_path, how):
    first, _ = large()
    kept = kept_in(tmp_path)
    if how == "another time":  # and other contents of the same size
        images, labels = made(12, (6, 5, 3), seed=1)
        save(tmp_path / "a", images, labels)
    elif how == "another size":
        save(tmp_path / "a", *made(14, (6, 5, 3)))
    elif how == "of other files":
        kept.write_text(kept.read_text().replace("train-images.npy", "training-images.npy"))
    else:
        kept.write_bytes({"damaged": b'{"files": 3}', "no text": b"\xff\x00"}[how])
    again, computed = large(2)
    assert computed
    assert (again == first) == (how not in ("another time", "another size"))
    assert json.loads(kept.read_text())["sha256"] == again


def test_what_may_still_change_is_not_kept(large, tmp_path):
    assert large(hours=0)[1]
    assert not kept_in(tmp_path).exists()


def test_a_set_that_nobody_may_write_to_is_read_all_the_same(large, tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError("read-only")

    monkeypatch.setattr(npy.packed, "write", refuse)
    first, _ = large()
    assert large(2) == (first, True)
