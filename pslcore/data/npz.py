"""A folder with ``train.npz`` and ``test.npz``: anybody's own data set.

Each file holds ``images`` (uint8), ``labels`` (whole numbers) and, at least in ``train.npz``, ``names`` (one a class).
``coarse_names`` with ``coarse`` (the superclass of each image) adds superclasses. ``approx`` (indices of images whose
pixels are not the original ones) only adds a note.
"""

from pathlib import Path

import numpy as np

SPLITS = ("train", "test")


def present(folder: Path) -> bool:
    """Whether somebody meant this folder to be a data set."""
    return any((folder / f"{split}.npz").exists() for split in SPLITS)


def read(folder: Path) -> dict:
    """The set as ``load`` wants it."""
    files = {split: _read_file(folder / f"{split}.npz") for split in SPLITS}
    for split, arrays in files.items():
        for key in ("images", "labels"):
            if key not in arrays:
                raise ValueError(
                    f"{folder / split}.npz holds no array {key!r}; it has {', '.join(arrays) or 'nothing'}."
                )
    train = files["train"]
    if "names" not in train:
        raise ValueError(
            f"{folder / 'train.npz'} holds no array 'names': add the class names, in the order of the labels."
        )
    note = ""
    if any("approx" in arrays and len(arrays["approx"]) for arrays in files.values()):
        counts = {split: len(arrays.get("approx", ())) for split, arrays in files.items()}
        note = f"{counts['train']} training and {counts['test']} test images are approximate copies of the originals."
    return {
        **{split: (arrays["images"], arrays["labels"]) for split, arrays in files.items()},
        "classes": [str(name) for name in train["names"]],
        "coarse_labels": train.get("coarse"),
        "note": note,
    }


def superclasses(labels: np.ndarray, coarse: np.ndarray, num_classes: int) -> np.ndarray:
    """Superclass of each class, [C], from the two labels of each image; a class must lie in exactly one superclass."""
    if coarse.shape != labels.shape or coarse.dtype.kind not in "iu":
        raise ValueError(
            f"the coarse labels are {coarse.dtype} of the shape {coarse.shape}; they must be whole numbers, "
            f"one an image, as the {labels.shape[0]} labels are."
        )
    pairs = np.unique(np.stack([labels, coarse]), axis=1)
    if not np.array_equal(pairs[0], np.arange(num_classes)):
        raise ValueError("the coarse labels put a class into two superclasses, or a class has no image.")
    return pairs[1].astype(np.int64)


def _read_file(path: Path) -> dict[str, np.ndarray]:
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: a data set needs train.npz and test.npz in one folder.")
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}
    except MemoryError:
        raise
    except Exception as error:  # zipfile and NumPy raise a dozen kinds over damaged bytes, some of them undocumented
        raise ValueError(f"{path} is damaged or no .npz file ({error}): write or copy it again.") from error
