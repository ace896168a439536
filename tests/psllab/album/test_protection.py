"""Protection follows content and every route, whatever happens to files, and only the person lifts it.

Each case prepares a folder, opens its album once, lets something ordinary happen, and then everything that may be asked
about is answered, learned from and written: from Python, from the shell, and at the desk.
"""

import os
import shutil
import unicodedata

import numpy as np
import pytest
import yaml
from PIL import Image

from pslcore.__main__ import main
from psllab.album import (  # fmt: skip
    Album,
    KnownPictures,
    ProtectionWarning,
    ask_csv,
    ask_page,
    cache,
    labels_csv,
    studio_tasks,
    suggestions_csv,
    tree,
)
from psllab.album.index import Index
from psllab.desk.desk import Desk

CLASSES = ("red", "green", "blue")
QUICK = {"size": 8, "recipe": {"epochs": 1, "batch_size": 8, "lr": 0.05, "padding": 1}}

pytestmark = pytest.mark.filterwarnings("ignore::psllab.album.ProtectionWarning")


class Case:
    """A folder with eight pictures that anybody may see, and what a case adds to it."""

    def __init__(self, folder, planted):
        self.folder, self._planted, self._count = folder, planted, 0
        self.protect: dict = {}
        self.later: dict | None = None
        self.secret: list = []
        self.open = [self.plant(f"open/{number}/NAME.png", secret=False) for number in range(8)]

    def plant(self, path, secret=True, **options):
        self._count += 1
        marks = self._planted(self.folder / path, self._count, **options)
        if secret:
            self.secret.append(marks)
        return marks

    def name(self, marks, folder):
        return f"{folder}/{marks[0]}.png"

    def happens(self):
        """Between the first opening and all that follows."""


class Renamed(Case):
    old, new = "beach", "Strand"

    def __init__(self, *given):
        super().__init__(*given)
        self.plant(f"{self.old}/NAME.png")
        self.plant(f"{self.old}/NAME.png")
        self.protect = {"by_hand": [self.name(marks, self.old) for marks in self.secret]}

    def happens(self):
        (self.folder / self.new).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / self.old).rename(self.folder / self.new)


class Case_changed(Renamed):
    new = "BEACH"


class Composed_otherwise(Renamed):
    old, new = unicodedata.normalize("NFC", "Küste"), unicodedata.normalize("NFD", "Küste")


class Trashed(Renamed):
    new = ".Trash-1000/files/beach"


class Trashed_and_brought_back(Trashed):
    def happens(self):
        super().happens()
        Album(self.folder).close()
        (self.folder / self.new).rename(self.folder / "back")


class Another_takes_the_name(Renamed):
    def happens(self):
        super().happens()
        (self.folder / self.old).mkdir()
        for marks in self.secret[:2]:
            other = self._planted(self.folder / "elsewhere" / "NAME.png", 90 + len(self.secret))
            (self.folder / "elsewhere" / f"{other[0]}.png").rename(self.folder / self.name(marks, self.old))
            self.secret.append(other)


class Edited_in_place(Renamed):
    def happens(self):
        for number, marks in enumerate(self.secret[:2]):
            pixels = np.random.default_rng(500 + number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(self.folder / self.name(marks, self.old))
            self.secret.append((marks[0], marks[1], pixels))


class Named_like_a_hash(Case):
    def __init__(self, *given):
        super().__init__(*given)
        marks = self.plant("#1 NAME.png")
        self.protect = {"by_hand": [f"#1 {marks[0]}.png"]}


class Linked_folder_outside(Case):
    def __init__(self, *given):
        super().__init__(*given)
        away = self.folder.parent / "away"
        self.plant(away / "NAME.png")
        self.plant(away / "deep" / "NAME.png")
        for link in ("private/beach", "zoo/sea", "alpha"):
            (self.folder / link).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / link).symlink_to(away)
        (self.folder / "below").symlink_to(away / "deep")
        self.protect = {"folders": ["private"]}


class Linked_folder_inside(Case):
    def __init__(self, *given):
        super().__init__(*given)
        self.plant("holiday/NAME.png")
        self.plant("holiday/days/NAME.png")
        (self.folder / "private").mkdir()
        (self.folder / "private" / "hol").symlink_to("../holiday")
        self.protect = {"folders": ["private"]}


