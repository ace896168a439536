"""Any picture that Pillow reads, upright and as RGB: every format, orientation and depth, packed and in an album."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageOps

from pslcore import data
from pslcore.data import packed
from psllab.album.pictures import decode
from psllab.extend import dataset_summary
from psllab.extend.depth import Range
from psllab.extend.pictures import as_rgb

SIZE = (16, 24)  # height, width
CORNERS = ((220, 20, 20), (20, 220, 20), (20, 20, 220), (220, 220, 20))


def scene(size=SIZE):
    """A colour in each quarter, so that every way of turning shows."""
    height, width = size
    pixels = np.zeros((*size, 3), np.uint8)
    for number, colour in enumerate(CORNERS):
        rows = slice(0, height // 2) if number < 2 else slice(height // 2, None)
        pixels[rows, slice(0, width // 2) if number % 2 == 0 else slice(width // 2, None)] = colour
    return Image.fromarray(pixels)


def as_held(upright, orientation):
    """What a camera stores that was held so: Pillow's own turning is what sets it upright again."""
    back = {6: 8, 8: 6}.get(orientation, orientation)
    exif = Image.Exif()
    exif[0x0112] = back
    stream = io.BytesIO()
    upright.save(stream, "PNG", exif=exif)
    return ImageOps.exif_transpose(Image.open(stream)).copy()


def xmp(orientation):
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="{orientation}"/>'
        "</rdf:RDF></x:xmpmeta>"
    ).encode()


KINDS = {
    "tiff": {}, "lzw.tiff": {"compression": "tiff_lzw"}, "jpg": {"quality": 95}, "png": {}, "webp": {"lossless": True},
    "avif": {"quality": 95}, "xmp.jpg": {"quality": 95}, "xmp.webp": {"lossless": True},
    "xmp.tiff": {},
}  # fmt: skip


def write(folder, kind, orientation, size=SIZE):
    path = folder / f"{orientation}.{kind}"
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[0x0112] = orientation
    how = KINDS[kind] | (
        {"tiffinfo": {700: xmp(orientation)}, "xmp": xmp(orientation)} if kind.startswith("xmp.") else {"exif": exif}
    )
    as_held(scene(size), orientation).save(path, **how)
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_every_format_stands_upright_in_every_orientation_packed_looked_at_and_in_an_album(tmp_path, kind):
    if kind == "avif" and ".avif" not in Image.registered_extensions():
        pytest.skip("this Pillow writes no AVIF")
    files = [write(tmp_path / "set" / split / "a", kind, held) for held in range(1, 9) for split in ("train", "test")]
    dataset = data.load("set", tmp_path)
    assert dataset.train.images.shape == (8, 3, *SIZE)
    wanted = np.asarray(scene())
    for image in dataset.train.images:
        assert np.abs(image.transpose(1, 2, 0).astype(int) - wanted).mean() < 12
    assert packed.index_of(tmp_path / "set" / "packed").sizes == {f"{SIZE[0]}x{SIZE[1]}": 16}
    assert f"Sizes (height x width): {SIZE[0]}x{SIZE[1]} (16); theirs." in dataset_summary.summarise(tmp_path / "set")
    squared = [np.frombuffer(decode(path.read_bytes(), 8).pixels, np.uint8).reshape(8, 8, 3) for path in files]
    for image in squared:
        assert np.abs(image[[1, 1, -2, -2], [1, -2, 1, -2]].astype(int) - np.array(CORNERS)).max() < 40


@pytest.mark.parametrize("held", [1, 6])
def test_the_size_of_a_large_jpeg_is_that_of_the_picture_not_of_what_is_decoded_of_it(tmp_path, held):
    for split in ("train", "test"):
        write(tmp_path / "set" / split / "a", "jpg", held, (801, 799))
    data.load("set", tmp_path)
    assert packed.index_of(tmp_path / "set" / "packed").sizes == {"801x799": 2}


# Depth


def png16(values):
    """What Pillow cannot write: 16 bits, grey or in colour, with transparency or without."""
    height, width, bands = (*values.shape, 1)[:3]
    rows = values.astype(">u2").reshape(height, width * bands)

    def chunk(name, held):
        return struct.pack(">I", len(held)) + name + held + struct.pack(">I", zlib.crc32(name + held))

    head = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[bands], 0, 0, 0)
    packed_rows = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", packed_rows) + chunk(b"IEND", b"")


