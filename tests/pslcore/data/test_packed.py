"""Packing: what is packed is what the pictures hold, and nothing half-written or out of date is ever trusted."""

import contextlib
import errno
import json
import multiprocessing
import os
import resource
import signal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from pslcore import data
from pslcore.data import packed, pictures
from pslcore.losses import VOID

FORK = multiprocessing.get_context("fork")  # a fresh process, without importing torch again
SIZE = (6, 8)  # height, width
TABLE = pictures.table_of({0: 0, 1: 1}, known=3)


def pixels(*shape, seed=0, high=256):
    return np.random.default_rng(seed).integers(0, high, shape, dtype=np.uint8)


def write(path: Path, array: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return path


@pytest.fixture
def tree(tmp_path):
    """Five labelled scenes under tmp_path/set/source: three to train, two to test."""
    for number in range(5):
        write(tmp_path / "set" / "source" / f"{number}.png", pixels(*SIZE, 3, seed=number))
        write(tmp_path / "set" / "source" / f"{number}-labels.png", pixels(*SIZE, seed=10 + number, high=3))
    return tmp_path


def find(base, table=TABLE, of=lambda base, n: base / "source" / f"{n}-labels.png"):
    pairs = [(base / "source" / f"{n}.png", of(base, n)) for n in range(5)]
    return pictures.Source(base, pairs[:3], pairs[3:], ["ground", "thing"], "a note.", table)


def read(root, size=None, find=find):
    return packed.read(root, "set", ["set"], "source", find, "make one.", size)


def folder(root):
    return root / "set" / "packed"


def test_packed_arrays_are_the_pictures(tree):
    parts = read(tree)
    images, labels = parts["train"]
    assert isinstance(images, np.memmap)
    assert images.shape == (3, 3, *SIZE)
    assert parts["test"][0].shape == (2, 3, *SIZE)
    for number in range(3):
        np.testing.assert_array_equal(images[number].transpose(1, 2, 0), pixels(*SIZE, 3, seed=number))
        numbers = pixels(*SIZE, seed=10 + number, high=3)
        np.testing.assert_array_equal(labels[number], np.where(numbers == 2, VOID, numbers))
    assert parts["classes"] == ["ground", "thing"]
    assert parts["note"] == "a note."


def test_labels_stay_on_the_disk_and_come_out_as_int64(tree):
    labels = read(tree)["train"][1]
    everything = np.asarray(labels)
    assert everything.dtype == labels.dtype == np.int64
    assert labels.shape == everything.shape
    assert labels.ndim == 3
    for key in (1, slice(1, 3), np.array([2, 0]), (0, 1, 2)):
        taken = labels[key]
        assert taken.dtype == np.int64
        assert not isinstance(taken, np.memmap)
        np.testing.assert_array_equal(taken, everything[key])
    np.testing.assert_array_equal(labels.values, np.unique(everything))
    assert len(labels) == 3


def test_int_labels_are_plain_arrays(tree):
    parts = read(tree, find=lambda base: find(base, None, lambda _, n: n % 2))
    for split, expected in (("train", [0, 1, 0]), ("test", [1, 0])):
        labels = parts[split][1]
        assert type(labels) is np.ndarray
        assert labels.dtype == np.int64
        assert labels.tolist() == expected


def test_reduced_size_has_a_folder_of_its_own(tree):
    whole, small = read(tree), read(tree, (3, 4))
    assert small["train"][0].shape == (3, 3, 3, 4)
    assert small["train"][1].shape == (3, 3, 4)
    assert (tree / "set" / "packed@3x4" / "index.json").exists()
    assert (folder(tree) / "index.json").exists()
    assert "6x8 to 3x4" in small["note"]
    assert small["contents"] != whole["contents"]
    assert set(small["train"][1].values) <= {0, 1, VOID}  # labels are picked, never mixed
    expected = Image.fromarray(pixels(*SIZE, 3)).resize((4, 3), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(small["train"][0][0].transpose(1, 2, 0), np.asarray(expected))


def test_second_read_does_not_decode(tree, monkeypatch):
    first = read(tree)["contents"]
    monkeypatch.setattr(pictures, "_decode", lambda *_: pytest.fail("a picture was decoded again"))
    assert read(tree)["contents"] == first


def test_source_may_be_deleted_once_packed(tree):
    first = read(tree)
    os.rename(tree / "set" / "source", tree / "elsewhere")
    again = read(tree)
    assert again["contents"] == first["contents"]
    assert again["classes"] == first["classes"]


def test_contents_follow_the_pictures(tree, tmp_path_factory):
    first = read(tree)["contents"]
    write(tree / "set" / "source" / "1.png", np.zeros((*SIZE, 3), dtype=np.uint8))  # of another file size
    second = read(tree)
    assert second["contents"] != first
    assert not second["train"][0][1].any()
    assert sorted(path.name for path in (tree / "set").iterdir()) == [".packed.lock", "packed", "source"]


def test_contents_do_not_depend_on_the_place(tree, tmp_path_factory):
    other = tmp_path_factory.mktemp("other") / "root"
    os.makedirs(other)
    first = read(tree)["contents"]
    os.rename(tree / "set", other / "set")
    before = (folder(other) / "index.json").stat().st_mtime_ns
    assert read(other)["contents"] == first
    assert (folder(other) / "index.json").stat().st_mtime_ns == before


def test_a_changed_table_packs_again(tree):
    first = read(tree)["train"][1].values.tolist()
    second = read(tree, find=lambda base: find(base, pictures.table_of({0: 1, 1: 0, 2: 0}, 3)))["train"][1]
    assert first == [0, 1, VOID]
    assert second.values.tolist() == [0, 1]


@pytest.mark.parametrize("after", [1, 2, 4])
def test_interrupted_packing_leaves_nothing_that_is_trusted(tree, monkeypatch, after):
    decode, calls = pictures.image, []

    def interrupted(*args):
        calls.append(args)
        if len(calls) > after:
            raise KeyboardInterrupt
        return decode(*args)

    monkeypatch.setattr(pictures, "image", interrupted)
    with pytest.raises(KeyboardInterrupt):
        read(tree)
    assert not folder(tree).exists()
    monkeypatch.setattr(pictures, "image", decode)
    assert len(read(tree)["train"][0]) == 3
    assert not (tree / "set" / ".packed.part").exists()


def _die_while_packing(root):
    plain, calls = pictures.image, []

    def dying(*args):
        calls.append(args)
        return os.kill(os.getpid(), signal.SIGKILL) if len(calls) == 5 else plain(*args)

    pictures.image = dying
    read(root)


def test_killed_packing_leaves_nothing_that_is_trusted(tree):
    """SIGKILL in the middle of the test split: nothing is cleaned up, not even the lock."""
    process = FORK.Process(target=_die_while_packing, args=(tree,))
    process.start()
    process.join()
    assert process.exitcode == -9
    assert (tree / "set" / ".packed.part").is_dir()
    assert not folder(tree).exists()
    assert len(read(tree)["test"][0]) == 2
    assert not (tree / "set" / ".packed.part").exists()


def _read_contents(root):
    return read(root)["contents"]


def test_processes_that_come_together_pack_once(tree):
    with FORK.Pool(3) as pool:
        contents = pool.map(_read_contents, [tree] * 3)
    assert len(set(contents)) == 1
    assert contents[0] == read(tree)["contents"]


def _one_sentence(error) -> str:
    message = str(error.value)
    assert "\n" not in message
    assert message.endswith(".")
    return message


@pytest.mark.parametrize("name", ["train-images.npy", "test-images.npy", "train-labels.npy", "test-labels.npy"])
def test_packed_array_cut_short_or_missing_is_named(tree, name):
    read(tree)
    path = folder(tree) / name
    whole = path.read_bytes()
    path.write_bytes(whole[:-7])
    with pytest.raises(ValueError, match=f"{name} is cut short") as error:
        read(tree)
    assert "delete the folder" in _one_sentence(error)
    path.write_bytes(b"x" * len(whole))
    with pytest.raises(ValueError, match=f"{name} is damaged"):
        read(tree)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=f"{name} is missing"):
        read(tree)


@pytest.mark.parametrize("text", [None, "", '{"source": '])
def test_damaged_index_is_named(tree, text):
    read(tree)
    index = folder(tree) / "index.json"
    index.unlink() if text is None else index.write_text(text)
    with pytest.raises(ValueError, match=r"index.json is missing or damaged") as error:
        read(tree)
    assert "delete the folder" in _one_sentence(error)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda index: index.pop("arrays"), "`arrays` is missing: say what it is"),
        (lambda index: index["arrays"].pop("test-labels"), "not images and labels to train and to test"),
        (lambda index: index["arrays"].update(more=index["arrays"]["test-labels"]), "not images and labels to train"),
        (lambda index: index.update(arrays=[]), "arrays"),
        (lambda index: index.update(more=1), "unknown setting 'more'"),
        (lambda index: index.update(classes="ground"), "classes"),
        (
            lambda index: index["arrays"]["train-labels"].update(bytes=-1),
            "bytes = -1 must be greater than or equal to 0",
        ),
        (lambda index: index["arrays"]["train-labels"].update(bytes="many"), "bytes = 'many' must be a valid integer"),
        (lambda index: index["arrays"]["train-labels"].update(sha256="?"), "sha256"),
        (lambda index: index["arrays"]["train-labels"].update(values=[300]), "must be less than or equal to 255"),
        (
            lambda index: index["arrays"]["train-labels"].update(shape=[3, 6, 9]),
            r"train-labels.npy is damaged \(uint8 \[",
        ),
        (lambda index: index["arrays"]["train-labels"].pop("values"), r"train-labels.npy is damaged \(uint8 .*int64"),
        (lambda index: index["arrays"]["train-labels"].update(values=[0, 7]), "label 7 is outside the table of 2"),
    ],
)
def test_index_is_read_through_its_schema(tree, monkeypatch, change, sentence):
    read(tree)
    path = folder(tree) / "index.json"
    index = json.loads(path.read_text())
    change(index)
    path.write_text(json.dumps(index))
    monkeypatch.setitem(data._READERS, "camvid", lambda root: read(root))
    with pytest.raises(ValueError, match=sentence) as error:
        data.load("camvid", tree)
    _one_sentence(error)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(draw=st.data())