class Linked_by_a_link(Case):
    def __init__(self, *given):
        super().__init__(*given)
        marks = self.plant("zoo/NAME.png")
        (self.folder / "one" / "two").mkdir(parents=True)
        (self.folder / "one" / "two" / "x.png").symlink_to(self.folder / self.name(marks, "zoo"))
        (self.folder / "private").symlink_to("one/two")
        self.protect = {"folders": ["private"]}


class Left_behind_by_programs(Case):
    def __init__(self, *given):
        super().__init__(*given)
        for folder in (".Trash-1000/files", "@eaDir", "open/.thumbnails", "__MACOSX", ".private"):
            self.plant(f"{folder}/NAME.png")


class Copy_of_what_is_hidden(Case):
    def __init__(self, *given):
        super().__init__(*given)
        marks = self.plant(".private/NAME.png")
        (self.folder / "zoo").mkdir()
        shutil.copy(self.folder / self.name(marks, ".private"), self.folder / "zoo" / "other.png")
        self.protect = {"folders": [".private"]}


class Copy_of_what_is_left_out(Case):
    """By its name, not with its folder: hidden, of another ending, not UTF-8, a link to the same file."""

    def __init__(self, *given):
        super().__init__(*given)
        (self.folder / "zoo").mkdir()
        names = (".NAME.png", "._NAME.png", ".trashed-1-NAME.png", "NAME.png_original", "NAME", "NAME.gif", "NAME.tif")
        for number, name in enumerate((*names, b"Stra\xdfe NAME.png")):
            marks = self.plant("zoo/NAME.png")
            copy = os.path.join(os.fsencode(self.folder / "private"), os.fsencode(name).replace(b"NAME", b"x"))
            os.makedirs(os.path.dirname(copy), exist_ok=True)
            (shutil.copy if number % 2 else os.link)(self.folder / self.name(marks, "zoo"), copy)
        self.protect = {"folders": ["private"]}


class Copy_of_what_is_left_out_by_hand(Case):
    def __init__(self, *given):
        super().__init__(*given)
        marks = self.plant("zoo/NAME.png")
        shutil.copy(self.folder / self.name(marks, "zoo"), self.folder / "x.gif")
        self.protect = {"by_hand": [str(self.folder / "x.gif"), f"./{self.name(self.plant('zoo/NAME.png'), 'zoo')}"]}


class Damaged(Case):
    """Names alone are searched for: a JPEG without its end and a whole copy of it, one of nothing and another of its
    shot, one that cannot be read at first."""

    def __init__(self, *given):
        super().__init__(*given)
        draw = np.random.default_rng(1)
        private, zoo = self.folder / "private", self.folder / "zoo"
        private.mkdir()
        zoo.mkdir()
        marks = self.plant("zoo/NAME.png")
        (self.folder / self.name(marks, "zoo")).unlink()
        large = Image.fromarray(draw.integers(0, 256, (24, 32, 3), dtype=np.uint8)).resize(
            (96, 72), Image.Resampling.BICUBIC
        )
        large.save(zoo / f"{marks[0]}.jpg", quality=95)
        (private / "cut.jpg").write_bytes((zoo / f"{marks[0]}.jpg").read_bytes()[:-200])
        other = self.plant("zoo/NAME.png")
        (zoo / f"{other[0]}.jpg").write_bytes(b"nothing")
        self.protect = {"folders": ["private"], "by_hand": [f"zoo/{other[0]}.jpg"]}


class Linked_step_by_step(Case):
    """Through a link, or a folder, that lies outside and between two others."""

    def __init__(self, *given):
        super().__init__(*given)
        store, away = self.folder.parent / "store", self.folder.parent / "away"
        (away / "private").mkdir(parents=True)
        for number, marks in enumerate([self.plant(store / "NAME.png"), self.plant(store / "deep" / "NAME.png")]):
            between = away / "private" / f"l{number}"
            between.symlink_to(store / "deep" if number else store / f"{marks[0]}.png")
            (self.folder / f"l{number}{'' if number else '.png'}").symlink_to(f"../away/private/l{number}")
        self.protect = {"folders": ["private"]}