def tiff16(values, photometric=2, order="<"):
    """The same for TIFF, uncompressed."""
    height, width, bands = (*values.shape, 1)[:3]
    tags = [(256, 3, 1, width), (257, 3, 1, height), (258, 3, bands, 16), (259, 3, 1, 1), (262, 3, 1, photometric)]
    tags += [(273, 4, 1, 0), (277, 3, 1, bands), (278, 3, 1, height), (279, 4, 1, values.size * 2)]
    end = 8 + 2 + 12 * len(tags) + 4
    body = b""
    for tag, kind, count, held in tags:
        value = struct.pack(f"{order}{'HI'[kind == 4]}", held).ljust(4, b"\0")
        if tag == 258 and bands > 1:
            value = struct.pack(f"{order}I", end)
        if tag == 273:
            value = struct.pack(f"{order}I", end + 2 * bands)
        body += struct.pack(f"{order}HHI", tag, kind, count) + value
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}IH", 8, len(tags))
    bits = struct.pack(f"{order}{bands}H", *[16] * bands)
    return head + body + b"\0" * 4 + bits + values.astype(f"{order}u2").tobytes()


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("bands", [1, 2, 3, 4])
def test_16_bits_are_read_to_the_last_in_grey_and_in_colour(bits, bands):
    values = np.random.default_rng(0).integers(0, 1 << bits, (5, 7, bands))
    values[0, 0, 0] = (1 << bits) - 1
    if bands in (2, 4):
        values[..., -1] = 65535
    wanted = values[..., : bands - (bands in (2, 4))] * 255 // ((1 << bits) - 1)
    payloads = [png16(values)]
    if bands == 3:
        payloads += [tiff16(values, order="<"), tiff16(values, order=">")]
        plain = Image.open(io.BytesIO(tiff16(values)))
        assert np.asarray(plain).max() <= (1 << bits) - 1 >> 8  # what Pillow makes of it
    for payload in payloads:
        got = np.asarray(as_rgb(Image.open(io.BytesIO(payload))))
        np.testing.assert_array_equal(got, np.broadcast_to(wanted, got.shape))


def test_what_shines_through_lies_on_white_in_16_bits_too():
    values = np.full((4, 4, 4), 4095)
    values[:2, :, 3], values[2:, :, 3], values[..., 1:3] = 0, 65535, 0
    got = np.asarray(as_rgb(Image.open(io.BytesIO(png16(values)))))
    assert (got[:2] == 255).all()
    assert (got[2:] == (255, 0, 0)).all()


def test_where_low_is_white_it_is_white():
    values = np.array([[0, 4095]])
    low_is_dark, low_is_white = (
        np.asarray(as_rgb(Image.open(io.BytesIO(tiff16(values, photometric)))))[0, :, 0].tolist()
        for photometric in (1, 0)
    )
    assert (low_is_dark, low_is_white) == ([0, 255], [255, 0])


DTYPES = {
    "10 bits": ("u2", 0, 1000), "12 bits": ("u2", 0, 4000), "14 bits": ("u2", 0, 16000), "16 bits": ("u2", 0, 60000),
    "32 bits": ("i4", 0, 1 << 30), "signed": ("i4", -1024, 3071), "0 and 1": ("u2", 0, 1), "0 to 1": ("f4", 0, 1),
    "celsius": ("f4", 14.5, 38.25),
}  # fmt: skip


@pytest.mark.parametrize("kind", DTYPES)
def test_one_rule_for_the_whole_set_whatever_its_numbers_are(tmp_path, kind):
    dtype, low, high = DTYPES[kind]
    steps = np.linspace(low, high, 16).astype(dtype)  # one a picture: by itself it is black or white
    for number, value in enumerate(steps):
        path = tmp_path / "set" / ("train" if number % 2 else "test") / "a" / f"{number:02}.tiff"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full(SIZE, value, dtype)).save(path)
    dataset = data.load("set", tmp_path)
    got = np.empty(16)
    got[1::2], got[0::2] = dataset.train.images[:, 0, 0, 0], dataset.test.images[:, 0, 0, 0]
    order = np.argsort(steps, kind="stable")
    assert (np.diff(got[order]) >= 0).all()
    wanted = (got.max() - got.min()) * (steps - steps.min()) / (steps.max() - steps.min()) + got.min()
    assert np.abs(got - wanted).max() <= 1
    assert got.max() >= 58  # of 255: the fewest bits that hold it lose two of the eight at most
    told = "\n".join(dataset_summary.summarise(tmp_path / "set"))
    assert f"16 pictures of more than 8 bits hold values from {low:,g} to {high:,g}: " in told
    if kind.endswith("bits") and kind != "32 bits":
        assert f"taken as {kind}, so 0 became 0 and {(1 << int(kind[:2])) - 1:,} became 255 in all of them." in told
    assert "became 255 in all of them" in dataset.note


def test_pictures_of_8_bits_are_not_touched_by_the_deep_ones_beside_them(tmp_path):
    for split in ("train", "test"):
        folder = tmp_path / "set" / split / "a"
        folder.mkdir(parents=True)
        scene().save(folder / "plain.png")
        Image.fromarray(np.full(SIZE, 3000, np.uint16)).save(folder / "x-ray.png")
    images = data.load("set", tmp_path).train.images
    np.testing.assert_array_equal(images[0].transpose(1, 2, 0), np.asarray(scene()))
    assert set(images[1].ravel().tolist()) == {3000 * 255 // 4095}


@given(arrays(st.sampled_from([np.float32, np.int32, np.uint16]), (3, 4)))
@settings(deadline=None)
def test_any_numbers_become_8_bits_in_their_order(values):
    """NaN, infinities and the largest numbers included."""
    brought = Range.of_values(values).brought(values)
    finite = np.isfinite(values)
    order = np.argsort(values[finite], kind="stable")
    assert (np.diff(brought[finite][order].astype(int)) >= 0).all()
    assert (brought[np.isnan(values)] == 0).all()
    assert Range.of(Range.of_values(values).model_dump()) == Range.of_values(values)


@given(st.lists(arrays(np.float32, (2,), elements=st.floats(-9, 9, width=32)), min_size=1, max_size=4))
def test_the_range_of_a_set_is_that_of_all_its_values(pictures):
    together = Range.together(map(Range.of_values, pictures))
    assert together == Range.of_values(np.array(pictures)).but(pictures=len(pictures))
