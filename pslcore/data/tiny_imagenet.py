"""``tiny_imagenet``: 200 classes, 100,000 training and 10,000 validation images of 64x64 (the test labels are secret).

Read from the official ``tiny-imagenet-200/`` folder, in ``data/tiny_imagenet/`` or in ``data/`` itself. The validation
images are the test split; they lie in ``val/images`` with ``val_annotations.txt``, or sorted into class folders.
Labels follow the sorted WordNet ids. Grey pictures become colour pictures.

Source: Le & Yang, "Tiny ImageNet Visual Recognition Challenge", Stanford CS 231N, 2015.
"""

from pathlib import Path

from pslcore.data import packed, pictures
from pslcore.data.arrays import Parts

OFFICIAL = (100_000, 10_000)
"""Pictures to train and to test on."""


def read(root: Path, size: tuple[int, int] | None = None) -> Parts:
    """The set as ``load`` wants it, from its packed arrays (see ``packed``)."""
    address = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
    get = f"unpack tiny-imagenet-200.zip ({address}) there, or fetch it from github.com/seshuad/IMagenet."
    places = ["tiny_imagenet", "tiny_imagenet/tiny-imagenet-200", "tiny-imagenet-200"]
    return packed.read(root, "tiny_imagenet", places, "train", _find, get, size)


def _find(base: Path) -> pictures.Source:
    wnids = _wnids(base)
    train = _class_folders(base / "train", wnids)
    val = base / "val"
    test = _annotated(val, wnids) if (val / "images").is_dir() else _class_folders(val, wnids)
    note = "The official validation images are the test split." + pictures.counts_note(train, test, OFFICIAL)
    return pictures.Source(base, train, test, _names(base, wnids), note)


def _wnids(base: Path) -> list[str]:
    """The classes' ids, sorted: from wnids.txt where it lies, else from the training folders."""
    folders = {path.name for path in (base / "train").iterdir() if path.is_dir()}
    if not (base / "wnids.txt").exists():
        return sorted(folders)
    wnids = set(" ".join(pictures.lines(base / "wnids.txt", _AGAIN)).split())
    if folders - wnids:
        raise ValueError(f"{base / 'train' / min(folders - wnids)} is no class of wnids.txt: remove it or mend that.")
    return sorted(wnids)


def _names(base: Path, wnids: list[str]) -> list[str]:
    """The first name of each class in words.txt; its id where there is none."""
    names = {}
    if (base / "words.txt").exists():
        for line in pictures.lines(base / "words.txt", _AGAIN):
            wnid, _, words = line.strip().partition("\t")
            names[wnid] = words.split(",")[0]
    return [names.get(wnid) or wnid for wnid in wnids]


def _class_folders(split: Path, wnids: list[str]) -> list[tuple[Path, int]]:
    """Pictures in ``<wnid>/images/`` or ``<wnid>/``, as many in each class and all that ``<wnid>_boxes.txt`` lists."""
    examples, counts = [], {}
    for label, wnid in enumerate(wnids):
        folder = split / wnid
        inside = folder / "images" if (folder / "images").is_dir() else folder
        names = pictures.names(inside, _AGAIN)
        boxes = folder / f"{wnid}_boxes.txt"
        if boxes.exists():
            _all_there(inside, names, (line.split("\t")[0] for line in pictures.lines(boxes, _AGAIN)), boxes)
        examples += [(inside / name, label) for name in names]
        counts[inside] = len(names)
    most = max(counts.values())
    for inside, count in counts.items():
        if count < most:
            raise FileNotFoundError(f"{inside} holds {count} pictures where other classes hold {most}: {_AGAIN}")
    if not examples:
        raise FileNotFoundError(f"{split} holds no pictures: {_AGAIN}")
    return examples


def _annotated(split: Path, wnids: list[str]) -> list[tuple[Path, int]]:
    """Pictures in ``images/``, their classes in ``val_annotations.txt``."""
    path, inside = split / "val_annotations.txt", split / "images"
    label_of = {wnid: label for label, wnid in enumerate(wnids)}
    rows = [line.split("\t") for line in pictures.lines(path, _AGAIN)]
    for row in rows:
        if len(row) < 2 or row[1] not in label_of:
            raise ValueError(f"{path} is damaged, the line of {row[0]} names none of {len(wnids)} classes: {_AGAIN}")
    names = pictures.names(inside, _AGAIN)
    _all_there(inside, names, (row[0] for row in rows), path)
    unlisted = sorted(set(names) - {row[0] for row in rows})
    if unlisted or not rows:
        what = f"{inside / unlisted[0]} has no line in it" if unlisted else "it is empty"
        raise ValueError(f"{path} is cut short, {what}: {_AGAIN}")
    return [(inside / row[0], label_of[row[1]]) for row in rows]


def _all_there(folder: Path, names: list[str], listed, where: Path) -> None:
    missing = sorted(set(listed) - set(names))
    if missing:
        raise FileNotFoundError(f"{folder / missing[0]} is missing, but listed in {where.name}: {_AGAIN}")


_AGAIN = "unpack tiny-imagenet-200 again."
