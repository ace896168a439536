"""Settings of peer study compared one after the other: real runs with records, compared and written down."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from pydantic import TypeAdapter

from pslcore import models
from pslcore.runs import Config, OutOfTime, Record, Shelf, load, records, resolve, run, schema
from pslcore.settings import Name
from psllab.explore.pool import usual_student
from psllab.grid import seconds_of

NAMED = {"alpha": "α", "temperature": "τ", "margin": "ξ"}
"""Signs of the paper for the settings."""


class _Until(float):
    """A deadline checked between two cycles, which a user may bring forward: ``passed`` decides."""

    passed: Callable[[], bool]

    def __lt__(self, now: object) -> bool:
        return self.passed()


@dataclass
class Tries:
    """All settings tried so far, each of them a run of its own.

    Attributes
    ----------
    base : Config
        Data, recipe and budgets to start from; PSL.
    folder : path
        Of the records.
    root : path
        Of the data sets.
    records : dict
        Key of the config to its record, in the order of trying; whole ones, and those that were stopped.
    """

    base: Config
    folder: str | Path
    root: str | Path = "data"
    records: dict[str, Record] = field(default_factory=dict)

    def __post_init__(self) -> None:
        dataset = load(self.base.dataset, self.root)
        students = self.base.strategy.students or [usual_student(dataset)]
        examined = 0 if dataset.pixel_labels else len(dataset.test)
        self.base = self.base.but(method="psl", options={"student": students[0]}, examine_peers=examined)

    def config(self, seed: int = 0, budget: int | None = None, **options: Any) -> Config:
        """The base with these options of PSL.

        Raises
        ------
        ValueError
            If one is unknown or impossible.
        """
        options = self.base.options | options
        return self.base.but(seed=seed, budget=self.base.budget if budget is None else budget, options=options)

    def train(self, config: Config, after_cycle: Callable[[Record], None], stop: Callable[[], bool]) -> Record:
        """Run it to its end, or until ``stop``, which is asked between two cycles; the same settings are run once.

        ``after_cycle`` gets the record so far. What was stopped goes on where it stopped when it is trained again.

        Raises
        ------
        ValueError, OSError
            As ``run``.
        """
        shelf = Shelf(Path(self.folder), resolve(config, self.root))
        kept = self._finished(config)
        if kept is None:

            def passed() -> bool:
                record, *_ = shelf.resume()
                if record["cycles"]:
                    self.records[config.key] = record
                    after_cycle(record)
                return stop()

            until = _Until(time.time())
            until.passed = passed
            try:
                kept = run(config, self.root, self.folder, deadline=until)
            except OutOfTime:
                kept, *_ = shelf.resume()
        if kept["cycles"]:
            self.records[config.key] = kept
        after_cycle(kept)
        return kept

    def _finished(self, config: Config) -> Record | None:
        file = Path(self.folder) / f"{config.key}.json"
        try:
            record = schema.read(file) if file.exists() else None
        except records.DamagedRecord:
            return None
        return record if record is not None and record["source"] == resolve(config, self.root).source else None

    def label(self, key: str) -> str:
        """What is particular about a setting, in a few words."""
        config = self.records[key]["config"]
        options, usual = config["options"], self.base.strategy.model_dump()
        peers = options["peers"]
        words = [f"{peers} peer{'s' if peers > 1 else ''}"]
        for name, value in options.items():
            if name == "peers" or value == usual[name]:
                continue
            plain = name.replace("_", "-") if name != "study_protected" else "protected images"
            if name == "student":
                words.append(value)
            else:
                number = f"{value:g}" if isinstance(value, float) else value
                words.append(f"no {plain}" if value is False else f"{NAMED.get(name, name)} {number}")
        words += [f"budget {config['budget']}"] if config["budget"] != self.base.budget else []
        words += [f"seed {config['seed']}"] if config["seed"] else []
        return ", ".join(words)

    def unfinished(self, key: str) -> bool:
        """Whether it was stopped before its last cycle."""
        return bool(self.records[key]["cycles"][-1]["picked"])

    def table(self) -> pd.DataFrame:
        """One row a setting: what it reached and what that took.

        Columns ``settings``, ``labels``, the metric at the last budget and the mean over the budgets (%), ``seconds``
        (of all phases), ``parameters`` (of all peers), ``disagreement`` (% of the test images on which no two peers
        agree), ``bytes crossed`` (both ways), ``unlabelled seen`` by the cloud.
        """
        rows = []
        for key, record in self.records.items():
            cycles, options = record["cycles"], record["config"]["options"]
            last, peers = cycles[-1], record.get("peers")
            dataset = load(self.base.dataset, self.root)
            agreed = None if not peers or options["peers"] < 2 else sum(peers["consensus"]) / len(peers["consensus"])
            rows.append(
                {
                    "settings": self.label(key) + (" (stopped)" if self.unfinished(key) else ""),
                    "labels": last["labelled"],
                    f"{record['metric']} (%)": round(100 * last["metric"], 1),
                    "mean of the curve (%)": round(100 * sum(c["metric"] for c in cycles) / len(cycles), 1),
                    "seconds": round(seconds_of(record), 1),
                    "parameters": parameters(
                        options["student"], options["peers"], len(dataset.classes), dataset.channels
                    ),
                    "disagreement (%)": "–" if agreed is None else f"{100 - 100 * agreed:.1f}",
                    "bytes crossed": sum(row["bytes"] for row in last["crossed"].values()),
                    "unlabelled seen": last["unlabelled_seen"],
                }
            )
        return pd.DataFrame(rows)

    def keep(self, keys: list[str], name: str, scale: str, file: str | Path) -> str:
        """Write settings down as an experiment; the text of a ``params.yaml`` with that experiment alone.

        All settings that decide a run are named, so that the experiment is the same under any ``base``. Settings that
        share data, budget and recipe become methods of one experiment.

        Parameters
        ----------
        keys : list of str
            Of ``records``.
        name, scale : str
            What the experiment is called, and the scale that it stands in.
        file : path
            Where the text goes; whole or not at all.

        Raises
        ------
        ValueError
            If a name is none, nothing was trained yet, or the settings differ in more than PSL's options and seeds.
        OSError
            If the file cannot be written.
        """
        for value in (name, scale):
            try:
                TypeAdapter(Name).validate_python(value)
            except ValueError:
                raise ValueError(f"{value!r} is no name: use letters, digits and . _ - only.") from None
        if not keys:
            raise ValueError("nothing to keep: train some settings first.")
        shared: list[dict[str, Any]] = []
        methods, seeds = {}, 1
        for key in keys:
            config = dict(self.records[key]["config"])
            label = re.sub(r", seed \d+$", "", self.label(key))
            methods[label] = {"method": config.pop("method"), "options": config.pop("options")}
            seeds = max(seeds, config.pop("seed") + 1)
            shared.append(config)
        if any(config != shared[0] for config in shared):
            raise ValueError("these settings have different budgets: keep them as experiments of their own.")
        experiment = {"config": shared[0], "methods": methods, "seeds": seeds}
        text = yaml.safe_dump(
            {"scale": scale, "scales": {scale: {name: experiment}}}, sort_keys=False, allow_unicode=True, width=110,
            default_flow_style=None,
        )  # fmt: skip
        records.write_bytes(Path(file), text.encode())
        return text


def parameters(student: str, peers: int, classes: int, channels: int) -> int:
    """Of all students together."""
    return peers * models.count_parameters(models.build(student, classes, channels))