class Rules_misspelt_later(Case):
    def __init__(self, *given):
        super().__init__(*given)
        self.plant("private/NAME.png")
        self.plant("private/NAME.png")
        self.protect, self.later = {"folders": ["private"]}, {"folders": ["privat"]}


class Rules_misspelt_and_moved(Rules_misspelt_later):
    def happens(self):
        (self.folder / "private").rename(self.folder / "privat0")


class Folder_renamed(Rules_misspelt_later):
    def happens(self):
        self.folder = self.folder.rename(self.folder.with_name("renamed"))


class Moved_out_of_the_folder_that_was_protected(Case):
    def __init__(self, *given):
        super().__init__(*given)
        self.plant("private/NAME.png")
        self.protect = {"folders": ["private"]}

    def happens(self):
        (self.folder / "private").rename(self.folder / "holiday")


class Saved_again(Case):
    """Names alone are searched for: the pixels are others."""

    def __init__(self, *given):
        super().__init__(*given)
        marks = self.plant("beach/NAME.png")
        self.protect = {"by_hand": [self.name(marks, "beach")]}
        self.large = Image.fromarray(marks[2]).resize((80, 80), Image.Resampling.BICUBIC)
        self.large.save(self.folder / self.name(marks, "beach"))

    def happens(self):
        (self.folder / "zoo").mkdir()
        for number, (copy, ending) in enumerate([
            (self.large.resize((60, 60)), "jpg"), (self.large.crop((0, 2, 77, 78)), "png"),
            (self.large.transpose(Image.Transpose.FLIP_LEFT_RIGHT), "webp"), (self.large, "jpeg"),
        ]):  # fmt: skip
            copy.save(self.folder / "zoo" / f"{self.secret[0][0]}-{number}.{ending}")


class Beside_a_video(Case):
    def __init__(self, *given):
        super().__init__(*given)
        marks = self.plant("live/NAME.png")
        (self.folder / "live" / f"{marks[0]}.MOV").write_bytes(b"a video")
        self.protect = {"by_hand": [f"live/{marks[0]}.MOV"]}


class Dates_in_doubt(Case):
    def __init__(self, folder, planted):
        self.folder, self._planted, self._count, self.later, self.secret = folder, planted, 0, None, []
        self.open = [self.plant(f"open/{n}/NAME.png", secret=False, day="2024:06:01 10:00:00") for n in range(8)]
        for day in (None, "2000:01:01 00:00:03", "2024:07:03 10:00:00", "1970:01:01 00:00:00"):
            self.plant("some/NAME.png", day=day)
        self.protect = {"dates": [{"first": "2024-07-01", "last": "2024-07-14"}]}


class Dates_beside(Dates_in_doubt):
    """As Google Takeout names its files, by a link, and what no date can be read from."""

    def __init__(self, *given):
        super().__init__(*given)
        june, july = "2024:06:01 10:00:00", '{"photoTakenTime": {"timestamp": "1720000000"}}'
        (self.folder / "meta").mkdir()
        for name, beside, content in (
            ("NAME.png", "NAME.png.supplemental-meta.json", july), ("NAME.png", "NAME.png.s.json", july),
            ("NAME(1).png", "NAME.png(1).json", july), ("NAME-edited.png", "NAME.png.json", july),
            (f"NAME{'x' * 50}.png", "CUT.json", july),
            ("NAME.png", "../meta/x.xmp", '<x xmp:CreateDate="2024-07-03"/>'),
            ("NAME.png", "NAME.xmp", '<x xmp:CreateDate="2024-07"/>'),
            ("NAME.png", "NAME.xmp", '<x xmp:CreateDate="2024-07-03"/>'.encode("utf-16")),
        ):  # fmt: skip
            marks = self.plant(f"beside/{name}", day=june)
            path = (
                self.folder / "beside" / beside.replace("NAME", marks[0]).replace("CUT", f"{marks[0]}{'x' * 50}"[:46])
            )
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
            if "meta" in beside:
                (self.folder / "beside" / f"{marks[0]}.xmp").symlink_to("../meta/x.xmp")


CASES = [case for case in globals().values() if isinstance(case, type) and issubclass(case, Case) and case is not Case]


