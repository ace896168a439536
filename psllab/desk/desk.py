"""The widgets of ``album.ipynb``, thin: a desk to protect, label and train at; what they do is done by ``album``.

No name and no pixel of a picture is in the widgets' saved state: both cross as messages.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from psllab.album import (  # fmt: skip
    KnownPictures,
    Learning,
    Preview,
    Protect,
    Report,
    Suggestion,
    labels_csv,
    rules,
    suggestions_csv,
    tree,
)
from psllab.desk import parts
from psllab.desk.asking import Asking
from psllab.widgets.controls import Progress
from psllab.widgets.job import Job

_SOMEBODY = "me"


class Desk(Asking):
    """An album to sit at.

    Parameters
    ----------
    folder : path
        Opened at once; with none, somebody types it.
    classes, protect, learning, out
        As for ``Album``; protect goes beside the rules that were kept. Both can be changed at the desk.
    by : str
        Who answers at first; whoever answered last in this album, if nobody is named.
    n : int
        Pictures a round.
    """

    def __init__(
        self, folder: str | Path = "", classes: Iterable[str] | str = (), protect: Any = None,
        learning: Learning | dict[str, Any] | None = None, out: str | Path | None = None, by: str = "", n: int = 20,
    ):  # fmt: skip
        super().__init__()
        self._learning, self._out, self._by = learning, out, by
        self._new, self._other = False, Path()
        self.make(str(folder), classes if isinstance(classes, str) else ", ".join(classes), by or _SOMEBODY, n)
        self._wire()
        if folder:
            self.open(protect=protect, classes=self._wanted_classes() or None)

    # What a person can do, without a browser as well

    def open(self, wait: bool = True, protect: Any = None, classes: Iterable[str] | None = None) -> Job | None:
        """Open the folder that is named, as it was kept where nothing is given; tells why if that is impossible."""
        if not self.folder.value.strip():
            self._tell("Name a folder of pictures first.", bad=True)
            return None
        if self.album is not None and self.changed and not self.busy:
            self._tell("Rules or classes were changed: press Apply before another folder is opened.", bad=True)
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
        self.without.on_click(lambda _: self.go_on_without())
        self.learn.on_click(lambda _: self.train(wait=False))
        self.outcome.csv.on_click(lambda _: self.write_labels())
        self.outcome.tree.on_click(lambda _: self.write_tree())
        self.found.grid.on_click(self.by_hand)
        self.outcome.on_pick(self.anew)
        self.question.on_key(self.press)

    def _begin(self, progress: Progress, work: Any, done: Callable[[Job], None], wait: bool) -> Job | None:
        self.busy = True

        def ended(job: Job) -> None:
            self.busy = False
            done(job)

        job = progress.begin(work, ended)
        return job.wait() if job is not None and wait else job

    # Folder and rules

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
        self.known.layout.display = self.without.layout.display = "none"
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
        if fill:
            self._without = set()
            if not self._by and self.who.value.strip() in ("", _SOMEBODY):
                self.who.value = album.last_person or _SOMEBODY
        self._misfits, stands = preview.misfits, self._stand(preview)
        self._read_rest()
        self.found.show(album, preview)
        self.outcome.show(album, *learned)
        self._tell(" ".join([stands, *self._misfits]), bad=bool(self._misfits))
        if album.waiting and not self._unheard:
            self._ask("Where you left off: click the picture, then keys answer.")
            self.question.focus()
        elif album.waiting:
            self._nothing("Press Label to go on where you left off.")
        else:
            more = "Press Label." if self._given_classes else "Name the classes beside the rules, and press Apply."
            self._nothing(more if album.left else "Every picture that may be asked about has been.")
        if album.waiting:
            self.tabs.selected_index = 1
        if complaint is not None:
            self._tell(str(complaint), bad=True)
            self.tabs.selected_index = 0

    def _stand(self, preview: Preview) -> str:
        """How many may be asked about: what a status line says when nothing else is to be said."""
        safe, shielded = len(preview.safe), len(preview.protected)
        self._stands = f"{safe:,} pictures may be asked about; {shielded:,} are protected and never leave this machine."
        return self._stands

    # What it learned

    def _trained(self, job: Job) -> None:
        album, learned = self._album(), job.error is None and job.result is not None
        if learned:
            self.outcome.show(album, *job.result)
            preview = album.preview()
            self._stand(preview)
            self.found.show(album, preview)
        if album.waiting:
            self._ask()
        else:
            self._nothing("Press Label for the next round." if album.left else "Everything has been asked about.")
        self._read_rest()
        if job.error is not None:
            self._tell(str(job.error), bad=True)
        elif not learned:
            self._tell("Stopped; the album is as it was before. What was uploaded stays uploaded.")
        else:
            report = job.result[0]
            self._tell(f"Learned after round {report.rounds}. {report.estimate}. Press Label to go on.")
            self.tabs.selected_index = 2
            self.outcome.grid.focus()

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