def test_index_with_random_damage(tree, draw):
    """The same arrays, or one sentence; a signature that is damaged leads to packing again."""
    contents, path = read(tree)["contents"], folder(tree) / "index.json"
    whole = path.read_bytes()
    place, junk = draw.draw(st.integers(0, len(whole))), draw.draw(st.binary(max_size=8))
    path.write_bytes(whole[:place] + junk + whole[place + draw.draw(st.sampled_from([0, len(junk), 60])) :])
    try:
        parts = read(tree)
    except ValueError as error:
        message = str(error)
        assert "\n" not in message
        assert "delete the folder" in message
        path.write_bytes(whole)
    else:  # the checksums are the contents: a reader cannot know better without reading everything
        assert np.array_equal(parts["train"][0], read(tree)["train"][0])
        path.write_bytes(whole)
        assert read(tree)["contents"] == contents


@pytest.mark.parametrize("name", ["0.png", "4.png", "2-labels.png"])
def test_bad_picture_is_named(tree, name):
    path = tree / "set" / "source" / name
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"no picture"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"{name} is damaged or cut short") as error:
            read(tree)
        _one_sentence(error)
    assert not folder(tree).exists()


@pytest.mark.parametrize("name", ["3.png", "3-labels.png"])
def test_other_size_is_named(tree, name):
    write(tree / "set" / "source" / name, pixels(6, 9, *[3] * ("labels" not in name), high=2))
    for size in (None, (3, 4)):
        with pytest.raises(ValueError, match=rf"{name} has 9x6 pixels where the first picture has 8x6") as error:
            read(tree, size)
        _one_sentence(error)