def from_python(folder, later):
    with Album(folder, protect=later) as album:
        for _ in range(2):
            if not album.left:
                break
            pictures = album.next(min(8, album.left))
            ask_csv(album, pictures, album.home / "ask.csv")
            ask_page(album, pictures, album.home / "ask.html")
            for number, picture in enumerate(pictures):
                album.answer(picture, CLASSES[number % 3])
            report = album.train()
            (album.home / "report.txt").write_text(f"{report}\n{report!r}")
        labels_csv(album, album.home / "labels.csv")
        tree(album, album.home / "sorted")
        return album.home, album.preview()


def from_the_shell(folder, later):
    rules = folder.parent / "later.yaml"
    rules.write_text(yaml.safe_dump(later))
    with Album(folder, protect=later) as album:
        home, left = album.home, album.left
    given = ["--protect", str(rules)] if later else []
    assert main(["ask", str(folder), "--budget", str(min(8, left)), *given]) == 0
    head, *lines = (home / "ask.csv").read_text().splitlines()
    filled = [line.replace(",,", f",{CLASSES[at % 3]},") for at, line in enumerate(lines)]
    (folder.parent / "filled.csv").write_text("\n".join([head, *filled]))
    assert main(["tell", str(folder), str(folder.parent / "filled.csv")]) == 0
    with Album(folder) as album:
        return home, album.preview()


def at_the_desk(folder, later):
    desk = Desk(folder, protect=later, n=8)
    assert desk.album is not None, desk.status[0].value
    desk.start()
    if desk.asked is None:  # a rule fits no picture any more, which is told first
        desk.go_on_without()
    while desk.asked is not None:
        desk.press(desk._turn, "123"[desk._turn % 3])
    desk.train()
    assert desk.write_labels()
    assert desk.write_tree()
    desk.album.close()
    return desk.album.home, desk.album._index and Album(folder).preview()


@pytest.mark.parametrize("way", [from_python, from_the_shell, at_the_desk])
@pytest.mark.parametrize("kind", CASES)
def test_nothing_that_was_protected_crosses(tmp_path, monkeypatch, planted, traces, crossed, kind, way):
    monkeypatch.chdir(tmp_path)
    case = kind(tmp_path / "photos", planted)
    with Album(case.folder, CLASSES, case.protect, learning=QUICK) as album:
        preview = album.preview()
    case.happens()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    home, preview = way(case.folder, case.later)

    places = {"the door": b"".join(crossed)}
    places |= {str(path): path.read_bytes() for path in home.rglob("*")
               if path.is_file() and "cache" not in path.parts and path.name not in ("copies.db", "lock")}  # fmt: skip
    names = "\n".join(str(path) for path in (home / "sorted").rglob("*")).encode()
    places["names of files"] = names
    for marks in case.secret:
        for place, content in places.items():
            assert not traces(marks, content), (place, traces(marks, content))
        assert not any(marks[0] in path for path in preview.safe)
    seen = [marks for marks in case.open if "pixels" in traces(marks, places["the door"])]
    assert len(seen) >= 5  # the search would see a leak


def test_what_fits_nothing_any_more_is_told_on_every_opening(tmp_path, planted):
    case = Renamed(tmp_path / "photos", planted)
    with Album(case.folder, CLASSES, case.protect, learning=QUICK) as album:
        assert album.preview().notices == []
    case.happens()
    for _ in range(2):
        with pytest.warns(ProtectionWarning, match="2 names protected by hand fit no file"):
            album = Album(case.folder)
        assert "2 are protected by earlier rules alone" in "\n".join(album.preview().notices)
        album.close()
    shutil.rmtree(case.folder / case.new)
    with pytest.warns(ProtectionWarning, match="2 that were protected are not here any more"):
        Album(case.folder).close()
    with pytest.warns(ProtectionWarning, match="The rule 'privat' fits no picture"):
        Album(case.folder, protect={"folders": ["privat"]}).close()


