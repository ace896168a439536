"""What would settle a claim, and runs that do it: chosen from the records alone, killed or not."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from pslcore.runs import records
from psllab import grid as campaign
from psllab.claims import checks, forecast, scheduler, verdicts
from psllab.claims.evidence import Claim, Evidence
from psllab.claims.finding import KINDS
from psllab.grid import runner

TOP = Path(__file__).parents[3]
CYCLES = 3
LEAD = {"kind": "lead", "better": ["PSL"], "worse": ["Random"], "at": "area"}
NOISE = np.random.default_rng(0).normal(0, 1, (20, 1)) + np.zeros(CYCLES)


def made(identity="made", experiments=("fig3a",), **check):
    said = {"claim": "So.", "source": "ours", "paper": "–", "experiments": list(experiments)}
    return Claim(id=identity, check=LEAD | check, **said)


def ahead(evidence, claim=None, **more):
    claim = claim or made()
    return forecast.expected(evidence, claim, KINDS["lead"](evidence, claim, **claim.check.arguments), **more)


def finished(world, n, lead=1.0, spread=1.0, interim=(5, 10, 20), seeds=20, **more):
    """Two curves with ``n`` finished seeds of twenty."""
    noise = (NOISE - NOISE[:n].mean()) / NOISE[:n, 0].std(ddof=1) if n > 1 else NOISE
    curves = {"PSL": (70 + lead + spread * noise)[:seeds], "Random": np.full((seeds, CYCLES), 70.0)}
    absent = {("fig3a", label, seed) for label in curves for seed in range(n, seeds)} | more.pop("absent", set())
    return world({"fig3a": curves}, interim=list(interim) if interim else None, absent=absent, **more)


# The forecast


@pytest.mark.parametrize(
    ("n", "lead", "seeds"), [(5, 1.0, 5), (5, 0.7, 15), (10, 0.7, 10), (2, 3.0, 3), (5, 0.3, None), (20, 0.5, None)]
)
def test_the_next_look_that_would_decide(world, n, lead, seeds):
    found = ahead(finished(world, n, lead))
    if seeds is None:
        assert found.runs == []
        assert found.text.endswith("more than the 20 of params.yaml")
        return
    assert found.seeds == seeds
    assert found.minutes == pytest.approx(2 * seeds * CYCLES / 60)  # a second a cycle, two runs a seed
    assert [(cell.label, cell.config.seed) for _, cell in found.runs] == [
        (label, seed) for seed in range(n, n + seeds) for label in ("PSL", "Random")
    ]
    assert found.text.startswith(f"about {seeds} more paired seeds, ")


@pytest.mark.slow
def test_it_comes_true(world):
    """Where mean and spread stay as they are, the verdict comes at the look that was foretold."""
    for n, lead in ((5, 1.0), (5, 0.7), (10, 0.7)):
        target = n + ahead(finished(world, n, lead)).seeds
        evidence = finished(world, target, lead)
        assert ahead(evidence) is None
        assert KINDS["lead"](evidence, made(), **made().check.arguments).verdict == checks.SUPPORTED


def test_what_a_curve_costs_is_known_from_its_namesakes(world):
    def slow(experiment, cell, record):
        for entry in record["cycles"]:
            entry["seconds"] = {"train": 100.0 if cell.label == "VAAL" else 1.0}

    flat = np.full((3, 2), 70.0)
    of_three = {"PSL": flat, "Random": flat, "VAAL": flat}
    absent = {("fig3b", "VAAL", seed) for seed in range(3)}
    evidence = world({"fig3a": of_three, "fig3b": of_three}, change=slow, absent=absent)
    assert forecast.seconds_a_run(evidence, ("fig3b", "PSL")) == 2
    assert forecast.seconds_a_run(evidence, ("fig3b", "VAAL")) == 200
    assert forecast.seconds_a_run(evidence, ("fig3b", "BADGE")) == 2


def test_what_is_settled_or_cannot_be_needs_nothing(world):
    assert ahead(finished(world, 5, 3.0)) is None
    assert ahead(finished(world, 5), made(worse=["VAAL"])) is None
    assert ahead(finished(world, 5), made(experiments=["fig8"])) is None


def test_with_nothing_run_the_first_look_is_the_next(world):
    found = ahead(finished(world, 0))
    assert (found.seeds, found.minutes, found.text) == (5, None, "at least 5 more paired seeds")
    assert len(found.runs) == 10


def test_a_curve_that_nobody_has_begun_is_named(world):
    found = ahead(finished(world, 5, absent={("fig3a", "Random", seed) for seed in range(5)}))
    assert (found.seeds, found.text) == (5, f"at least 5 seeds of Random, {5 * CYCLES / 60:.1f} core-minutes")


def test_without_looks_it_is_the_whole_experiment(world):
    found = ahead(finished(world, 3, seeds=4, interim=None))
    assert (found.seeds, len(found.runs)) == (1, 2)
    found = ahead(finished(world, 4, lead=0.8, seeds=4, interim=None))
    assert found.runs == []
    assert found.seeds > 0
    assert "paired seeds in all" in found.text


def test_seeds_to_be_avoided_or_mixed_are_passed_over(world):
    found = ahead(finished(world, 5), avoid=frozenset({("fig3a", 6)}))
    assert sorted({cell.config.seed for _, cell in found.runs}) == [5, 7, 8, 9, 10]

    def change(experiment, cell, record):
        record["precision"] = "bfloat16" if (cell.label, cell.config.seed) == ("PSL", 1) else "float32"

    found = ahead(finished(world, 6, change=change))
    assert sorted({cell.config.seed for _, cell in found.runs}) == [6, 7, 8, 9, 10]


def test_rows_show_it(world, tmp_path):
    finished(world, 5, lead=3.0)
    rows = {row["id"]: row for row in verdicts.judge("quick", tmp_path / "params.yaml", tmp_path / "outputs")}
    assert rows["fig3a-psl-first"]["forecast"].startswith("not by seeds alone: what is not at this scale would")
    row = rows["fig3a-lead-random"]
    assert row["forecast"]
    assert "to settle it: " in verdicts.table([row])["why"][0]
    assert rows["table1-psl"]["forecast"] == ""


# The choice


def test_the_cheapest_runs_that_settle_most_come_first(world, monkeypatch):
    evidence = finished(world, 5)
    long = [ahead(evidence, made("a")), ahead(evidence, made("b")), ahead(evidence, made("c"))]
    assert scheduler.choose(evidence, long) == scheduler.Choice("a", 5, (("fig3a", "PSL"), ("fig3a", "Random")))
    long[1].minutes /= 2
    assert scheduler.choose(evidence, long).claim == "b"
    long[2].runs, long[2].minutes = [run for run in long[2].runs if run[1].config.seed > 7], 0.45 * long[0].minutes
    assert scheduler.choose(evidence, long).seed == 5  # b settles c as well
    assert scheduler.choose(evidence, []) is None


# Running


CLAIMS = [made("two", worse=["Random", "Entropy"]), made("one")]


@pytest.fixture
def here(tmp_path, root, settings_of_tiny, monkeypatch):
    """A scale of four seeds with looks at 2 and 4, and two claims on it; a run costs the same whatever a clock says."""
    base = {name: value for name, value in settings_of_tiny.items() if name not in ("method", "final")}
    methods = {"PSL": {"method": "psl"}, "Random": {"method": "random"}, "Entropy": {"method": "entropy"}}
    section = {"config": {"final": 12}, "methods": methods, "seeds": 4}
    params = tmp_path / "params.yaml"
    params.write_text(yaml.safe_dump({"scales": {"quick": {"looks": [2, 4], "base": base, "fig3a": section}}}))
    monkeypatch.setattr(verdicts, "load", lambda: CLAIMS)
    monkeypatch.setattr(campaign, "seconds_of", lambda record: 1.0)

    class Here:
        def __init__(self):
            self.out, self.said = tmp_path / "outputs", []

        def run(self, minutes=10, **more):
            where = {"params": params, "root": root, "out": self.out, "jobs": 1, "device": "cpu"}
            return scheduler.run("quick", minutes, say=self.said.append, **where | more)

        def records(self):
            runs = campaign.collect("fig3a", "quick", params, self.out).runs
            return [(cell.label, cell.config.seed, records.content(record)) for cell, record in runs]

        def choices(self):
            return json.loads((self.out / "quick" / "settle.json").read_text())

    return Here()


@pytest.mark.slow
def test_it_runs_seed_by_seed_until_nothing_is_left_to_decide(here):
    still = here.run()
    assert not any(each.runs for each in still)
    assert here.said[:2] == [f"two: seed {seed} of PSL, Random, Entropy" for seed in (0, 1)]  # two claims at once
    assert len(here.choices()) == len(here.said)
    seeds = {seed for _, seed, _ in here.records()}
    assert seeds in ({0, 1}, {0, 1, 2, 3})
    before = here.records()
    here.run()
    assert here.records() == before


def test_without_time_nothing_is_begun(here):
    assert any(each.runs for each in here.run(minutes=0))
    assert here.said == []
    assert here.records() == []


@pytest.mark.slow
def test_killed_at_any_run_and_gone_on_with_it_makes_the_same_choices(here, tmp_path, monkeypatch):
    here.run()
    whole, choices, said = here.records(), here.choices(), list(here.said)
    for killed_at in range(1, len(whole), 2):
        here.out, left = tmp_path / f"killed-{killed_at}", [killed_at]
        original = runner.run_one

        def run_one(config, *given, left=left, original=original):
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt
            return original(config, *given)

        monkeypatch.setattr(runner, "run_one", run_one)
        with pytest.raises(KeyboardInterrupt):
            here.run()
        monkeypatch.setattr(runner, "run_one", original)
        here.run()
        assert (here.records(), here.choices()) == (whole, choices)
    assert said


def test_choices_that_cannot_be_read_are_made_anew(here, capsys):
    here.run()
    before = here.records()
    (here.out / "quick" / "settle.json").write_text("[{")
    here.run()
    assert here.records() == before
    assert "cannot be read: the choices are made anew" in capsys.readouterr().out


@pytest.mark.slow
def test_what_waits_for_another_machine_does_not_hold_it_up(here, monkeypatch):
    begun = []

    def run(experiment, scale, params, root, out, jobs, minutes, only, **more):
        begun.append(sorted(only))
        return original(experiment, scale, params, root, out, jobs, minutes, only=only - {("PSL", 0)}, **more)

    original = campaign.run
    monkeypatch.setattr(campaign, "run", run)
    monkeypatch.setattr("psllab.claims.evidence.LEARNED", -100.0)  # two seeds of so small a set may learn nothing
    here.run()
    assert begun[0] == [("Entropy", 0), ("PSL", 0), ("Random", 0)]
    assert begun.count(begun[0]) == 1
    assert {seed for _, seed, _ in here.records()} >= {1, 2}


@pytest.mark.slow
def test_the_command_line_killed_in_the_middle_goes_on(tmp_path):
    base = {"dataset": "digits", "teacher": "resnet8", "initial": 20, "budget": 20, "final": 60}
    base["recipe"] = {"epochs": 6, "batch_size": 32, "padding": 1, "flip": False}
    section = {
        "methods": {"1 peer": {"method": "psl", "options": {"peers": 1}}, "2 peers": {"method": "psl"}},
        "seeds": 2,
    }
    params = tmp_path / "params.yaml"
    params.write_text(yaml.safe_dump({"scales": {"quick": {"looks": [2], "base": base, "fig5b": section}}}))

    def command(out):
        return [sys.executable, "-m", "pslcore", "schedule", "--scale", "quick", "--minutes", "5", "--params",
                str(params), "--out", str(out), "--jobs", "1"]  # fmt: skip

    def told(out):
        found = {path.name: records.content(records.read(path)) for path in (out / "quick" / "runs").glob("*.json")}
        return found, (out / "quick" / "settle.json").read_text()

    whole, killed = tmp_path / "whole", tmp_path / "killed"
    done = subprocess.run(command(whole), cwd=TOP, capture_output=True, text=True)
    assert "seed 0 of 1 peer, 2 peers" in done.stdout, done.stderr
    for _ in range(2):
        process = subprocess.Popen(command(killed), cwd=TOP, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 60
        seen = len([*killed.glob("quick/runs/*.json")])
        while len([*killed.glob("quick/runs/*.json")]) == seen and process.poll() is None and time.monotonic() < end:
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert subprocess.run(command(killed), cwd=TOP, capture_output=True).returncode == done.returncode
    assert told(killed) == told(whole)
    assert len(told(whole)[0]) == 4
    assert Evidence("quick", params, whole).interim == (2,)
