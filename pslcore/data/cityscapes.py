"""``cityscapes``: street scenes of 1024x2048 with a label per pixel, 19 classes; 2,975 train, 500 (``val``) test.

Its licence asks for a registration, so nothing is downloaded. The layout is that of its two archives, unpacked into
``data/cityscapes/``::

    leftImg8bit/{train,val}/<city>/<frame>_leftImg8bit.png
    gtFine/{train,val}/<city>/<frame>_gtFine_labelIds.png

All of it in full size takes 29 GB as packed arrays; ``cityscapes@256x512`` packs it at a quarter of the size, 1.8 GB.

Source: Cordts et al., "The Cityscapes Dataset for Semantic Urban Scene Understanding", CVPR 2016; the ids are those of
its ``labels.py``.
"""

from pathlib import Path

from pslcore.data import packed, pictures
from pslcore.data.arrays import Parts

CLASSES = {
    7: "road", 8: "sidewalk", 11: "building", 12: "wall", 13: "fence", 17: "pole", 19: "traffic light",
    20: "traffic sign", 21: "vegetation", 22: "terrain", 23: "sky", 24: "person", 25: "rider", 26: "car", 27: "truck",
    28: "bus", 31: "train", 32: "motorcycle", 33: "bicycle",
}  # fmt: skip
"""The 19 of the 34 ids that are trained on and scored; the others are void."""

N_IDS = 34
OFFICIAL = (2975, 500)
"""Pictures to train and to test on."""


def read(root: Path, size: tuple[int, int] | None = None) -> Parts:
    """The set as ``load`` wants it, from its packed arrays (see ``packed``)."""
    archives = "leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip"
    get = f"register at https://www.cityscapes-dataset.com, download {archives}, and unpack both there;"
    get += " they may not be passed on, so nothing is downloaded for you."
    return packed.read(root, "cityscapes", ["cityscapes"], "leftImg8bit", _find, get, size)


def _find(base: Path) -> pictures.Source:
    train, test = _pairs(base, "train"), _pairs(base, "val")
    table = pictures.table_of({number: label for label, number in enumerate(CLASSES)}, N_IDS)
    note = "The official validation scenes are the test split." + pictures.counts_note(train, test, OFFICIAL)
    return pictures.Source(base, train, test, list(CLASSES.values()), note, table)


def _pairs(base: Path, split: str) -> list[tuple[Path, Path]]:
    """Every image with the picture of its labels, in the order of their names."""
    images, labels = base / "leftImg8bit" / split, base / "gtFine" / split
    there = {*images.glob("*/*_leftImg8bit.png"), *labels.glob("*/*_gtFine_labelIds.png")}
    names = (path.name.removesuffix("_leftImg8bit.png").removesuffix("_gtFine_labelIds.png") for path in there)
    frames = sorted({f"{path.parent.name}/{name}" for path, name in zip(there, names, strict=True)})
    pairs = [(images / f"{frame}_leftImg8bit.png", labels / f"{frame}_gtFine_labelIds.png") for frame in frames]
    for image, label in pairs:
        if image not in there or label not in there:
            missing, has = (label, image) if image in there else (image, label)
            raise FileNotFoundError(f"{missing} is missing, but {has} is there: unpack both archives again.")
    if not pairs:
        raise FileNotFoundError(f"{images} holds no <city>/*_leftImg8bit.png: unpack it again.")
    return pairs
