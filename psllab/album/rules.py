"""Rules: which pictures are protected, and why. When in doubt, a picture is."""

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

from pslcore.settings import Real, Settings, short
from psllab.album.pictures import Seen
from psllab.album.taken import Taken
from psllab.userfile import Once

BY_HAND = "by hand"

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

    def holds(self, taken: Taken) -> bool:
        """Whether something says that a picture was taken on one of these days."""
        return any(self.first <= day <= self.last for day in taken.dates)

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

    def holds(self, taken: Taken) -> bool:
        """Whether a picture was taken in the circle."""
        return taken.place is not None and self._near(*taken.place)

    def swapped(self, taken: Taken) -> bool:
        """Whether it was, if latitude and longitude had been written the other way round."""
        return taken.place is not None and self._near(*taken.place[::-1])

    def _near(self, lat: float, lon: float) -> bool:
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
        return frozenset(map(plain, self.by_hand))

    def route(self, routes: Iterable[str]) -> str:
        """Why a file is protected that these routes lead to; nothing, if no rule names any of them."""
        paths = [plain(route) for route in routes]
        if not self._by_hand.isdisjoint(paths):
            return BY_HAND
        for folder in self.folders:
            if any(_inside(path, plain(folder).strip("/")) for path in paths):
                return f"in the folder {folder}"
        for pattern in self.patterns:
            wanted = plain(pattern)
            if any(fnmatchcase(path, wanted) or fnmatchcase(PurePath(path).name, wanted) for path in paths):
                return f"fits the pattern {pattern}"
        return ""

    def reason(self, seen: Seen) -> str:
        """Why a picture is protected; nothing, if it is not."""
        if self.everything:
            return "everything is"
        why = self.route(seen.routes)
        if why or seen.hidden:
            return why
        taken = seen.taken
        for span in self.dates:
            if span.holds(taken):
                return f"taken from {span.first} to {span.last}"
        for place in self.places:
            if place.holds(taken):
                return f"taken within {place.km:g} km of {place.lat:g}, {place.lon:g}"
        if self.dates and taken.date_doubt:
            return f"in doubt: {taken.date_doubt}"
        return f"in doubt: {taken.place_doubt}" if self.places and taken.place_doubt else ""

    def idle(self, pictures: list[Seen]) -> list[str]:
        """Rules that fit no picture, as they were written: perhaps misspelt."""
        given = [(Protect(folders=(word,)), word) for word in self.folders]
        given += [(Protect(patterns=(word,)), word) for word in self.patterns]
        unused = [word for rule, word in given if not any(rule.route(one.routes) for one in pictures)]
        unused += [f"{s.first} to {s.last}" for s in self.dates if not any(s.holds(one.taken) for one in pictures)]
        for place in self.places:
            if not any(place.holds(one.taken) for one in pictures):
                unused.append(f"{place.lat:g}, {place.lon:g}, {place.km:g} km")
                if any(place.swapped(one.taken) for one in pictures):
                    unused[-1] += " (latitude and longitude swapped, it would)"
        return unused

    def kept(self) -> dict[str, Any]:
        """The rules for a file. What is protected by hand is not among them: it is written down by its content."""
        return self.model_dump(mode="json", exclude={"by_hand"})


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
        content = yaml.load(payload, Once)
    except Exception as error:  # PyYAML's constructors raise whatever they meet
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error).partition("\n")[0]
        raise ValueError(f"{given}{where} is no YAML that can be read: {problem}.") from None
    try:
        found = Protect.of({} if content is None else content)
    except ValueError as error:
        raise ValueError(f"{given}: {error}") from None
    if not found.changed():
        raise ValueError(f"{given} holds no rule, so nothing was changed: write one, or leave the file away.")
    return found


def plain(text: str) -> str:
    """Text in one case and one way of coding: file systems differ in both."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def _inside(path: str, folder: str) -> bool:
    parts, wanted = PurePath(path).parts[:-1], PurePath(folder).parts
    return any(parts[start : start + len(wanted)] == wanted for start in range(len(parts) - len(wanted) + 1))


def hidden(path: str) -> str:
    """A name as it is written down: so that nobody can read it, and the same in another case or way of coding."""
    return hashlib.sha256(plain(path).encode()).hexdigest()
