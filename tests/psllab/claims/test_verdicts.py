"""The data file of claims, and what people read of them."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from psllab import grid
from psllab.analysis.decision import INCONCLUSIVE, NOT_RUN, SUPPORTED
from psllab.claims import checks, verdicts
from psllab.claims.evidence import EXPERIMENTS, Evidence
from psllab.claims.finding import KINDS

SEEDS = 5
FIRST = {"kind": "lead", "better": ["PSL"], "worse": ["Random", "Entropy"], "at": "area"}

# The data file

NUMBERS = {  # of the paper's text and tables, section 7 of the specification
    "table1": ["11.17 M", "11.29 M", "23.11 M", "15.90 M", "16.02 M", "0.16 M", "3.25 M"],
    "table2": ["0.9", "17.2", "9.1", "1.2", "8.9", "2.5", "0.001 s"],
    "fig3a": ["40.8 %", "78.06 %", "1.5 points", "4.3 points"],
    "fig3b": ["9.1 %", "28.8 %", "0.9 points", "4.4 points"],
    "fig3c": ["17.3 %"],
    "fig4a": ["32.7 %", "47.5 %", "1.1 points"],
    "fig5a": ["1.5 points", "2.5 points"],
    "fig5c": ["0.078 M", "0.18 M", "11.17 M", "143 times", "62 times"],
    "fig6a": ["10 % noise"],
    "fig6b": ["20 % noise"],
    "fig6c": ["30 % noise"],
}


def test_every_printed_number_has_a_claim():
    loaded = verdicts.load()
    for experiment, numbers in NUMBERS.items():
        printed = [claim.paper for claim in loaded if experiment in claim.experiments]
        assert not [number for number in numbers if not any(re.search(rf"(?<![\d.]){number}", p) for p in printed)]
    assert {name for claim in loaded for name in claim.experiments} == set(EXPERIMENTS)


def test_a_number_in_a_check_is_the_printed_one():
    for claim in verdicts.load():
        for name in ("points", "value", "most"):
            if claim.check.arguments.get(name):
                assert claim.paper.startswith(str(claim.check.arguments[name])), claim.id
        if claim.check.kind == "size":
            assert set(claim.check.arguments["of"]) <= set(checks.parameters())
        if claim.check.kind == "across":
            assert len(claim.experiments) == 2


def test_the_curves_are_those_of_the_paper_scale():
    params = Path(__file__).parents[3] / "params.yaml"
    labels = Evidence("paper", params).labels
    for claim in verdicts.load():
        if claim.check.kind in ("lead", "level", "across", "steadier"):
            for experiment in set(claim.experiments) & set(labels):
                parts = [claim.check.arguments.get(part, []) for part in ("better", "worse", "curves")]
                named = {label for part in parts if isinstance(part, list) for label in part}
                assert named <= set(labels[experiment]), claim.id


def test_every_kind_is_of_use():
    assert {claim.check.kind for claim in verdicts.load()} == set(KINDS)


ENTRY = {"id": "a", "experiments": ["fig3a"], "claim": "So.", "source": "here", "paper": "–", "check": FIRST}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"check": {"kind": "guess"}}, "claim 'a': unknown kind 'guess': choose one of lead, "),
        ({"check": {"at": 1}}, "claim 'a': `check.kind` is missing"),
        ({"check": {"kind": [1]}}, r"claim 'a': check.kind = \[1\] must be a valid string"),
        ({"check": FIRST | {"colour": 1}}, "claim 'a': colour = 1"),
        ({"check": {"kind": "lead", "at": 0}}, "claim 'a': `better` is missing"),
        ({"verdict": "supported"}, "claim 'a': unknown setting 'verdict': choose from id, "),
        ({"experiments": ["fig9"]}, "claim 'a': experiments.0 = 'fig9' must be 'table1', "),
        ({"experiments": []}, r"claim 'a': experiments = \[\]: list should have at least 1"),
        ({"paper": 40.8}, "claim 'a': paper = 40.8 must be a valid string"),
        ({"check": FIRST | {"at": "end"}}, "claim 'a': at = 'end' must be a cycle .* or `area`"),
        ({"check": FIRST | {"points": 0.9, "margin": 1.5}}, "margin = 1.5 must be .* at most the lead itself, 0.9"),
        ({"check": FIRST | {"points": 0.9}}, "margin = 0.0 must be above 0 and"),
        (None, "claim 'a' stands twice"),
    ],
)
def test_a_bad_entry_is_refused(tmp_path, changes, message):
    path = tmp_path / "claims.yaml"
    path.write_text(yaml.safe_dump([ENTRY, ENTRY] if changes is None else [ENTRY | changes]))
    with pytest.raises(ValueError, match=message) as told:
        verdicts.load(path)
    assert "\n" not in str(told.value)
    path.write_text(yaml.safe_dump([ENTRY]))
    assert [claim.id for claim in verdicts.load(path)] == ["a"]


@pytest.mark.parametrize("content", [None, 3, {"id": "a"}, ["a"], [None], [{1: 2}]])
def test_a_file_of_another_shape_is_refused(tmp_path, content):
    path = tmp_path / "claims.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(ValueError, match=r"claims\.yaml: ") as told:
        verdicts.load(path)
    assert "\n" not in str(told.value)


# The whole


@pytest.fixture
def whole(world, tmp_path):
    """``whole(...)``: the rows of all claims, of a world with three curves."""

    def build(**more):
        curves = {name: np.full((SEEDS, 6), level) for name, level in (("PSL", 78.0), ("Random", 70), ("Entropy", 71))}
        curves["PSL"] += np.linspace(0, 1, SEEDS)[:, None]
        world({"fig3a": curves, "fig3d": curves}, **more)
        return verdicts.judge("quick", tmp_path / "params.yaml", tmp_path / "outputs")

    return build


def test_every_claim_gets_its_row(whole):
    rows = whole()
    assert [row["id"] for row in rows] == [claim.id for claim in verdicts.load()]
    fields = "id experiment claim source paper ours seeds scale data hardware verdict basis reason stale"
    fields += " forecast more_seeds core_minutes kind curves unit paper_value region comparisons"
    assert all(" ".join(row) == fields for row in rows)
    found = {row["id"]: row for row in rows}
    for name in ("fig8-psl-first", "fig8-below-fig3a"):
        assert found[name]["verdict"] == NOT_RUN
        assert found[name]["reason"].startswith("missing: fig8 (not at this scale)")
    first = found["fig3a-psl-first"]
    assert (first["verdict"], first["seeds"], first["scale"]) == (INCONCLUSIVE, SEEDS, "quick")
    assert (first["data"], first["hardware"], first["stale"]) == ("made-up", "Abacus (cpu)", 0)
    assert first["reason"].startswith(
        "missing: LL4AL, VAAL, Core-set, BADGE, ALFA-Mix of fig3a (not at this scale); at scale"
    )
    assert first["reason"].endswith("at scale quick on made-up, not by the paper's protocol")
    assert (found["table1-psl"]["verdict"], found["table1-psl"]["data"]) == (SUPPORTED, "–")
    assert found["fig5c-62-times"]["reason"].endswith("62 is the ratio of the rounded sizes, 11.17 M and 0.18 M.")
    assert found["privacy-standard"]["verdict"] == SUPPORTED
    assert sum(verdicts.counts(rows).values()) == len(rows)
    assert list(verdicts.counts([])) == [
        "supported", "contradicted", "no relevant difference", "inconclusive", "not applicable", "not run",
    ]  # fmt: skip


def test_each_experiment_is_read_once(whole, monkeypatch):
    asked = []
    collect = grid.collect
    monkeypatch.setattr(grid, "collect", lambda name, *given: asked.append(name) or collect(name, *given))
    whole()
    assert sorted(asked) == ["fig3a", "fig3d"]


def test_records_of_other_code_are_counted(whole):
    def old(experiment, cell, record):
        if (experiment, cell.label) in (("fig3a", "PSL"), ("fig3d", "Entropy")):
            record["source"] = "before"

    found = {row["id"]: row for row in whole(change=old)}
    assert found["fig3a-lead-random"]["stale"] == SEEDS
    assert found["psl-superior"]["stale"] == 2 * SEEDS
    assert found["table1-psl"]["stale"] == 0
    assert "(5 records made by other code)" in verdicts.table([found["fig3a-lead-random"]])["why"][0]


def test_a_scale_that_is_not_there(whole, tmp_path):
    whole()
    with pytest.raises(ValueError, match="unknown scale 'huge': choose one of quick"):
        verdicts.judge("huge", tmp_path / "params.yaml", tmp_path)


@pytest.mark.slow
def test_what_is_written_is_what_was_judged(whole, tmp_path):
    rows = whole()
    path = verdicts.write(rows, "quick", tmp_path)
    assert path == tmp_path / "quick" / "claims.json"
    before = path.read_bytes()
    assert json.loads(before) == rows
    verdicts.write([dict(reversed(row.items())) for row in whole()], "quick", tmp_path)
    assert path.read_bytes() == before


def test_a_table_for_people(whole):
    rows = whole()
    rows[0]["claim"] = "one | two"
    lines = verdicts.markdown(rows).splitlines()
    assert len(lines) == len(rows) + 2
    cells = [re.split(r"(?<!\\)\|", line) for line in lines]
    assert {len(line) for line in cells} == {6 + 2}
    assert "one \\| two" in lines[2]
    assert verdicts.table(rows).shape == (len(rows), 9)
    assert verdicts.table([]).empty
