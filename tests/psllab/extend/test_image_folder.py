"""Trees of pictures: what is understood, what is left out and why, and that a killed packing is gone on with."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pslcore import data
from pslcore.data import packed
from pslcore.runs import Config, run
from psllab.extend import dataset_summary, image_folder, image_folder_scan

SIZE = (12, 9)  # height, width


def pixels(seed, size=SIZE, channels=3):
    return np.random.default_rng(seed).integers(0, 256, (*size, channels), dtype=np.uint8)


def write(path: Path, seed=0, size=SIZE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels(seed, size)).save(path)
    return path


@pytest.fixture
def album(tmp_path):
    """Three classes, six pictures each to train and two to test on."""
    seed = 0
    for split, count in (("train", 6), ("test", 2)):
        for name in ("cat", "dog", "house"):
            for number in range(count):
                seed += 1
                write(tmp_path / "album" / split / name / f"{number}.png", seed)
    return tmp_path / "album"


def load(album, size=""):
    return data.load(album.name + size, album.parent)


def left_out(album):
    return packed.index_of(album / "packed").left_out


def test_a_tree_is_what_its_pictures_hold(album):
    dataset = load(album)
    assert dataset.classes == ("cat", "dog", "house")
    assert dataset.train.images.shape == (18, 3, *SIZE)
    assert isinstance(dataset.train.images, np.memmap)
    assert dataset.train.labels.tolist() == [0] * 6 + [1] * 6 + [2] * 6
    for row in range(18):
        np.testing.assert_array_equal(dataset.train.images[row].transpose(1, 2, 0), pixels(row + 1))
    assert dataset.note == ""
    files = (album / "packed" / "train-files.txt").read_text().splitlines()
    assert files[:2] == ["train/cat/0.png", "train/cat/1.png"]
    assert left_out(album) == {}
    again = load(album)
    assert again.fingerprint == dataset.fingerprint


def test_a_run_on_a_tree_from_end_to_end(album, settings_of_tiny):
    config = Config.of(settings_of_tiny | {
        "dataset": "album", "method": "random", "initial": 3, "budget": 2, "final": 5, "protected_fraction": 0.5,
    })  # fmt: skip
    record = run(config, album.parent)
    assert [entry["labelled"] for entry in record["cycles"]] == [3, 5]
    assert record["data"]["train"] == 18
    assert record == run(config, album.parent) | {"cycles": record["cycles"]}


def test_what_changes_is_packed_again(album):
    first = load(album).fingerprint
    write(album / "train" / "cat" / "0.png", 99)
    os.utime(album / "train" / "cat" / "0.png", (1, 1))
    second = load(album).fingerprint
    write(album / "train" / "cat" / "6.png", 100)
    third = load(album)
    assert len({first, second, third.fingerprint}) == 3
    assert len(third.train) == 19


def test_the_tree_may_go_once_it_is_packed(album):
    first = load(album)
    os.rename(album / "train", album.parent / "gone")
    os.rename(album / "test", album.parent / "gone too")
    assert load(album).fingerprint == first.fingerprint


# Sizes


def test_the_size_is_theirs_if_nine_in_ten_have_it(album):
    write(album / "train" / "cat" / "7.png", 1, (30, 50))
    dataset = load(album)
    assert dataset.train.images.shape[2:] == SIZE
    assert dataset.note == f"Pictures of 2 sizes brought to {SIZE[0]}x{SIZE[1]}."
    write(album / "train" / "cat" / "8.png", 1, (30, 50))
    write(album / "train" / "cat" / "9.png", 1, (30, 50))
    assert load(album).train.images.shape[2:] == (64, 64)
    assert load(album, "@20x10").train.images.shape[2:] == (20, 10)


def test_large_ones_of_one_size_are_reduced(tmp_path):
    for split in ("train", "test"):
        write(tmp_path / "album" / split / "a" / "1.png", 1, (300, 200))
    assert load(tmp_path / "album").train.images.shape[2:] == (64, 64)


def test_another_size_fills_the_frame_and_is_cut_at_two_sides(album):
    wide = np.zeros((10, 40, 3), np.uint8)
    wide[:, 15:25] = 200
    Image.fromarray(wide).save(album / "train" / "cat" / "0.png")
    assert (load(album, "@10x10").train.images[0] == 200).mean() > 0.7


# Kinds of pictures


@pytest.mark.parametrize(
    ("name", "kind", "wanted"),
    [
        ("grey.png", "L", (100, 100, 100)), ("16.png", "I;16", (100, 100, 100)), ("clear.png", "RGBA", (255,) * 3),
        ("palette.gif", "P", (100, 50, 200)), ("print.jpg", "CMYK", (100, 50, 200)), ("bits.tiff", "1", None),
        ("float.tiff", "F", (100, 100, 100)), ("new.webp", "RGB", (100, 50, 200)), ("old.bmp", "RGB", (100, 50, 200)),
        ("targa.tga", "RGBA", (255,) * 3), ("net.ppm", "RGB", (100, 50, 200)), ("next.avif", "RGB", (100, 50, 200)),
    ],
)  # fmt: skip
def test_kinds_of_pictures_are_read(album, name, kind, wanted):
    if os.path.splitext(name)[1] not in image_folder_scan.endings():
        pytest.skip(f"this Pillow reads no {name}")
    plain = Image.new("RGB", SIZE[::-1], (100, 50, 200))
    if kind == "RGBA":
        plain.putalpha(0)
    elif kind == "I;16":
        plain = Image.fromarray(np.full(SIZE, 100 * 257, np.uint16))
    elif kind == "F":
        plain = Image.fromarray(np.full(SIZE, 100, np.float32))
    elif kind in ("L", "1"):
        plain = Image.new("L", SIZE[::-1], 100).convert(kind)
    else:
        plain = plain.convert(kind)
    plain.save(album / "train" / "cat" / name)
    dataset = load(album)
    assert left_out(album) == {}
    row = (album / "packed" / "train-files.txt").read_text().splitlines().index(f"train/cat/{name}")
    if wanted:
        np.testing.assert_allclose(dataset.train.images[row].mean((1, 2)), wanted, atol=8)


def test_of_an_animation_the_first_frame_upright_as_it_was_held(album):
    frames = [Image.fromarray(pixels(seed)) for seed in (70, 71, 72)]
    frames[0].save(album / "train" / "cat" / "m.webp", save_all=True, append_images=frames[1:], lossless=True)
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = np.rot90(pixels(80))  # as the camera lay: 90 degrees counter-clockwise
    Image.fromarray(np.ascontiguousarray(turned)).save(album / "train" / "cat" / "n.png", exif=exif)
    dataset = load(album)
    np.testing.assert_array_equal(dataset.train.images[6].transpose(1, 2, 0), pixels(70))
    np.testing.assert_array_equal(dataset.train.images[7].transpose(1, 2, 0), pixels(80))
    assert packed.index_of(album / "packed").sizes == {f"{SIZE[0]}x{SIZE[1]}": 26}


def test_what_cannot_be_read_is_left_out_and_told(album, monkeypatch):
    cat = album / "train" / "cat"
    whole = (cat / "0.png").read_bytes()
    (cat / "empty.png").write_bytes(b"")
    (cat / "cut.png").write_bytes(whole[: len(whole) // 2])
    (cat / "noise.jpg").write_bytes(os.urandom(99))
    (cat / "notes.txt").write_text("hello")
    (cat / ".hidden.png").write_bytes(whole)
    (cat / "program.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    (cat / "program.eps").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    (cat / "nowhere.png").symlink_to("gone.png")
    os.mkfifo(cat / "pipe.png")
    write(cat / "giant.png", 1, (40, 40))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    with open(os.fsencode(cat) + b"/bad\xff.png", "wb") as file:
        file.write(whole)
    write(album / "test" / "zebra" / "1.png")
    write(album / "train" / "loose.png")
    dataset = load(album)
    assert len(dataset.train) == 18
    told = left_out(album)
    assert {path.rpartition("/")[2]: reason for path, reason in told.items()} == {
        "empty.png": "it is empty",
        "cut.png": "it is damaged (OSError)",
        "noise.jpg": "it is damaged (UnidentifiedImageError)",
        "notes.txt": "it is no picture by its ending",
        ".hidden.png": "it is hidden",
        "program.png": "it is damaged (UnidentifiedImageError)",
        "program.eps": "it is no picture by its ending",
        "nowhere.png": "it cannot be opened (No such file or directory)",
        "pipe.png": "it is no regular file",
        "giant.png": "it is too large (a decompression bomb?)",
        "bad\N{REPLACEMENT CHARACTER}.png": "its name is not UTF-8",
        "zebra": "train has no such class",
        "loose.png": "it lies in no folder of a class",
    }
    assert dataset.note == f"{len(told)} files left out."


def test_links_in_a_circle(album):
    cat = album / "train" / "cat"
    write(cat / "deep" / "er" / "1.png", 90)
    (cat / "up").symlink_to(album)
    (cat / "self").symlink_to(cat)
    (cat / "deep" / "round").symlink_to(cat / "deep")
    (cat / "twice").symlink_to(cat / "deep" / "er")
    (album / "train" / "linked").symlink_to(album / "train" / "dog")
    write(album / "test" / "linked" / "1.png", 91)
    dataset = load(album)
    assert dataset.classes == ("cat", "dog", "house", "linked")
    assert np.bincount(dataset.train.labels).tolist() == [7, 6, 6, 6]
    assert set(left_out(album).values()) == {"the link leads back to a folder above"}
    assert set(left_out(album)) == {"train/cat/up", "train/cat/self"}


def test_names_in_any_script(tmp_path):
    base = tmp_path / "фото"
    for split in ("train", "test"):
        for number, name in enumerate(["猫", "कुत्ता", "بيت", "Café"]):
            write(base / split / name / f"図 {number} — ñ.png", number + 10 * (split == "test"))
    write(base / "train" / "Cafe\N{COMBINING ACUTE ACCENT}" / "other.png", 50)  # as another system writes it
    dataset = data.load("фото", tmp_path)
    assert set(dataset.classes) == {"猫", "कुत्ता", "بيت", "Café"}
    assert len(dataset.train) == 5
    assert "\n".join(dataset_summary.summarise(base)).count("Café") == 1


def test_a_validation_split_stands_for_the_test_split(album):
    os.rename(album / "test", album / "val")
    assert len(load(album).test) == 6


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_split_without_pictures_is_refused(album, split):
    for path in (album / split).rglob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(ValueError, match=rf"album holds no picture to {split} on \(.* it is empty\): put them into"):
        load(album)


def test_a_split_that_cannot_be_read_is_refused(album):
    for path in (album / "test").rglob("*.png"):
        path.write_bytes(b"x")
    with pytest.raises(ValueError, match=r"none of 6 pictures of .*test can be read \(.*: it is damaged"):
        load(album)
    assert not (album / "packed").exists()


# With a table


def table(base, text, name="labels.csv", encoding="utf-8"):
    (base / name).write_text(text, encoding=encoding)


@pytest.fixture
def listed(tmp_path):
    for number in range(6):
        write(tmp_path / "album" / "images" / "in" / f"{number}.png", number)
    return tmp_path / "album"


def test_a_table_says_label_and_split(listed):
    rows = ["in/0.png,10,train", "images/in/1.png,9,train", "in/2.png,10,test", "in/3.png,9,valid", "in/4.png,,train"]
    rows += ["in/9.png,9,train", "in/0.png,9,train", '"../secret.png",9,train']
    table(listed, "file,label,split,note\n" + "".join(f"{row},x\n" for row in rows), encoding="utf-8-sig")
    dataset = load(listed)
    assert dataset.classes == ("9", "10")
    assert dataset.train.labels.tolist() == [1, 0]
    assert dataset.test.labels.tolist() == [1]
    np.testing.assert_array_equal(dataset.test.images[0].transpose(1, 2, 0), pixels(2))
    assert left_out(listed) == {
        "labels.csv:5: in/3.png": "its split 'valid' is neither train nor test",
        "labels.csv:6: in/4.png": "it has no label",
        "labels.csv:7: in/9.png": "it is not there",
        "labels.csv:8: in/0.png": "it has a row before",
        "labels.csv:9: ../secret.png": "it is not there",
        **{f"images/in/{number}.png": "labels.csv has no row for it" for number in (3, 4, 5)},
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no column 'file' in its first line: it must name file, label and split."),
        ("file,label\nin/0.png,a\n", "has no column 'split' in its first line"),
        (b"file,label,split\nin/0.png,\xff,train\n", "cannot be read ("),
        ("file,label,split\nin/0.png,a,train\n", "holds no picture to test on (5 files are left out"),
    ],
)
def test_a_table_that_cannot_be(listed, text, said):
    (listed / "labels.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=re.escape(said)):
        load(listed)


def test_one_table_and_no_other(listed):
    with pytest.raises(ValueError, match=r"album must hold one table \(\.csv\) .*; there is none\."):
        load(listed)
    table(listed, "", "a.csv")
    table(listed, "", "b.csv")
    with pytest.raises(ValueError, match=r"there is a\.csv, b\.csv\."):
        load(listed)


# Killed

PACK = """
import sys, time
from psllab.extend import image_folder as tree
from pslcore import data
tree._AT_ONCE, tree.resumable.KEPT_EVERY = 4, 0.0
original, calls = tree.decode, []
def slow(path, *how):
    calls.append(1)
    if len(calls) > int(sys.argv[2]):
        time.sleep(600)
    return original(path, *how)
