"""The widgets of ``album.ipynb``, thin: a desk to protect, label and train at; what they do is done by ``album``.

No name and no pixel of a picture is in the widgets' saved state: both cross as messages.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from psllab.album import (  # fmt: skip
    Album,
    KnownPictures,
    Learning,
    Picture,
    Protect,
    Report,
    Suggestion,
    labels_csv,
    rules,
    suggestions_csv,
    tree,
)
from psllab.desk import parts
from psllab.desk.desk_view import DeskView
from psllab.widgets import paragraph
from psllab.widgets.controls import Progress
from psllab.widgets.job import Job


class Desk(DeskView):
    """An album to sit at.

    Parameters
    ----------
    folder : path
        Opened at once; with none, somebody types it.
    classes, protect, learning, out
        As for ``Album``; protect goes beside the rules that were kept. Both can be changed at the desk.
    by : str
        Who answers at first.
    n : int
        Pictures a round.
    """

    def __init__(
        self, folder: str | Path = "", classes: Iterable[str] | str = (), protect: Any = None,
        learning: Learning | dict[str, Any] | None = None, out: str | Path | None = None, by: str = "me", n: int = 20,
    ):  # fmt: skip
        self.album: Album | None = None
        self.busy = False
        self.asked: Picture | None = None
        self._learning, self._out, self._turn, self._shown = learning, out, 0, b""
        self._new, self._other = False, Path()
        self.make(str(folder), classes if isinstance(classes, str) else ", ".join(classes), by, n)
        self._wire()
        if folder:
            self.open(protect=protect, classes=self._wanted_classes() or None)

    # What a person can do, without a browser as well

    def open(self, wait: bool = True, protect: Any = None, classes: Iterable[str] | None = None) -> Job | None:
        """Open the folder that is named, as it was kept where nothing is given; tells why if that is impossible."""
        if not self.folder.value.strip():
            self._tell("Name a folder of pictures first.", bad=True)
            return None
        return self._opening(wait, lambda: None if protect is None else rules(protect), classes, fill=True)

    def apply(self, wait: bool = True) -> Job | None:
        """Take the rules and classes of the form, and show what becomes protected and why."""
        if self.album is not None:
            self.folder.value = str(self.album.folder)
        wanted = self._wanted_classes() or None
        return self._opening(wait, lambda: self.form.rules(tuple(sorted(self.found.hand))), wanted, fill=False)

    def by_hand(self, number: int) -> None:
        """What a click in the grid does: protect that picture by hand, or release it; ``apply`` makes it so."""
        if self.busy:
            return
        why, found = self.found.click(number), self.found
        plan = f"To be protected: {len(found.hand)}, to be released: {len(found.back)}."
        found.grid.note(why or plan + (" Press Apply to make it so." if found.hand or found.back else ""))

    @property
    def changed(self) -> bool:
        """Whether the form says something that was not applied."""
        try:
            wanted = self.form.rules().kept()
        except ValueError:
            return True
        kept = self.album.protect.kept() if self.album is not None else {}
        clicked = bool(self.found.hand or self.found.back)
        return clicked or wanted != kept or self._wanted_classes() != self._given_classes

    def start(self) -> None:
        """Ask about the pictures that wait, or about new ones."""
        if not self._can():
            return
        album = self._album()
        if not self._given_classes:
            return self._tell("Name the classes first, and press Apply.", bad=True)
        if not album.waiting and album.ready:
            return self._tell(f"{album.untrained} answers are new: press Train before the next are picked.", bad=True)
        if not album.waiting and album.uncompared:
            self._read_rest()
            why = "none may be a copy of a protected one, and the most typical are asked about first"
            return self._tell(
                f"{album.uncompared:,} pictures are being read ({why}): press Label in a moment.", bad=True
            )
        if not album.waiting and not album.left:
            return self._tell("Every picture that may be asked about has been.", bad=True)
        try:
            album.next(min(self.n.value, album.left) if not album.waiting else 1)
        except (ValueError, OSError) as error:
            return self._tell(str(error), bad=True)
        self._ask()

    def press(self, turn: int, key: str) -> None:
        """A key or button, given when the picture of that turn was on the screen; for any other it is not taken.

        Each showing of a picture has a number of its own, so a second key for the same showing changes nothing.
        """
        if turn != self._turn or self.album is None:
            return self.question.note("That came while another picture was on the screen: nothing was taken in.", "bad")
        if self.busy:
            return self.question.note("Training: wait for it, or stop it. Nothing was taken in.", "bad")
        album, picture, by = self.album, self.asked, self.who.value.strip()
        key = key.lower() if len(key) == 1 else key
        try:
            if key == parts.UNDO:
                back = album.undo()
                return self._ask(f"Taken back: {Path(back.path).name}.", back)
            if picture is None or key not in (*parts.keys(album.classes), parts.SKIP, parts.NOT_SURE):
                return self.question.note("" if picture is None else f"{key} is no answer.", "bad")
            if not by:
                return self.question.note("Say who answers, in the field above: nothing was taken in.", "bad")
            told = parts.respond(album, picture, key, by)
        except (ValueError, OSError) as error:
            return self.question.note(str(error), "bad")
        self._ask(f"{told}, says {by}.")

    def train(self, wait: bool = True) -> Job | None:
        """Upload the answers, learn, report; can be stopped between two epochs."""
        if not self._can():
            return None
        album = self._album()
        if not album.ready:
            self._tell("There is nothing new to learn from: label at least two pictures.", bad=True)
            return None

        def work(part: Callable[[float], None]) -> tuple[Report, list[Suggestion]] | None:
            def progress(done: int, epochs: int) -> None:
                self.training.bar.value = done / epochs

            def halting() -> bool:
                return self.training.job is not None and self.training.job.halting

            self._stop_reading()
            report = album.train(progress, halting, lambda done, total: part(done / total))
            return None if report is None else (report, album.suggestions())

        self._tell("Uploading the answers, and learning …")
        return self._begin(self.training, work, self._trained, wait)

    def write_labels(self) -> Path | None:
        """All answers as CSV, beside it the task learner's for the rest that is not protected; its path."""

        def write(path: Path) -> str:
            labels_csv(self._album(), path)
            suggestions_csv(self._album(), path.with_name("suggestions.csv"))
            return "Labels"

        return self._write("labels.csv", write)

    def write_tree(self) -> Path | None:
        """The answered pictures in a folder a class; its path."""
        return self._write("sorted", lambda path: f"{tree(self._album(), path)} pictures, a folder a class,")

    def known_pictures(self, go_on: bool) -> None:
        """Where these are pictures of another album: go on with that, or begin one that protects the same."""
        self._out, self._new = (self._other, False) if go_on else (self._out, True)
        self.open(wait=False)

    # The parts

    def _wire(self) -> None:
        self.going.on_click(lambda _: self.known_pictures(True))
        self.other.on_click(lambda _: self.known_pictures(False))
        self.go.on_click(lambda _: self.open(wait=False))
        self.take.on_click(lambda _: self.apply(wait=False))
        self.ask.on_click(lambda _: self.start())
        self.learn.on_click(lambda _: self.train(wait=False))
        self.outcome.csv.on_click(lambda _: self.write_labels())
        self.outcome.tree.on_click(lambda _: self.write_tree())
        self.found.grid.on_click(self.by_hand)
        self.question.on_key(self.press)

    def _album(self) -> Album:
        assert self.album is not None
        return self.album

    def _tell(self, text: str, bad: bool = False) -> None:
        for one in self.status:
            one.value = paragraph(text).replace("psl-told", "psl-told psl-note psl-bad" if bad else "psl-told psl-note")

    def _can(self) -> bool:
        """Whether the album can be worked with now; says why not."""
        if self.album is None:
            self._tell("Open a folder first.", bad=True)
        elif self.busy:
            self._tell("Wait until it has been read or trained, or press Stop.", bad=True)
        elif self.changed:
            self._tell("Rules or classes were changed: press Apply first, so that they hold.", bad=True)
        else:
            return True
        return False

    def _begin(self, progress: Progress, work: Any, done: Callable[[Job], None], wait: bool) -> Job | None:
        self.busy = True

        def ended(job: Job) -> None:
            self.busy = False
            done(job)

        job = progress.begin(work, ended)
        return job.wait() if job is not None and wait else job

    # Folder and rules

    def _wanted_classes(self) -> tuple[str, ...]:
        return tuple(part.strip() for part in self.classes.value.split(",") if part.strip())

    @property
    def _given_classes(self) -> tuple[str, ...]:
        """Those that somebody named."""
        return () if self.album is None or self.album.classes == parts.UNNAMED else self.album.classes

    def _opening(
        self, wait: bool, protect: Callable[[], Protect | None], classes: Iterable[str] | None, fill: bool
    ) -> Job | None:
        if self.busy:
            self._tell("Wait until it has been read or trained, or press Stop.", bad=True)
            return None
        try:
            wanted = protect()
        except (ValueError, OSError) as error:
            self._tell(str(error), bad=True)
            return None
        folder, back = Path(self.folder.value.strip()), () if fill else tuple(self.found.back)
        new, self._new = self._new, False
        self.known.layout.display = "none"
        self._tell("Reading the folder …")

        def work(part: Callable[[float], None]) -> tuple[Any, ...]:
            self._stop_reading()
            options = {"out": self._out, "learning": self._learning, "new": new, "warn": False,
                       "progress": lambda done, total: part(done / max(1, total))}  # fmt: skip
            album, complaint = parts.opened(folder, classes, wanted, fill, **options)
            if self.album not in (None, album):
                self._album().close()
            try:
                if complaint is None:
                    album.release(back)
            except ValueError as error:
                complaint = error
            return album, complaint, album.report(), album.suggestions()

        return self._begin(self.loading, work, lambda job: self._opened(job, fill), wait)

    def _opened(self, job: Job, fill: bool) -> None:
        if job.error is not None or job.stopped:
            if self.album is not None and self.album.closed:
                self.album = None
            if isinstance(job.error, KnownPictures):
                self._other = job.error.home
                self.known.layout.display = ""
            self._tell(str(job.error or "Stopped: press Open to go on."), bad=True)
            return
        self.album, complaint, *learned = job.result
        album = self._album()
        self.loading.bar.value = 1
        self.chosen.layout.display = ""
        preview = album.preview()
        if fill or complaint is None:
            self.form.fill(album.protect)
            self.found.hand, self.found.back = set(), set()
            self.classes.value = ", ".join(self._given_classes)
        safe, shielded = len(preview.safe), len(preview.protected)
        self._tell(f"{safe:,} pictures may be asked about; {shielded:,} are protected and never leave this machine.")
        self._read_rest()
        self.found.show(album, preview)
        self.question.buttons = parts.buttons(album.classes)
        self.outcome.show(album, *learned)
        if album.waiting:
            self.tabs.selected_index = 1
            self._ask("Where you left off.")
        else:
            self._nothing("Press Label." if album.left else "Every picture that may be asked about has been.")
        if complaint is not None:
            self._tell(str(complaint), bad=True)
            self.tabs.selected_index = 0

    def _read_rest(self) -> None:
        """Decode in the background what was only hashed so far."""
        album, unread = self._album(), self._album().unread
        self.reading.view.layout.display = "" if unread else "none"
        if not unread:
            return
        self.status[0].value = paragraph(f"{unread:,} pictures are still being read: label meanwhile.")

        def work(part: Callable[[float], None]) -> None:
            album.read(lambda done, total: part(done / total))

        def ended(job: Job) -> None:
            self.reading.view.layout.display = "none"
            rest = "the rest is read before the training" if job.stopped else "all pictures are read"
            self.status[0].value = paragraph(str(job.error) if job.error else f"{rest[0].upper()}{rest[1:]}.")

        self.reading.begin(work, ended)

    def _stop_reading(self) -> None:
        if self.reading.job is not None and self.reading.job.running:
            self.reading.job.stop()
            self.reading.job.wait()

    # Labelling

    def _ask(self, note: str = "", first: Picture | None = None) -> None:
        """Show the next picture that waits; its showing has a number of its own."""
        waiting = self._album().waiting
        self.asked = first if first in waiting else waiting[0] if waiting else None
        if self.asked is None:
            more = "Press Train." if self._album().ready else "Press Label for the next."
            self._nothing(f"All of this round have been seen. {more}\nThe key u takes the last word back.")
        else:
            left = "the last of this round" if len(waiting) == 1 else f"{len(waiting)} left of this round"
            self._show(parts.large(self._album(), self.asked), f"{self.asked.path}\n{left}")
        self.question.note(note)

    def _nothing(self, text: str) -> None:
        self.asked = None
        self._show(b"", text)

    def _show(self, picture: bytes, caption: str) -> None:
        self._turn += 1
        turn = self._turn
        self.question.show(turn + 1, lambda ids: [picture if one == turn else b"" for one in ids],
                           lambda one: caption if one == turn else "", order=[turn])  # fmt: skip

    # What it learned

    def _trained(self, job: Job) -> None:
        album = self._album()
        if job.error is not None:
            self._tell(str(job.error), bad=True)
        elif job.result is None:
            self._tell("Stopped; the album is as it was before. What was uploaded stays uploaded.")
        else:
            self.outcome.show(album, *job.result)
            self.found.show(album, album.preview())
            report = job.result[0]
            self._tell(f"Learned after round {report.rounds}. {report.estimate}.")
            self.status[2].value = paragraph(f"Learned after round {report.rounds}. Label goes on.")
            self.tabs.selected_index = 2
        if album.waiting:
            self._ask()
        else:
            self._nothing("Press Label for the next round." if album.left else "Everything has been asked about.")

    def _write(self, name: str, write: Callable[[Path], str]) -> Path | None:
        if not self._can():
            return None
        path = self._album().home / name
        try:
            self._tell(f"{write(path)} written to {path}.")
        except (ValueError, OSError) as error:
            self._tell(str(error), bad=True)
            return None
        return path
