"""The names of networks: parts, hashes, and what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pslcore import models
from psllab.extend.network_spec import Spelled, parse

WORD = st.text(st.characters(exclude_categories=["C"]), min_size=1).filter(lambda word: word.strip() == word)


@given(WORD.filter(lambda word: "@" not in word), WORD, st.booleans(), st.sampled_from(["", "0123456789abcdef"]))
def test_what_is_written_is_read_back(what, weights, frozen, digest):
    weights = weights.replace("@", "")
    spelled = Spelled(what, digest, weights, digest if weights else "", frozen)
    assert parse(str(spelled)) == spelled


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("resnet8 cold", "'resnet8 cold' names no network ('cold' has no meaning there): after the network may stand"),
        ("resnet8 frozen frozen", "('frozen' has no meaning there)"),
        ("resnet8 weights=", "('weights=' has no meaning there)"),
        ("resnet8 weights='a", "names no network (no closing quotation): close the quotation mark."),
        ("", "unknown network '': choose one of resnet8, resnet14, "),
        ("vgg", "mlp512, or file.py:function or timm:NAME."),
        ("nowhere.py:net", "there is no file nowhere.py: give the path of a Python file."),
        ("resnet8 weights=nowhere.safetensors", "weights=nowhere.safetensors: it cannot be read (No such file"),
        ("resnet8 weights=.", "weights=.: it is no file; give a safetensors file."),
    ],
)
def test_a_name_that_cannot_be_is_refused_in_a_sentence(name, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError) as caught:
        models.known(name)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_hash_of_a_file_is_part_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my net.py").write_text("x = 1\n")
    (tmp_path / "w.safetensors").write_bytes(b"some")
    name = models.known("'my net.py:net' weights=w.safetensors frozen")
    assert models.known(name) == name
    (tmp_path / "my net.py").write_text("x = 2\n")
    other = models.known("'my net.py:net' weights=w.safetensors frozen")
    (tmp_path / "w.safetensors").write_bytes(b"other")
    third = models.known("'my net.py:net' weights=w.safetensors frozen")
    assert len({name, other, third}) == 3
    for path in list(tmp_path.iterdir()):
        path.unlink()
    assert models.known(name) == name  # a record can be read where its files are not
    assert models.known("resnet8") == "resnet8"
