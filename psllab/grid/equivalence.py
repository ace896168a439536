"""Check by running that a change of the code changes no record: the golden set under two revisions on one machine.

A record names the fingerprint of the code that made it, which is strict: any change gives another. Where the golden
set comes out the same bit for bit, ``attested.json`` says that two fingerprints stand for the same numbers, for which
method and networks, on what hardware and versions; ``current`` follows it.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import torch

from pslcore.federated import FederatedConfig
from pslcore.runs import Config, Record, records
from psllab.grid import params

GOLDEN = Path(__file__).with_name("golden.yaml")
ATTESTED = Path(__file__).with_name("attested.json")
_SCALE = "golden"
# Only what every revision has: the command line, torch's optimisers, records that get their name when they are whole.
# Accuracies are coarse, so every weight after every step counts as well.
_RUN = """
import hashlib, os, sys
from torch.optim.optimizer import register_optimizer_step_post_hook
from pslcore.__main__ import main

digest, replace = hashlib.sha256(), os.replace

def stepped(optimiser, *_):
    for group in optimiser.param_groups:
        for parameter in group["params"]:
            digest.update(parameter.detach().contiguous().numpy())

def named(source, target):
    global digest
    replace(source, target)
    if str(target).endswith(".json") and ".part." not in str(target):
        with open(f"{target}.weights", "w") as file:
            file.write(digest.hexdigest())
        digest = hashlib.sha256()

register_optimizer_step_post_hook(stepped)
os.replace = named
golden, out, *experiments = sys.argv[1:]
for experiment in experiments:
    try:
        main(["grid", experiment, "--scale", "golden", "--params", golden, "--out", out, "--jobs", "1"])
    except (Exception, SystemExit) as error:
        print(error)
