"""Data sets of other forms than ours: arrays in .npy files, trees of pictures, packages (``pslcore.data.Resolver``)."""

from pathlib import Path

from pslcore import packages
from pslcore.data import PACKAGES, Parts, foreign, npy, npz, tree, tree_files
from pslcore.data import names as ours
from pslcore.data.packed import parse_size


def read(root: Path, name: str, known: bool) -> Parts | None:
    """As ``pslcore.data.Resolver.read``: mapped arrays before all else, a folder before a package."""
    base, size = parse_size(name)
    if name and npy.present(root / name):
        return npy.read(root / name)
    if known or not base:
        return None
    if tree.present(root / base) or tree.packed_folder(root, base, size).is_dir():
        return tree.read(root, base, size)
    if given := packages.find(PACKAGES, base):
        return foreign.read(given, root, size)
    if (root / base).is_dir():
        raise ValueError(
            f"{root / base} is no data set: it has neither folders of pictures train/<class>/ nor images/ with a "
            "table, neither train.npz nor train-images.npy (see data/README.md)."
        )
    return None


def own(root: str | Path) -> dict[str, str]:
    """The data sets of somebody's own in the folder of all data sets, by name, and the form that each has."""
    found = {}
    for folder in sorted(path for path in Path(root).iterdir() if path.is_dir()) if Path(root).is_dir() else ():
        form = (
            "train.npz, test.npz" if npz.present(folder)
            else ".npy arrays" if npy.present(folder)
            else "" if folder.name in ours()
            else tree_files.form(folder) or ("packed pictures" if any(folder.glob("packed*/index.json")) else "")
        )  # fmt: skip
        if form:
            found[folder.name] = form
    return found
