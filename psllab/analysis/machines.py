"""The published results of a scale to compare a reproduction with: digest and area of every record, by kind of machine.

One kind of machine gives the same records bit for bit; another kind gives others, since it adds up in another order.
``outputs/machines.json`` holds both for those that were published; ``make machine`` adds what this machine has made.
"""

import json
import os
import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from pslcore.runs import Record, records
from psllab import grid
from psllab.analysis import statistics
from psllab.grid import Cell

FILE = "outputs/machines.json"
KIND = ("device", "processor", "model", "capability", "bfloat16")
"""What of a record's hardware decides bits."""
_HELD = {"AVX2": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}}
"""What holds torch and oneDNN to these instructions, if it is set before they are loaded."""


def kind(record: Record) -> str:
    """The kind of machine that made a record, as far as it decides bits."""
    machine = record["hardware"]
    said = {name: str(machine.get(name, "?")) for name in KIND}
    parts = [said["processor"], said["model"], said["capability"], f"bfloat16 {said['bfloat16']}"]
    return ", ".join(parts if said["device"] == "cpu" else [said["device"], *parts])


def alike(one: Record, other: Record) -> bool:
    """Whether two runs come from machines of one kind and from the same versions."""
    return one["versions"] == other["versions"] and all(
        one["hardware"].get(name) == other["hardware"].get(name) for name in KIND
    )


def limits(made_on: str) -> dict[str, str]:
    """The environment in which this processor gives the bits of one of that ``kind``, known by its instructions.

    Empty if it gives them as it is, cannot, or has it already. A processor of AMD with AVX-512 that is held to AVX2
    gives the bits of one of AMD that has no more: ten records of ten methods were the same on family 25 model 1 and,
    a generation and a day later, family 26 model 2. One of Intel (family 6 model 207) gives them of its own model only.
    """
    held = next((held for capability, held in _HELD.items() if f", {capability}," in made_on), {})
    here = records.hardware(torch.device("cpu"))
    near = f", {here['model']}, " in made_on or ("AMD" in made_on and "AMD" in str(here["processor"]))
    in_vain = held.items() <= os.environ.items()
    return dict(held) if near and here["capability"] == "AVX512" and not in_vain else {}


def area(record: Record) -> float:
    """The mean of the metric over the budgets, in per cent."""
    return round(100 * statistics.area_of(record), 4)


def found(
    scale: str, params: str | Path = "params.yaml", out: str | Path = "outputs"
) -> dict[str, tuple[str, Cell, Record]]:
    """The finished records of a scale by key, each once: the experiment it stands in first, its cell, itself."""
    runs: dict[str, tuple[str, Cell, Record]] = {}
    for name in grid.experiments(scale, params):
        for cell, record in grid.collect(name, scale, params, out).runs:
            runs.setdefault(cell.config.key, (name, cell, record))
    return runs


def publish(
    scale: str, file: str | Path = FILE, params: str | Path = "params.yaml", out: str | Path = "outputs"
) -> dict[str, int]:
    """Write the finished records of a scale into the file, those of other kinds of machine and of other scales kept.

    Returns
    -------
    dict
        How many records of each kind of machine were written.
    """
    known = _read(file)
    machines: dict[str, dict[str, list]] = defaultdict(dict)
    for key, (_, _, record) in found(scale, params, out).items():
        machines[kind(record)][key] = [grid.digest(record), area(record)]
    known[scale] = known.get(scale, {}) | machines
    records.write_bytes(Path(file), _text(known).encode())
    return {name: len(rows) for name, rows in machines.items()}


def _read(file: str | Path) -> dict[str, dict[str, dict[str, list]]]:
    """Scale → kind of machine → key → digest and area."""
    return json.loads(Path(file).read_text("utf-8")) if Path(file).exists() else {}


def _text(known: dict) -> str:
    """A line a record, so that git shows what changed."""
    text = json.dumps(known, indent=1, sort_keys=True, ensure_ascii=False)
    return re.sub(r"\[\s+([^\s]+)\s+([^\s]+)\s+\]", r"[\1 \2]", text) + "\n"


