"""What a verdict is on: the paper's data, features of them, a stand-in, the same runs twice, nothing learned."""

from types import SimpleNamespace

import numpy as np
import pytest
import yaml

from psllab.analysis import exhibit, figures
from psllab.analysis.decision import LEARNED, NOT_APPLICABLE, NOT_RUN, SUPPORTED
from psllab.analysis.exhibit import Exhibit
from psllab.claims import verdicts
from psllab.claims.evidence import Evidence

SEEDS = 5
SPREAD = np.linspace(0, 1, SEEDS)[:, None]


def level(final, spread=0.0):
    return np.full((SEEDS, 6), final) + spread * SPREAD


def two(lead=5.0, base=70.0):
    return {"PSL": level(base + lead, 1), "Random": level(base)}


@pytest.fixture
def judged(world, tmp_path):
    """``judged(curves, change)``: rows by id; ``change(scales)`` alters the parameter file after the runs."""

    def build(curves, change=lambda scales: None, **more):
        world(curves, **more)
        params = tmp_path / "params.yaml"
        content = yaml.safe_load(params.read_text())
        change(content["scales"])
        params.write_text(yaml.safe_dump(content, sort_keys=False))
        return {row["id"]: row for row in verdicts.judge("quick", params, tmp_path / "outputs")}

    return build


def papers(dataset, **config):
    """A change that adds the paper's Fig. 3a."""

    def change(scales):
        fig = scales["quick"]["fig3a"]
        scales["paper"] = {"base": scales["quick"]["base"] | {"dataset": dataset}, "fig3a": fig | {
            "config": fig["config"] | config
        }}  # fmt: skip

    return change


@pytest.mark.parametrize(
    ("ran", "paper", "basis"),
    [
        ("cifar10", "cifar10", ""),
        ("cifar10@16x16", "cifar10", ""),
        ("camvid", "cityscapes@512x1024", "same comparison on camvid"),
        ("cifar10+efficientnet_lite0@128", "cifar10", "on frozen features"),
        ("digits", "cifar10", "same comparison on digits"),
        ("digits+efficientnet_lite0@128", "cifar10", "same comparison on digits+efficientnet_lite0@128"),
    ],
)
def test_a_verdict_says_what_it_is_on(judged, ran, paper, basis):
    rows = judged({"fig3a": two()}, papers(paper), dataset=ran)
    assert rows["fig3a-lead-random"]["basis"] == basis
    assert rows["fig3a-lead-random"]["data"] == ran
    frozen = "on frozen features" if "+" in ran else ""
    assert rows["privacy-protected"]["basis"] == frozen  # it is exact, on whatever data
    assert rows["table1-psl"]["basis"] == ""
    assert rows["fig3b-psl-first"]["basis"] == ""  # not run


@pytest.mark.parametrize(("ran", "paper", "basis"), [(3, 3, ""), (3, 10, "same comparison on digits with 3 clients")])
def test_what_is_counted_holds_on_any_data_but_not_of_another_number_of_clients(world, ran, paper, basis):
    evidence = world({"fig8": {"PSL": level(70)}}, dataset="digits")
    for _, record in evidence.results("fig8").runs:
        record["config"]["clients"] = ran
    (claim,) = (claim for claim in verdicts.load() if claim.id == "privacy-federated")
    evidence.of_paper = lambda name: SimpleNamespace(dataset="cifar10", settings=lambda: {"clients": paper})
    assert evidence.found("fig8")[1] == []
    assert evidence.basis(claim) == basis


def test_without_the_papers_scale_nothing_is_said(judged):
    assert judged({"fig3a": two()})["fig3a-lead-random"]["basis"] == ""


def test_claims_of_ours_name_no_data(judged):
    def change(scales):
        scales["paper"] = {
            "base": scales["quick"]["base"] | {"dataset": "cifar10"},
            "choices": scales["quick"]["choices"],
        }

    curves = {"choices": {"PSL": level(70), "ordered ranking": level(75, 1)}}
    row = judged(curves, change, dataset="digits")["ours-ordered-ranking"]
    assert (row["verdict"], row["basis"]) == (SUPPORTED, "")


@pytest.mark.parametrize(("best", "verdict"), [(9.0 + LEARNED, NOT_APPLICABLE), (12.0 + LEARNED, SUPPORTED)])
def test_what_learned_nothing_has_no_verdict(judged, best, verdict):
    """One constant answer is right on a tenth of ten classes; the best curve counts, whichever it is."""
    row = judged({"fig5b": {"2 peers": level(best - 0.5, 1), "1 peer": level(10.0)}})["fig5b-two-beat-one"]
    assert row["verdict"] == verdict
    if verdict == NOT_APPLICABLE:
        assert "fig5b (nothing was learned: its best curve ends at 14.0 %, below 15.0)" in row["reason"]
        assert row["comparisons"] == []
        assert row["forecast"] == ""