def test_only_the_person_releases(tmp_path, planted):
    case = Saved_again(tmp_path / "photos", planted)
    (case.folder / "private").mkdir()
    other = case.plant("private/NAME.png")
    rules = case.protect | {"folders": ["private"]}
    with Album(case.folder, CLASSES, rules, learning=QUICK) as album:
        case.happens()
        album.refresh()
        first, *_ = album.preview().protected
        held = album.preview().held_back
        assert [path.rpartition("-")[2] for path in held] == ["0.jpg", "1.png", "2.webp", "3.jpeg"]
        assert set(held.values()) == {first}
        with pytest.raises(ValueError, match=r"protected by a rule .in the folder private.: change the rule first"):
            album.release([first, f"private/{other[0]}.png"])
        assert first in album.preview().protected
        album.release(list(held)[:1])
        assert list(album.preview().held_back) == list(held)[1:]
    with Album(case.folder, protect={"patterns": ["nothing"]}) as album:  # the rule is gone, and protects all the same
        assert album.preview().earlier == [f"private/{other[0]}.png"]
        album.release(album.preview().earlier)
        album.release([first])
        album.release(album.preview().held_back)
        assert not album.preview().protected
    with Album(case.folder) as album:
        assert not album.preview().protected
    with Album(case.folder, protect={"folders": ["zoo"]}) as album:  # a rule protects again what was released
        assert sorted(album.preview().protected) == sorted(held)
        assert first in album.preview().safe  # a copy of it is protected again, but it was released by itself


def test_rules_are_previewed_while_a_round_waits(tmp_path, planted, capsys):
    case = Rules_misspelt_later(tmp_path / "photos", planted)
    Album(case.folder, CLASSES, learning=QUICK).close()
    assert main(["ask", str(case.folder), "--budget", "10"]) == 0  # all ten, before anything was protected
    with Album(case.folder) as album:
        page = album.home / "ask.html"
    assert all(marks[0] in page.read_text() for marks in case.secret)
    rules = tmp_path / "rules.yaml"
    for name, told in (
        ("privat", "The rule 'privat' fits no picture"),
        ("private", "2 protected: in the folder private"),
    ):
        rules.write_text(f"folders: [{name}]\n")
        capsys.readouterr()
        assert main(["ask", str(case.folder), "--protect", str(rules)]) == 0
        assert told in capsys.readouterr().out
    assert not any(marks[0] in page.read_text() for marks in case.secret)
    rules.write_text("# folders: [private]\n")
    assert main(["ask", str(case.folder), "--protect", str(rules)]) == 2
    assert "holds no rule" in capsys.readouterr().err
    assert main(["ask", str(case.folder)]) == 0
    assert not any(marks[0] in page.read_text() for marks in case.secret)


def test_many_copies_in_a_large_album_take_few_turns(tmp_path, planted, monkeypatch):
    case = Saved_again(tmp_path / "photos", planted)
    for number in range(60):
        (case.folder / "zoo").mkdir(exist_ok=True)
        case.large.resize((60 + number % 9, 60)).save(case.folder / "zoo" / f"{number}.jpg", quality=70 + number % 20)
    monkeypatch.setattr("psllab.album.index._FEW", 0)  # nothing is decoded when it is opened
    turns, compare = [], Index.compare
    monkeypatch.setattr(Index, "compare", lambda self, *given: turns.append(1) or compare(self, *given))
    with Album(case.folder, CLASSES, case.protect, learning=QUICK) as album:
        assert album.left == 68
        assert {picture.path.split("/")[0] for picture in album.next(4)} == {"open"}
        assert album.left <= 8
    assert len(turns) <= 7


def test_names_by_hand_are_checked_and_written_as_hashes(tmp_path, planted):
    case = Named_like_a_hash(tmp_path / "photos", planted)
    with pytest.raises(ValueError, match=r"by_hand protects '#1 part.png', which is no picture here: mend the name"):
        Album(case.folder, CLASSES, {"by_hand": ["#1 part.png"]}, learning=QUICK)
    with Album(case.folder, CLASSES, case.protect, learning=QUICK) as album:
        assert case.secret[0][0].encode() not in (album.home / "journal.jsonl").read_bytes()
        assert len(album.preview().protected) == 1