@dataclass
class Reproduction:
    """Records of this machine beside those published.

    Attributes
    ----------
    scale, machine : str
    own : bool
        Whether records of this kind of machine are published.
    other : str
        The kind held against where ``own`` is false: the one with most of these records.
    same, new : int
        Records equal to a published one bit for bit; those that were never published.
    far : dict
        Of each record that differs, (experiment, label, seed) → difference of the areas (points), and the same in
        standard deviations over the seeds of the experiment's curves (NaN where the seeds do not spread).
    """

    scale: str
    machine: str = ""
    own: bool = True
    other: str = ""
    same: int = 0
    new: int = 0
    far: dict[tuple[str, str, int], tuple[float, float]] = field(default_factory=dict)

    def __str__(self) -> str:
        """One to three sentences for the end of ``make repro``."""
        n = self.same + len(self.far)
        if not n:
            return f"No record at {self.scale} stands in {FILE}: there is nothing to compare with."
        all_or = "All" if self.same == n else f"{self.same} of"
        words = [f"{all_or} {n} records at {self.scale} are the same, bit for bit, as those published for "]
        words.append(f"this kind of machine ({self.machine})." if self.own else f"{self.other}.")
        if not self.own:
            words.append(f" For this kind ({self.machine}) none are published")
            words.append(": other bits are to be expected." if self.far else ".")
        if self.far and (held := limits(self.other)):
            words.append(f" {' '.join(f'{name}={value}' for name, value in held.items())} make repro gives those bits.")
        if self.far:
            spreads = [abs(in_spreads) for _, in_spreads in self.far.values() if not np.isnan(in_spreads)]
            worst = max(self.far, key=lambda run: abs(self.far[run][0]))
            points = np.median([abs(points) for points, _ in self.far.values()])
            words.append(
                f" The areas of the other {len(self.far)} are {points:.1f} points from the published ones in the median"
            )
            words.append(f" ({np.median(spreads):.1f} spreads of their seeds)" if spreads else "")
            words.append(f", at most {abs(self.far[worst][0]):.1f} ({worst[0]}, {worst[1]}, seed {worst[2]}")
            words.append(f": {abs(self.far[worst][1]):.1f} spreads)." if not np.isnan(self.far[worst][1]) else ").")
        if self.new:
            words.append(f" {self.new} more were never published.")
        return "".join(words)


def compare(
    scale: str, file: str | Path = FILE, params: str | Path = "params.yaml", out: str | Path = "outputs"
) -> Reproduction:
    """Hold the finished records of a scale against the published ones; runs nothing."""
    runs, published = found(scale, params, out), _read(file).get(scale, {})
    result = Reproduction(scale)
    if not runs:
        return result
    kinds = [kind(record) for _, _, record in runs.values()]
    result.machine = max(sorted(set(kinds)), key=kinds.count)
    result.own = result.machine in published
    result.other = result.machine if result.own else max(
        sorted(published), key=lambda name: len(published[name].keys() & runs.keys()), default=""
    )  # fmt: skip
    rows = published.get(result.other, {})
    spreads = _spreads(runs, rows)
    for key, (name, cell, record) in runs.items():
        if key not in rows:
            result.new += 1
        elif rows[key][0] == grid.digest(record):
            result.same += 1
        else:
            points, spread = area(record) - rows[key][1], spreads[name]
            result.far[name, cell.label, cell.config.seed] = points, points / spread if spread else float("nan")
    return result


def _spreads(runs: dict[str, tuple[str, Cell, Record]], rows: dict[str, list]) -> pd.Series:
    """Of each experiment the standard deviation over its seeds: root mean square of those of its published curves."""
    known = [(name, cell.label, rows[key][1]) for key, (name, cell, _) in runs.items() if key in rows]
    areas = pd.DataFrame(known, columns=["experiment", "label", "area"]).groupby(["experiment", "label"])["area"]
    return areas.var().groupby("experiment").mean() ** 0.5
