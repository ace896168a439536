"""Rules: what they name is protected, and what they cannot judge."""

from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from psllab.album import Dates, Picture, Place, Protect
from psllab.album.pictures import Seen
from psllab.album.rules import rules
from psllab.album.taken import Taken

DAYS = st.dates(date(1990, 1, 1), date(2030, 1, 1))


def seen(path="a/b.jpg", dates=(), place=None, digest="0", routes=()):
    doubts = ("" if dates else "no date in its EXIF", "" if place else "no place in its EXIF")
    return Seen(Picture(path, digest), (path, *routes), Taken(tuple(dates), place, *doubts))


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
        ({"by_hand": ["\u00c4/A.jpg"]}, "a\u0308/a.JPG", True),
        ({"everything": True}, "a.jpg", True),
        ({}, "a.jpg", False),
        ({"folders": ["x"], "by_hand": ["a.jpg"]}, "a.jpg", True),
        ({"folders": ["äpfel"]}, "A\u0308pfel/a.jpg", True),
    ],
)
def test_names(rule, path, protected):
    assert bool(rules(rule).reason(seen(path))) == protected
    assert "by_hand" not in Protect.of(rule).kept()
    kept = Protect.of(Protect.of(rule).kept())
    assert bool(kept.reason(seen(path))) == (protected and "by_hand" not in rule)


def test_rules_that_fit_nothing_are_told():
    here = seen(dates=[date(2024, 5, 1)], place=(52.5, 13.4))
    rules = Protect(
        folders=("a", "x"), patterns=("y",), dates=(Dates(first=date(2024, 6, 1), last=date(2024, 6, 2)),),
        places=(Place(lat=52.5, lon=13.4, km=1), Place(lat=13.4, lon=52.5, km=1)),
    )  # fmt: skip
    told = ["x", "y", "2024-06-01 to 2024-06-02", "13.4, 52.5, 1 km (latitude and longitude swapped, it would)"]
    assert rules.idle([here]) == told


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
        (5, "no rules"),
        (None, "no rules"),
        (b"private", "no rules"),
    ],
)
def test_bad_rules_are_one_sentence(rule, told):
    with pytest.raises(ValueError, match=told) as caught:
        rules(rule)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("places: [{lat: 52,52, lon: 13,40, km: 5}]", r"52 is no name .* a point \(0.5\), not a comma"),
        ("places: [{lat: 52,5, lon: 13,5, km: 5}]", r"'5' is written twice.* a point \(0.5\)"),
        ("places: {1: 2}", "1 is no name"),
        ("folders: [a]\nfolders: [b]", "line 2 .* 'folders' is written twice"),  # the first would be lost silently
        ("dates: [", "line 1 is no YAML"),
        ("dates: [{first: 2024-02-30, last: 2024-03-01}]", "day is out of range"),
        ("everything: !!bool maybe", "no YAML"),
        ("dates: !!timestamp today", "no YAML"),
        ("[" * 1000, "no YAML"),
        ("\udce4", "no YAML"),
    ],
)
def test_files_of_rules_that_are_wrong_are_one_sentence(tmp_path, text, told):
    file = tmp_path / "rules.yaml"
    file.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ValueError, match=told) as caught:
        rules(file)
    assert str(caught.value).startswith(str(file))
    assert "\n" not in str(caught.value)


NAMES = st.sampled_from([*Protect.model_fields, *Dates.model_fields, *Place.model_fields])
PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.dates() | st.datetimes()
ANYTHING = st.recursive(
    PLAIN | st.binary(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES | PLAIN, inner, max_size=3),
    max_leaves=12,
)
PLACES = st.fixed_dictionaries({}, optional={name: ANYTHING for name in ("lat", "lon", "km")})


@given(ANYTHING | st.dictionaries(NAMES, ANYTHING | st.lists(PLACES, max_size=2), max_size=3))
def test_whatever_is_given_is_a_rule_or_one_sentence(given):
    if isinstance(given, str):
        return  # the name of a file
    try:
        assert isinstance(rules(given), Protect)
        told = ""
    except ValueError as error:
        told = str(error)
    assert "\n" not in told


def test_rules_from_yaml(tmp_path):
    file = tmp_path / "rules.yaml"
    file.write_text("dates: [{first: 2024-01-01, last: '2024-02-01'}]\nfolders: [a, b]\n")
    found = rules(file)
    assert found.dates[0].first == date(2024, 1, 1)
    assert found.folders == ("a", "b")
    for nothing in ("", "# folders: [a]\n", "{}", "folders: []\n"):
        file.write_text(nothing)
        with pytest.raises(ValueError, match=r"rules\.yaml holds no rule"):
            rules(file)
    file.write_text("dates: [")
    with pytest.raises(ValueError, match=r"rules\.yaml"):
        rules(str(file))
