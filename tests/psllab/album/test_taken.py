"""When and where: EXIF, XMP and sidecar files; nonsense and contradiction are doubt."""

import io
import json
from datetime import date

import pytest
from PIL import ExifTags, Image

from psllab.album.pictures import glance
from psllab.album.taken import Taken

NO_DATE, NO_PLACE = Taken().date_doubt, Taken().place_doubt
BERLIN = {1: "N", 2: (52.0, 30.0, 0.0), 3: "E", 4: (13.0, 24.0, 0.0)}
XMP = (b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description xmp:ModifyDate="2025-01-01T00:00:00" '
       b'%s/></x:xmpmeta>')  # fmt: skip


def exif_of(day=None, place=None, digitized=None):
    exif = Image.Exif()
    tags = exif.get_ifd(ExifTags.IFD.Exif)
    if day is not None:
        tags[ExifTags.Base.DateTimeOriginal] = day
    if digitized is not None:
        tags[ExifTags.Base.DateTimeDigitized] = digitized
    if place is not None:
        exif.get_ifd(ExifTags.IFD.GPSInfo).update(place)
    return exif


def told(exif, beside=None, **options):
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "JPEG", exif=exif, **options)
    return glance(file.getvalue(), beside).taken


@pytest.mark.parametrize(
    ("exif", "dates", "place"),
    [
        (exif_of("2024:07:31 12:00:00"), (date(2024, 7, 31),), None),
        (exif_of("0000:00:00 00:00:00"), (), None),
        (exif_of("nonsense"), (), None),
        (exif_of(place={1: "S", 2: (10.0, 30.0, 0.0), 3: "W", 4: (20.0, 0.0, 36.0)}), (), (-10.5, -20.01)),
        (exif_of(place={1: "N", 2: (0.0, 0.0, 0.0), 3: "E", 4: (0.0, 0.0, 0.0)}), (), None),
        (exif_of(place={1: "N", 2: (95.0, 0.0, 0.0), 3: "E", 4: (0.0, 0.0, 0.0)}), (), None),
        (exif_of(place={2: (10.0, 0.0, 0.0)}), (), None),
        (b"Exif\0\0rubbish", (), None),
    ],
)
def test_exif_is_read_and_nonsense_is_doubt(exif, dates, place):
    found = told(exif)
    assert found.dates == dates
    assert found.place == (None if place is None else pytest.approx(place))
    assert found.date_doubt == ("" if dates else NO_DATE)
    assert found.place_doubt == ("" if place else NO_PLACE)


@pytest.mark.parametrize(
    ("exif", "doubt"),
    [
        (exif_of("1970:01:01 00:00:00"), "a clock starts with"),
        (exif_of("1980:01:06 10:00:00"), "a clock starts with"),
        (exif_of("2000:01:01 00:00:12"), "a clock starts with"),
        (exif_of("2999:05:05 00:00:12"), "a clock starts with"),
        (exif_of(digitized="2024:07:31 12:00:00"), "digitized"),
        (exif_of("2024:07:31 12:00:00", place=BERLIN | {29: "2024:07:29"}), "its GPS tells another date"),
        (exif_of("2024:07:31 23:00:00", place=BERLIN | {29: "2024:08:01"}), ""),
        (exif_of("2024:07:31 12:00:00", digitized="2024:07:31 12:00:00"), ""),
    ],
)
def test_dates_that_cannot_be_relied_on(exif, doubt):
    assert doubt in told(exif).date_doubt
    assert bool(doubt) == bool(told(exif).date_doubt)


def test_a_place_without_a_fix_is_doubt_and_still_counts():
    found = told(exif_of(place=BERLIN | {9: "V"}))
    assert (found.place, found.place_doubt) == (pytest.approx((52.5, 13.4)), "its GPS had no fix")
    assert told(exif_of(place=BERLIN | {9: "A"})).place_doubt == ""


@pytest.mark.parametrize("where", ["inside", "beside"])
@pytest.mark.parametrize(
    "form", [b'exif:DateTimeOriginal="%s"', b">\n<photoshop:DateCreated>%s</photoshop:DateCreated"]
)
def test_xmp_counts_and_contradicts(where, form):
    def both(day, exif):
        packet = XMP % (form % day)
        return told(exif, {"a.xmp": packet}) if where == "beside" else told(exif, xmp=packet)

    name = "the .xmp file beside it" if where == "beside" else "its XMP"
    found = both(b"2024-07-03T10:00:00", exif_of("2024:05:01 10:00:00"))
    assert set(found.dates) == {date(2024, 5, 1), date(2024, 7, 3)}
    assert found.date_doubt == f"{name} tells another date"
    assert both(b"2024-05-01", exif_of("2024:05:01 10:00:00")).date_doubt == ""
    assert both(b"2024-05-01", exif_of()).date_doubt == f"only {name} tells a date"
    assert both(b"2024-05-01", exif_of()).dates == (date(2024, 5, 1),)


def test_places_beside_a_picture():
    here = b'exif:GPSLatitude="52,30.0N" exif:GPSLongitude="13,24.0E"'
    assert told(exif_of(place=BERLIN), {"a.xmp": here}).place_doubt == ""
    found = told(exif_of(place=BERLIN), {"a.xmp": here.replace(b"13,", b"14,")})
    assert found.place_doubt == "the .xmp file beside it tells another place"
    found = told(exif_of(), {"a.xmp": here})
    assert (found.place, found.place_doubt) == (
        pytest.approx((52.5, 13.4)),
        "only the .xmp file beside it tells a place",
    )


def test_takeout_counts_and_strange_files_are_passed_over():
    said = {"photoTakenTime": {"timestamp": "1720000000"}, "geoData": {"latitude": 52.5, "longitude": 13.4}}
    found = told(exif_of(), {"a.jpg.json": json.dumps(said).encode()})
    assert (found.dates, found.place) == ((date(2024, 7, 3),), (52.5, 13.4))
    for strange in (b"", b"[", b"[]", b"{}", b'{"photoTakenTime": 5, "geoData": []}', b"\xff\xfe", b'"x"'):
        for name in ("a.json", "a.xmp"):
            assert told(exif_of("2024:05:01 10:00:00", place=BERLIN), {name: strange}).date_doubt == ""
