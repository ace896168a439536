"""Any folder of pictures: read once, upright, 8 bits; strange files are listed, circles are harmless."""

import io
import os
import warnings
from datetime import date

import numpy as np
import pytest
from PIL import ExifTags, Image

from pslcore import data
from psllab.album import HEIC, Protect
from psllab.album.cache import Cache
from psllab.album.pictures import strange
from psllab.album.walk import walk


@pytest.fixture
def read(tmp_path):
    def scan(folder, size=8, **options):
        cache = Cache(tmp_path / "cache" / "pictures.db", size)
        try:
            files, left_out = walk(folder, strange)
            left_out |= {file.path: file.reason for file in files if file.reason}
            seen, lost = cache.look([file for file in files if not file.reason], {}, **options)
            left_out |= lost | cache.read(folder, [one.picture for one in seen])
            seen = [one for one in seen if one.picture.path not in left_out]
            return seen, cache.pixels(one.picture for one in seen), left_out
        finally:
            cache.close()

    return scan


def halves(path, mode="RGB", left=255, right=0, size=(40, 20), **options):
    """A picture whose left half is light."""
    picture = Image.new(mode, size, right)
    picture.paste(left, (0, 0, size[0] // 2, size[1]))
    picture.save(path, **options)


def test_all_kinds_and_modes_become_rgb_of_one_size(tmp_path, read):
    folder = tmp_path / "photos"
    (folder / "deep" / "deeper").mkdir(parents=True)
    halves(folder / "grey.png", "L")
    halves(folder / "sixteen.png", "I;16", left=65535)
    halves(folder / "clear.png", "RGBA", left=(255, 255, 255, 255), right=(0, 0, 0, 255))
    halves(folder / "table.png", "P", left=1)
    halves(folder / "deep" / "colour.jpg", left=(255, 255, 255), right=(0, 0, 0))
    halves(folder / "deep" / "deeper" / "web.WEBP", left=(255, 255, 255), right=(0, 0, 0), format="webp")
    halves(folder / "print.jpg", "CMYK", left=(0, 0, 0, 0), right=(255, 255, 255, 255))
    Image.new("RGB", (1, 1), "white").save(folder / "one.png")
    Image.new("RGB", (2000, 3), "white").save(folder / "wide.png")
    seen, images, left_out = read(folder)
    assert not left_out
    assert (images.dtype, images.shape) == (np.uint8, (9, 3, 8, 8))
    by_name = {one.picture.path: image for one, image in zip(seen, images, strict=True)}
    assert list(by_name) == sorted(by_name)
    for name in ("grey.png", "sixteen.png", "clear.png", "deep/colour.jpg", "deep/deeper/web.WEBP", "print.jpg"):
        assert by_name[name][:, :, :3].mean() > 240 > 15 > by_name[name][:, :, 5:].mean(), name


def test_what_shines_through_lies_on_white(tmp_path, read):
    (tmp_path / "photos").mkdir()
    Image.new("RGBA", (9, 9), (0, 0, 0, 0)).save(tmp_path / "photos" / "glass.png")
    assert (read(tmp_path / "photos")[1] == 255).all()


def test_pictures_of_more_than_8_bits_are_brought_to_8_by_the_most_that_one_of_the_folder_has(tmp_path, read):
    folder = tmp_path / "photos"
    folder.mkdir()
    values = np.array([0, 1, 300, 1000, 4000])
    for value in values:
        Image.fromarray(np.full((20, 20), value, np.uint16)).save(folder / f"{value:05}.png")
    Image.new("L", (20, 20), 77).save(folder / "plain.png")
    for bits in (12, 14, 16):
        if bits > 12:
            Image.fromarray(np.full((20, 20), (1 << bits) - 1, np.uint16)).save(folder / f"x{bits}.png")
        seen, images, _ = read(folder)
        by_name = {one.picture.path: image for one, image in zip(seen, images, strict=True)}
        for value in values:
            assert set(by_name[f"{value:05}.png"].ravel().tolist()) == {int(value) * 255 // ((1 << bits) - 1)}
        assert set(by_name["plain.png"].ravel().tolist()) == {77}
    (folder / "x14.png").unlink()
    (folder / "x16.png").unlink()
    assert read(folder)[1].max() == 4000 * 255 // 4095


def test_the_thumbnail_is_as_dark_as_the_training_picture(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for value in (1000, 4095):
        Image.fromarray(np.full((20, 20), value, np.uint16)).save(folder / f"{value}.png")
    cache = Cache(tmp_path / "cache.db", 8)
    seen, _ = cache.look(walk(folder, strange)[0], {})
    shown = np.asarray(Image.open(io.BytesIO(cache.thumbnail(folder, seen[0].picture))))
    cache.close()
    assert np.abs(shown.astype(int) - 1000 * 255 // 4095).max() <= 2


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_orientation_is_honoured(tmp_path, read, suffix):
    (tmp_path / "photos").mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise: the left side comes to the top
    halves(tmp_path / "photos" / f"turned.{suffix}", left=(255,) * 3, right=(0,) * 3, exif=exif)
    (image,) = read(tmp_path / "photos")[1]
    assert image[:, :3].mean() > 240 > 15 > image[:, 5:].mean()


def test_strange_files_are_left_out_with_a_reason(tmp_path, read):
    folder = tmp_path / "photos"
    folder.mkdir()
    whole = io.BytesIO()
    Image.new("RGB", (64, 64)).save(whole, "JPEG")
    Image.new("RGB", (8, 8)).save(folder / "good.png")
    (folder / "cut.jpg").write_bytes(whole.getvalue()[:-200])
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.jpg").write_text("not at all")
    (folder / "notes.txt").write_text("a note")
    (folder / ".hidden.jpg").write_bytes(whole.getvalue())
    (folder / "nowhere.jpg").symlink_to(folder / "gone.jpg")
    os.mkfifo(folder / "pipe.jpg")
    (folder / os.fsdecode(b"odd-\xff.jpg")).write_bytes(whole.getvalue())
    seen, images, left_out = read(folder)
    assert [one.picture.path for one in seen] == ["good.png"]
    assert len(images) == 1
    assert len(left_out) == 8
    assert "damaged" in left_out["cut.jpg"]
    assert "no JPEG" in left_out["notes.txt"]
    assert "no regular file" in left_out["pipe.jpg"]
    assert any("UTF-8" in why for why in left_out.values())


def test_circles_of_links_end_and_a_folder_keeps_its_own_name(tmp_path, read, painted):
    folder = tmp_path / "photos"
    painted(folder / "private" / "a.png", 0, 0)
    (folder / "private" / "up").symlink_to(folder)
    (folder / "also").symlink_to(folder / "private")
    (folder / "link.png").symlink_to(folder / "private" / "a.png")
    ((found,), left_out) = walk(folder, strange)
    assert found.path == "private/a.png"
    assert {"link.png", "also/a.png", "private/up/link.png", "also/up/private/a.png"} <= set(found.routes)
    assert not left_out


def test_rules_look_below_the_folder_and_where_links_lead_out_of_it(tmp_path, read, painted):
    folder = tmp_path / "2024-05" / "photos"
    painted(folder / "a.png", 0, 0)
    painted(tmp_path / "2024-05" / "away" / "b.png", 0, 1)
    (folder / "b.png").symlink_to(tmp_path / "2024-05" / "away" / "b.png")
    seen = read(folder)[0]
    for rule in ({"folders": ["2024-05"]}, {"folders": ["2024-05/away"]}, {"patterns": ["*2024-05*"]}):
        assert [bool(Protect.of(rule).reason(one)) for one in seen] == [False, True]


def test_only_what_changed_is_read_again(tmp_path, read, painted):
    folder, told = tmp_path / "photos", []
    for number in range(5):
        painted(folder / f"{number}.png", 0, number)
    first = read(folder)[1]
    assert np.array_equal(read(folder, progress=lambda *now: told.append(now))[1], first)
    assert told == []
    painted(folder / "new.png", 1, 9)
    painted(folder / "0.png", 1, 10)
    (folder / "4.png").unlink()
    seen, images, _ = read(folder, progress=lambda *now: told.append(now))
    assert told == [(2, 2)]
    assert [one.picture.path for one in seen] == ["0.png", "1.png", "2.png", "3.png", "new.png"]
    assert np.array_equal(images[1:4], first[1:4])
    assert not np.array_equal(images[0], first[0])


def test_thumbnails_are_small_and_have_no_metadata(tmp_path, painted):
    exif = Image.Exif()
    exif[0x010E] = "a secret"
    painted(tmp_path / "photos" / "a.jpg", 0, 0, side=400, exif=exif)
    cache = Cache(tmp_path / "cache.db", 8)
    seen, _ = cache.look(walk(tmp_path / "photos", strange)[0], {})
    small = cache.thumbnail(tmp_path / "photos", seen[0].picture)
    cache.close()
    assert b"secret" not in small
    assert Image.open(io.BytesIO(small)).size == (160, 160)


@pytest.mark.skipif(HEIC, reason="pillow-heif is there")
def test_heic_without_its_package_says_so(tmp_path, read):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.heic").write_bytes(b"ftypheic")
    assert "pillow-heif" in read(tmp_path / "photos")[2]["a.heic"]


@pytest.mark.skipif(not HEIC, reason="pillow-heif is not there")
def test_heic_is_read_where_its_package_is(tmp_path, read):
    (tmp_path / "photos").mkdir()
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = "2024:07:03 10:00:00"
    halves(tmp_path / "photos" / "a.HEIC", left=(255,) * 3, right=(0,) * 3, size=(64, 32), exif=exif, format="heif")
    whole = (tmp_path / "photos" / "a.HEIC").read_bytes()
    (tmp_path / "photos" / "cut.heic").write_bytes(whole[: len(whole) // 2])
    (seen,), (image,), left_out = read(tmp_path / "photos")
    assert seen.taken.dates == (date(2024, 7, 3),)
    assert image[:, :, :3].mean() > 240 > 15 > image[:, :, 5:].mean()
    assert "damaged" in left_out["cut.heic"]


def test_a_warning_of_another_thread_is_never_lost_while_pictures_are_read(tmp_path, monkeypatch, read):
    """``catch_warnings`` takes the list of filters away from all threads: no reader of pictures may use it."""
    folder, lists = tmp_path / "photos", []
    for split in ("train", "test"):
        for name in "ab":
            (folder / split / name).mkdir(parents=True)
            for number in range(3):
                pixels = np.random.default_rng(number).integers(0, 256, (9, 9, 3), np.uint8)
                Image.fromarray(pixels).save(folder / split / name / f"{number}.png")
    original = Image.open

    def opened(*args, **options):
        lists.append(warnings.filters)
        return original(*args, **options)

    monkeypatch.setattr(Image, "open", opened)
    read(folder)
    album = len(lists)
    data.load(str(folder))
    assert len(lists) > album > 0
    assert all(one is warnings.filters for one in lists)
    assert not any(kind == "ignore" and module is None and what is Warning for kind, _, what, module, _ in lists[-1])