tree.decode = slow
data.load("album", sys.argv[1])
"""


@pytest.mark.slow
@pytest.mark.parametrize("after", [0, 7, 19])
def test_a_packing_that_was_killed_is_gone_on_with(album, after, monkeypatch):
    (album / "train" / "cat" / "00.png").write_bytes(b"broken")
    process = subprocess.Popen([sys.executable, "-c", PACK, str(album.parent), str(after)], stderr=subprocess.DEVNULL)
    part = album / ".packed.part"
    wanted = done_before(after)

    def done():
        try:
            return sum(json.loads((part / "progress.json").read_text())["done"].values())
        except (OSError, ValueError):
            return 0

    under_way = part / f"{'test' if wanted == 19 else 'train'}-images.npy"
    while process.poll() is None and not (under_way.exists() and done() >= wanted):
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (album / "packed").exists()
    with under_way.open("ab") as file:
        file.write(b"half a pic")  # written, but not told of in progress.json
    decoded = []
    original = image_folder.decode
    monkeypatch.setattr(image_folder, "decode", lambda path, *how: decoded.append(path) or original(path, *how))
    dataset = load(album)
    assert len(decoded) == 25 - done_before(after)
    assert not part.exists()
    np.testing.assert_array_equal(dataset.train.images[17].transpose(1, 2, 0), pixels(18))
    gone_on = {path.name: path.read_bytes() for path in (album / "packed").iterdir()}
    packed.shutil.rmtree(album / "packed")
    load(album)
    assert gone_on == {path.name: path.read_bytes() for path in (album / "packed").iterdir()}


def done_before(after):
    """Pictures that the killed process had told of: whole groups of four, and the last ones of a split."""
    return after // 4 * 4 if after < 19 else 19


def test_what_another_tree_left_is_not_gone_on_with(album):
    part = album / ".packed.part"
    part.mkdir()
    (part / "progress.json").write_text('{"source": "other", "size": [12, 9], "done": {"train": 5}}')
    (part / "train-images.npy").write_bytes(b"old")
    assert len(load(album).train) == 18


# Looking


def test_a_look_tells_counts_sizes_duplicates_and_what_was_left_out(album):
    (album / "train" / "cat" / "broken.png").write_bytes(b"x")
    (album / "test" / "dog" / "same.png").write_bytes((album / "train" / "house" / "3.png").read_bytes())
    write(album / "train" / "dog" / "wide.png", 1, (20, 40))
    text = "\n".join(dataset_summary.summarise(str(album)))
    assert text.startswith("album: 19 images to train and 7 to test, 12x9, colour, 3 classes, one label an image.\n")
    assert "Sizes (height x width): 12x9 (25), 20x40 (1); the smallest 12x9, the largest 20x40; all brought to" in text
    rows = dict(re.findall(r"^(\w+) +(\d+ +\d+)$", text, re.M))
    assert {name: row.split() for name, row in rows.items()} == {
        "cat": ["6", "2"], "dog": ["7", "3"], "house": ["6", "2"]
    }  # fmt: skip
    assert "1 images to test on have the very pixels" in text
    assert "  test/dog/same.png is train/house/3.png" in text
    assert "1 left out:\n  1: it is damaged (UnidentifiedImageError): train/cat/broken.png" in text
    assert "\n".join(dataset_summary.summarise("album", album.parent)) == text


def test_a_look_at_what_needs_no_folder():
    text = "\n".join(dataset_summary.summarise("digits"))
    assert text.startswith("digits: 1,297 images to train and 500 to test, 8x8, grey, 10 classes")


def test_duplicates_are_those_of_a_slow_search():
    rng = np.random.default_rng(0)
    train, test = (rng.integers(0, 2, (n, 1, 2, 2), dtype=np.uint8) for n in (30, 20))
    found = dataset_summary.duplicates(train, test)
    slow = [
        (min(row for row in range(30) if np.array_equal(train[row], image)), number)
        for number, image in enumerate(test) if any(np.array_equal(other, image) for other in train)
    ]  # fmt: skip
    assert found == slow
