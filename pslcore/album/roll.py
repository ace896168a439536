"""The pictures of an album as they lie in its folder now: which are protected, which were asked about."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import numpy as np

from pslcore.album.cache import Cache, Progress
from pslcore.album.pictures import Picture, Seen, digest_of
from pslcore.album.protect import Protect
from pslcore.album.tally import Tally

_FEW = 500
"""So many new pictures are decoded when a folder is opened; of more, those that are asked about, and before a training
the rest. A large album asks its first question after each file was hashed and its EXIF read."""


class Roll:
    """Pictures by number, in the order of their paths.

    Attributes
    ----------
    pictures : list of Picture
    protected : dict
        Number to reason.
    left_out : dict
        Path to reason.
    at : dict
        Picture, as it was asked about, to its number now; a renamed one is known by its content.
    """

    def __init__(self, folder: Path, cache: Cache, protect: Protect):
        self._folder, self._cache, self._protect = folder, cache, protect
        self._seen: list[Seen] = []
        self.pictures: list[Picture] = []
        self.protected: dict[int, str] = {}
        self.left_out: dict[str, str] = {}
        self.at: dict[Picture, int] = {}

    def refresh(self, asked: Collection[Picture], progress: Progress | None = None, whole: bool = False) -> None:
        """Look at the folder again. Few new pictures are decoded at once, many with ``whole`` alone.

        Raises
        ------
        ValueError
            If there is no picture, or none that is not protected.
        """
        self._seen, self.left_out = self._cache.look(self._folder, progress)
        unread = self.unread()
        if whole or len(unread) <= _FEW:
            self.read(asked, unread, progress)
        else:
            self._settle(asked)

    def read(self, asked: Collection[Picture], pictures: Iterable[Picture], progress: Progress | None = None) -> bool:
        """Decode pictures; those that cannot be are left out from now on. Whether there was one."""
        lost = self._cache.read(self._folder, pictures, progress)
        self.left_out = dict(sorted((self.left_out | lost).items()))
        self._seen = [seen for seen in self._seen if seen.picture.path not in lost]
        self._settle(asked)
        return bool(lost)

    def unread(self) -> list[Picture]:
        """The pictures that were not decoded yet."""
        return self._cache.unread(seen.picture for seen in self._seen)

    def images(self, numbers: Iterable[int]) -> np.ndarray:
        """Pixels, uint8 [N, 3, size, size]; ``ValueError`` if one cannot be read by now."""
        wanted = [self.pictures[number] for number in numbers]
        for path, why in self._cache.read(self._folder, wanted).items():
            raise ValueError(f"{path}: {why}. Look at the folder again (refresh).")
        return self._cache.pixels(wanted)

    def _settle(self, asked: Collection[Picture]) -> None:
        self.pictures = [seen.picture for seen in self._seen]
        self.protected = self._protect.reasons(self._seen)
        self._numbers = {picture.path: number for number, picture in enumerate(self.pictures)}
        self.place(asked)
        if not self.pictures:
            more = f" ({len(self.left_out)} files are left out)" if self.left_out else ""
            raise ValueError(f"{self._folder} holds no picture that can be read{more}: name another folder.")
        if len(self.protected) == len(self.pictures):
            why, count = Counter(self.protected.values()).most_common(1)[0]
            raise ValueError(f"all {len(self.pictures)} pictures are protected ({why}: {count}): loosen the rules.")

    def place(self, asked: Collection[Picture]) -> None:
        """Where the pictures that were asked about are now."""
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

    def answers(self, tally: Tally, held_out: bool | None = None) -> dict[Picture, str]:
        """Answers that can be used, in the order of asking; only those held out, or only the others."""
        return {
            key: label
            for key, label in tally.answers().items()
            if self.usable(key) and held_out in (None, tally.asked[key].held_out)
        }

    def sides(
        self, known: dict[Picture, str], tally: Tally, classes: Sequence[str]
    ) -> tuple[np.ndarray, np.ndarray, dict[int, Picture], np.ndarray]:
        """For a training on the answers ``known``: labels [N], -1 where there is none to learn from; the pictures that
        the cloud has with that label; those to upload; those that the door refuses."""
        labels = np.full(len(self.pictures), -1, np.int64)
        for key, label in known.items():
            labels[self.at[key]] = classes.index(label)
        before = [self.at[key] for key, label in known.items() if tally.uploaded.get(key) == label]
        now = {self.at[key]: key for key, label in known.items() if tally.uploaded.get(key) != label}
        # What is protected, and what somebody looked at without an answer to learn from.
        kept_back = set(self.protected) | {self.at[key] for key in tally.said if key in self.at}
        kept_back -= set(before) | set(now)
        return labels, np.array(before, np.int64), now, np.array(sorted(kept_back), np.int64)

    def idle(self) -> list[str]:
        """Rules that fit no picture."""
        return self._protect.idle(self._seen)
