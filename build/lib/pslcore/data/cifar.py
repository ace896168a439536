"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009) in their official form, downloaded by torchvision where absent."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from pslcore.data.arrays import Parts
from pslcore.data.npz import superclasses


def read_cifar10(root: Path) -> Parts:
    """10 classes, 50,000 training and 10,000 test images of 32x32."""
    return _read(root, "CIFAR10")


def read_cifar100(root: Path) -> Parts:
    """100 classes in 20 superclasses, 50,000 training and 10,000 test images of 32x32."""
    parts = _read(root, "CIFAR100")
    fine, coarse = (
        np.asarray(_pickle(root / "cifar-100-python" / "train")[key]) for key in ("fine_labels", "coarse_labels")
    )
    return {**parts, "coarse": superclasses(fine, coarse, 100)}


def _read(root: Path, name: str) -> Parts:
    from pslcore.vision import torchvision  # 1 s to import, so only where it is needed

    reader = getattr(torchvision.datasets, name)
    sets = []
    for training in (True, False):
        try:
            sets.append(reader(root, train=training, download=False))
        except RuntimeError:  # absent, or its md5 differs
            sets.append(_download(reader, root, name, training))
    train, test = ((loaded.data, np.asarray(loaded.targets)) for loaded in sets)
    return {"train": train, "test": test, "classes": sets[0].classes}


def _download(reader: Callable[..., Any], root: Path, name: str, train: bool) -> Any:
    try:
        return reader(root, train=train, download=True)
    except (OSError, RuntimeError) as error:
        raise FileNotFoundError(
            f"{name} lies neither as {root / name.lower()}/{{train,test}}.npz nor in its official form under {root}, "
            f"and could not be downloaded ({error}): see data/README.md."
        ) from error


def _pickle(path: Path) -> dict:
    with open(path, "rb") as file:  # torchvision has checked the md5 of this very file
        return pickle.load(file, encoding="latin1")
