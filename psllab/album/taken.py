"""When and where a picture was taken: what its EXIF, its XMP and files beside it say, and what is doubtful in it."""

import json
import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import PurePath
from typing import Any

from PIL import ExifTags, Image

SIDECAR = 1 << 20
"""Bytes that are read of a file beside a picture."""

_CUT = 46
"""Characters to which Google Takeout cuts the names of its files, the ending ``.json`` left aside."""

_VALUE = rb"(?!\w)(?:\s*=\s*[\"']|[^<>]*>)\s*([^\"'<\s][^\"'<]*)"
_XMP_DAYS = re.compile(
    rb"(?:exif:DateTimeOriginal|exif:DateTimeDigitized|xmp:CreateDate|photoshop:DateCreated)" + _VALUE
)
_XMP_PLACE = re.compile(rb"exif:GPSL(atitude|ongitude)" + _VALUE)
_ANGLE = re.compile(rb"([0-9.]+),([0-9.]+)(?:,([0-9.]+))?([NSEW])")
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


def sidecar_of(path: str) -> list[str]:
    """Of a file's path in lower case: paths, the ending perhaps left out, of the pictures that it may belong to.

    What photo managers write is ``a.jpg.xmp`` and ``a.xmp``; Google Takeout's is ``a.jpg.json`` or
    ``a.jpg.supplemental-metadata.json``, cut anywhere behind the dot, and ``a.jpg(1).json`` of ``a(1).jpg``.
    """
    folder, _, name = path.rpartition("/")
    stem, _, ending = name.rpartition(".")
    if ending == "json":
        found = re.fullmatch(r"(.*?)(\(\d+\))?", stem, re.DOTALL)
        assert found is not None
        base, number = found[1], found[2] or ""
        head, dot, last = base.rpartition(".")
        if dot and "supplemental-metadata".startswith(last):
            base = head
        head, dot, last = base.rpartition(".")
        stem = f"{head}{number}.{last}" if dot else base + number
    elif ending != "xmp":
        return []
    return [f"{folder}/{stem}" if folder else stem] if stem else []


def beside(path: str) -> set[str]:
    """Of a picture's path in lower case: what ``sidecar_of`` may call it."""
    folder, slash, name = path.rpartition("/")
    stem, dot, ending = name.rpartition(".")
    origin = stem.removesuffix("-edited")  # which has the sidecar of the picture that was edited
    return {f"{folder}{slash}{one}" for one in (name, name[:_CUT], stem, f"{origin}{dot}{ending}", origin) if one}


@dataclass(frozen=True)
class Source:
    """What something other than EXIF's own dates says; ``no_day`` and ``no_place``: something that cannot be read."""

    name: str
    days: list[date]
    place: tuple[float, float] | None = None
    no_day: bool = False
    no_place: bool = False


def _date_doubt(first: list[date], days: list[date], sources: list[Source]) -> str:
    for one in sources:
        if one.no_day:
            return f"{one.name} tells a date that is no day"
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
        if one.no_place:
            return f"{one.name} tells a place that cannot be read"
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
    ending = PurePath(name).suffix.lower()
    name = f"the {ending} file beside it"  # whose own name would tell the picture's where reasons are written down
    if ending != ".json":
        return _xmp(name, content)
    days, places, found = list[date](), list[tuple[float, float]](), None
    with suppress(ValueError, RecursionError):
        found = json.loads(content)  # as Google Takeout writes it
    if not isinstance(found, dict):
        return Source(name, [], no_day=len(content) == SIDECAR, no_place=len(content) == SIDECAR)
    with suppress(ValueError, TypeError, KeyError, OverflowError, OSError):
        days.append(datetime.fromtimestamp(int(found["photoTakenTime"]["timestamp"]), UTC).date())
    for data in ("geoData", "geoDataExif"):
        with suppress(ValueError, TypeError, KeyError):
            places.append((float(found[data]["latitude"]), float(found[data]["longitude"])))
    place = next((one for one in places if one != (0.0, 0.0)), None)
    return Source(name, days, place, no_day="timestamp" in str(found.get("photoTakenTime")) and not days)


def _xmp(name: str, content: bytes) -> Source:
    cut = len(content) == SIDECAR
    content = content.replace(b"\0", b"")  # of UTF-16
    told = [day.decode(errors="replace") for day in _XMP_DAYS.findall(content)]
    days = _days(told)
    axes, found = _XMP_PLACE.findall(content), dict[bytes, float]()
    for axis, text in axes:
        if angle := _ANGLE.match(text):
            with suppress(ValueError):
                value = float(angle[1]) + float(angle[2]) / 60 + float(angle[3] or 0) / 3600
                found[axis] = -value if angle[4] in b"SW" else value
    place = (found[b"atitude"], found[b"ongitude"]) if len(found) == 2 else None
    return Source(name, days, place, cut or len(days) < len(told), cut or (bool(axes) and place is None))
