"""The pictures of an album as they lie in its folder now: which are protected, which were asked about."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from psllab.album.cache import Cache, Progress
from psllab.album.copies import Copies
from psllab.album.pictures import Picture, Seen, digest_of, strange
from psllab.album.protection import HELD_BACK, Protection
from psllab.album.rules import BY_HAND, Protect, hidden, plain
from psllab.album.state import State
from psllab.album.taken import beside, sidecar_of
from psllab.album.walk import File, walk

_FEW = 500
"""So many new pictures are decoded when a folder is opened; of more, those that are asked about, and before a training
the rest. A large album asks its first question after each file was hashed and its EXIF read."""

_LARGE = 1 << 27
"""Bytes. A larger file that a rule names, and that is no picture by its name, is read if a picture has its size."""


class Index:
    """Pictures by number, in the order of their paths.

    Attributes
    ----------
    pictures : list of Picture
    protected : dict
        Number to reason; the reason of what is held back begins with ``protection.HELD_BACK``.
    near_copies : dict
        Number of a picture that is held back to the path of the protected file it resembles.
    earlier : list of int
        Protected by nothing but what was protected before.
    left_out : dict
        Path to reason.
    at : dict
        Picture, as it was asked about, to its number now; a renamed one is known by its content.
    """

    def __init__(self, folder: Path, cache: Cache, copies: Copies, protect: Protect, protection: Protection):
        self._folder, self._cache, self._copies = folder, cache, copies
        names = tuple(str(Path(name)).removeprefix(f"{folder}/") for name in protect.by_hand)
        self._protect, self._protection = protect.but(by_hand=names), protection
        self._files: list[File] = []
        self._unseen: list[str] = []  # left out by their names, though rules name them
        self._lost: dict[str, str] = {}  # could not be decoded since the last look, and why
        self._seen: list[Seen] = []
        self._hidden: list[Seen] = []
        self._reasons: dict[Seen, str] = {}  # what rules alone say of what was seen
        self._ruled: dict[str, str] = {}  # path to what rules and names by hand say; judged once a look
        self.pictures: list[Picture] = []
        self.protected: dict[int, str] = {}
        self.near_copies: dict[int, str] = {}
        self.earlier: list[int] = []
        self.left_out: dict[str, str] = {}
        self.at: dict[Picture, int] = {}
        self._undecoded = 0

    def look(self, progress: Progress | None = None) -> None:
        """Look at the folder again: which files are there, with what content, taken when and where.

        Raises
        ------
        ValueError
            If there is none of a name that shall be protected by hand, or links lead in too many circles.
        """
        self._files, self.left_out = walk(self._folder, strange)
        self._check_by_hand()
        out = {file.path for file in self._files if (file.reason or file.hidden) and not self._named(file.routes)}
        sizes = {file.stamp[0] for file in self._files if not file.reason}
        wanted = [file for file in self._files if file.path not in out and file.regular
                  and (not file.reason or file.stamp[0] < _LARGE or file.stamp[0] in sizes)]  # fmt: skip
        self._lost = {}
        self._unseen = [file.path for file in self._files if file.reason and file.path not in out]
        found, lost = self._cache.look(wanted, _sidecars(self._files), progress)
        lost |= {file.path: file.reason for file in self._files if file.reason and not file.hidden}
        self.left_out = dict(sorted((self.left_out | lost).items()))
        self._seen = [one for one in found if not one.hidden]
        self._hidden = [one for one in found if one.hidden and self._named(one.routes)]

    def contents(self) -> set[str]:
        """Digests of all that was read."""
        return {seen.picture.digest for seen in (*self._seen, *self._hidden)}

    def refresh(
        self, asked: Collection[Picture], progress: Progress | None = None, whole: bool = False, looked: bool = False
    ) -> None:
        """Look again (unless that was done just now), and judge. Few new pictures are decoded at once, many with
        ``whole`` alone.

        Raises
        ------
        ValueError
            As ``look``; or if there is no picture, or none that is not protected.
        """
        if not looked:
            self.look(progress)
        self._take_by_hand()
        every = (*self._seen, *self._hidden)
        self._ruled = {seen.picture.path: why for seen in every if (why := self._rule(seen))}
        unread = self._unread()
        if whole or len(unread) <= _FEW:
            self.read(asked, unread, progress)
        else:
            self._settle(asked)

    def read(self, asked: Collection[Picture], pictures: Iterable[Picture], progress: Progress | None = None) -> None:
        """Decode pictures, and judge; those that cannot be decoded are left out from now on."""
        self.decode(pictures, progress)
        gone = [seen for seen in self._seen if seen.picture.path in self._lost]
        why = {one.picture.path: self._lost[one.picture.path] for one in gone}
        self.left_out = dict(sorted((self.left_out | why).items()))
        self._seen = [seen for seen in self._seen if seen.picture.path not in self._lost]
        self._hidden += [replace(seen, hidden=True) for seen in gone if seen.picture.path in self._ruled]
        self._settle(asked)

    def decode(self, pictures: Iterable[Picture], progress: Progress | None = None) -> None:
        """Decode pictures, without judging yet."""
        self._lost = self._lost | self._cache.read(self._folder, pictures, progress, self.outside())

    def compare(
        self, asked: Collection[Picture], pictures: list[Picture], more: list[Picture], progress: Progress | None = None
    ) -> bool:
        """Decode pictures that somebody shall see, all that are protected, and ``more``: whether one of the first may
        not be seen after that. It may be damaged, or look like a protected one."""
        unread = self._unread()
        todo = {*pictures, *more, *self._shielded()}.intersection(unread) if unread else ()
        if todo or len(unread) != self._undecoded:
            self.read(asked, [picture for picture in unread if picture in todo], progress)
        return not all(self.usable(picture) for picture in pictures)

    def uncompared(self) -> int:
        """How many protected pictures were not decoded yet."""
        return len(self._shielded().intersection(self._unread()))

    def _shielded(self) -> set[Picture]:
        hidden_ones = {seen.picture for seen in self._hidden if seen.picture.path in self._ruled}
        return hidden_ones.union(self.pictures[number] for number in self.protected)

    def outside(self) -> set[Picture]:
        """What is left out, and is looked at only since a rule names it."""
        return {seen.picture for seen in self._hidden}

    def unread(self) -> list[Picture]:
        """The pictures that were not decoded yet, protected ones first: nobody is asked about one that is like them."""
        first = self._shielded()
        return sorted(self._unread(), key=lambda one: one not in first)

    def _unread(self) -> list[Picture]:
        every = (seen.picture for seen in (*self._seen, *self._hidden))
        return self._cache.unread(picture for picture in every if picture.path not in self._lost)

    def images(self, numbers: Iterable[int]) -> np.ndarray:
        """Pixels, uint8 [N, 3, size, size]; ``ValueError`` if one cannot be read by now."""
        wanted = [self.pictures[number] for number in numbers]
        for path, why in self._cache.read(self._folder, wanted).items():
            raise ValueError(f"{path}: {why}. Look at the folder again (refresh).")
        return self._cache.pixels(wanted)

    def blind(self) -> int:
        """How many protected pictures cannot be decoded: copies that are not the same to the bit are not recognised."""
        known, unread = self._cache.hashes(), set(self._unread())
        shown = {one for one in self._shielded() if not strange(one.path.rpartition("/")[2])}
        return len({one.digest for one in shown - unread} - known.keys())

    def _named(self, routes: Sequence[str]) -> bool:
        return bool(self._protect.route(routes)) or self._protection.by_hand(routes)

    def _check_by_hand(self) -> None:
        there = {plain(route) for file in self._files for route in file.routes} if self._protect.by_hand else ()
        for name in self._protect.by_hand:
            if plain(name) not in there and not self._protection.by_name([name]):
                raise ValueError(f"by_hand protects {name!r}, which is no picture here: mend the name.")

    def _take_by_hand(self) -> None:
        """What was given by hand stays protected by itself from now on."""
        if self._protect.by_hand:
            self._protection.keep({("", name): BY_HAND for name in self._protect.by_hand})
            self._protect = self._protect.but(by_hand=())
            self._reasons.clear()

    def _settle(self, asked: Collection[Picture]) -> None:
        self.pictures = [seen.picture for seen in self._seen]
        self._numbers = {picture.path: number for number, picture in enumerate(self.pictures)}
        self._undecoded = len(self._unread())
        self.protected = dict.fromkeys(range(len(self.pictures)), "it was not judged yet")  # were this to fail
        self.near_copies, self.earlier = {}, []
        self.place(asked)
        if not self.pictures:
            more = f" ({len(self.left_out)} files are left out)" if self.left_out else ""
            raise ValueError(f"{self._folder} holds no picture that can be read{more}: name another folder.")
        self._judge()

    def _judge(self) -> None:
        """What is protected, what is held back; and write both down."""
        kept, digests = self._protection, [picture.digest for picture in self.pictures]
        found = {n: self._ruled[one.path] for n, one in enumerate(self.pictures) if one.path in self._ruled}
        contents = {digests[number] for number in found}
        hidden_ones = (seen.picture for seen in self._hidden)
        shielded = {one.digest: self._ruled[one.path] for one in hidden_ones if one.path in self._ruled}
        for number, digest in enumerate(digests):
            if number not in found and (digest in contents or digest in shielded):
                found[number] = "a copy of a protected picture"
        if len(found) == len(digests):  # what earlier rules protect can be released in an album that is open
            self.protected = found  # who goes on all the same is asked about nothing
            why, count = Counter(found.values()).most_common(1)[0]
            raise ValueError(f"all {len(digests)} pictures are protected ({why}: {count}): loosen the rules.")
        rest = [(number, digest) for number, digest in enumerate(digests) if number not in found]
        before = {number: kept.contents[digest] for number, digest in rest if digest in kept.contents}
        self.earlier = [number for number, why in before.items() if not why.startswith(HELD_BACK)]
        firm = {*found, *self.earlier}
        new = {digests[number] for number in firm}.union(shielded) - self._copies.known()
        self._copies.add(self._cache.thumbnails(new))
        held = {number: why for number, why in before.items() if number not in firm}
        self.near_copies = dict.fromkeys(held, "")
        for number, why, twin in self._resembling(firm):
            held.setdefault(number, HELD_BACK + why)
            self.near_copies[number] = twin
        earlier = {number: f"was protected before: {before[number]}" for number in self.earlier}
        self.protected = dict(sorted((found | earlier | held).items()))
        kept.keep({(digests[number], self.pictures[number].path): why for number, why in (found | held).items()})
        kept.keep({(digest, ""): why for digest, why in shielded.items()})

    def _resembling(self, firm: set[int]) -> Iterator[tuple[int, str, str]]:
        """(Number, how, path of the other) of pictures that resemble a protected file and were not released."""
        rest = [number for number, picture in enumerate(self.pictures)
                if number not in firm and picture.digest not in self._protection.released]  # fmt: skip
        if not rest:
            return
        hashes = self._cache.hashes()
        near = self._copies.near({one: hashes[one] for n in rest if (one := self.pictures[n].digest) in hashes})
        paths = {one.picture.digest: one.picture.path for one in self._hidden}
        paths |= {self.pictures[number].digest: self.pictures[number].path for number in sorted(firm, reverse=True)}
        stems = {_stem(self.pictures[number].path): self.pictures[number].path for number in sorted(firm, reverse=True)}
        for path in (*self._unseen, *(one.picture.path for one in self._hidden)):
            stems.setdefault(_stem(path), path)
        for number in rest:
            picture = self.pictures[number]
            if picture.digest in near:
                yield number, "it looks like a protected picture", paths.get(near[picture.digest], "")
            elif _stem(picture.path) in stems:
                yield number, "it has the name of a protected file", stems[_stem(picture.path)]
            elif self._protection.by_name(self._seen[number].routes):
                yield number, "it has the name that a protected picture had", ""

    def _rule(self, seen: Seen) -> str:
        """Why a rule, or a name given by hand, protects a picture; nothing, if none does."""
        if (why := self._reasons.get(seen)) is None:
            why = self._reasons[seen] = self._protect.reason(seen)
        return why or (BY_HAND if self._protection.by_hand(seen.routes) else "")

    def place(self, asked: Collection[Picture]) -> None:
        """Where the pictures that were asked about are now; copies of one stand for it, and are answered with it."""
        self.at = {picture: number for number, picture in enumerate(self.pictures)}
        self._as = dict(enumerate(self.pictures))
        free: defaultdict[str, list[int]] = defaultdict(list)
        for number, picture in enumerate(self.pictures):
            if picture not in asked:
                free[picture.digest].append(number)
        for key in asked:
            if key not in self.at and free[key.digest]:
                number = free[key.digest].pop(0)
                self.at[key], self._as[number] = number, key
        for key in asked:
            self._as |= dict.fromkeys(free.pop(key.digest, ()), key)

    def now(self, keys: Iterable[Picture]) -> list[Picture]:
        """Those of the pictures asked about that are usable, as they are now."""
        return [self.pictures[self.at[key]] for key in keys if self.usable(key)]

    def usable(self, key: Picture) -> bool:
        """Whether a picture that was asked about is there, unchanged, and not protected by now."""
        return key in self.at and self.at[key] not in self.protected

    def asked_as(self, number: int) -> Picture:
        """The picture of that number as it was asked about."""
        return self._as[number]

    def find(self, picture: Picture | str) -> int:
        """The number of a picture; ``ValueError`` of one sentence if there is none."""
        path = picture.path if isinstance(picture, Picture) else str(picture)
        number = self.at.get(picture) if isinstance(picture, Picture) else None  # perhaps renamed since
        if number is None:
            number = self._numbers.get(path)
        if number is None:
            why = self.left_out.get(path)
            raise ValueError(f"{path} is left out: {why}." if why else f"{path} is no picture of this album.")
        if isinstance(picture, Picture) and picture.digest != self.pictures[number].digest:
            raise ValueError(f"{path} has changed since it was asked about: nothing was taken in.")
        return number

    def check(self, number: int) -> None:
        """Raise ``ValueError`` if the file is gone or has changed."""
        seen = self.pictures[number]
        try:
            same = digest_of(self._folder / seen.path) == seen.digest
        except OSError as error:
            raise ValueError(f"{seen.path} is gone ({error.strerror}): nothing was taken in.") from None
        if not same:
            raise ValueError(f"{seen.path} has changed since it was asked about: nothing was taken in.")

    def today(self, key: Picture) -> Picture:
        """A picture that was asked about, as it is now; as it was, if it is gone."""
        return self.pictures[self.at[key]] if key in self.at else key

    def askable(self, out: Iterable[Picture]) -> list[int]:
        """Numbers of the pictures that may be asked about: not protected, no copy of one in ``out`` or before it."""
        contents = {key.digest for key in out}
        found = []
        for number, picture in enumerate(self.pictures):
            if number not in self.protected and picture.digest not in contents:
                contents.add(picture.digest)
                found.append(number)
        return found

    def answers(self, state: State, held_out: bool | None = None) -> dict[Picture, str]:
        """Answers that can be used, in the order of asking; only those held out, or only the others."""
        return {
            key: label
            for key, label in state.answers().items()
            if self.usable(key) and held_out in (None, state.asked[key].held_out)
        }

    def sides(
        self, known: dict[Picture, str], state: State, classes: Sequence[str]
    ) -> tuple[np.ndarray, np.ndarray, dict[int, Picture], np.ndarray]:
        """For a training on the answers ``known``: labels [N], -1 where there is none to learn from; the pictures that
        the cloud has with that label; those to upload; those that ``Cloud.upload`` refuses."""
        labels = np.full(len(self.pictures), -1, np.int64)
        for key, label in known.items():
            labels[self.at[key]] = classes.index(label)
        before = [self.at[key] for key, label in known.items() if state.uploaded.get(key) == label]
        now = {self.at[key]: key for key, label in known.items() if state.uploaded.get(key) != label}
        # What is protected, and what somebody looked at without an answer to learn from.
        kept_back = set(self.protected) | {self.at[key] for key in state.annotations if key in self.at}
        kept_back -= set(before) | set(now)
        return labels, np.array(before, np.int64), now, np.array(sorted(kept_back), np.int64)

    def idle(self) -> list[str]:
        """Rules that fit no picture."""
        return self._protect.idle([*self._seen, *self._hidden])

    def missing(self) -> tuple[int, int]:
        """How many protected contents are not here any more, and how many names protected by hand fit no file."""
        contents = self.contents()
        routes = {hidden(route) for file in self._files for route in file.routes}
        gone = [one for one, why in self._protection.contents.items() if one not in contents]
        return len(gone), sum(why == BY_HAND and name not in routes for name, why in self._protection.names.items())

    def release(self, pictures: Iterable[Picture | str]) -> None:
        """No longer protect pictures; ``ValueError``, and nothing changes, if a rule protects one or it is not here."""
        numbers = [self.find(picture) for picture in pictures]
        for number in numbers:
            path, digest = self.pictures[number].path, self.pictures[number].digest
            same = [seen for seen in (*self._seen, *self._hidden) if seen.picture.digest == digest]
            for why in filter(None, map(self._protect.reason, same)):
                raise ValueError(f"{path} is protected by a rule ({why}): change the rule first.")
        given = {self.pictures[number].digest for number in numbers}
        routes = defaultdict[str, list[str]](list)
        for seen in self._seen:
            if seen.picture.digest in given:
                routes[seen.picture.digest] += seen.routes
        self._protection.release(routes.items())
        self._copies.forget(given)


def _stem(path: str) -> str:
    """What the files of one shot have in common: the path without the ending."""
    name, dot = path.rfind("/") + 1, path.rfind(".")
    return plain(path[:dot] if name < dot < len(path) - 1 else path)


def _sidecars(files: Iterable[File]) -> dict[str, list[File]]:
    """Path of a picture to the files that photo managers wrote beside it, by any route to either."""
    found: defaultdict[str, dict[str, File]] = defaultdict(dict)
    for file in files:
        for name in [name for route in file.routes for name in sidecar_of(plain(route))] if file.regular else ():
            found[name][file.path] = file
    if not found:
        return {}
    given = {}
    for file in files:
        names = {name for route in file.routes for name in beside(plain(route))}
        some = {one.path: one for name in sorted(names) for one in found.get(name, {}).values()}
        if some:
            given[file.path] = list(some.values())
    return given
