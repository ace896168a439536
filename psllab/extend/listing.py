"""Every name of a method, a network, a data set: where it comes from and what it needs (``pslcore list``)."""

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pslcore import data, models, plugins, strategies
from pslcore.plugins import Given
from pslcore.strategies import Strategy
from psllab.extend import dataset_resolver

Row = tuple[str, str, str]
"""Name, where it comes from, what it needs or why it cannot be had."""

OURS = "pslcore"
NEEDS = {
    "digits": "nothing",
    "digit_vectors": "nothing",
    "numbers": "nothing",
    "digit_scenes": "nothing",
    "cifar10": "a network for the first time, or cifar-10-batches-py/",
    "cifar100": "a network for the first time, or cifar-100-python/",
    "tiny_imagenet": "tiny-imagenet-200/",
    "camvid": "CamVid/",
    "cityscapes": "cityscapes/leftImg8bit/ and gtFine/",
}
"""What goes into the folder of all data sets, see data/README.md."""


def methods() -> list[Row]:
    """All methods; packages are imported for it, and an import that fails is named in its row."""
    rows = [(name, OURS, needs(strategies.kind(name))) for name in strategies.names()]
    return rows + _given(strategies.PACKAGES, strategies.names(), lambda given: needs(strategies.kind(given.name)))


def needs(cls: type[Strategy]) -> str:
    """What a method declares that it needs, with its options as they are if nobody changes them."""
    try:
        strategy = cls()
        strategy.ready()
    except ValueError as error:
        return str(error)
    asked = list(dict.fromkeys((*strategy.requires, *strategy.requires_labelled)))
    asked = ["predicted losses" if name == "auxiliary" else name for name in asked]
    found = [f"the cloud's {' and '.join(asked)}, so all safe images are uploaded"] if strategy.uploads else []
    if strategy.requires_head:
        found.append("the task learner's last layer")
    if strategy.has_auxiliary:
        found.append("a module that trains with the task learner")
    if strategy.students:
        found.append(f"{len(strategy.students)} students on the client ({strategy.students[0]})")
    elif cls.learner is not Strategy.learner and not strategy.uploads:
        found.append("networks on the client")
    return "; ".join(found) or "nothing"


def networks() -> list[Row]:
    """All networks, and the two forms that stand for many."""
    rows = []
    for name in models.names():
        kind = "pixels" if models.for_pixel_labels(name) else "images"
        count = models.count_parameters(models.build(name, 10))
        rows.append((name, OURS, f"labels of {kind}; {count:,} parameters for 10 classes"))

    def checked(given: Given) -> str:
        if not callable(given.load()):
            raise ValueError(f"{given.name!r} of {given} is no function: see docs/your_network.md.")
        return "nothing"

    rows += _given(models.PACKAGES, models.names(), checked)
    try:
        timm = f"timm {version('timm')}", "weights from a file, if any"
    except PackageNotFoundError:
        timm = "timm", "pip install '.[timm]'"
    return [*rows, ("timm:NAME", *timm), ("file.py:function", "your file", "see docs/your_network.md")]


def datasets(root: str | Path = "data") -> list[Row]:
    """All data sets, those in the folder of data sets included."""
    rows = [(name, OURS, NEEDS[name]) for name in data.names()]

    def checked(given: Given) -> str:
        given.load()
        return "nothing"

    own = dataset_resolver.own(root)
    rows += [(name, str(Path(root) / name), form) for name, form in own.items()]
    return rows + _given(data.PACKAGES, [*data.names(), *own], checked)


def _given(group: str, taken: list[str], needed: Callable[[Given], str]) -> list[Row]:
    """What packages add; a name that is taken, or that two of them give, is refused."""
    rows = []
    for given in plugins.found(group):
        if given.name in taken:
            need = f"REFUSED: {given.name!r} is a name of ours or in use; ask its makers for another."
        else:
            try:
                plugins.find(group, given.name)
                need = needed(given)
            except ValueError as error:
                need = f"REFUSED: {error}"
        rows.append((given.name, str(given), need))
    return rows


def as_text(root: str | Path = "data") -> str:
    """All of it as text."""
    parts = []
    for title, rows in (("methods", methods()), ("networks", networks()), ("data sets", datasets(root))):
        wide = [max(len(row[column]) for row in rows) for column in (0, 1)]
        lines = [f"  {name:<{wide[0]}}  {where:<{wide[1]}}  {needed}" for name, where, needed in rows]
        parts.append("\n".join([title, *lines]))
    return "\n\n".join(parts)
