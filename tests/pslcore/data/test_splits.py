"""Folders, files and words that mean a split: one rule for class folders, tables and arrays."""

import random
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pslcore import data
from pslcore.data import splits
from psllab.extend import dataset_resolver, dataset_summary

NAMES = {"train": ["train", "training"], "test": ["test", "testing"], "val": ["val", "valid", "validation"]}
WORDS = [(split, word) for split, words in NAMES.items() for word in words]


@given(st.sampled_from(WORDS), st.randoms(use_true_random=False))
def test_a_split_is_known_in_any_case(named, rng):
    split, word = named
    assert splits.split_of("".join(rng.choice([letter, letter.upper()]) for letter in word)) == split


@given(st.lists(st.sampled_from([word for _, word in WORDS] + ["x", "dev", ""]), unique=True))
def test_of_any_names_those_of_the_two_splits_are_chosen_or_a_sentence_says_which_are_two(names):
    means = {split: [name for name in names if name in words] for split, words in NAMES.items()}
    test = means["test"] or means["val"]
    if max(len(means["train"]), len(test)) > 1:
        with pytest.raises(ValueError, match=r"which all mean the (train|test) split: keep one\."):
            splits.chosen(names, "here")
    else:
        wanted = {"train": means["train"], "test": test}
        assert splits.chosen(names, "here") == {split: found[0] for split, found in wanted.items() if found}


def picture(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (6, 5), (value, 90, 255 - value)).save(path)


def folders(base, train, test):
    for number, split in enumerate((train, test)):
        for name in "ab":
            picture(base / split / name / "1.png", 100 * number + ord(name))


def table(base, train, test):
    rows = [f"{split}{name}.png, {name} ,{split}" for split in (train, test) for name in "ab"]
    for number, row in enumerate(rows):
        picture(base / "images" / row.partition(",")[0], number * 50)
    (base / "labels.csv").write_text("File,LABEL, Split\n" + "\n".join(rows) + "\n")


def npz(base, train, test):
    base.mkdir()
    for seed, split in enumerate((train, test)):
        images = np.random.default_rng(seed).integers(0, 256, (4, 5, 6), dtype=np.uint8)
        np.savez(base / f"{split}.npz", images=images, labels=np.arange(4) % 2)


def npy(base, train, test):
    npz(base, train, test)
    for split in (train, test):
        with np.load(base / f"{split}.npz") as held:
            for name in ("images", "labels"):
                np.save(base / f"{split}-{name}.npy", held[name])
        (base / f"{split}.npz").unlink()


FORMS = {"folders": folders, "table": table, "npz": npz, "npy": npy}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("test", ["test", "Testing", "val", "VALID", "Validation"])
def test_every_form_takes_every_name(tmp_path, form, test):
    train = random.Random(test).choice(["train", "Train", "TRAINING"])
    FORMS[form](tmp_path / "set", train, test)
    dataset = data.load("set", tmp_path)
    assert (len(dataset.classes), set(dataset.train.labels), set(dataset.test.labels)) == (2, {0, 1}, {0, 1})
    assert "set" in dataset_resolver.own(tmp_path)
    assert "set: " in "\n".join(dataset_summary.summarise(tmp_path / "set"))


@pytest.mark.parametrize("form", FORMS)
def test_without_a_split_to_test_on_there_is_a_sentence(tmp_path, form):
    FORMS[form](tmp_path / "set", "train", "holdout")
    with pytest.raises((ValueError, FileNotFoundError), match=r"no picture to test on|test\S* is missing: ") as caught:
        data.load("set", tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("form", ["folders", "npz", "npy"])
def test_two_of_one_split_are_refused(tmp_path, form):
    FORMS[form](tmp_path / "set", "train", "val")
    FORMS[form](tmp_path / "other", "train", "validation")
    for path in (tmp_path / "other").iterdir():
        if path.name.startswith("validation"):
            path.rename(tmp_path / "set" / path.name)
    with pytest.raises(ValueError, match=r"set holds val and validation, which all mean the test split: keep one"):
        data.load("set", tmp_path)
    assert "set" in dataset_resolver.own(tmp_path)


def test_what_stands_beside_the_splits_is_told(tmp_path):
    folders(tmp_path / "set", "train", "test")
    folders(tmp_path / "set", "valid", "holdout")
    assert "Not looked at, beside the two splits: holdout, valid." in dataset_summary.summarise(tmp_path / "set")


def test_in_a_table_rows_to_validate_with_count_where_none_is_to_test_on(tmp_path):
    table(tmp_path / "set", "train", "valid")
    csv = tmp_path / "set" / "labels.csv"
    assert len(data.load("set", tmp_path).test) == 2
    csv.write_text(re.sub("b.png, b ,valid", "b.png, b ,test", csv.read_text()))
    assert len(data.load("set", tmp_path).test) == 1
    assert any(
        "its split 'valid' is neither train nor test" in line for line in dataset_summary.summarise(tmp_path / "set")
    )


@given(st.lists(st.integers(-9, 99), min_size=1, max_size=5, unique=True), st.data())
def test_labels_in_a_table_that_are_numbers_are_classes_by_their_value(numbers, draw):
    from psllab.extend.image_folder_scan import _classes

    spellings = {}
    for number in numbers:
        for spelled in draw.draw(st.sets(st.sampled_from([f"{number}", f"{number}.0", f"{number:05}"]), min_size=1)):
            spellings[spelled] = number
    named = _classes(spellings)
    assert [int(float(name)) for name in dict.fromkeys(named.values())] == sorted(numbers)
    assert all(float(named[spelled]) == number for spelled, number in spellings.items())
    assert _classes([*spellings, "x"]) == {label: label for label in sorted([*spellings, "x"])}
