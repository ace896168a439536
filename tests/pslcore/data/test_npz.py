"""Anybody's own files: whatever is in them, a data set or one sentence, and nothing large before it is known to be."""

import io
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.lib import format as npy

from pslcore.data import Dataset, load, npz

GOOD = {"images": np.arange(180, dtype=np.uint8).reshape(9, 1, 4, 5), "labels": np.arange(9) % 3,
        "names": np.array(["a", "b", "c"])}  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A folder with a good test.npz; each test writes its own train.npz."""
    (folder := tmp_path_factory.mktemp("root") / "mine").mkdir()
    np.savez(folder / "test.npz", **GOOD)
    return folder.parent


def attempt(root) -> Dataset | str:
    """The set, or the sentence; anything else that is raised comes through."""
    try:
        return load("mine", root)
    except ValueError as error:
        message = str(error)
        assert "mine" in message
        assert "\n" not in message
        assert message.endswith(".")
        assert len(message) < 1000
        return message


def header(dtype="|u1", shape=(9, 1, 4, 5)) -> bytes:
    stream = io.BytesIO()
    npy.write_array_header_1_0(stream, {"descr": dtype, "fortran_order": False, "shape": shape})
    return stream.getvalue()


def write(root, method=zipfile.ZIP_STORED, **members):
    """A train.npz whose members are arrays or plain bytes."""
    path = root / "mine" / "train.npz"
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in (GOOD | members).items():
            with archive.open(f"{name}.npy", "w") as file:
                if isinstance(content, bytes):
                    file.write(content)
                elif content is not None:
                    npy.write_array(file, np.asarray(content))
    return path


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("images", header(shape=(10**8, 1, 50, 60)) + bytes(99), "images .* takes 300,000,000,000 bytes but"),
        ("images", header(shape=(10**30, 1, 4, 5)), "train.npz is damaged"),
        ("images", header(shape=(9, 1, 4, -5)) + bytes(180), "train.npz is damaged"),
        ("images", header() + bytes(179), "takes 180 bytes but has 179"),
        ("images", header() + bytes(181), "takes 180 bytes but has 181"),
        ("images", b"no array", "magic string is not correct"),
        ("images", b"\x93NUMPY\x03\x00" + header()[8:] + bytes(180), "version"),
        ("images", b"\x93NUMPY\x01\x00\xff\xff" + b"(" * 0xFFFF, "train.npz is damaged"),
        ("images", b"\x93NUMPY\x01\x00" + struct.pack("<H", 9000) + b"(" * 9000, "train.npz is damaged"),
        ("images", header("|O") + bytes(99), "images are object, but must be uint8"),
        ("labels", header("|O", (9,)) + bytes(99), "labels are object, but must be whole numbers"),
        ("names", header("|O", (3,)) + bytes(99), r"train.npz: names is object of the shape \(3,\), but must be"),
        ("names", np.arange(3), "names is int64 .* must be a list of texts, one a class"),
        ("names", np.array("abc"), r"names is <U3 of the shape \(\)"),
        ("names", np.array([b"a", b"b", b"c"]), r"names is |S1"),
        ("names", np.array(["a", "b", "a"]), "train.npz: names holds 'a' twice; give each class a name of its own"),
        ("names", np.array(["a", "", "c"]), "names holds an empty name or none"),
        ("names", np.array([], dtype="U1"), "names holds an empty name or none"),
        ("approx", np.int64(3), r"approx is int64 of the shape \(\), but must be a list of whole numbers, the"),
        ("approx", np.array([0.5]), "approx is float64"),
        ("approx", header("|O", ()) + bytes(99), "approx is object"),
        ("approx", np.zeros((3, 2), int), r"approx is int64 of the shape \(3, 2\)"),
        ("approx", np.array([0, 9]), "approx holds 9, but must be from 0 to 8"),
        ("approx", np.array([-1]), "approx holds -1, but must be"),
        ("coarse", np.zeros(9), "coarse is float64 .* must be a list of 9 whole numbers, the superclass of each image"),
        ("coarse", np.full(9, -1), "coarse holds -1"),
        ("labels", np.full(9, 7), "image 0: label 7 is outside the table of 3 classes; labels go from 0 to 2"),
    ],
)  # fmt: skip
def test_what_is_refused(root, method, name, content, sentence):
    write(root, method, **{name: content})
    with pytest.raises(ValueError, match=sentence):
        load("mine", root)
    attempt(root)


def test_nothing_large_is_made_for_a_declaration(root):
    """Neither where the header lies, nor where the zip's own directory lies with it."""
    path = write(root, images=header(shape=(3 * 10**11, 1, 1, 1)) + bytes(180))
    whole = path.read_bytes()
    size = len(header(shape=(3 * 10**11, 1, 1, 1))) + 180
    lying = whole.replace(struct.pack("<II", size, size), struct.pack("<II", size, 0xFFFFFFF0))
    assert lying != whole
    for content in (whole, lying):
        path.write_bytes(content)
        tracemalloc.start()
        assert "takes 300,000,000,000 bytes" in attempt(root)
        assert tracemalloc.get_traced_memory()[1] < 1e6
        tracemalloc.stop()


def test_more_than_the_memory_is_refused(root, monkeypatch):
    write(root)
    monkeypatch.setattr(npz.os, "sysconf", lambda name: 20)
    assert "GB of memory: take fewer or smaller images" in attempt(root)


def test_what_else_lies_in_the_file_is_not_read(root):
    write(root, extra=header("|O") + b"never unpickled", approx=np.array([]))
    assert isinstance(attempt(root), Dataset)


def test_no_regular_file(root):
    path = root / "mine" / "train.npz"
    path.unlink(missing_ok=True)
    npz.os.mkfifo(path)
    assert "no regular file" in attempt(root)
    path.unlink()


@pytest.mark.slow
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), method=st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))
def test_random_damage(root, data, method):
    """Bytes cut, altered, put in, or moved: the very same set, or one sentence."""
    path = write(root, method)
    good, content = load("mine", root).fingerprint, bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        place, junk = data.draw(st.integers(0, len(content))), data.draw(st.binary(max_size=8))
        content[place : place + data.draw(st.sampled_from([0, len(junk), 40]))] = junk
    path.write_bytes(content)
    made = attempt(root)
    assert isinstance(made, str) or made.fingerprint == good


_dtypes = st.sampled_from(["|u1", "<i8", ">i4", "<f4", "<U1", "|O", "|b1", "|S3", "<M8[s]", "|V4"])


@pytest.mark.slow
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(["images", "labels", "names", "approx", "coarse", "coarse_names"]),
    dtype=_dtypes, shape=st.lists(st.sampled_from([0, 1, 3, 4, 5, 9, 10**12]), max_size=5),
    content=st.binary(max_size=200),
)  # fmt: skip
def test_random_arrays(root, name, dtype, shape, content):
    """A header of any kind over any bytes, where possible as many as it declares."""
    size = int(np.dtype(dtype).itemsize * np.prod(shape, dtype=object))
    if size < 10_000:
        content = (content * (size + 1))[:size].ljust(size, b"\0")
    write(root, **{name: header(dtype, tuple(shape)) + content})
    attempt(root)
