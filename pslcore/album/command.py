"""``ask`` and ``tell`` of the command line."""

import argparse
import sys

from tqdm import tqdm

from pslcore.album import exchange
from pslcore.album.album import Album


def ask(options: argparse.Namespace) -> int:
    """Write what to label next; learn first from answers that are new."""
    with Album(options.folder, options.classes, options.protect, options.out, progress=_Bar("pictures")) as album:
        print(album.preview())
        if not album.waiting and album.ready:
            album.train(_Bar("epochs"), reading=_Bar("pictures"))
        pictures = album.next(options.budget, _Bar("pictures"))
        page, table = album.home / "ask.html", album.home / "ask.csv"
        exchange.ask_page(album, pictures, page)
        exchange.ask_csv(album, pictures, table)
        if options.label_studio:
            exchange.studio_tasks(album, pictures, options.label_studio)
        print(f"{len(pictures)} pictures to label: {page} shows them, {table} takes the labels.")
    return 0


def tell(options: argparse.Namespace) -> int:
    """Take labels in; when nothing of the round waits, learn from it."""
    with Album(options.folder, out=options.out) as album:
        taken = exchange.take_in(album, options.labels, options.by)
        print(f"Taken in: {taken.answers} answers, {taken.skipped} skipped, {taken.unsure} not sure.")
        if album.waiting:
            print(f"{len(album.waiting)} pictures of this round wait for a label.")
        elif album.ready:
            album.train(_Bar("epochs"), reading=_Bar("pictures"))
        exchange.labels_csv(album, album.home / "labels.csv")
        print(album.report())
        print(f"All labels, and what the task learner would answer for the rest: {album.home / 'labels.csv'}")
    return 0


class _Bar:
    """A progress bar on a terminal."""

    def __init__(self, what: str):
        self._what = what
        self._bar: tqdm | None = None

    def __call__(self, done: int, total: int) -> None:
        if self._bar is None:
            self._bar = tqdm(total=total, desc=self._what, file=sys.stderr, disable=None)
        self._bar.update(done - self._bar.n)
        if done >= total:
            self._bar.close()
