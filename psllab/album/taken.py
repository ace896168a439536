"""When and where a picture was taken: what its EXIF, its XMP and files beside it say, and what is doubtful in it."""

import json
import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import PurePath
from typing import Any

from PIL import ExifTags, Image

SIDECARS = (".xmp", ".json", ".supplemental-metadata.json")
"""What stands in place of a picture's ending, or behind its name, in files that photo managers write beside it."""

_XMP_DAYS = re.compile(
    rb"(?:exif:DateTimeOriginal|exif:DateTimeDigitized|xmp:CreateDate|photoshop:DateCreated)"
    rb"(?:\s*=\s*[\"']|\s*>\s*)(\d{4}-\d{2}-\d{2})"
)
_XMP_PLACE = re.compile(
    rb"exif:GPSL(atitude|ongitude)(?:\s*=\s*[\"']|\s*>\s*)([0-9.]+),([0-9.]+)(?:,([0-9.]+))?([NSEW])"
)
_NEAR = 0.01
"""Degrees, about a kilometre: places further apart contradict each other."""


@dataclass(frozen=True)
class Taken:
    """What is known of when and where.

    Attributes
    ----------
    dates : tuple of date
        Every day that something says it was taken on.
    place : (float, float) or None
        Latitude and longitude, in degrees.
    date_doubt, place_doubt : str
        Why that cannot be relied on; nothing, if it can.
    """

    dates: tuple[date, ...] = ()
    place: tuple[float, float] | None = None
    date_doubt: str = "no date in its EXIF"
    place_doubt: str = "no place in its EXIF"


def taken(file: Image.Image, beside: dict[str, bytes] | None = None) -> Taken:
    """Of an opened picture, and of the files beside it (name to content)."""
    try:
        exif = file.getexif()
        tags, gps = exif.get_ifd(ExifTags.IFD.Exif), exif.get_ifd(ExifTags.IFD.GPSInfo)
    except Exception:  # unreadable: nothing is known, which protects where a rule asks for it
        tags, gps = {}, {}
    # Not the plain DateTime: that is when somebody last changed the file.
    first = _days([tags.get(ExifTags.Base.DateTimeOriginal)])
    days = first + _days([tags.get(ExifTags.Base.DateTimeDigitized)])
    sources = [Source("its GPS", _days([gps.get(ExifTags.GPS.GPSDateStamp)]))]
    sources += [_xmp("its XMP", packet)] if isinstance(packet := file.info.get("xmp"), bytes) else []
    sources += [_beside(name, content) for name, content in (beside or {}).items()]
    place = _place(gps)
    every = dict.fromkeys(days + [day for one in sources for day in one.days])
    here = next((there for there in (place, *(one.place for one in sources)) if there), None)
    return Taken(tuple(every), here, _date_doubt(first, days, sources), _place_doubt(gps, place, sources))


@dataclass(frozen=True)
class Source:
    """What something other than EXIF's own dates says."""

    name: str
    days: list[date]
    place: tuple[float, float] | None = None


def _date_doubt(first: list[date], days: list[date], sources: list[Source]) -> str:
    for one in sources:
        for day in one.days:
            if all(abs(day - other) > timedelta(1) for other in days):  # a day apart is a time zone
                return f"{one.name} tells another date" if days else f"only {one.name} tells a date"
    if not days:
        return "no date in its EXIF"
    if not first:
        return "its EXIF only tells when it was digitized"
    return "its date may be one that a clock starts with" if any(map(_factory, days)) else ""


def _factory(day: date) -> bool:
    """Cameras begin at New Year of some year; no camera wrote EXIF before 1990, and none can after today."""
    return day.year < 1990 or (day.month, day.day) == (1, 1) or day > date.today() + timedelta(1)


def _place_doubt(gps: dict, place: tuple[float, float] | None, sources: list[Source]) -> str:
    if str(gps.get(ExifTags.GPS.GPSStatus, "")).strip("\0 ").upper() == "V":
        return "its GPS had no fix"
    for one in sources:
        if one.place and place is None:
            return f"only {one.name} tells a place"
        if one.place and place and max(abs(one.place[axis] - place[axis]) for axis in (0, 1)) > _NEAR:
            return f"{one.name} tells another place"
    return "" if place else "no place in its EXIF"


def _days(values: list[Any]) -> list[date]:
    found = []
    for value in values:
        with suppress(ValueError):
            found.append(datetime.strptime(str(value)[:10].replace("-", ":"), "%Y:%m:%d").date())
    return found


def _place(tags: dict) -> tuple[float, float] | None:
    try:
        values = []
        for reference, angle, most in ((1, 2, 90), (3, 4, 180)):
            degrees, minutes, seconds = (float(part) for part in tags[angle])
            side = str(tags[reference]).strip("\0 ").upper()
            value = degrees + minutes / 60 + seconds / 3600
            if side not in ("N", "S", "E", "W") or not 0 <= value <= most:
                return None
            values.append(-value if side in "SW" else value)
    except (KeyError, ValueError, TypeError, ZeroDivisionError):
        return None
    return None if values == [0.0, 0.0] else (values[0], values[1])  # 0, 0 is what a camera writes that does not know


def _beside(name: str, content: bytes) -> Source:
    if PurePath(name).suffix.lower() != ".json":
        return _xmp(name, content)
    days, place, found = list[date](), None, {}
    with suppress(ValueError, TypeError, KeyError, AttributeError, OverflowError, OSError, RecursionError):
        found = json.loads(content)  # as Google Takeout writes it
        days.append(datetime.fromtimestamp(int(found["photoTakenTime"]["timestamp"]), UTC).date())
    with suppress(ValueError, TypeError, KeyError, AttributeError):
        there = (float(found["geoData"]["latitude"]), float(found["geoData"]["longitude"]))
        place = None if there == (0.0, 0.0) else there
    return Source(name, days, place)


def _xmp(name: str, content: bytes) -> Source:
    days = _days([day.decode() for day in _XMP_DAYS.findall(content)])
    found: dict[bytes, float] = {}
    for axis, degrees, minutes, seconds, side in _XMP_PLACE.findall(content):
        with suppress(ValueError):
            value = float(degrees) + float(minutes) / 60 + float(seconds or 0) / 3600
            found[axis] = -value if side in b"SW" else value
    return Source(name, days, (found[b"atitude"], found[b"ongitude"]) if len(found) == 2 else None)
