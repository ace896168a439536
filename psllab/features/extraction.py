"""Features of a data set, computed once and kept beside its images.

``data/<base>/features/<backbone>@<size>-<data>-<weights>/``, named by the fingerprint of the images and the hash of the
weights, is a packed folder (``pslcore.data.packed``) whose images are vectors, uint8 [N, D, 1, 1]. Other images or
other weights make another folder.
"""

import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from joblib import cpu_count

from pslcore import data
from pslcore.data import Bytes, Dataset, Indices, Split, packed
from pslcore.data.arrays import Array
from pslcore.data.packed import Entry, Index
from psllab.extend import image_folder, resumable
from psllab.extend.resumable import Rows
from psllab.features import backbones

_FORMAT = 1
"""Goes into the fingerprint of the features: a change of what is computed gives them another."""
_CHUNK = 16
"""Images that go through the network together: what a core's cache takes."""


def parse(name: str) -> tuple[str, str, int]:
    """``"cifar10+efficientnet_lite0@128"`` to ``("cifar10", "efficientnet_lite0", 128)``.

    Raises
    ------
    ValueError
        If it is spelled otherwise.
    """
    match = re.fullmatch(r"([^+]+)\+(.+)@([1-9]\d{0,3})", name)
    if not match:
        raise ValueError(
            f"{name!r} names no features: write DATASET+BACKBONE@PIXELS, such as cifar10+efficientnet_lite0@128."
        )
    return match[1], match[2], int(match[3])


def known(name: str) -> str:
    """The name as records have it, with the hash of every file in it; ``ValueError`` if it cannot be one."""
    base, backbone, size = parse(name)
    return f"{base}+{backbones.known(backbone)}@{size}"


def pictures(name: str, root: str | Path = "data") -> Dataset:
    """The data set whose features ``name`` stands for: row i of the one belongs to row i of the other."""
    base, _, size = parse(name)
    if base not in data.names() and "@" not in base and image_folder.present(Path(root) / base):
        base = f"{base}@{size}x{size}"  # pictures of one's own are read at the size that is wanted
    return data.load(base, root)


def missing(name: str, root: str | Path = "data") -> str:
    """How to get features that were not computed yet, in one sentence; empty if they lie under ``root``."""
    base, backbone, size = parse(name)
    folder = Path(root) / packed.parse_size(base)[0] / "features"
    if any(folder.glob(f"{_slug(backbone)}@{size}-*/index.json")):
        return ""
    extra = "`pip install '.[features]'` and " if backbone in backbones.names() else ""
    return f"{folder} holds no features of {backbone} at {size} pixels: {extra}`pslcore look '{name}'` make them, once."


def _slug(backbone: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", backbone.partition(" ")[0])


def load(name: str, root: str | Path = "data", executor: Executor | None = None, workers: int = 0) -> Dataset:
    """The features of a data set that ``pslcore.data.load`` knows, extracted first where that was not done.

    Parameters
    ----------
    name : str
    root : path
        The folder of the data sets.
    executor, workers : optional
        What computes them, and on how many workers; threads if not given, one a core.

    Raises
    ------
    ValueError, OSError
        In one sentence: the name is no such name; the data set or the weights are missing or damaged; the images have
        pixel labels; the disk is too small.
    """
    name = known(name)
    base_name, backbone_name, size = parse(name)
    base = pictures(name, root)
    if base.pixel_labels:
        raise ValueError(f"{base.name} has pixel labels, and features are of whole images: choose another data set.")
    backbone = backbones.backbone(backbone_name)
    what = [_FORMAT, base.fingerprint, backbone.identity, size]
    source = sha256(json.dumps(what).encode()).hexdigest()
    weights = sha256(backbone.identity.encode()).hexdigest()
    folder = Path(root) / packed.parse_size(base_name)[0] / "features"
    folder /= f"{_slug(backbone_name)}@{size}-{base.fingerprint[:12]}-{weights[:12]}"
    note = f"{backbone.width:,} features of {backbone_name} at {size}x{size} pixels, frozen. {base.note}".strip()

    def extract(signature: str) -> None:
        needed = (backbone.width + 8) * (len(base.train) + len(base.test))
        folder.parent.mkdir(parents=True, exist_ok=True)
        encode = partial(_encode, backbone_name, size)
        with ThreadPoolExecutor(cpu_count()) as threads:
            encoded = partial(_encoded, encode, executor or threads, workers or cpu_count())
            packed.install(
                folder, lambda part: _fill(part, base, encoded, backbone.width, size, signature, note), needed,
                (size, size), True, advice="or put the folder of the data set on another disk and link to it.",
            )  # fmt: skip

    packed.bring_up_to_date(folder, source, extract)
    parts = packed.opened(folder)
    train, test = (Split(*parts[split]) for split in ("train", "test"))  # type: ignore[literal-required]
    return Dataset(name, train, test, base.classes, base.coarse, note, source)


Blocks = Iterator[tuple[int, Rows]]


def _fill(
    part: Path, base: Dataset, encoded: Callable[[Array, Indices, int], Blocks], width: int, size: int, source: str,
    note: str,
) -> None:  # fmt: skip
    """Write all arrays and then the index, from where an interrupted call stopped."""
    kept = resumable.progress(part, {"source": source, "size": size}, {"arrays": {}, "done": {}, "rows": 0})
    for split, what in (("train", base.train), ("test", base.test)):
        if f"{split}-labels" not in kept["arrays"]:
            todo = range(kept["done"].get(split, 0), len(what))
            blocks = encoded(what.images, np.asarray(what.labels), todo.start)
            resumable.fill(part, kept, split, todo, (width, 1, 1), blocks, f"features of {base.name} {split}")
    entries = {name: Entry.of(entry) for name, entry in kept["arrays"].items()}
    resumable.finish(part, Index(source=source, classes=list(base.classes), note=note, arrays=entries))


def _encoded(
    encode: Callable[[Bytes], Bytes], executor: Executor, workers: int, images: Array, labels: Indices, done: int
) -> Blocks:
    """Vectors and labels of the images from number ``done`` on, in blocks of four chunks a worker.

    A chunk holds the same images in every call, whatever was done before: so the bytes are the same as well.
    """
    starts = range(done - done % _CHUNK, len(images), _CHUNK)
    for first in range(0, len(starts), 4 * workers):
        some = starts[first : first + 4 * workers]
        chunks = [np.array(images[start : start + _CHUNK]) for start in some]
        block = np.concatenate(list(executor.map(encode, chunks)))[max(0, done - some[0]) :]
        yield len(block), zip(block, labels[max(done, some[0]) :], strict=False)


def _encode(name: str, size: int, images: Bytes) -> Bytes:
    """Vectors of a chunk, one thread, wherever it is computed."""
    torch.set_num_threads(1)
    return backbones.backbone(name).encode(images, size)
