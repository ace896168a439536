"""A federation whose clients bring data of their own: what the server knows of it, and what one client knows."""

import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np
import torch

from pslcore.data import Dataset, Split, packed
from pslcore.federated.protocol import FederatedConfig, FederatedProtocol
from pslcore.runs import CPU, Protocol, load, records
from pslcore.settings import short
from pslcore.sides import Pools
from pslcore.streams import numpy_stream
from psllab.extend import dataset_resolver, image_folder

Places = Mapping[str, list[int]]
"""Of each picture, and of each folder that pictures lie in, the training images."""


@dataclass(frozen=True)
class _Own(Protocol):
    """The protocol of one client on a data set of its own; ``protected`` are its indices."""

    protected: np.ndarray

    def pools(self) -> Pools:
        n = len(self.dataset.train)
        order = numpy_stream(self.config.seed, "pools").permutation(np.setdiff1d(np.arange(n), self.protected))
        return Pools(n, order[: self.counts[0]], self.protected)


@dataclass(frozen=True)
class _Member(FederatedProtocol):
    """A federated protocol as one of the clients knows it: its own part."""

    own: Protocol

    def client(self, number: int) -> Protocol:
        return self.own


def check(config: FederatedConfig) -> None:
    for name, wanted in (("setting", "standard"), ("split", "random"), ("noise", 0)):
        if (value := getattr(config, name)) != wanted:
            mend = f"give {wanted!r}, each client has a set and a protected set of its own"
            raise ValueError(f"{name} = {value!r} has no meaning where the clients' data lie apart: {mend}.")


def between(config: FederatedConfig, dataset: Dataset, device: torch.device = CPU) -> FederatedProtocol:
    """The protocol of a federation whose data lie apart, on a set of which only the test split is used.

    Its training images stand for those that will be labelled: so many, all of them the first test image.
    """
    check(config)
    if config.final < 1 or config.initial < 1 or config.budget < 1:
        raise ValueError(
            "where the clients' data lie apart, `initial`, `budget` and `final` must be numbers of images."
        )
    test, n = dataset.test, int(config.final)
    images, labels = test.images[:1], np.asarray(test.labels[:1])
    blank = Split(np.broadcast_to(images, (n, *images.shape[1:])), np.broadcast_to(labels, (n, *labels.shape[1:])))
    return FederatedProtocol.of(config, replace(dataset, train=blank, contents=""), device)


def own(name: str, root: str | Path, shape: Sequence[int]) -> tuple[Dataset, Places]:
    """A client's own data set, and where its pictures lie, if it is one of picture files.

    Parameters
    ----------
    name, root
        As of ``load``; pictures of no size given after an ``@`` are brought to that of the server's images.
    shape : sequence of int
        Of the server's images.
    """
    base, at, _ = name.partition("@")
    form = dataset_resolver.own(root).get(base, "")
    if "pictures" not in form:
        return load(name, root), {}
    if form.startswith("pictures") and not at:
        name = f"{name}@{shape[1]}x{shape[2]}"
    dataset, folder = load(name, root), image_folder.packed_folder(Path(root), *packed.parse_size(name))
    files = (folder / "train-files.txt").read_text("utf-8").split("\n")[:-1]
    if len(files) != len(dataset.train):
        raise ValueError(
            f"{folder / 'train-files.txt'} does not name one picture a line: rename what holds a line end."
        )
    places = defaultdict[str, list[int]](list)
    for row, file in enumerate(files):
        for place in (path := PurePosixPath(_plain(file)), *path.parents):
            places[str(place)].append(row)
    # A folder that is left out leads to others, by a link: whoever lists it means pictures that have another path here.
    out = [file for file in packed.index_of(folder).left_out or () if not (Path(root) / base / file).is_dir()]
    return dataset, places | {_plain(file): [] for file in out}


def _plain(file: str) -> str:
    return unicodedata.normalize("NFC", file)


def _protected(path: str | Path, dataset: Dataset, places: Places) -> np.ndarray:
    """The training images that a list protects; ``ValueError`` over a line that is none of the set's."""
    n, kept = len(dataset.train), list[int]()
    for line in Path(path).read_text("utf-8-sig").splitlines():
        words = line.split()
        numbers = [int(word) for word in words if word.isascii() and word.isdigit()]
        found = numbers if len(numbers) == len(words) else places.get(str(PurePosixPath(_plain(line.strip()))))
        if found is None or max(found, default=0) >= n:
            files = f", or a file or folder below that of {dataset.name}" if places else ""
            raise ValueError(f"{path}: {short(line)} is no training image of {dataset.name}: give 0 to {n - 1}{files}.")
        kept += found
    return np.unique(np.array(kept, dtype=np.int64))


def member(
    config: FederatedConfig, number: int, dataset: Dataset, protected: str | Path, device: torch.device = CPU,
    places: Places | None = None,
) -> FederatedProtocol:  # fmt: skip
    """The protocol of one client on its own data; its ``source`` changes with these, so kept state is of them alone.

    Parameters
    ----------
    config : FederatedConfig
    number : int
        Which client it is.
    dataset : Dataset
    protected : path
        A text file: the index of each protected training image, or a line for each picture or folder of them. It must
        exist; an empty one protects nothing.
    device : torch.device
    places : mapping, optional
        As of ``own``.

    Raises
    ------
    ValueError, OSError
        If the file cannot be read, an index is none of the set's, or too few images are left to be labelled.
    """
    whole, n = between(config, dataset, device), len(dataset.train)
    base, kept = whole.client(number), _protected(protected, dataset, places or {})
    if n - kept.size < base.counts[-1]:
        told = f"{base.counts[-1]} images of {dataset.name} will be labelled, but {kept.size} of {n} are protected"
        raise ValueError(f"{told}: protect fewer, or take part in a run with a lower `final`.")
    source = records.key({"code": whole.source, "data": dataset.fingerprint, "protected": kept.tolist()})
    own = _Own(base.config, dataset, base.counts, dataset.train.labels, source, base.recipe, kept)
    parts = [np.arange(n)] * config.clients
    return _Member(config, dataset, whole.counts, whole.labels, source, whole.recipe, parts, own)
