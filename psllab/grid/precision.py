"""In which precision a seed of an experiment goes on: that it was begun in, since only like runs make a pair."""

from collections import Counter
from collections.abc import Sequence

import torch

from pslcore.recipe import Recipe
from pslcore.runs import Config, Record
from psllab.grid.params import Cell


class Settled(Recipe):
    """A recipe of precision ``auto`` for which somebody else has settled it; names of records are those of ``auto``."""

    @property
    def settled(self) -> str:
        """``float32`` or ``bfloat16``."""
        return self.__dict__["_settled"]

    def on(self, device: torch.device) -> Recipe:
        return Recipe(**{name: getattr(self, name) for name in Recipe.model_fields} | {"precision": self.settled})


def settle(config: Config, precision: str) -> Config:
    """The same config, key and all, that will train in this precision if its recipe leaves it open."""
    if config.recipe.precision != "auto":
        return config
    recipe = Settled.model_construct(**{name: getattr(config.recipe, name) for name in Recipe.model_fields})
    recipe.__dict__["_settled"] = precision
    return config.model_copy(update={"recipe": recipe})


def fitting(
    todo: Sequence[Cell], finished: Sequence[tuple[Cell, Record]], native: bool, mixed: bool = False
) -> tuple[list[Cell], list[int]]:
    """The runs that this machine can pair with finished ones, each with its precision set, and the seeds left over.

    With ``auto`` a seed goes on in the precision that most of its finished runs have. Float32 can be had everywhere;
    a seed begun in bfloat16 waits for a machine that computes it itself (``native``), since emulation is many times too
    slow. Where only some machines do (``mixed``) new seeds are begun in float32.
    """
    begun: dict[int, Counter[str]] = {}
    for cell, record in finished:
        if record.get("precision"):
            begun.setdefault(cell.config.seed, Counter())[record["precision"]] += 1
    fit: list[Cell] = []
    later: list[int] = []
    for cell in todo:
        found = begun.get(cell.config.seed) if cell.config.recipe.precision == "auto" else None
        if not found:
            fit.append(Cell(cell.label, settle(cell.config, "float32")) if mixed else cell)
        elif (wanted := found.most_common(1)[0][0]) == "float32" or native:
            fit.append(Cell(cell.label, settle(cell.config, wanted)))
        else:
            later.append(cell.config.seed)
    return fit, sorted(set(later))
