"""Whatever happens to a folder of pictures: what was ever protected and not released is not asked about or uploaded."""

import hashlib
import os
import shutil
import tempfile
import warnings
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from PIL import Image, PngImagePlugin

from pslcore.sides import Cloud
from psllab.album import Album, KnownPictures, ask_csv, ask_page, labels_csv

CLASSES = ("red", "green")
PHASES = [Phase.explicit, Phase.generate]  # what fails is shown as it is: to shrink it takes minutes
QUICK = {"size": 8, "recipe": {"epochs": 1, "batch_size": 8, "lr": 0.05, "padding": 1}}
FOLDERS = ("beach", "private", "zoo", "zoo/private", "Beach2", ".Trash-1000/files")


def pixels(number):
    return np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)


class Folder(RuleBasedStateMachine):
    """Pictures are told apart by their pixels, a number each. The oracle knows where each lies and which rules hold."""

    @initialize()
    def begin(self):
        self.top = Path(tempfile.mkdtemp(prefix="protection-"))
        os.environ["XDG_DATA_HOME"] = str(self.top / "data")
        self.folder = self.top / "photos"
        self.made, self.copied = 0, 0
        self.ever: set[int] = set()
        self.free: dict[str, int] = {}  # files that the person released, though others look the same
        self.rules: dict = {"folders": ["private"]}
        self.album = None
        self.uploaded: list[int] = []
        self.numbers: dict[bytes, int] = {}
        self.upload = Cloud.upload

        def spy(cloud, indices, images, labels=None):
            for image in np.asarray(images):
                self.uploaded.append(self.numbers[np.ascontiguousarray(image.transpose(1, 2, 0)).tobytes()])
            self.upload(cloud, indices, images, labels)

        Cloud.upload = spy
        for folder in ("beach", "beach", "beach", "zoo", "zoo", "private"):
            self._paint(folder)
        self._open(self.rules)

    def teardown(self):
        if getattr(self, "album", None) is not None:
            self.album.close()
        if hasattr(self, "upload"):
            Cloud.upload = self.upload
            shutil.rmtree(self.top, ignore_errors=True)

    # What a person and a machine do

    @rule(rules=st.sampled_from([None, {"folders": ["private"]}, {"folders": ["privat"]}, {"patterns": ["*/1*"]}]))
    def open_it(self, rules=None):
        self._close()
        self._open(rules)

    @rule(at=st.integers(0, 50))
    def open_with_one_by_hand(self, at):
        path = self._some(at)
        self._close()
        self._open({**self.rules, "by_hand": [str(path.relative_to(self.folder))]}, by_hand=path)

    @precondition(lambda self: self.album is not None)
    @rule()
    def look_again(self):
        self._all(self.album.refresh)

    @rule(folder=st.sampled_from(FOLDERS))
    def paint(self, folder):
        self._paint(folder)

    @rule(at=st.integers(0, 50), folder=st.sampled_from(FOLDERS))
    def move(self, at, folder):
        path = self._some(at)
        (self.folder / folder).mkdir(parents=True, exist_ok=True)
        os.replace(path, self._free(folder))

    @rule(at=st.integers(0, 50), other=st.integers(0, 50))
    def swap(self, at, other):
        one, two, spare = self._some(at), self._some(other), self.top / "spare.png"
        if one != two:
            os.replace(one, spare)
            os.replace(two, one)
            os.replace(spare, two)

    @rule(at=st.integers(0, 50), folder=st.sampled_from(FOLDERS), again=st.booleans())
    def copy(self, at, folder, again):
        path = self._some(at)
        (self.folder / folder).mkdir(parents=True, exist_ok=True)
        target = self._free(folder)
        if again:  # saved anew: the same pixels in another file
            note = PngImagePlugin.PngInfo()
            note.add_text("Comment", target.name)
            with Image.open(path) as file:
                file.save(target, pnginfo=note)
        else:
            shutil.copy(path, target)

    @rule(old=st.sampled_from(FOLDERS[:3]), new=st.sampled_from(["Strand", "BEACH", "zoo/deep"]))
    def rename_folder(self, old, new):
        source, target = self.folder / old, self.folder / new
        within = target.parent.resolve().is_relative_to(source.resolve())
        if source.is_dir() and not source.is_symlink() and not target.exists() and not within:
            target.parent.mkdir(parents=True, exist_ok=True)
            source.rename(target)

    @rule(to=st.sampled_from(FOLDERS), place=st.sampled_from(["private", "zoo", "."]), name=st.sampled_from("ab"))
    def link(self, to, place, name):
        link = self.folder / place / f"link-{name}"
        if (self.folder / to).is_dir() and not os.path.lexists(link) and (self.folder / place).is_dir():
            link.symlink_to((self.folder / to).resolve())

    @rule()
    def rename_all(self):
        self._close()
        self.folder = self.folder.rename(self.top / f"photos-{self.made}-{self.copied}-{len(list(self.top.iterdir()))}")

    @precondition(lambda self: self.album is not None)
    @rule(n=st.integers(1, 4), train=st.booleans())
    def answer(self, n, train):
        self.look_again()
        album = self.album
        if album is None or (not album.waiting and (album.ready or not album.left)):
            return
        pictures = album.next(min(n, len(album.waiting) or album.left))
        ask_csv(album, pictures, album.home / "ask.csv")
        ask_page(album, pictures, album.home / "ask.html")
        for number, picture in enumerate(pictures):
            number_of = self._number(album.folder / picture.path)
            assert number_of not in self.ever or picture.digest in self.free
            album.answer(picture, CLASSES[number % 2])
        if train and album.ready:
            self._all(album.train)
            labels_csv(album, album.home / "labels.csv")

    @precondition(lambda self: self.album is not None)
    @rule(at=st.integers(0, 50))
    def release(self, at):
        self.look_again()
        if self.album is None:
            return
        preview = self.album.preview()
        paths = sorted([*preview.held_back, *preview.earlier])
        if paths:
            path = paths[at % len(paths)]
            try:
                self.album.release([path])
            except ValueError:
                return
            self.ever.discard(self._number(self.folder / path))
            self.free[_digest(self.folder / path)] = self._number(self.folder / path)
            self._oracle()

    # The oracle

    @invariant()
    def nothing_that_was_ever_protected_is_asked_about_or_uploaded(self):
        crossed, self.uploaded = set(getattr(self, "uploaded", ())), []
        assert not (crossed & self.ever) - set(self.free.values())
        if getattr(self, "album", None) is None:
            return
        written = b"".join(path.read_bytes() for path in self.album.home.glob("*.[ch][st][vm]*"))
        index = self.album._index
        assert not [n for n in index.protected if index.pictures[n].digest.encode() in written]
        for path in self.album.preview().safe:
            here = self.folder / path
            digest = self.album._index.pictures[self.album._index.find(path)].digest
            if here.exists() and digest == _digest(here) and digest not in self.free:
                assert self._number(here) not in self.ever, path

    def _oracle(self):
        """What the rules of now protect, by every route that a walk along links finds."""
        for route in _routes(self.folder):
            below = str(route.relative_to(self.folder))
            folders, patterns = self.rules.get("folders", ()), self.rules.get("patterns", ())
            if set(folders) & {part.casefold() for part in Path(below).parts[:-1]} or (
                patterns and ("/1" in below or Path(below).name.startswith("/1"))
            ):
                self.ever.add(self._number(route))
                self.free.pop(_digest(route), None)

    def _open(self, rules, by_hand=None):
        before = self.rules
        if rules is not None:
            self.rules = {name: value for name, value in rules.items() if name != "by_hand"}
        number = None if by_hand is None else self._number(by_hand)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                try:
                    self.album = Album(self.folder, CLASSES, rules, learning=QUICK)
                except KnownPictures as error:
                    self.album = Album(self.folder, CLASSES, rules, out=error.home)
            except ValueError as error:
                self._expected(error)
                self.album, self.rules = None, before
                return
        if by_hand is not None:
            self.ever.add(number)
            self.free.pop(_digest(by_hand), None)
        self._oracle()

    def _all(self, act):
        """Where everything is protected by now the album says so, and is closed."""
        try:
            act()
        except ValueError as error:
            self._expected(error)
            self._close()
            return
        self._oracle()

    def _expected(self, error):
        if not any(
            what in str(error) for what in ("pictures are protected", "too few to learn", "no picture that can")
        ):
            raise error

    def _close(self):
        if self.album is not None:
            self.album.close()
        self.album = None

    def _paint(self, folder):
        self.made += 1
        self.numbers[pixels(self.made).tobytes()] = self.made
        (self.folder / folder).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels(self.made)).save(self._free(folder))

    def _free(self, folder):
        self.copied += 1
        return self.folder / folder / f"{self.copied}.png"

    def _files(self):
        return sorted(path for path in self.folder.rglob("*.png") if path.is_file())

    def _some(self, at):
        files = self._files()
        return files[at % len(files)]

    def _number(self, path):
        with Image.open(path) as file:
            return self.numbers[np.asarray(file.convert("RGB")).tobytes()]


def _digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _routes(folder, taken=frozenset()):
    for entry in sorted(folder.iterdir()):
        if entry.is_dir():
            if entry.is_symlink():
                if entry.resolve() not in taken:
                    yield from _routes(entry, taken | {entry.resolve()})
            else:
                yield from _routes(entry, taken)
        elif entry.is_file():
            yield entry


Folder.TestCase.settings = settings(
    max_examples=int(os.environ.get("PSL_EXAMPLES", 8)), stateful_step_count=25, phases=PHASES
)
TestFolder = pytest.mark.slow(Folder.TestCase)