def test_where_all_become_protected_nothing_is_asked_taken_or_written(tmp_path, planted):
    case = Rules_misspelt_later(tmp_path / "photos", planted)
    with Album(case.folder, CLASSES, case.protect, learning=QUICK) as album:
        first = album.next(2)
        for path in (case.folder / "open").iterdir():
            path.rename(case.folder / "private" / path.name)
        with pytest.raises(ValueError, match="all 10 pictures are protected"):
            album.refresh()
        assert not album.waiting
        assert not album.preview().safe
        assert album.report().protected == 10
        for ask in (lambda: album.next(1), lambda: album.answer(first[0], "red"), album.train,
                    lambda: ask_page(album, first, album.home / "ask.html")):  # fmt: skip
            with pytest.raises(ValueError, match=r"is left|is protected|is no picture|all 10 pictures"):
                ask()
        assert not (album.home / "ask.html").exists()
        for path in (case.folder / "private").iterdir():
            if path.is_dir():
                path.rename(case.folder / "open" / path.name)
        album.refresh()
        assert album.waiting == first


def test_where_judging_fails_nothing_is_asked(tmp_path, planted, monkeypatch):
    case = Rules_misspelt_later(tmp_path / "photos", planted)

    def full(*_):
        raise OSError("the disk is full")

    with Album(case.folder, CLASSES, case.protect, learning=QUICK) as album:
        case.plant("private/NAME.png")
        monkeypatch.setattr("psllab.album.copies.Copies.add", full)
        with pytest.raises(OSError, match="the disk is full"):
            album.refresh()
        assert not album.preview().safe
        with pytest.raises(ValueError, match="no picture is left"):
            album.next(1)


def test_what_may_not_be_asked_about_is_in_no_file(tmp_path, planted):
    case = Renamed(tmp_path / "photos", planted)
    with Album(case.folder, CLASSES, learning=QUICK) as album:
        given = album.next(10)
        for number, picture in enumerate(given):
            album.answer(picture, CLASSES[number % 3])
        album.train()
    with Album(case.folder, protect=case.protect) as album:
        new = case.plant("open/8/NAME.png", secret=False)
        album.refresh()
        (unasked,) = [one.picture for one in album.suggestions() if new[0] in one.picture.path]
        secret = next(picture for picture in given if picture.path == case.protect["by_hand"][0])
        fine = next(picture for picture in given if picture.path not in case.protect["by_hand"])
        for picture, why in ((secret, "is protected: nobody is asked about it"), (unasked, "was not asked about")):
            for write in (ask_csv, ask_page, studio_tasks):
                with pytest.raises(ValueError, match=why):
                    write(album, [fine, picture], tmp_path / "out")
            assert not (tmp_path / "out").exists()
        uploaded = album.report().protected_since
        assert uploaded > 0
        shutil.rmtree(case.folder / case.old)
        album.refresh()
        assert album.report().protected_since == uploaded
        for write in (labels_csv, suggestions_csv):
            with pytest.raises(ValueError, match="lies in the folder of pictures"):
                write(album, case.folder / "table.csv")


def test_suggestions_are_made_of_what_was_compared(tmp_path, planted, monkeypatch):
    monkeypatch.setattr("psllab.album.index._FEW", 0)
    case = Saved_again(tmp_path / "photos", planted)
    with Album(case.folder, CLASSES, case.protect, learning=QUICK) as album:
        for number, picture in enumerate(album.next(6)):
            album.answer(picture, CLASSES[number % 3])
        album.train()
        case.happens()
        album.refresh()
        assert case.secret[0][0] not in "".join(one.picture.path for one in album.suggestions())


def test_what_cannot_be_read_for_once_is_read_the_next_time(tmp_path, planted, monkeypatch):
    case = Saved_again(tmp_path / "photos", planted)
    case.happens()
    path, decoded = next(case.folder.glob("beach/*")), cache._decoded

    def broken(real, *given):
        return (
            (None, b"", b"", "it cannot be read (Input/output error)") if real == str(path) else decoded(real, *given)
        )

    monkeypatch.setattr(cache, "_decoded", broken)
    monkeypatch.setattr("psllab.album.index._FEW", 0)
    with Album(case.folder, CLASSES, {"folders": ["beach"]}, learning=QUICK) as album:
        album.read()
        assert album.uncompared == 0  # nobody waits for it for ever
        assert len(album.next(2)) == 2
        assert album.left_out[path.relative_to(case.folder).as_posix()] == "it cannot be read (Input/output error)"
        assert "1 protected one cannot be decoded" in "\n".join(album.preview().notices)
        monkeypatch.undo()
        album.refresh()
        assert len(album.preview().held_back) == 4


