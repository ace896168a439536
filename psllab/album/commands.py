"""``ask`` and ``tell`` of the command line."""

import argparse
import shlex
import sys

from tqdm import tqdm

from psllab.album import exchange, studio
from psllab.album.album import Album


def ask(options: argparse.Namespace) -> int:
    """Write what to label next; learn first from answers that are new."""
    given = (options.folder, options.classes, options.protect, options.out)
    with Album(*given, progress=_Bar("pictures"), new=options.new, warn=False, cloud=options.cloud) as album:
        kinds = {"held-back": album.preview().held_back, "earlier": album.preview().earlier}
        album.release([path for word in options.release for path in kinds.get(word, [word])])
        print(album.preview(), *album.rewritten, sep="\n")
        if not album.waiting and album.ready:
            album.train(_Bar("epochs"), reading=_Bar("pictures"))
        if not album.waiting and not album.left:
            print(album.report(), "No picture is left that may be asked about.", sep="\n")
            return 0
        pictures = album.next(options.budget, _Bar("pictures"))
        page, table = album.home / "ask.html", album.home / "ask.csv"
        exchange.ask_page(album, pictures, page)
        exchange.ask_csv(album, pictures, table)
        print(f"{len(pictures)} pictures to label: {page} shows them, {table} takes the labels.")
        if options.label_studio is not None:
            root = studio.studio_tasks(album, pictures, options.label_studio or None)
            tasks = options.label_studio if options.label_studio.endswith(".json") else root / "tasks.json"
            print(
                "Start Label Studio with LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true "
                f"LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT={shlex.quote(str(root))}; its interface: {root}/interface.xml."
            )
            print(f"Add a storage of the type Local files with the path {root}/pictures, then import {tasks}.")
    return 0


def tell(options: argparse.Namespace) -> int:
    """Take labels in; when nothing of the round waits, learn from it."""
    with Album(options.folder, out=options.out, warn=False, cloud=options.cloud) as album:
        print(*album.preview().notices, *album.rewritten, sep="\n")
        print(exchange.import_labels(album, options.labels, options.by))
        if album.waiting:
            print(f"{len(album.waiting)} pictures of this round wait for a label.")
        elif album.ready:
            album.train(_Bar("epochs"), reading=_Bar("pictures"))
        labels, suggestions = album.home / "labels.csv", album.home / "suggestions.csv"
        exchange.labels_csv(album, labels)
        exchange.suggestions_csv(album, suggestions)
        print(album.report())
        print(f"All labels: {labels}; what the task learner would say of the rest: {suggestions}")
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