"""


@dataclass
class Finding:
    """What became of one method with its networks: the two fingerprints, golden runs that are equal, what differs."""

    method: str
    networks: list[str]
    old: str = ""
    new: str = ""
    equal: int = 0
    differs: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        name = f"{self.method} ({', '.join(self.networks)})"
        if self.differs:
            return f"{name}: DIFFERS in {'; '.join(self.differs)}"
        left = f"; not to be had there: {', '.join(self.missing)}" if self.missing else ""
        if not self.equal:
            return f"{name}: nothing to compare{left}"
        same = "same code" if self.old == self.new else f"{self.old} = {self.new}"
        return f"{name}: {self.equal} runs equal bit for bit, {same}{left}"


def attest(revision: str, golden: str | Path = GOLDEN, attested: str | Path | None = ATTESTED) -> list[Finding]:
    """Run the golden set under a revision and under the present code; write down what is proven equal.

    Parameters
    ----------
    revision : str
        As git knows it.
    golden : path
        In the form of ``params.yaml``, with the scale ``golden``.
    attested : path, optional
        The file to append to; None writes nothing.

    Returns
    -------
    list of Finding
        One a method with its networks.

    Raises
    ------
    ValueError
        If git does not know the revision, or it holds no ``pslcore``.
    """
    here = Path(__file__).parents[2]
    cells = {
        (name, cell.label): cell.config
        for name in params.experiments(_SCALE, golden)
        for cell in params.cells(name, _SCALE, golden)
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        then = Path(folder) / "then"
        sha = _check_out(here, revision, then)
        outs = {code: Path(folder) / f"{code.name}-records" for code in (then, here)}
        experiments = list(dict.fromkeys(name for name, _ in cells))
        at_work = [_start(code, Path(golden).absolute(), out, experiments) for code, out in outs.items()]
        for process in at_work:
            process.wait()
        found: dict[tuple[str, ...], Finding] = {}
        for (name, label), config in cells.items():
            old, new = (_record(out, config) for out in outs.values())
            group = _method(config), params.source(config)  # runs of one group have one fingerprint
            _compare(found.setdefault(group, Finding(group[0], _networks(config))), f"{name}/{label}", old, new)
    if attested is not None:
        _append(Path(attested), sha, list(found.values()))
    return list(found.values())


def _check_out(here: Path, revision: str, folder: Path) -> str:
    def git(*words: str) -> bytes:
        done = subprocess.run(["git", *words], cwd=here, capture_output=True)
        if done.returncode:
            told = done.stderr.decode(errors="replace").strip().splitlines() or ["?"]
            raise ValueError(f"git cannot give revision {revision!r} of {here} ({told[-1]}): name a commit of it.")
        return done.stdout

    sha = git("rev-parse", "--verify", "--end-of-options", f"{revision}^{{commit}}").decode().strip()
    packages = git("ls-tree", "--name-only", sha, "pslcore", "psllab").decode().split() or ["pslcore"]
    folder.mkdir()
    subprocess.run(["tar", "-x", "-C", str(folder)], input=git("archive", sha, *packages), check=True)
    return sha


def _start(code: Path, golden: Path, out: Path, experiments: list[str]) -> subprocess.Popen:
    alone = {"CUDA_VISIBLE_DEVICES": "", "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    with open(out.with_suffix(".log"), "wb") as log:
        return subprocess.Popen(
            [sys.executable, "-c", _RUN, str(golden), str(out), *experiments],
            cwd=out.parent,
            env=os.environ | alone | {"PYTHONPATH": str(code)}, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip


def _record(out: Path, config: Config) -> Record | None:
    path = out / _SCALE / "runs" / f"{config.key}.json"
    if not path.exists():
        return None
    return records.read(path) | {"weights": Path(f"{path}.weights").read_text("utf-8")}


def _method(config: Config) -> str:
    return f"federated {config.method}" if isinstance(config, FederatedConfig) else config.method


def _networks(config: Config) -> list[str]:
    return sorted({config.teacher, *config.strategy.students})


def _compare(finding: Finding, run: str, old: Record | None, new: Record | None) -> None:
    if new is None:
        finding.differs.append(f"{run} (it does not run today)")
    elif old is None:
        finding.missing.append(run)
    else:
        finding.old, finding.new = old["source"], new["source"]
        finding.networks = sorted({*finding.networks, *_networks(params.config_of(new["config"]))})
        # The config, and what a record says, may have grown.
        said = {name: value for name, value in records.content(old).items() if name != "config"}
        where = difference(said, {name: value for name, value in records.content(new).items() if name in said})
        if where:
            finding.differs.append(f"{run} ({where})")
        else:
            finding.equal += 1


def difference(old: Any, new: Any, place: str = "") -> str:
    """Where two records part first."""
    if isinstance(old, dict) and isinstance(new, dict) and old.keys() == new.keys():
        inner = ((f"{place}.{name}".lstrip("."), old[name], new[name]) for name in old)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        inner = ((f"{place}[{n}]", one, other) for n, (one, other) in enumerate(zip(old, new, strict=True)))
    else:
        return "" if old == new else f"{place}: {str(old)[:40]} then, {str(new)[:40]} now"
    return next((where for item in inner if (where := difference(item[1], item[2], item[0]))), "")


def _append(path: Path, sha: str, findings: list[Finding]) -> None:
    """Add what is new of what is proven."""
    known = _read(path)
    pairs = {(row["old"], row["new"]) for row in known}
    proven = [
        {"old": one.old, "new": one.new, "method": one.method, "networks": one.networks, "runs": one.equal,
         "revision": sha, "hardware": records.hardware(torch.device("cpu")), "versions": records.versions()}
        for one in findings
        if one.equal and not one.differs and one.old != one.new and (one.old, one.new) not in pairs
    ]  # fmt: skip
    if proven:
        rows = ",\n".join(json.dumps(row, sort_keys=True) for row in known + proven)
        records.write_bytes(path, f"[\n{rows}\n]\n".encode())
        _graph.cache_clear()


def _read(path: Path) -> list[dict[str, Any]]:
    return json.loads(path.read_text("utf-8")) if path.exists() else []


@cache
def _graph(path: Path = ATTESTED) -> dict[str, set[str]]:
    graph: dict[str, set[str]] = defaultdict(set)
    for row in _read(path):
        graph[row["old"]].add(row["new"])
        graph[row["new"]].add(row["old"])
    return graph


def current(source: str, today: str) -> bool:
    """Whether a record of the code ``source`` is what ``today``'s code would make, as far as has been proven."""
    graph, reached, todo = _graph(), {source}, [source]
    while todo and today not in reached:
        following = graph.get(todo.pop(), set()) - reached
        reached |= following
        todo += following
    return today in reached