def test_label_outside_the_table_is_named(tree):
    numbers = pixels(*SIZE, high=2)
    numbers[3, 4] = 77
    write(tree / "set" / "source" / "1-labels.png", numbers)
    with pytest.raises(ValueError, match=r"1-labels.png holds the label 77.*\(0 to 2\)") as error:
        read(tree)
    _one_sentence(error)


def test_coloured_labels_are_named(tree):
    write(tree / "set" / "source" / "1-labels.png", pixels(*SIZE, 3))
    with pytest.raises(ValueError, match=r"1-labels.png is no grey picture") as error:
        read(tree)
    _one_sentence(error)


def test_neither_source_nor_packed(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no folder 'source' in .*set: make one") as error:
        read(tmp_path)
    _one_sentence(error)


def test_full_disk_is_said_before_anything_is_written(tree, monkeypatch):
    usage = type("Usage", (), {"free": 100})
    monkeypatch.setattr(packed.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(OSError, match="GB are free") as error:
        read(tree)
    _one_sentence(error)
    assert not folder(tree).exists()


@pytest.mark.parametrize("after", [1, 3, 5])
def test_disk_that_fills_while_packing(tree, monkeypatch, after):
    """One sentence, nothing half written, and after room is made it goes well; what was packed before stays."""
    before = read(tree)["contents"]
    write(tree / "set" / "source" / "1.png", np.zeros((*SIZE, 3), dtype=np.uint8))
    fsync, calls = os.fsync, []

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) == after:
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(descriptor)

    monkeypatch.setattr(packed.os, "fsync", full)
    with pytest.raises(OSError, match=r"the disk was full before all was packed into .*packed: make room, or") as error:
        read(tree)
    _one_sentence(error)
    monkeypatch.setattr(packed.os, "fsync", fsync)
    assert sorted(path.name for path in (tree / "set").iterdir()) == [".packed.lock", "packed", "source"]
    assert packed.opened(folder(tree))["contents"] == before
    assert read(tree)["contents"] != before


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_disk_that_is_really_full(tree, monkeypatch):
    monkeypatch.setattr(packed, "open", lambda *_: open("/dev/full", "wb"), raising=False)  # noqa: SIM115
    monkeypatch.setattr(packed, "alone", lambda folder: contextlib.nullcontext())
    with pytest.raises(OSError, match="the disk was full before all was packed") as error:
        read(tree)
    _one_sentence(error)
    assert os.listdir(tree / "set") == ["source"]


@pytest.mark.parametrize(
    ("name", "expected"), [("camvid", ("camvid", None)), ("camvid@120x160", ("camvid", (120, 160))), ("", ("", None))]
)
def test_parse_size(name, expected):
    assert packed.parse_size(name) == expected


@pytest.mark.parametrize("name", ["camvid@", "camvid@120", "camvid@0x8", "camvid@axb", "camvid@8x8x8", "camvid@-8x8"])
def test_parse_size_refuses(name):
    with pytest.raises(ValueError, match="height x width") as error:
        data.load(name, "nowhere")
    _one_sentence(error)


def test_only_pictures_have_a_size(tmp_path):
    with pytest.raises(ValueError, match="unknown data set 'digits@8x8'"):
        data.load("digits@8x8", tmp_path)


def test_pictures_are_sorted_by_number(tmp_path):
    for name in ("a_10.JPEG", "a_2.JPEG", "a_1.JPEG", "list.txt"):
        (tmp_path / name).touch()
    assert pictures.names(tmp_path, "again.") == ["a_1.JPEG", "a_2.JPEG", "a_10.JPEG"]


def _memory_taken(root):
    """MiB that packing and loading 64 times the one scene adds to the peak of a fresh process."""
    pair = [(root / "set" / "source" / "0.png", root / "set" / "source" / "0-labels.png")]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    parts = read(root, find=lambda base: pictures.Source(base, pair * 60, pair * 4, ["ground"], "", TABLE))
    assert parts["train"][0][59].shape == (3, 512, 1024)
    assert not parts["train"][1][59].any()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


@pytest.mark.slow
def test_memory_does_not_grow_with_the_set(tmp_path):
    write(tmp_path / "set" / "source" / "0.png", np.zeros((512, 1024, 3), dtype=np.uint8))
    write(tmp_path / "set" / "source" / "0-labels.png", np.zeros((512, 1024), dtype=np.uint8))
    with FORK.Pool(1) as pool:
        taken = pool.apply(_memory_taken, (tmp_path,))
    assert (folder(tmp_path) / "train-images.npy").stat().st_size > 90e6
    assert taken < 40
