"""Rules: what they name is protected, and what they cannot judge."""

from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image

from pslcore.album import Dates, Picture, Place, Protect
from pslcore.album.cache import Cache
from pslcore.album.pictures import Seen
from pslcore.album.protect import rules

DAYS = st.dates(date(1990, 1, 1), date(2030, 1, 1))


def seen(path="a/b.jpg", dates=(), place=None, digest="0", real=None):
    return Seen(Picture(path, digest), real or path, tuple(dates), place)


@given(DAYS, DAYS, DAYS)
def test_dates_include_both_ends(one, other, taken):
    first, last = sorted((one, other))
    rule = Protect(dates=(Dates(first=first, last=last),))
    assert bool(rule.reason(seen(dates=[taken]))) == (first <= taken <= last)
    assert "in doubt" in rule.reason(seen())


@given(st.floats(-89, 89), st.floats(-180, 180), st.floats(0, 360), st.floats(0.1, 5000))
def test_a_place_is_a_circle_on_a_sphere(lat, lon, bearing, km):
    rule = Protect(places=(Place(lat=lat, lon=lon, km=km),))
    for part, inside in ((0.99, True), (1.01, False)):
        arc, there = part * km / 6371.0088, np.radians(bearing)
        lat_0, lon_0 = np.radians(lat), np.radians(lon)
        lat_1 = np.arcsin(np.sin(lat_0) * np.cos(arc) + np.cos(lat_0) * np.sin(arc) * np.cos(there))
        lon_1 = lon_0 + np.arctan2(
            np.sin(there) * np.sin(arc) * np.cos(lat_0), np.cos(arc) - np.sin(lat_0) * np.sin(lat_1)
        )
        point = (float(np.degrees(lat_1)), float((np.degrees(lon_1) + 540) % 360 - 180))
        assert bool(rule.reason(seen(place=point))) == inside
    assert "in doubt" in rule.reason(seen())


@pytest.mark.parametrize(
    ("rule", "path", "protected"),
    [
        ({"folders": ["Private"]}, "2020/private/x/a.jpg", True),
        ({"folders": ["private"]}, "private.jpg", False),
        ({"folders": ["2020/private"]}, "private/a.jpg", False),
        ({"folders": ["2020/private/"]}, "old/2020/private/a.jpg", True),
        ({"folders": "priv"}, "private/a.jpg", False),
        ({"patterns": ["*Party*"]}, "2021/party-1.JPG", True),
        ({"patterns": ["2021/*.png"]}, "2021/a.jpg", False),
        ({"patterns": ["a?.jpg"]}, "deep/a1.jpg", True),
        ({"by_hand": ["a.jpg"]}, "a.jpg", True),
        ({"by_hand": ["a.jpg"]}, "b/a.jpg", False),
        ({"everything": True}, "a.jpg", True),
        ({}, "a.jpg", False),
        ({"folders": ["x"], "by_hand": ["a.jpg"]}, "a.jpg", True),
        ({"folders": ["äpfel"]}, "A\u0308pfel/a.jpg", True),
    ],
)
def test_names(rule, path, protected):
    assert bool(rules(rule).reason(seen(path))) == protected
    kept = rules(Protect.of(rule).kept())
    assert bool(kept.reason(seen(path))) == protected
    assert not rule.get("by_hand") or rule["by_hand"][0] not in str(kept.by_hand)


def test_copies_and_links_of_protected_pictures_are_protected():
    pictures = [seen("private/a.jpg", digest="1"), seen("b.jpg", digest="1"), seen("c.jpg", digest="2"),
                seen("d.jpg", digest="3", real="/photos/private/e.jpg")]  # fmt: skip
    assert list(Protect(folders=("private",)).reasons(pictures)) == [0, 1, 3]


def test_rules_that_fit_nothing_are_told():
    assert Protect(folders=("a", "x"), patterns=("y",)).idle([seen()]) == ["x", "y"]


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ({"dates": [{"first": "2024-13-01", "last": "2024-12-01"}]}, "no day"),
        ({"dates": [{"first": "2024-02-01", "last": "2024-01-01"}]}, "swap"),
        ({"places": [{"lat": 91, "lon": 0, "km": 1}]}, "less than or equal to 90"),
        ({"places": [{"lat": 9, "lon": 0, "km": 0}]}, "greater than 0"),
        ({"folder": ["a"]}, "unknown setting"),
        ({"patterns": [""]}, "patterns"),
        ([1], "by_hand"),
    ],
)
def test_bad_rules_are_one_sentence(rule, told):
    with pytest.raises(ValueError, match=told) as caught:
        rules(rule)
    assert "\n" not in str(caught.value)


def test_rules_from_yaml(tmp_path):
    file = tmp_path / "rules.yaml"
    file.write_text("dates: [{first: 2024-01-01, last: '2024-02-01'}]\nfolders: [a, b]\n")
    found = rules(file)
    assert found.dates[0].first == date(2024, 1, 1)
    assert found.folders == ("a", "b")
    file.write_text("dates: [")
    with pytest.raises(ValueError, match=r"rules\.yaml"):
        rules(str(file))


def exif_of(day=None, place=None):
    exif = Image.Exif()
    if day is not None:
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = day
    if place is not None:
        exif.get_ifd(ExifTags.IFD.GPSInfo).update(place)
    return exif


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
def test_exif_is_read_and_nonsense_is_doubt(tmp_path, painted, exif, dates, place):
    painted(tmp_path / "photos" / "a.jpg", 0, 0, exif=exif)
    cache = Cache(tmp_path / "cache.db", 8)
    ((found,), left_out) = cache.look(tmp_path / "photos")
    cache.close()
    assert not left_out
    assert found.dates == dates
    assert found.place == (None if place is None else pytest.approx(place))
