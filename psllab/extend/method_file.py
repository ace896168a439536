"""A method in a user's file: found in it, named by the hash of its bytes, and registered in this process."""

from pslcore.strategies.base import Strategy
from psllab import userfile


def of_file(name: str) -> type[Strategy]:
    """The one ``Strategy`` that ``mine.py`` defines, or the one that ``mine.py:Name`` names.

    Raises
    ------
    ValueError
        In one sentence, if the file cannot be loaded, defines none, or several of which none is named.
    """
    path, wanted = userfile.split(name)
    module = userfile.load(path)
    found = {
        each: value for each, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, Strategy) and value.__module__ == module.__name__
    }  # fmt: skip
    if wanted and wanted not in found:
        raise ValueError(f"{path} defines no Strategy {wanted!r}: choose from {', '.join(found) or 'none'}.")
    if not found:
        raise ValueError(
            f"{path} defines no Strategy: write `class Mine(Strategy)` with a method `pick` "
            "(`pslcore new method mine.py` begins one)."
        )
    if not wanted and len(found) > 1:
        raise ValueError(
            f"{path} defines {len(found)} strategies, {' and '.join(found)}: name one, such as "
            f"{path}:{next(iter(found))}."
        )
    return one_side(found[wanted or next(iter(found))])


def one_side(cls: type[Strategy]) -> type[Strategy]:
    """The class itself; ``ValueError`` if it would hold the task learner and the client's images in the same hands."""
    if cls.has_auxiliary and cls.learner is not Strategy.learner:
        told = f"{cls.__name__} has an `auxiliary` module beside the task learner and a `learner` on the client"
        raise ValueError(f"{told}: a method has one of the two, or unlabelled images could meet the task learner.")
    return cls


def known_as(name: str, cls: type[Strategy]) -> str:
    """What the class of ``of_file(name)`` is called in configs: its own name and the hash of its file."""
    return f"{cls.__name__}-{userfile.digest(userfile.split(name)[0])}"
