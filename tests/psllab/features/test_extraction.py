"""Features as a data set: what they are, and that nothing half-made, changed or damaged is ever taken for them."""

import errno
import json
from collections import namedtuple

import numpy as np
import pytest
from PIL import Image

from pslcore import data
from pslcore.data import packed
from pslcore.runs import Config, Protocol, run
from psllab.features import backbones, extraction

NAME = "small+tiny_net@8"


def folders(root, base="small"):
    return sorted(path.name for path in (root / base / "features").iterdir() if not path.name.startswith("."))


def test_features_are_the_backbone_s_and_all_else_is_the_set_s(made_up, pictures):
    calls = made_up()
    base, found = data.load("small", pictures), data.load(NAME, pictures)
    assert calls.seen == 160
    assert found.vectors
    assert not base.vectors
    assert (found.name, found.classes, found.channels) == (NAME, base.classes, 30)
    for split in ("train", "test"):
        one, other = getattr(found, split), getattr(base, split)
        assert isinstance(one.images, np.memmap)
        assert (one.images.dtype, one.images.shape) == (np.uint8, (len(other), 30, 1, 1))
        assert np.array_equal(one.labels, other.labels)
        for row in (0, 17, len(other) - 1):
            wanted = backbones.backbone("tiny_net").encode(other.images[row : row + 1], 8)[0]
            assert np.abs(one.images[row, :, 0, 0].astype(int) - wanted).max() <= 1
    again = data.load(NAME, pictures)
    assert calls.seen == 160 + 6  # nothing was computed twice
    assert again.fingerprint == found.fingerprint != base.fingerprint


@pytest.mark.parametrize(("stop", "kept"), [(0, 0), (16, 0), (64, 64), (96, 64), (120, 120), (144, 120)])
def test_an_interrupted_extraction_goes_on_to_the_same_bytes(made_up, pictures, monkeypatch, stop, kept):
    monkeypatch.setattr(extraction.resumable, "KEPT_EVERY", -1)
    monkeypatch.setattr(extraction, "cpu_count", lambda: 1)
    calls = made_up()
    calls.fail_after = stop
    with pytest.raises(KeyboardInterrupt):
        data.load(NAME, pictures)
    assert folders(pictures) == []
    calls.fail_after, calls.seen = None, 0
    resumed = data.load(NAME, pictures)
    assert calls.seen == 160 - kept  # a block is four chunks of 16
    made_up("a" * 63 + "b")
    whole = data.load(NAME, pictures)
    for split in ("train", "test"):
        assert np.array_equal(getattr(resumed, split).images, getattr(whole, split).images)


def test_other_weights_and_other_pictures_have_other_features(made_up, pictures, new_set):
    made_up()
    first = data.load(NAME, pictures)
    made_up("b" * 64)
    second = data.load(NAME, pictures)
    new_set(pictures / "small", seed=5)
    third = data.load(NAME, pictures)
    assert len({first.fingerprint, second.fingerprint, third.fingerprint}) == len(folders(pictures)) == 3
    assert data.load("small+tiny_net@9", pictures).fingerprint != third.fingerprint


def test_what_an_interrupted_call_left_of_other_weights_is_not_gone_on_with(made_up, pictures):
    made_up()
    whole = data.load(NAME, pictures)
    (folder,) = (pictures / "small" / "features").glob("tiny*")
    part = folder.with_name(f".{folder.name}.part")
    folder.rename(part)
    (part / "progress.json").write_text(json.dumps({"source": "another", "arrays": {}, "rows": 64}))
    np.save(part / "train-images.npy", np.zeros((120, 30, 1, 1), np.uint8))
    assert np.array_equal(data.load(NAME, pictures).train.images, whole.train.images)


def test_a_damaged_file_is_told(made_up, pictures):
    made_up()
    data.load(NAME, pictures)
    (file,) = (pictures / "small" / "features").glob("tiny*/train-images.npy")
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"train-images.npy is cut short or damaged .*: delete the folder"):
        data.load(NAME, pictures)


def test_a_disk_that_is_too_small_is_told(made_up, pictures, monkeypatch):
    made_up()
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(packed.shutil, "disk_usage", lambda path: usage(0, 0, 10))
    with pytest.raises(OSError, match=r"needs 0.0 GB .* make room, or put the folder of the data set on another disk"):
        data.load(NAME, pictures)
    monkeypatch.undo()
    made_up()

    def full(self, item):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(packed.Writer, "append", full)
    with pytest.raises(OSError, match=r"the disk was full before all was packed .*: make room, or put the folder"):
        data.load(NAME, pictures)
    assert folders(pictures) == []


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("small+tiny_net", "names no features: write DATASET.BACKBONE@PIXELS"),
        ("small+tiny_net@8x8", "names no features"),
        ("+tiny_net@8", "names no features"),
        ("small+@8", "names no features"),
        ("small+vgg@8", "unknown backbone 'vgg': choose one of .*tiny_net.*, or another network with its weights"),
        ("small+timm:vgg11 weights=/nowhere@8", "weights=/nowhere: it cannot be read"),
        ("big+tiny_net@8", "unknown data set 'big'"),
    ],
)
def test_names_that_cannot_be(made_up, pictures, name, told):
    made_up()
    with pytest.raises(ValueError, match=told):
        data.load(name, pictures)


def test_pixel_labels_are_refused(made_up, tmp_path):
    made_up()
    with pytest.raises(ValueError, match="digit_scenes has pixel labels, and features are of whole images"):
        data.load("digit_scenes+tiny_net@8", tmp_path)


def test_pictures_of_one_s_own_are_read_at_the_size_that_is_wanted(made_up, tmp_path):
    made_up()
    for split in ("train", "test"):
        for label in range(2):
            folder = tmp_path / "own" / split / str(label)
            folder.mkdir(parents=True)
            for number in range(2):
                Image.new("RGB", (40, 30), (100 * label, number, 0)).save(folder / f"{number}.png")
    found = data.load("own+tiny_net@8", tmp_path)
    assert [path.name for path in (tmp_path / "own").glob("packed*")] == ["packed@8x8"]
    assert found.train.images.shape == (4, 30, 1, 1)


SETTINGS = {"dataset": NAME, "method": "random", "initial": 8, "budget": 4, "final": 12, "protected_fraction": 0.5}


def test_a_run_on_features_augments_nothing_and_counts_the_bytes_of_vectors(made_up, pictures):
    made_up()
    config = Config.of(SETTINGS | {"teacher": "linear", "recipe": {"epochs": 2}})
    recipe = Protocol.of(config, data.load(NAME, pictures)).recipe
    assert (recipe.padding, recipe.flip, recipe.zoom) == (0, False, 1.0)
    record = run(config, pictures)
    assert record["cycles"][-1]["crossed"] == {"up: labelled images": {"items": 12, "bytes": 12 * 30}}
    assert record["data"]["fingerprint"] == data.load(NAME, pictures).fingerprint


def test_networks_for_images_do_not_learn_from_vectors_nor_heads_from_images(made_up, pictures):
    made_up()
    for dataset, teacher, told in (
        (NAME, "resnet8", "teacher 'resnet8' cannot learn the vectors of small.*: choose one of linear, mlp16"),
        ("small", "mlp16", "teacher 'mlp16' cannot learn the image labels of small: choose one of resnet8"),
    ):
        config = Config.of(SETTINGS | {"dataset": dataset, "teacher": teacher})
        with pytest.raises(ValueError, match=told):
            Protocol.of(config, data.load(dataset, pictures))