def test_one_experiment_that_learned_nothing_is_a_missing_part(judged):
    curves = {"fig3a": two(), "fig3b": two(2, 10.0)}
    row = judged(curves)["psl-superior"]
    assert "fig3b (nothing was learned" in row["reason"]
    assert {one["name"]: one["verdict"] for one in row["comparisons"]} | {
        "fig3a: PSL – Random": SUPPORTED, "fig3b: PSL – Random": NOT_RUN
    } == {one["name"]: one["verdict"] for one in row["comparisons"]}  # fmt: skip


@pytest.mark.parametrize(("looks", "closed"), [([1000], False), ([2, 1000], True)])
def test_nothing_is_asked_of_learning_before_the_first_interim_analysis(judged, looks, closed):
    row = judged({"fig3a": two(0, 10.0)}, lambda scales: scales["quick"].update(looks=looks))["fig3a-lead-random"]
    assert row["verdict"] == (NOT_APPLICABLE if closed else NOT_RUN)
    assert ("nothing was learned" in row["reason"]) == closed


def test_what_crossed_is_counted_whatever_was_learned(judged):
    assert judged({"fig3a": two(0, 10.0)})["privacy-protected"]["verdict"] == SUPPORTED


def test_the_same_runs_are_judged_once(judged):
    def change(scales):
        scales["quick"]["fig3f"] = scales["quick"]["fig3e"]

    rows = judged({"fig3e": two()}, change)
    assert rows["fig3f-psl-first"]["verdict"] == NOT_APPLICABLE
    assert rows["fig3f-psl-first"]["reason"].startswith("the same runs as fig3e")
    assert rows["fig3e-psl-first"]["reason"].startswith("missing: ")
    names = [one["name"] for one in rows["psl-superior"]["comparisons"] if one["seeds"]]
    assert names == ["fig3e: PSL – Random"]
    assert rows["psl-superior"]["experiment"].endswith("fig3e, fig3f")


def test_students_of_heads_are_held_against_each_other_by_size(judged):
    widths = {"mlp16": level(70), "mlp32": level(70.2, 0.1), "mlp128": level(75, 1)}
    rows = judged({"fig5c": widths})
    row = rows["fig5c-resnet18-better"]
    assert row["verdict"] == SUPPORTED
    assert [one["name"] for one in row["comparisons"]] == ["mlp128 – mlp16", "mlp128 – mlp32"]
    assert "mlp16 for ResNet-8, mlp32 for ResNet-14, mlp128 for ResNet-18" in row["reason"]
    assert rows["fig5c-resnet14-like"]["verdict"] == SUPPORTED
    assert rows["fig3a-psl-first"]["verdict"] == NOT_RUN


def test_a_name_that_is_there_is_not_replaced(judged):
    rows = judged({"fig5c": {"ResNet-8": level(70), "ResNet-18": level(75, 1), "mlp128": level(20)}})
    assert [one["name"] for one in rows["fig5c-resnet18-better"]["comparisons"]] == [
        "ResNet-18 – ResNet-8", "ResNet-18 – mlp32"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "frozen"),
    [("cifar10+efficientnet_lite0@128", True), ("cifar10@16x16", False), ("a+b", False), ("digits", False)],
)
def test_figures_say_that_features_are_frozen(results, name, frozen):
    found = results(["PSL", "Random"], name=name)
    assert figures.is_frozen(name) == frozen
    assert ("frozen features" in figures.heading(found)) == frozen
    assert (
        ("on frozen features" in figures.about(found)) == ("on frozen features" in figures.provenance(found)) == frozen
    )


def test_exhibits_of_the_same_runs_are_shown_once():
    made = [Exhibit(name, f"Figure {name}: it", "", "Note.", "", records=records)
            for name, records in (("3d", "a"), ("3e", "b"), ("3f", "b"), ("t1", ""), ("t2", ""))]  # fmt: skip
    shown = exhibit.once(made)
    assert [each.id for each in shown] == ["3d", "3e", "t1", "t2"]
    assert [each.note for each in shown] == [
        "Note.", "Note. Figure 3f rests on the same runs at this scale.", "Note.", "Note.",
    ]  # fmt: skip


def test_what_has_no_runs_of_its_own_has_no_basis():
    """Table 2 is timed beside the runs."""
    known = SimpleNamespace(used={("table2", "")}, labels={"table2": []}, results=lambda _: SimpleNamespace(runs=[]))
    claim = next(
        claim for claim in verdicts.load() if claim.experiments == ("table2",) or "table2" in claim.experiments
    )
    assert Evidence.basis(known, claim) == ""
