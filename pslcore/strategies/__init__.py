"""The methods, by name. See ``base.Strategy`` for what a method is, and docs/methods.md for how to add one."""

import ast
import inspect
from functools import cache
from pathlib import Path
from typing import Any

from pslcore import plugins
from pslcore.settings import short
from pslcore.strategies.alfa_mix import ALFAMix
from pslcore.strategies.badge import BADGE
from pslcore.strategies.base import ClientLearner, Query, Setup, Strategy, top
from pslcore.strategies.core_set import CoreSet
from pslcore.strategies.entropy import Entropy
from pslcore.strategies.ll4al import LL4AL, LossPrediction
from pslcore.strategies.psl import PSL
from pslcore.strategies.random import Random
from pslcore.strategies.vaal import VAAL, VAE, discriminator

_STRATEGIES: dict[str, type[Strategy]] = {
    "psl": PSL, "random": Random, "entropy": Entropy, "ll4al": LL4AL,
    "vaal": VAAL, "core_set": CoreSet, "badge": BADGE, "alfa_mix": ALFAMix,
}  # fmt: skip


PACKAGES = "pslcore.methods"
"""The group of entry points, of classes that inherit from ``Strategy``."""


def names() -> list[str]:
    """The methods of this package, and what was registered; ``get`` knows those of installed packages as well."""
    plugins.resolver("methods")  # registers its own
    return list(_STRATEGIES)


def kind(name: str) -> type[Strategy]:
    """The class of that name, whose fields are the method's options.

    Raises
    ------
    ValueError
        In one sentence, if there is none, or the package that gives it cannot be imported or gives something else.
    """
    if name not in _STRATEGIES:
        plugins.resolver("methods")
    if name in _STRATEGIES:
        return _STRATEGIES[name]
    given = plugins.find(PACKAGES, name)
    if given is None:
        known = ", ".join([*_STRATEGIES, *plugins.names(PACKAGES)])
        raise ValueError(f"unknown method {name!r}: choose one of {known}.")
    cls = given.load()
    if not (isinstance(cls, type) and issubclass(cls, Strategy)):
        mend = "it must be a class that inherits from pslcore.strategies.Strategy."
        raise ValueError(f"the method {name!r} of the package {given} is {short(cls)}: {mend}")
    return cls


def foreign(name: str) -> str:
    """Package, version and hash of the file of a method that an installed package gives; else empty."""
    given = None if name in _STRATEGIES else plugins.find(PACKAGES, name)
    return given.identity() if given else ""


def register(name: str, cls: type[Strategy]) -> None:
    """Make a method known to this process; ``ValueError`` if the name is another's."""
    if _STRATEGIES.setdefault(name, cls) is not cls:
        raise ValueError(f"the name {name!r} is that of another method already: choose another.")


def get(name: str, options: dict[str, Any] | None = None) -> Strategy:
    """The method of that name with its options.

    Raises
    ------
    ValueError
        If the name or an option is unknown, or an option's value impossible.
    """
    cls = kind(name)
    try:
        return cls.of(options or {})
    except ValueError as error:
        raise ValueError(f"options of {cls.__name__}: {error}") from None


def source(name: str) -> Path:
    """The file that the method is written in."""
    return Path(inspect.getfile(kind(name)))


def sources(name: str) -> set[Path]:
    """The files that decide what the method does: its own, and what it imports from this folder, however far."""
    found, todo = set(), {source(name)}
    while todo:
        file = todo.pop()
        found.add(file)
        todo |= {Path(__file__).with_name(f"{name}.py") for name in _imports(file.read_text())} - found
    return found


@cache
def _imports(text: str) -> frozenset[str]:
    """The modules of this folder that a source imports from; every run of a grid asks for the same few."""
    imported = (node.module or "" for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ImportFrom))
    return frozenset(name.rpartition(".")[2] for name in imported if name.startswith("pslcore.strategies."))
