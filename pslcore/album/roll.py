"""The pictures of an album as they lie in its folder now: which are protected, which were asked about."""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

import numpy as np

from pslcore.album.pictures import Cache, Picture, Seen
from pslcore.album.protect import Protect
from pslcore.album.tally import Tally


class Roll:
    """Pictures by number, in the order of their paths.

    Attributes
    ----------
    pictures : list of Picture
    images : uint8 array, [N, 3, size, size]
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
        self.images = np.empty((0, 3, 1, 1), np.uint8)
        self.protected: dict[int, str] = {}
        self.left_out: dict[str, str] = {}
        self.at: dict[Picture, int] = {}

    def refresh(self, asked: Collection[Picture], progress: Callable[[int, int], object] | None = None) -> None:
        """Look at the folder again.

        Raises
        ------
        ValueError
            If there is no picture, or none that is not protected.
        """
        self._seen, self.images, self.left_out = self._cache.read(self._folder, progress)
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

    def idle(self) -> list[str]:
        """Rules that fit no picture."""
        return self._protect.idle(self._seen)
