"""Data sets by name: what is read, and one sentence for whatever is wrong with it."""

import random
import zipfile

import numpy as np
import pytest
import torch

from pslcore import data
from pslcore.data import load, npz
from pslcore.losses import task_loss
from pslcore.vision import torchvision

SPLITS = ("train", "test")


def save(folder, train=(), test=(), compressed=False):
    """A small good data set of three classes; what is given replaces its arrays, None leaves one out."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, n, own in (("train", 9, train), ("test", 6, test)):
        images = np.random.default_rng(n).integers(0, 256, (n, 3, 4, 5)).astype(np.uint8)
        content = {"images": images, "labels": np.arange(n) % 3, "names": ["a", "b", "c"]} | dict(own)
        kept = {name: array for name, array in content.items() if array is not None}
        (np.savez_compressed if compressed else np.savez)(folder / f"{split}.npz", **kept)
    return folder


def test_digits(tmp_path):
    digits = load("digits", tmp_path)
    assert (len(digits.train), len(digits.test)) == (1297, 500)
    assert digits.classes == tuple("0123456789")
    assert digits.train.images.shape == (1297, 1, 8, 8)
    assert digits.train.images.dtype == digits.test.images.dtype == np.uint8
    assert digits.train.labels.dtype == np.int64
    assert (digits.train.images.min(), digits.train.images.max()) == (0, 255)
    assert digits.coarse is None
    assert (digits.channels, digits.pixel_labels) == (1, False)
    assert "1,297 train" in digits.note
    assert sorted(set(digits.test.labels.tolist())) == list(range(10))
    assert digits.fingerprint == load("digits", tmp_path / "elsewhere").fingerprint


@pytest.mark.parametrize("layout", ["N x H x W", "N x H x W x C", "N x C x H x W"])
@pytest.mark.parametrize("channels", [1, 3])
def test_images_in_any_layout(tmp_path, layout, channels):
    shown = {}
    for split, n in (("train", 9), ("test", 6)):
        images = np.random.default_rng(n).integers(0, 256, (n, channels, 4, 5)).astype(np.uint8)
        stored = {"N x H x W": images[:, 0], "N x H x W x C": images.transpose(0, 2, 3, 1)}.get(layout, images)
        shown[split] = images[:, :1] if layout == "N x H x W" else images, stored
    save(tmp_path / "mine", *({"images": shown[split][1]} for split in SPLITS))
    dataset = load("mine", tmp_path)
    for split in SPLITS:
        read = getattr(dataset, split)
        assert np.array_equal(read.images, shown[split][0])
        assert read.images.dtype == np.uint8
        assert read.images.flags.c_contiguous
        assert read.labels.tolist() == [index % 3 for index in range(len(read))]
    assert dataset.classes == ("a", "b", "c")


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.uint64])
def test_labels_of_any_whole_kind_become_int64(tmp_path, dtype):
    save(tmp_path / "mine", {"labels": (np.arange(9) % 3).astype(dtype)})
    assert load("mine", tmp_path).train.labels.dtype == np.int64


def test_pixel_labels_with_void(tmp_path):
    train, test = np.zeros((9, 4, 5), dtype=np.uint8), np.ones((6, 4, 5), dtype=np.int16)
    train[:, 0] = 255
    save(tmp_path / "mine", {"labels": train}, {"labels": test})
    dataset = load("mine", tmp_path)
    assert dataset.pixel_labels
    assert dataset.train.labels.shape == (9, 4, 5)
    assert dataset.train.labels.dtype == np.int64
    assert np.unique(dataset.train.labels).tolist() == [0, 255]


def test_superclasses_and_notes(tmp_path):
    save(tmp_path / "mine", {"coarse": np.arange(9) % 3 // 2, "coarse_names": ["x", "y"], "approx": np.arange(4)})
    dataset = load("mine", tmp_path)
    assert dataset.coarse.tolist() == [0, 0, 1]
    assert dataset.note == "4 training and 0 test images are approximate copies of the originals."


def test_an_own_set_goes_before_a_known_one_of_its_name(tmp_path):
    save(tmp_path / "digits")
    assert len(load("digits", tmp_path).train) == 9


def test_the_fingerprint_is_that_of_the_contents(tmp_path):
    def fingerprint(**own):
        save(tmp_path / "mine", own)
        return load("mine", tmp_path).fingerprint

    first, images, labels = fingerprint(), np.zeros((9, 3, 4, 5), dtype=np.uint8), np.zeros(9, dtype=int)
    assert fingerprint() == first
    assert fingerprint(names=["x", "y", "z"]) == first
    others = [fingerprint(images=images), fingerprint(labels=labels), fingerprint(images=images, labels=labels)]
    images[3, 1, 2, 2] = 1
    others.append(fingerprint(images=images))
    assert len({first, *others}) == 5


# What is wrong with it


@pytest.mark.parametrize("name", ["tinny", "", "digits@8x8", "cifar10@16x16"])
def test_unknown_names(tmp_path, name):
    with pytest.raises(ValueError, match=f"unknown data set '{name}': choose one of {', '.join(data.names())}, or"):
        load(name, tmp_path)


IMAGES = np.zeros((9, 3, 4, 5), dtype=np.uint8)


@pytest.mark.parametrize(
    ("train", "sentence"),
    [
        ({"images": IMAGES.astype(float)}, r"mine.train.npz: images are float64, but must be uint8 from 0 to 255"),
        ({"images": IMAGES.astype(np.int64)}, r"mine.train.npz: images are int64"),
        (
            {"images": IMAGES[0, 0]},
            r"mine.train.npz: images have the shape \(4, 5\); they must be N x H x W, N x H x W x",
        ),
        ({"images": np.zeros((9, 2, 4, 5), np.uint8)}, "one or three channels"),
        ({"images": np.zeros((0, 3, 4, 5), np.uint8), "labels": np.zeros(0, int)}, r"the shape \(0, 3, 4, 5\)"),
        ({"images": np.zeros((9, 3, 0, 5), np.uint8)}, r"the shape \(9, 3, 0, 5\)"),
        ({"images": np.uint8(3)}, r"images have the shape \(\)"),
        ({"labels": np.full(9, np.nan)}, r"mine.train.npz: label nan is no whole number \(the index of the class\)"),
        ({"labels": np.full(9, 0.5)}, r"mine.train.npz: label 0.5 is no whole number"),
        ({"labels": np.full(9, 1j)}, r"mine.train.npz: labels are complex128, but must be whole numbers"),
        ({"labels": ["a"] * 9}, r"mine.train.npz: labels are <U1, but must be whole numbers"),
        ({"labels": np.zeros(8, int)}, r"mine.train.npz: 9 images but 8 labels; there must be one label an image"),
        ({"labels": np.zeros((9, 1), int)}, r"labels have the shape \(9, 1\); for images of the shape \(9, 3, 4, 5\)"),
        ({"labels": np.zeros((9, 5, 4), int)}, r"or, for pixel labels, \(9, 4, 5\)"),
        ({"labels": np.int64(3)}, r"9 images but 0 labels"),
        ({"labels": np.full(9, 3)}, "image 0: label 3 is outside the table of 3 classes; labels go from 0 to 2"),
        ({"labels": np.full(9, -1)}, "mine train, image 0: label -1 is outside the table of 3 classes"),
        ({"labels": np.full(9, 255)}, "mine train, image 0: label 255 is outside"),  # void is for pixels
        ({"labels": np.r_[:8, 99999], "names": None}, "label 99999 is too large: 255 is void, so labels go"),
        ({"labels": np.full(9, 2**63, np.uint64)}, "mine.train.npz: label 9223372036854775808 is no whole number"),
        (
            {"images": np.zeros((9, 3, 4, 6), np.uint8)},
            r"training images have the shape \(3, 4, 6\), test images \(3, 4, 5\)",
        ),
        ({"images": np.zeros((9, 1, 4, 5), np.uint8)}, "both splits must be alike"),
        ({"labels": np.zeros((9, 4, 5), int)}, r"labels \(4, 5\) and \(\): both splits must be alike"),
        ({"images": None}, r"mine.train.npz holds no array 'images'; it has labels, names"),
        ({"labels": None}, r"train.npz holds no array 'labels'; it has images, names"),
        ({"names": ["a", "b"]}, "mine train, image 2: label 2 is outside the table of 2 classes"),
        ({"images": None, "labels": None, "names": None}, "holds no array 'images'; it has nothing"),
        ({"coarse": np.arange(9) % 2}, "the coarse labels put a class into two superclasses"),
        ({"coarse": np.zeros(8, int)}, "coarse"),
        ({"coarse": np.arange(9) % 3, "names": ["a", "b", "c", "d"]}, "a class has no image"),
        ({"coarse": np.arange(9) % 3, "labels": np.full(9, np.nan)}, "label nan is no whole number"),
        (
            {"labels": np.arange(9) % 3 + 1},
            "labels go from 0 to 2: subtract 1 if they count from 1",
        ),
    ],
)
def test_what_does_not_make_a_data_set(tmp_path, train, sentence):
    save(tmp_path / "mine", train)
    with pytest.raises(ValueError, match=sentence):
        load("mine", tmp_path)


def test_the_test_split_is_checked_as_well(tmp_path):
    save(tmp_path / "mine", {}, {"labels": np.full(6, 7)})
    with pytest.raises(ValueError, match="mine test, image 0: label 7 is outside the table of 3 classes"):
        load("mine", tmp_path)
    pixels = {"labels": np.zeros((9, 4, 5), int)}, {"labels": np.full((6, 4, 5), 254)}
    save(tmp_path / "mine", *pixels)
    with pytest.raises(ValueError, match="mine test, image 0: label 254 is outside"):
        load("mine", tmp_path)


@pytest.mark.parametrize("split", SPLITS)
def test_a_missing_file(tmp_path, split):
    (save(tmp_path / "mine") / f"{split}.npz").unlink()
    with pytest.raises(FileNotFoundError, match=rf"{split}\.npz is missing: a data set needs train.npz and test.npz"):
        load("mine", tmp_path)
    assert npz.present(tmp_path / "mine")


def test_class_255_of_a_large_set_is_no_void(tmp_path):
    """Either such a set is refused, or an image of that class counts in the loss."""
    names, images = [str(label) for label in range(300)], np.zeros((300, 1, 2, 2), np.uint8)
    save(tmp_path / "mine", *({"images": images, "labels": np.arange(300), "names": names} for _ in SPLITS))
    if task_loss(torch.zeros(1, 300), torch.tensor([255])) == 0:
        with pytest.raises(ValueError, match=r"25[456]"):
            load("mine", tmp_path)


# Damaged files


def refused(path, root):
    """Whether reading was refused in our sentence; anything else that is raised comes through."""
    try:
        load("mine", root)
    except ValueError as error:
        return "mine" in str(error)
    return False


@pytest.mark.parametrize("compressed", [False, True])
def test_a_file_cut_short_anywhere_is_refused(tmp_path, compressed):
    path = save(tmp_path / "mine", compressed=compressed) / "train.npz"
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"train\.npz is damaged or no \.npz file \(.*\): write or copy it again"):
            load("mine", tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("compressed", [False, True])
def test_a_file_with_an_altered_byte_is_refused_or_harmless(tmp_path, compressed):
    """Never another exception than the sentence, never other images."""
    path = save(tmp_path / "mine", compressed=compressed) / "train.npz"
    whole, good, draw = path.read_bytes(), load("mine", tmp_path), random.Random(0)
    times_refused = 0
    for place in range(0, len(whole), 2):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ draw.choice([1, 8, 128, 255])]) + whole[place + 1 :])
        if refused(path, tmp_path):
            times_refused += 1
        else:
            assert load("mine", tmp_path).fingerprint == good.fingerprint, place
    assert times_refused > len(whole) / 6


@pytest.mark.parametrize("content", ["nothing", "text", "npy", "pickle", "folder", "zip"])
def test_what_is_no_npz_file(tmp_path, content):
    path = save(tmp_path / "mine") / "train.npz"
    path.unlink()
    if content == "npy":
        with open(path, "wb") as file:
            np.save(file, np.zeros(3))
    elif content == "pickle":
        np.savez(path, images=np.array([{}], dtype=object), labels=[0], names=["a"])
    elif content == "folder":
        path.mkdir()
    elif content == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("images.txt", "no array")
    else:
        path.write_text("" if content == "nothing" else "images")
    with pytest.raises(
        ValueError, match=r"train\.npz(: images are object| is damaged or no \.npz file| holds no array)"
    ):
        load("mine", tmp_path)


# CIFAR


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
@pytest.mark.parametrize("error", [RuntimeError("md5"), OSError("no route to host")])
def test_cifar_that_is_not_there_and_cannot_be_had(tmp_path, monkeypatch, name, error):
    asked = []

    def reader(root, train, download):
        asked.append((root, download))
        raise error if download else RuntimeError("Dataset not found or corrupted.")

    monkeypatch.setattr(torchvision.datasets, name.upper(), reader)
    sentence = (
        rf"{name.upper()} lies neither as .*{name}/\{{train,test\}}\.npz nor in its official form under .*"
        rf"could not be downloaded \({error}\): see data/README\.md"
    )
    with pytest.raises(FileNotFoundError, match=sentence):
        load(name, tmp_path)
    assert asked == [(tmp_path, False), (tmp_path, True)]


def test_cifar_from_torchvision(tmp_path, monkeypatch):
    class Reader:
        classes = tuple(f"class {label}" for label in range(10))

        def __init__(self, root, train, download):
            n = 30 if train else 20
            self.data = np.full((n, 32, 32, 3), int(train), dtype=np.uint8)
            self.targets = [index % 10 for index in range(n)]

    monkeypatch.setattr(torchvision.datasets, "CIFAR10", Reader)
    dataset = load("cifar10", tmp_path)
    assert dataset.train.images.shape == (30, 3, 32, 32)
    assert (dataset.train.images.max(), dataset.test.images.max()) == (1, 0)
    assert dataset.test.labels.tolist() == [index % 10 for index in range(20)]
    assert dataset.classes == Reader.classes