def test_pipes_and_programs_among_the_files(tmp_path, planted, monkeypatch):
    ran = []
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *given: ran.append(given))
    case = Case(tmp_path / "photos", planted)
    os.mkfifo(case.folder / f"open/0/{case.open[0][0]}.xmp")
    os.mkfifo(case.folder / "pipe.png")
    (case.folder / "program.jpg").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n"
    )
    with Album(case.folder, CLASSES, {"patterns": ["*.xmp", "pipe*", "program*"]}, learning=QUICK) as album:
        assert len(album.preview().safe) == 7  # the one beside the pipe has the name of a protected file
        assert "1 protected one cannot be decoded" in "\n".join(album.preview().notices)
        album.next(7)
    assert not ran


def test_an_album_is_found_again_from_anywhere(tmp_path, planted, monkeypatch):
    case = Rules_misspelt_later(tmp_path / "photos", planted)
    with Album(case.folder, CLASSES, case.protect, learning=QUICK) as album:
        home = album.home
    assert not home.is_relative_to(tmp_path)
    (tmp_path / "a").mkdir()
    monkeypatch.chdir(tmp_path / "a")
    moved = case.folder.rename(tmp_path / "moved")
    with Album(moved) as album:  # known by its number on the disk
        assert album.home == home
        assert len(album.preview().protected) == 2
    shutil.copytree(moved, tmp_path / "copied")
    shutil.copytree(moved / "private", tmp_path / "part")
    told = "holds 2 pictures known to the album of .*moved, which protects 2 of them"
    for folder in ("copied", "part"):
        with pytest.raises(KnownPictures, match=told) as caught:
            Album(tmp_path / folder, CLASSES)
        assert caught.value.home == home
    with Album(tmp_path / "copied", CLASSES, new=True, learning=QUICK) as album:
        assert album.home != home
        assert len(album.preview().protected) == 2
    with (
        pytest.warns(ProtectionWarning, match="2 are protected in another album of this machine"),
        Album(tmp_path / "copied", out=tmp_path / "own", classes=CLASSES, learning=QUICK) as album,  # as it is said
    ):
        assert not album.preview().protected
    with (home / "journal.jsonl").open("r+b") as file:
        file.write(b"?")
    with pytest.raises(ValueError, match=r"what the album of .*moved protects cannot be told: .*line 1 is damaged"):
        Album(tmp_path / "part", CLASSES, new=True)
    os.remove(home / "journal.jsonl")  # what it protected is known by its copies
    with Album(moved, CLASSES, out=home, learning=QUICK) as album:
        assert set(album.preview().protected.values()) == {"was protected before: before the journal was lost"}
        assert len(album.preview().protected) == 2
    shutil.rmtree(moved)
    other = tmp_path / "other"
    Renamed(other, lambda path, number, **more: planted(path, number + 200, **more))
    with pytest.raises(ValueError, match="none of its pictures is in"):
        Album(other, out=home)


def test_a_home_of_before_is_gone_on_with(tmp_path, planted, monkeypatch):
    case = Renamed(tmp_path / "photos", planted)
    monkeypatch.chdir(tmp_path)
    with Album(case.folder, CLASSES, case.protect, learning=QUICK) as album:
        key = album.home.name
    shutil.copytree(album.home, tmp_path / "outputs" / "album" / key)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "new"))
    with Album(case.folder) as album:
        assert album.home == tmp_path / "outputs" / "album" / key
    monkeypatch.chdir("/")
    with Album(case.folder) as album:
        assert album.home == tmp_path / "outputs" / "album" / key


def test_links_in_too_many_circles_are_one_sentence(tmp_path, planted, monkeypatch):
    case = Case(tmp_path / "photos", planted)
    for number in range(12):
        (case.folder / f"link-{number}").symlink_to(case.folder)
    monkeypatch.setattr("psllab.album.walk.MOST", 1000)
    with pytest.raises(ValueError, match="lead to more than 1,000 folders"):
        Album(case.folder, CLASSES)
    assert not os.path.exists(case.folder / "journal.jsonl")
