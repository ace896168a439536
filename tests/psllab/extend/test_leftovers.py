"""What systems leave in people's folders, by name: all that is known, in any case, and nothing of people's own."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pslcore import data
from pslcore.data import packed
from psllab.extend.leftovers import LEFTOVERS, leftover

NAMES = [name for names in LEFTOVERS.values() for name in names]


def write(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)).save(path)


@given(st.sampled_from(NAMES), st.randoms(use_true_random=False), st.text("abc019", min_size=3, max_size=3))
def test_known_names_are_found_in_any_case_and_with_anything_where_they_have_a_star(name, rng, filling):
    name = name.replace("[0-9][0-9][0-9]", "003").replace("*", filling)
    name = "".join(rng.choice([letter.upper(), letter.lower()]) for letter in name)
    assert leftover(name).startswith("it is ")


@given(st.text(min_size=1, max_size=8).map(lambda name: f".{name}"))
def test_whatever_is_hidden_is_left_out(name):
    assert leftover(name)


@pytest.mark.parametrize(
    "name",
    ["beach", "Strand", "thumbs", "trash", "recycling", "found", "snapshot", "#1 party.jpg", "@home", "a._b"],
)  # fmt: skip
def test_what_people_call_their_own_folders_is_kept(name):
    assert leftover(name) == ""


@given(st.lists(st.tuples(st.sampled_from(NAMES), st.integers(0, 3)), min_size=1, max_size=6, unique=True))
@settings(deadline=None, max_examples=30)
def test_wherever_it_lies_it_is_no_class_and_no_picture_and_is_listed(tmp_path_factory, laid):
    base = tmp_path_factory.mktemp("tree") / "set"
    for split in ("train", "test"):
        for name in ("beach", "city/deep"):
            write(base / split / name / "1.png", len(name))
    before = data.load("set", base.parent)
    expected = set()
    for name, depth in laid:
        name = name.replace("[0-9][0-9][0-9]", "003").replace("*", "x")
        place = base / ("train", "train/beach", "test", "train/city/deep")[depth] / name
        write(place / "inside" / "1.png", 99)
        expected.add(place.relative_to(base).as_posix())
    after = data.load("set", base.parent)
    assert (after.classes, after.fingerprint) == (before.classes, before.fingerprint)
    left_out = packed.index_of(base / "packed").left_out
    assert set(left_out) == expected
    assert all(reason.startswith("it is ") for reason in left_out.values())


@pytest.mark.parametrize("name", ["._1.png", ".DS_Store", "Thumbs.db", "desktop.ini", ".hidden.jpg"])
def test_a_file_is_listed_with_what_it_is(tmp_path, name):
    for split in ("train", "test"):
        write(tmp_path / "set" / split / "a" / "1.png", 1)
    (tmp_path / "set" / "train" / name).write_bytes(b"x")
    (tmp_path / "set" / "train" / "a" / name).write_bytes(b"x")
    data.load("set", tmp_path)
    assert packed.index_of(tmp_path / "set" / "packed").left_out == {
        f"train/{name}": leftover(name), f"train/a/{name}": leftover(name)
    }  # fmt: skip


def test_the_table_of_another_system_s_making_is_no_table(tmp_path):
    for number in range(2):
        write(tmp_path / "set" / "images" / f"{number}.png", number)
        write(tmp_path / "set" / "images" / "__MACOSX" / f"._{number}.png", number)
    (tmp_path / "set" / "labels.csv").write_text("file,label,split\n0.png,a,train\n1.png,a,test\n")
    (tmp_path / "set" / "._labels.csv").write_bytes(b"\0\5\26\7")
    assert len(data.load("set", tmp_path).train) == 1
