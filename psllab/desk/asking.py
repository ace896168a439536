"""The part of the desk that asks: what may be asked now, the picture on the screen, and the keys."""

from collections.abc import Callable
from pathlib import Path

from psllab.album import Album, Picture
from psllab.desk import parts
from psllab.desk.desk_view import DeskView
from psllab.widgets import status
from psllab.widgets.job import Job

_ESCAPE = "Escape"


class Asking(DeskView):
    """Questions and answers at the desk; ``Desk`` has the rest."""

    def __init__(self) -> None:
        self.album: Album | None = None
        self.busy = False
        self.asked: Picture | None = None
        self._turn = 0
        self._anew = False  # the picture on the screen was asked about before
        self._misfits: list[str] = []  # what is to be said of rules that fit no picture
        self._without: set[str] = set()  # such sentences, once the person goes on all the same
        self._stands = self._told = self._waits = ""
        self._bad = False

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
        if misfits := self._unheard:
            self.without.layout.display = ""
            more = "Mend that and press Apply, or go on without."
            return self._tell(f"{' '.join(misfits)} {more}", bad=True)
        if not album.waiting and album.ready:
            return self._tell(f"{album.untrained} answers are new: press Train before the next are picked.", bad=True)
        if not album.waiting and album.uncompared:
            self._read_rest()
            self._waits = "The first question waits until the pictures are read: press Label then."
            return self._tell(self._waits, bad=True)
        if not album.waiting and not album.left:
            return self._tell("Every picture that may be asked about has been.", bad=True)
        try:
            album.next(self.n.value)
            parts.warm_up()
        except (ValueError, OSError) as error:
            return self._tell(str(error), bad=True)
        self._tell(self._stands)
        if self.reading.job is None or not self.reading.job.running:
            self.still.value = ""
        self._ask()
        self.question.focus()

    def go_on_without(self) -> None:
        """Ask, though rules fit no picture."""
        self._without |= set(self._misfits)
        self.without.layout.display = "none"
        self.start()

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
            if key == _ESCAPE and self._anew:
                return self._back("Left as it was.")
            if picture is None or key not in (*parts.keys(album.classes), parts.SKIP, parts.NOT_SURE):
                return self.question.note("" if picture is None else f"{key} is no answer.", "bad")
            if not by:
                return self.question.note("Say who answers, in the field above: nothing was taken in.", "bad")
            told = parts.respond(album, picture, key, by)
        except (ValueError, OSError) as error:
            return self.question.note(str(error), "bad")
        if self._anew:
            self._back(f"{told}, says {by}.")
        else:
            self._ask(f"{told}, says {by}.")

    def anew(self, picture: Picture) -> None:
        """Ask once more about a picture that somebody has answered, skipped or was not sure about."""
        if not self._can():
            return
        word = self._album().annotations(picture)[-1]
        said = f"{word.label or {'skip': 'skipped'}.get(word.what, word.what)}, says {word.by}"
        self._tell(self._stands)
        caption = f"{picture.path}\n{said}. A key answers anew; Escape leaves it."
        self._show(parts.large(self._album(), picture), caption, asked=picture, anew=True)
        self.tabs.selected_index = 1
        self.question.focus()

    # Behind it

    def _album(self) -> Album:
        assert self.album is not None
        return self.album

    def _tell(self, text: str, bad: bool = False) -> None:
        self._told, self._bad = text, bad
        for one in self.status:
            one.value = status(text, bad)

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

    def _wanted_classes(self) -> tuple[str, ...]:
        return tuple(part.strip() for part in self.classes.value.split(",") if part.strip())

    @property
    def _given_classes(self) -> tuple[str, ...]:
        """Those that somebody named."""
        return () if self.album is None or self.album.classes == parts.UNNAMED else self.album.classes

    @property
    def _unheard(self) -> list[str]:
        return [one for one in self._misfits if one not in self._without]

    def _read_rest(self) -> None:
        """Decode in the background what was only hashed so far."""
        album, unread = self._album(), self._album().unread
        self.reading.view.layout.display = "" if unread else "none"
        if not unread:
            self.still.value = ""
            return
        meanwhile, first = "label meanwhile", album.uncompared
        if first and not album.waiting and album._starts_typical():
            meanwhile = "the first question waits for all of them, as the most typical are asked about first"
        elif first and not album.waiting:
            meanwhile = f"the first question waits for {first:,} protected ones among them, as it must show no copy"
        self.still.value = status(f"{unread:,} pictures are still being read: {meanwhile}.")

        def work(part: Callable[[float], None]) -> None:
            album.read(lambda done, total: part(done / total))

        def ended(job: Job) -> None:
            self.reading.view.layout.display = "none"
            waits = not album.closed and album.uncompared and not album.waiting
            rest = "Stopped: press Label to go on reading." if waits else "The rest is read before the training."
            done = "All pictures are read."
            done += " Press Label." * (self._given_classes != () and self.asked is None)
            self.still.value = status(str(job.error or (rest if job.stopped else done)), job.error is not None)
            if self._told == self._waits:
                self._tell(self._stands)

        self.reading.begin(work, ended)

    def _stop_reading(self) -> None:
        if self.reading.job is not None and self.reading.job.running:
            self.reading.job.stop()
            self.reading.job.wait()

    def _ask(self, note: str = "", first: Picture | None = None) -> None:
        """Show the next picture that waits; its showing has a number of its own."""
        album, waiting = self._album(), self._album().waiting
        if self._bad:  # it was about something before
            self._tell(self._stands)
        asked = first if first in waiting else waiting[0] if waiting else None
        if asked is None:
            more = "Press Train." if album.ready else "Press Label for the next."
            self._nothing(f"All of this round have been seen. {more}\nThe key u takes the last word back.", note)
        else:
            left = "the last of this round" if len(waiting) == 1 else f"{len(waiting)} left of this round"
            caption = f"{asked.path}\n{left}, {len(album.answered):,} answered in all"
            self._show(parts.large(album, asked), caption, note, asked)

    def _back(self, note: str) -> None:
        """To the pictures that one was chosen from, to be answered anew."""
        self._ask()
        self.outcome.draw()
        self.outcome.grid.note(note)
        self.tabs.selected_index = 2
        self.outcome.grid.focus()

    def _nothing(self, text: str, note: str = "") -> None:
        self._show(b"", text, note)

    def _show(
        self, picture: bytes, caption: str, note: str = "", asked: Picture | None = None, anew: bool = False
    ) -> None:
        self._turn, self.asked, self._anew = self._turn + 1, asked, anew
        turn, album = self._turn, self._album()
        every = parts.buttons(album.classes)  # the last takes back
        self.question.buttons = every if asked is not None else every[-1:] if album._state.undoable else []
        self.question.show(turn + 1, lambda ids: [picture if one == turn else b"" for one in ids],
                           lambda one: caption if one == turn else "", order=[turn])  # fmt: skip
        self.question.note(note)
