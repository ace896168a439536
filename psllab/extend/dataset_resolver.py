"""Data sets of other forms than ours: arrays in .npy files, trees of pictures, packages (see ``pslcore.data.load``)."""

from pathlib import Path

from pslcore import plugins
from pslcore.data import PACKAGES, Parts, npz
from pslcore.data import names as ours
from pslcore.data.packed import parse_size
from psllab.extend import image_folder, image_folder_scan, npy, plugin_dataset


def read(root: Path, name: str, known: bool) -> Parts | None:
    """As ``pslcore.data.load`` asks for: mapped arrays before all else, a folder before a package."""
    base, size = parse_size(name)
    if name and npy.present(root / name):
        return npy.read(root / name)
    if known or not base:
        return None
    if image_folder.present(root / base) or image_folder.packed_folder(root, base, size).is_dir():
        return image_folder.read(root, base, size)
    if given := plugins.find(PACKAGES, base):
        return plugin_dataset.read(given, root, size)
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
            else image_folder_scan.form(folder) or ("packed pictures" if any(folder.glob("packed*/index.json")) else "")
        )  # fmt: skip
        if form:
            found[folder.name] = form
    return found
