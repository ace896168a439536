"""Tiny ImageNet on a small tree of the official layout: three classes, four training and two validation images each."""

import shutil

import numpy as np
import pytest
from PIL import Image

from pslcore import data

WNIDS = ["n03", "n01", "n02"]  # wnids.txt is not sorted


def write(path, value, mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (64, 64), value if mode == "L" else (value, 10, 200)).save(path, quality=95)


@pytest.fixture
def base(tmp_path):
    base = tmp_path / "tiny_imagenet" / "tiny-imagenet-200"
    lines = []
    for number, wnid in enumerate(WNIDS):
        for k in range(4):
            grey = (number, k) == (0, 3)
            write(base / "train" / wnid / "images" / f"{wnid}_{k}.JPEG", 40 * number + 10 * k, "L" if grey else "RGB")
        boxes = "".join(f"{wnid}_{k}.JPEG\t0\t0\t63\t63\n" for k in range(4))
        (base / "train" / wnid / f"{wnid}_boxes.txt").write_text(boxes)
        for k in range(2):
            write(base / "val" / "images" / f"val_{2 * number + k}.JPEG", 100 + 40 * number)
            lines.append(f"val_{2 * number + k}.JPEG\t{wnid}\t0\t0\t63\t63\n")
    (base / "val" / "val_annotations.txt").write_text("".join(lines))
    (base / "wnids.txt").write_text("\n".join(WNIDS) + "\n")
    (base / "words.txt").write_text("n00\tentity\nn01\tgoldfish, Carassius auratus\nn03\tbullfrog\n")
    return base


def load(base):
    return data.load("tiny_imagenet", base.parents[1])


def test_loads(base):
    dataset = load(base)
    assert dataset.train.images.shape == (12, 3, 64, 64)
    assert dataset.test.images.shape == (6, 3, 64, 64)
    assert dataset.classes == ("goldfish", "n02", "bullfrog")  # by sorted id; n02 has no words
    assert dataset.train.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert dataset.test.labels.tolist() == [2, 2, 0, 0, 1, 1]
    reds = dataset.train.images[:, 0].mean((1, 2))
    np.testing.assert_allclose(reds[:4], [40, 50, 60, 70], atol=4)
    np.testing.assert_allclose(dataset.train.images[11].mean((1, 2)), 30, atol=4)  # grey became colour
    assert "12 training and 6 test" in dataset.note
    assert "validation images" in dataset.note
    assert len(dataset.fingerprint) == 64
    assert dataset.fingerprint == load(base).fingerprint
    assert not dataset.pixel_labels
    assert dataset.channels == 3


@pytest.mark.parametrize("place", ["tiny_imagenet", "tiny-imagenet-200"])
def test_other_places(base, place):
    root, first = base.parents[1], load(base).fingerprint
    shutil.move(base, root / "source")
    shutil.rmtree(root / "tiny_imagenet")
    shutil.move(root / "source", root / place)
    assert data.load("tiny_imagenet", root).fingerprint == first


def test_validation_images_in_class_folders(base):
    for line in (base / "val" / "val_annotations.txt").read_text().splitlines():
        name, wnid = line.split("\t")[:2]
        (base / "val" / wnid).mkdir(exist_ok=True)
        shutil.move(base / "val" / "images" / name, base / "val" / wnid / name)
    (base / "val" / "images").rmdir()
    assert load(base).test.labels.tolist() == [0, 0, 1, 1, 2, 2]


def test_without_the_text_files(base):
    (base / "wnids.txt").unlink()
    (base / "words.txt").unlink()
    assert load(base).classes == ("n01", "n02", "n03")


def test_reduced_size(base):
    assert data.load("tiny_imagenet@32x32", base.parents[1]).train.images.shape == (12, 3, 32, 32)


BAD = {
    "class folder": (lambda b: shutil.rmtree(b / "train" / "n02"), "folder .*n02 is missing"),
    "unknown class": (lambda b: (b / "train" / "n77").mkdir(), "n77 is no class of wnids.txt"),
    "listed image": (lambda b: (b / "train/n02/images/n02_1.JPEG").unlink(), r"n02_1.JPEG is missing.*n02_boxes.txt"),
    "image of a list-less class": (
        lambda b: [(b / "train/n02" / name).unlink() for name in ("images/n02_3.JPEG", "n02_boxes.txt")],
        "n02/images holds 3 pictures where other classes hold 4",
    ),
    "validation image": (lambda b: (b / "val/images/val_3.JPEG").unlink(), "val_3.JPEG is missing"),
    "annotations": (lambda b: (b / "val/val_annotations.txt").unlink(), "val_annotations.txt is missing"),
    "val": (lambda b: shutil.rmtree(b / "val"), "val/n01 is missing"),
    "everything": (lambda b: shutil.rmtree(b), "tiny-imagenet-200.zip"),
}


@pytest.mark.parametrize("what", BAD)
def test_missing_is_named(base, what):
    spoil, message = BAD[what]
    spoil(base)
    with pytest.raises((ValueError, FileNotFoundError), match=message) as error:
        load(base)
    assert "\n" not in str(error.value)
    assert str(error.value).endswith(".")


@pytest.mark.parametrize("image", ["train/n03/images/n03_2.JPEG", "val/images/val_5.JPEG"])
def test_image_cut_short_is_named(base, image):
    path = base / image
    path.write_bytes(path.read_bytes()[:400])
    with pytest.raises(ValueError, match=f"{path.name} is damaged or cut short"):
        load(base)


def test_image_of_another_size_is_named(base):
    Image.new("RGB", (32, 64)).save(base / "train/n03/images/n03_2.JPEG")
    with pytest.raises(ValueError, match=r"n03_2.JPEG has 32x64 pixels"):
        load(base)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("val_0.JPEG\tn03\n", "is cut short.*val_1.JPEG has no line"),
        ("", "is cut short"),
        ("val_0.JPEG\tn99\n", "line of val_0.JPEG names none of 3 classes"),
        ("val_0.JPEG\n", "line of val_0.JPEG names none of 3 classes"),
    ],
)
def test_annotations_cut_short(base, text, message):
    (base / "val" / "val_annotations.txt").write_text(text)
    with pytest.raises(ValueError, match=message):
        load(base)
