"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009) in their official form, downloaded by torchvision where absent."""

import pickle
from pathlib import Path

import numpy as np

from pslcore.data.arrays import Parts
from pslcore.data.npz import superclasses


def read_cifar10(root: Path) -> Parts:
    """10 classes, 50,000 training and 10,000 test images of 32x32."""
    return _read(root, "CIFAR10")


def read_cifar100(root: Path) -> Parts:
    """100 classes in 20 superclasses, 50,000 training and 10,000 test images of 32x32."""
    parts = _read(root, "CIFAR100")
    with open(root / "cifar-100-python" / "train", "rb") as file:  # torchvision has checked the md5 of this very file
        held = pickle.load(file, encoding="latin1")
    fine, coarse = np.asarray(held["fine_labels"]), np.asarray(held["coarse_labels"])
    return {**parts, "coarse": superclasses(fine, coarse, 100)}


def _read(root: Path, name: str) -> Parts:
    from pslcore.vision import torchvision  # 1 s to import, so only where it is needed

    reader = getattr(torchvision.datasets, name)
    sets = []
    for training in (True, False):
        try:
            sets.append(reader(root, train=training, download=False))
        except RuntimeError:  # absent, or its md5 differs
            try:
                sets.append(reader(root, train=training, download=True))
            except (OSError, RuntimeError) as error:
                told = f"{name} lies neither as {root / name.lower()}/{{train,test}}.npz nor in its official form under"
                mend = "see data/README.md."
                raise FileNotFoundError(f"{told} {root}, and could not be downloaded ({error}): {mend}") from error
    train, test = ((loaded.data, np.asarray(loaded.targets)) for loaded in sets)
    return {"train": train, "test": test, "classes": sets[0].classes}
