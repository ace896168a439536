"""What was ever protected, in an album's journal: by content and by name, until the person releases it."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from psllab.album.journal import Event, Journal
from psllab.album.rules import BY_HAND, hidden

HELD_BACK = "held back: "
"""Begins the reason of a picture that no rule names, and that is protected until the person has looked at it."""


class ProtectionWarning(UserWarning):
    """What the person should know of protection when an album is opened."""


class Protection:
    """The contents and names that stay protected, whatever happens to files and rules.

    Parameters
    ----------
    events : list of event
        Of an album's journal.
    journal : Journal, optional
        Where to write down what changes; names stand in it as hashes only.

    Attributes
    ----------
    contents : dict
        Digest to the reason.
    names : dict
        Hash of a name (see ``rules.hidden``) to the reason.
    released : set of str
        Digests of what the person released.
    """

    def __init__(self, events: Iterable[Event], journal: Journal | None = None):
        self.contents: dict[str, str] = {}
        self.names: dict[str, str] = {}
        self.released: set[str] = set()
        self._exact: set[str] = set()  # hashes of names as they stood, in journals of before
        self._journal = journal
        for event in events:
            self._take(event)

    @property
    def journal_is_empty(self) -> bool:
        """Whether nothing was ever written down: an album that is new."""
        return self._journal is not None and not self._journal.events

    def keep(self, pictures: Mapping[tuple[str, str], str]) -> None:
        """Write down what is protected now, as far as it is not known: (digest or "", name or "") to the reason.

        Raises
        ------
        OSError
            If the disk is full.
        """
        fresh = defaultdict(list)
        for (digest, name), why in pictures.items():
            key = hidden(name) if name else ""
            known = (not digest or digest in self.contents) and (not key or self._named(key, why))
            if not known:
                fresh[why].append([digest, key])
        if fresh:
            self._add("protected", why=fresh)

    def release(self, pictures: Iterable[tuple[str, Iterable[str]]]) -> None:
        """No longer protect pictures: (digest, every route to it); ``OSError`` as above."""
        given = [[digest, [of(route) for route in routes for of in (hidden, _exact)]] for digest, routes in pictures]
        if given:
            self._add("released", pictures=given)

    def by_hand(self, routes: Iterable[str]) -> bool:
        """Whether one of these routes was protected by hand."""
        if not self.names and not self._exact:
            return False
        return any(self.names.get(hidden(route)) == BY_HAND or _exact(route) in self._exact for route in routes)

    def by_name(self, routes: Iterable[str]) -> bool:
        """Whether a protected picture had one of these names."""
        return not self.names.keys().isdisjoint(map(hidden, routes)) if self.names else False

    def _add(self, what: str, **fields: Any) -> None:
        assert self._journal is not None
        self._take(self._journal.add(what, **fields))

    def _named(self, key: str, why: str) -> bool:
        return key in self.names and (why != BY_HAND or self.names[key] == BY_HAND)

    def _take(self, event: Event) -> None:
        if event["what"] == "protected":
            for why, pictures in event["why"].items():
                for digest, key in pictures:
                    if digest:
                        self.contents[digest] = why
                        self.released.discard(digest)
                    if key and not self._named(key, why):
                        self.names[key] = why
        elif event["what"] == "released":
            for digest, keys in event["pictures"]:
                self.contents.pop(digest, None)
                self.released.add(digest)
                for key in keys:
                    self.names.pop(key, None)
                    self._exact.discard(key)
        elif event["what"] == "album":  # journals of before have names by hand among the rules, hashed as they stand
            for word in event["protect"].get("by_hand", ()):
                self._exact.add(word.removeprefix("#"))


def _exact(route: str) -> str:
    return hashlib.sha256(route.encode()).hexdigest()
