"""Which pictures are protected, and why. When in doubt, a picture is."""

import hashlib
import unicodedata
from collections.abc import Iterable
from datetime import date
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import PurePath
from typing import Annotated, Any

import numpy as np
import yaml
from pydantic import BeforeValidator, Field, model_validator

from pslcore.album.pictures import Seen
from pslcore.settings import Real, Settings, short

_EARTH = 6371.0088
"""Mean radius, in km."""


def _day(value: Any) -> Any:
    try:
        return date.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        raise ValueError(f"= {value!r} is no day: write it as 2024-07-31.") from None


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else (value,) if isinstance(value, str | dict) else value


Day = Annotated[date, BeforeValidator(_day)]
Words = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], BeforeValidator(_tuple)]


class Dates(Settings):
    """Pictures taken on a day from ``first`` to ``last``, both included."""

    first: Day
    last: Day

    @model_validator(mode="after")
    def _forwards(self) -> "Dates":
        if self.last < self.first:
            raise ValueError(f"last = {self.last} lies before first = {self.first}: swap them.")
        return self


class Place(Settings):
    """Pictures taken within ``km`` of a point (degrees, north and east positive)."""

    lat: Real = Field(ge=-90, le=90)
    lon: Real = Field(ge=-180, le=180)
    km: Real = Field(gt=0, le=20040)

    def holds(self, lat: float, lon: float) -> bool:
        """Whether a point, in degrees, lies in the circle."""
        here, there = np.radians([self.lat, self.lon]), np.radians([lat, lon])
        half = (there - here) / 2
        bow = np.sin(half[0]) ** 2 + np.cos(here[0]) * np.cos(there[0]) * np.sin(half[1]) ** 2
        return bool(2 * _EARTH * np.arcsin(np.sqrt(np.clip(bow, 0, 1))) <= self.km)


class Protect(Settings):
    """Rules: what any of them names is protected.

    Attributes
    ----------
    dates : list of Dates
    places : list of Place
    folders : list of str
        Names of folders, or paths of folders below the album's; all that lies in them, however deep.
    patterns : list of str
        As in ``*party*`` or ``2023/*.png``, held against the path and the file's name; upper or lower case is one.
    by_hand : list of str
        Paths below the album's folder.
    everything : bool
    """

    dates: Annotated[tuple[Dates, ...], BeforeValidator(_tuple)] = ()
    places: Annotated[tuple[Place, ...], BeforeValidator(_tuple)] = ()
    folders: Words = ()
    patterns: Words = ()
    by_hand: Words = ()
    everything: bool = False

    @cached_property
    def _by_hand(self) -> frozenset[str]:
        return frozenset(self.by_hand)

    def reason(self, seen: Seen) -> str:
        """Why a picture is protected; empty if it is not."""
        paths = {_plain(seen.picture.path), _plain(seen.real)}
        name = _plain(seen.picture.path)
        if self.everything:
            return "everything is"
        if self.by_hand and not {seen.picture.path, _hidden(seen.picture.path)}.isdisjoint(self._by_hand):
            return "by hand"
        for folder in self.folders:
            if any(_inside(path, _plain(folder).strip("/")) for path in paths):
                return f"in the folder {folder}"
        for pattern in self.patterns:
            wanted = _plain(pattern)
            if any(fnmatchcase(path, wanted) or fnmatchcase(PurePath(path).name, wanted) for path in (*paths, name)):
                return f"fits the pattern {pattern}"
        if self.dates:
            if not seen.dates:
                return "in doubt: no date in its EXIF"
            for span in self.dates:
                if any(span.first <= day <= span.last for day in seen.dates):
                    return f"taken from {span.first} to {span.last}"
        if self.places:
            if seen.place is None:
                return "in doubt: no place in its EXIF"
            for place in self.places:
                if place.holds(*seen.place):
                    return f"taken within {place.km:g} km of {place.lat:g}, {place.lon:g}"
        return ""

    def reasons(self, pictures: list[Seen]) -> dict[int, str]:
        """Number of each protected picture to the reason. A copy of a protected picture is protected as well."""
        found = {number: why for number, seen in enumerate(pictures) if (why := self.reason(seen))}
        contents = {pictures[number].picture.digest for number in found}
        for number, seen in enumerate(pictures):
            if number not in found and seen.picture.digest in contents:
                found[number] = "a copy of a protected picture"
        return dict(sorted(found.items()))

    def idle(self, pictures: list[Seen]) -> list[str]:
        """The names of folders, patterns and by hand that fit no picture: perhaps misspelt."""
        rules = [("folders", word) for word in self.folders] + [("patterns", word) for word in self.patterns]
        unused = [
            word for kind, word in rules if not any(Protect.of({kind: (word,)}).reason(seen) for seen in pictures)
        ]
        paths = {seen.picture.path for seen in pictures} if self.by_hand else ()
        return unused + [word for word in self.by_hand if not word.startswith("#") and word not in paths]

    def kept(self) -> dict[str, Any]:
        """The rules for a file; names of single pictures are hashed. ``of`` takes it back."""
        plain = self.model_dump(mode="json")
        return plain | {"by_hand": [word if word.startswith("#") else _hidden(word) for word in self.by_hand]}


def rules(given: "Protect | dict[str, Any] | str | Iterable[str]") -> Protect:
    """Rules from a mapping, or from a YAML file that holds one, or a plain list of pictures.

    Raises
    ------
    ValueError, OSError
        In one sentence, if they cannot be read or are none.
    """
    if isinstance(given, Protect):
        return given
    if isinstance(given, dict):
        return Protect.of(given)
    if not isinstance(given, str | PurePath):
        if not isinstance(given, Iterable) or isinstance(given, bytes):
            raise ValueError(f"{short(given)} are no rules: give a mapping, a YAML file that holds one, or pictures.")
        return Protect(by_hand=tuple(given))
    with open(given, "rb") as file:
        payload = file.read()
    try:
        content = yaml.load(payload, _Once)
    except Exception as error:  # PyYAML's constructors raise whatever they meet
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        told = getattr(error, "problem", None) or str(error).partition("\n")[0]
        raise ValueError(f"{given}{where} is no YAML that can be read: {told}.") from None
    try:
        return Protect.of({} if content is None else content)
    except ValueError as error:
        raise ValueError(f"{given}: {error}") from None


class _Once(yaml.SafeLoader):
    """YAML in which no name stands twice: the second one would silently replace the first."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict:
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for name in names:
            if names.count(name) > 1:
                told = f"{name!r} is written twice; write all of it in one place, numbers with a point (0.5)"
                raise yaml.constructor.ConstructorError(problem=told, problem_mark=node.start_mark)
        return super().construct_mapping(node, deep)


def _plain(text: str) -> str:
    return unicodedata.normalize("NFC", text).casefold()


def _inside(path: str, folder: str) -> bool:
    parts, wanted = PurePath(path).parts[:-1], PurePath(folder).parts
    return any(parts[start : start + len(wanted)] == wanted for start in range(len(parts) - len(wanted) + 1))


def _hidden(path: str) -> str:
    return "#" + hashlib.sha256(path.encode()).hexdigest()
