"""Labels of every type, with names and without, of images and of pixels, in every form of arrays."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pslcore import data
from pslcore.runs import Config, run
from psllab.extend import dataset_summary

TYPES = ["u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", ">u2", ">i4", ">i8", "?", "f2", "f4", ">f8"]
IMAGES = np.random.default_rng(0).integers(0, 256, (12, 4, 5), dtype=np.uint8)


def write(base, form, labels, names=None):
    base.mkdir(exist_ok=True)
    for split in ("train", "test"):
        if form == "npz":
            np.savez(base / f"{split}.npz", images=IMAGES, labels=labels, **({"names": names} if names else {}))
        else:
            np.save(base / f"{split}-images.npy", IMAGES)
            np.save(base / f"{split}-labels.npy", labels)
            if names:
                (base / "names.txt").write_text("\n".join(names))


@pytest.mark.parametrize("form", ["npz", "npy"])
@pytest.mark.parametrize("pixels", [False, True])
@pytest.mark.parametrize("dtype", TYPES)
def test_whole_numbers_of_any_type_are_labels(tmp_path, form, pixels, dtype):
    wanted = np.arange(12) % 2
    if pixels:
        wanted = np.broadcast_to(wanted[:, None, None], IMAGES.shape).copy()
    for number, names in enumerate((None, ["left", "right"])):
        write(tmp_path / f"set{number}", form, wanted.astype(dtype), names)
        dataset = data.load(f"set{number}", tmp_path)
        assert dataset.classes == tuple(names or "01")
        np.testing.assert_array_equal(np.asarray(dataset.train.labels), wanted)
        assert dataset.train.labels[[1]].dtype == np.int64
        assert any(line.startswith(dataset.classes[1]) for line in dataset_summary.summarise(tmp_path / f"set{number}"))


def test_a_run_on_labels_as_mnist_and_cifar_have_them(tmp_path, settings_of_tiny):
    write(tmp_path / "set", "npz", (np.arange(12) % 4).astype("u1"))
    config = Config.of(settings_of_tiny | {
        "dataset": "set", "method": "random", "initial": 4, "budget": 2, "final": 6, "protected_fraction": 0.5,
    })  # fmt: skip
    assert len(run(config, tmp_path)["cycles"]) == 2


@given(st.lists(st.integers(0, 6), min_size=12, max_size=12), st.sampled_from(["u1", "i8", "f4"]))
@settings(deadline=None)
def test_labels_without_names_begin_at_0_or_a_sentence_says_so_and_gaps_are_told(tmp_path_factory, labels, dtype):
    folder = tmp_path_factory.mktemp("labels")
    write(folder / "set", "npz", np.array(labels, dtype))
    if 0 not in labels:
        sentence = (
            rf"labels go from {min(labels)} to {max(labels)}, but the first class is 0: subtract {min(labels)}, or"
        )
        with pytest.raises(ValueError, match=sentence):
            data.load("set", folder)
        return
    dataset = data.load("set", folder)
    assert dataset.classes == tuple(map(str, range(max(labels) + 1)))
    gaps = [str(label) for label in range(max(labels)) if label not in labels]
    told = [line for line in dataset_summary.summarise(folder / "set") if line.startswith("No image to")]
    assert len(told) == 2 * bool(gaps)
    assert all(gap in line for gap in gaps for line in told)


def test_an_empty_first_class_with_a_name_is_told_and_taken(tmp_path):
    write(tmp_path / "set", "npz", np.arange(12) % 2 + 1, ["background", "cat", "dog"])
    assert "No image to train of background." in dataset_summary.summarise(tmp_path / "set")


@pytest.mark.parametrize("form", ["npz", "npy"])
def test_void_is_no_class(tmp_path, form):
    labels = np.full(IMAGES.shape, 255, "u1")
    labels[:, 0], labels[:, 1] = 0, 1
    for dtype in ("u1", "i4", "f4"):
        write(tmp_path / dtype, form, labels.astype(dtype))
        assert data.load(dtype, tmp_path).classes == ("0", "1")
    write(tmp_path / "signed", form, labels.astype("i1"))
    with pytest.raises(ValueError, match=r"label -1 is outside .* labels go from 0 to 1, and 255 is void\."):
        data.load("signed", tmp_path)


@pytest.mark.parametrize(("most", "said"), [(1, True), (15, True), (255, False)])
def test_a_look_tells_the_values_of_the_pixels_and_what_is_nearly_black(tmp_path, most, said):
    base = tmp_path / "set"
    base.mkdir()
    images = np.random.default_rng(1).integers(0, most + 1, (40, 9, 9), dtype=np.uint8)
    for split in ("train", "test"):
        np.savez(base / f"{split}.npz", images=images, labels=np.arange(40) % 2)
    told = dataset_summary.summarise(base)
    assert f"Pixels hold {most + 1} different values, from 0 to {most} of 0 to 255." in told
    assert (f"All are nearly black: if {most} is white, multiply by {255 // most} before." in told) == said
