"""What a claim may say, and what is found in records for it."""

import numpy as np
import pytest
from pydantic import ValidationError

from psllab.analysis import statistics
from psllab.claims.evidence import Claim, Evidence, Missing

ENTRY = {
    "id": "a", "experiments": ["fig3a"], "claim": "So.", "source": "here", "paper": "40.8 %",
    "check": {"kind": "level", "at": 0, "curves": ["PSL"]},
}  # fmt: skip
RISING = np.array([[40.0, 50, 60], [42, 52, 68], [44, 54, 58]])


def test_a_claim_is_its_entry():
    claim = Claim.of(ENTRY)
    assert (claim.experiments, claim.paper, claim.note) == (["fig3a"], "40.8 %", "")
    assert (claim.check.kind, claim.check.arguments) == ("level", {"at": 0, "curves": ["PSL"]})
    assert Claim.of(ENTRY | {"check": {"kind": "buckets"}}).check.arguments == {}
    with pytest.raises(ValidationError, match="frozen"):
        claim.paper = "78 %"


@pytest.mark.parametrize(
    ("name", "value"),
    [("paper", 40.8), ("note", None), ("id", 1), ("experiments", []), ("experiments", ["fig9"]), ("check", {}),
     ("experiments", "fig3a"), ("check", "level"), ("check", {"kind": 1}), ("colour", "red")],
)  # fmt: skip
def test_nothing_else_is_a_claim(name, value):
    with pytest.raises(ValueError, match=name) as told:
        Claim.of(ENTRY | {name: value})
    assert "\n" not in str(told.value)


def test_a_claim_needs_all_but_its_note():
    for name in ENTRY:
        with pytest.raises(ValueError, match=f"`{name}` is missing"):
            Claim.of({key: value for key, value in ENTRY.items() if key != name})


def test_a_curve_is_read_by_seed(world):
    evidence = world({"fig3a": {"PSL": RISING, "Random": RISING - 10}})
    assert evidence.curve("fig3a", "PSL", 1).to_dict() == pytest.approx({0: 50, 1: 52, 2: 54})
    assert evidence.curve("fig3a", "PSL", -1).tolist() == pytest.approx([60, 68, 58])
    area = 100 * statistics.areas(evidence.table("fig3a"))["PSL"]
    assert evidence.curve("fig3a", "PSL", "area").tolist() == area.tolist()
    assert evidence.used == {("fig3a", "PSL")}
    assert evidence.labels == {"fig3a": ["PSL", "Random"]}


def test_a_curve_that_is_not_whole_is_missing(world):
    evidence = world({"fig3a": {"PSL": RISING, "Random": RISING}}, absent={("fig3a", "Random", 1)})
    for experiment, label, at, words in (
        ("fig3a", "Random", 0, "Random of fig3a (1 unfinished)"),
        ("fig3a", "VAAL", 0, "VAAL of fig3a (not at this scale)"),
        ("fig3b", "PSL", 0, "fig3b (not at this scale)"),
        ("fig3a", "PSL", 3, "PSL of fig3a (no cycle 3)"),
        ("fig3a", "PSL", -4, "PSL of fig3a (no cycle -4)"),
    ):
        with pytest.raises(Missing) as told:
            evidence.curve(experiment, label, at)
        assert str(told.value) == words


def test_a_lead_is_over_the_seeds_that_both_have_numbers_or_not(world):
    evidence = world({"fig3a": {"PSL": RISING}, "fig3b": {"PSL": RISING[:2] - 1}})
    evidence.results("fig3a").runs[1][1]["cycles"][-1]["metric"] = np.nan
    assert evidence.lead(("fig3a", "PSL"), ("fig3b", "PSL"), 0).to_dict() == pytest.approx({0: 1, 1: 1})
    assert np.isnan(evidence.lead(("fig3a", "PSL"), ("fig3b", "PSL"), -1)[1])  # and is not left out


def test_runs_are_found_by_label_or_method(world):
    evidence = world({"fig3a": {"PSL": RISING, "other PSL": RISING, "Random": RISING}})
    runs, missing = evidence.found("fig3a", method="psl")
    assert ({cell.label for cell, _ in runs}, len(runs), missing) == ({"PSL", "other PSL"}, 6, [])
    assert [cell.label for cell, _ in evidence.found("fig3a", "Random")[0]] == ["Random"] * 3
    assert len(evidence.found("fig3a")[0]) == 9
    assert evidence.found("fig3a", "psl") == ([], ["psl of fig3a (not at this scale)"])


def test_seconds_are_those_of_table_2(timed, world):
    evidence = timed({"PSL": (0.01, "1e-05", 0.001), "Entropy": (0.5, "–", 0.1)})
    assert evidence.seconds() == pytest.approx({"PSL": 0.01101, "Entropy": 0.6})
    assert evidence.provenance() == ("digits", "Abacus (cpu)", 0)
    assert world({"fig3a": {"PSL": RISING}}).seconds() == {}


def test_where_the_numbers_are_from(world):
    def change(experiment, cell, record):
        if cell.label == "Random":
            record["source"] = "before"
            record["hardware"] = {"device": "Big GPU", "processor": "Engine", "cores": 16}

    evidence = world({"fig3a": {"PSL": RISING, "Random": RISING}}, change=change)
    assert evidence.provenance() == ("–", "–", 0)
    evidence.curve("fig3a", "PSL", 0)
    assert evidence.provenance() == ("made-up", "Abacus (cpu)", 0)
    evidence.curve("fig3a", "Random", 0)
    assert evidence.provenance() == ("made-up", "Abacus (cpu); Engine (Big GPU)", 3)


def test_a_scale_that_is_not_there(world, tmp_path):
    world({"fig3a": {"PSL": RISING}})
    with pytest.raises(ValueError, match="unknown scale 'huge': choose one of quick"):
        Evidence("huge", tmp_path / "params.yaml", tmp_path)
