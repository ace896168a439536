"""The rules: what is there is found, what is not is not, and too little is said to be too little."""

import re

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pslcore.sides import protected_setting
from psllab.analysis import consensus as fig7
from psllab.analysis import statistics
from psllab.analysis.decision import CONTRADICTED, INCONCLUSIVE, NEGLIGIBLE, NOT_APPLICABLE, NOT_RUN, SUPPORTED
from psllab.claims import checks
from psllab.claims.evidence import Claim, Missing
from psllab.claims.finding import ARGUMENTS, KINDS

N, CYCLES, SEEDS = 200, 6, 5
NOISE = np.random.default_rng(0).normal(0, 0.5, (20, SEEDS, CYCLES))
WILD = np.array([4, -4, 3, -3, 0])[:, None]


def curve(final, start=40.0, noise=0, seeds=SEEDS):
    """Metrics in per cent [seeds, cycles]: a straight line with noise of half a point, another for each number."""
    return (np.linspace(start, final, CYCLES) + NOISE[noise])[:seeds]


def judged(evidence, experiments="fig3a", paper="–", **check):
    """The finding of a check on a claim made for it."""
    said = {"claim": "It is so.", "source": "nowhere", "paper": paper}
    claim = Claim(id="made", experiments=experiments.split(), check=check, **said)
    return KINDS[claim.check.kind](evidence, claim, **claim.check.arguments)


def settled(*samples, low=0, high=np.inf):
    return checks.settle([(f"c{n}", lambda s=s: s) for n, s in enumerate(samples)], low, high)


def lacking(what):
    raise Missing(what)


# The rule


@given(st.lists(st.floats(-50, 50), min_size=2, max_size=8), st.floats(-20, 20), st.floats(0.1, 20))
def test_one_comparison_is_its_interval(values, low, width):
    values, high = np.array(values), low + width
    half = statistics.interval(values)
    lower, upper = values.mean() - half, values.mean() + half
    if np.ptp(values) < 1e-6 or min(abs(edge - bound) for edge in (lower, upper) for bound in (low, high, 0)) < 1e-6:
        return
    expected = (
        SUPPORTED if lower > low and upper < high else CONTRADICTED if upper < low or lower > high else INCONCLUSIVE
    )
    assert settled(values, low=low, high=high).verdict == expected
    assert settled(values).verdict == (SUPPORTED if lower > 0 else CONTRADICTED if upper < 0 else INCONCLUSIVE)


samples = st.lists(st.lists(st.integers(-300, 300), min_size=3, max_size=5), min_size=1, max_size=5)


@given(samples, st.floats(0, 10), st.randoms(use_true_random=False))
def test_a_shift_up_never_lowers_a_verdict_and_order_changes_none(values, shift, random):
    worth = {CONTRADICTED: 0, INCONCLUSIVE: 1, SUPPORTED: 2}
    values = [np.array(sample) / 100 for sample in values]
    before = settled(*values).verdict
    assert worth[settled(*(sample + shift for sample in values)).verdict] >= worth[before]
    shuffled = [random.sample(sample.tolist(), len(sample)) for sample in random.sample(values, len(values))]
    assert settled(*shuffled).verdict == before


def test_many_comparisons_are_corrected():
    good = np.array([1.0, 1.1, 0.9, 1.0, 1.05])
    weak = np.array([0.3, 1.8, 0.4, 1.5, 0.7])
    assert 0.0125 < statistics.paired_p(weak) < 0.05
    assert settled(weak).verdict == SUPPORTED
    assert settled(weak, good).verdict == SUPPORTED  # the smaller p pays for both
    assert settled(weak, weak * 1.01, good).verdict == INCONCLUSIVE
    assert settled(-weak).verdict == CONTRADICTED
    finding = settled(-weak, good, good)
    assert finding.verdict == INCONCLUSIVE
    assert finding.reason == "undecided whether above 0: c0"
    assert settled(-good, weak).reason == "not above 0: c0"


@pytest.mark.parametrize(
    "sample", [[], [3.0], [3.0, np.nan, 3.2], [2.0, 2.0, 2.0], [0.0, 0.0], [np.inf, 1.0], [np.nan, np.nan]]
)
def test_nothing_to_judge_by_is_undecided(sample):
    for low, high in ((0, np.inf), (-1, 1), (1, 4), (-9, -5)):
        finding = settled(sample, low=low, high=high)
        assert (finding.verdict, finding.seeds) == (INCONCLUSIVE, len(sample))
        assert "nan" not in finding.ours
        assert settled(sample, [2.0, 2.1, 2.2], low=low, high=high).verdict in (INCONCLUSIVE, CONTRADICTED)


def test_missing_parts_can_refute_but_not_prove():
    good, bad = ("good", lambda: [1.0, 1.1, 0.9]), ("bad", lambda: [-1.0, -1.1, -0.9])
    gone = ("gone", lambda: lacking("gone of fig3a (2 unfinished)"))
    finding = checks.settle([good, gone], 0)
    assert (finding.verdict, finding.reason) == (INCONCLUSIVE, "missing: gone of fig3a (2 unfinished)")
    finding = checks.settle([bad, gone], 0)
    assert (finding.verdict, finding.reason) == (
        CONTRADICTED,
        "not above 0: bad; missing: gone of fig3a (2 unfinished)",
    )
    finding = checks.settle([gone, gone], 0)
    assert (finding.verdict, finding.ours, finding.seeds) == (NOT_RUN, "–", 0)
    assert finding.reason == "missing: gone of fig3a (2 unfinished)"


def test_ours_is_told_with_its_interval():
    values = np.array([1.0, 2.0, 3.0])
    assert settled(values, values + 1).ours == f"c0 +2.0 ± {statistics.interval(values):.1f}; c1 +3.0 ± 2.5"
    assert settled(*[values + n for n in range(9)]).ours == "9 comparisons, means from +2.0 to +10.0"


# Curves

FIRST = {"kind": "lead", "better": ["PSL"], "worse": ["Random", "Entropy"], "at": "area"}


def three(psl, **more):
    return {"PSL": curve(psl, noise=0), "Random": curve(70, noise=1), "Entropy": curve(71, noise=2)} | more


def test_a_lead_is_found_or_reversed_or_neither(world):
    assert judged(world({"fig3a": three(78)}), **FIRST).verdict == SUPPORTED
    alike = {label: 70 + NOISE[number] / 4 for number, label in enumerate(three(0))}
    finding = judged(world({"fig3a": alike}), **FIRST)
    assert (finding.verdict, finding.reason) == (
        NEGLIGIBLE, "above 0 in 0 of 2; within ±0.5: PSL – Random, PSL – Entropy",
    )  # fmt: skip
    finding = judged(world({"fig3a": three(0, PSL=curve(72) + WILD)}), **FIRST)
    assert (finding.verdict, finding.seeds) == (INCONCLUSIVE, SEEDS)
    finding = judged(world({"fig3a": three(60)}), **FIRST)
    assert (finding.verdict, finding.reason) == (CONTRADICTED, "not above 0: PSL – Random, PSL – Entropy")


def test_a_lead_is_that_of_the_house(world):
    evidence = world({"fig3a": three(72)})
    rows = statistics.against(evidence.table("fig3a"), "PSL").set_index("other")
    finding = judged(evidence, **FIRST)
    for other in ("Random", "Entropy"):
        difference, half = 100 * rows.loc[other, ["difference", "half"]].to_numpy(dtype=float)
        assert f"PSL – {other} {difference:+.1f} ± {half:.1f}" in finding.ours


def test_at_the_last_cycle_and_at_another(world):
    evidence = world({"fig3a": three(80)})
    assert judged(evidence, **FIRST | {"at": -1}).verdict == SUPPORTED
    assert judged(evidence, **FIRST | {"at": 0}).verdict == INCONCLUSIVE  # all start at 40
    finding = judged(evidence, **FIRST | {"at": 6})
    assert (finding.verdict, finding.reason) == (NOT_RUN, "missing: PSL of fig3a (no cycle 6)")


def test_missing_runs_are_told(world):
    finding = judged(world({"fig3a": three(78)}, absent={("fig3a", "Entropy", 4)}), **FIRST)
    assert (finding.verdict, finding.reason) == (INCONCLUSIVE, "missing: Entropy of fig3a (1 unfinished)")
    finding = judged(world({"fig3a": three(78)}), **FIRST | {"worse": ["Random", "VAAL"]})
    assert (finding.verdict, finding.reason) == (INCONCLUSIVE, "missing: VAAL of fig3a (not at this scale)")
    finding = judged(world({"fig3a": three(60)}), **FIRST | {"worse": ["Random", "VAAL"]})
    assert finding.verdict == CONTRADICTED
    finding = judged(world({"fig3a": three(78)}, absent={("fig3a", "PSL", 0)}), **FIRST)
    assert (finding.verdict, finding.reason) == (NOT_RUN, "missing: PSL of fig3a (1 unfinished)")
    finding = judged(world({"fig3a": three(78)}), "fig3b", **FIRST)
    assert (finding.verdict, finding.reason) == (NOT_RUN, "missing: fig3b (not at this scale)")


def test_one_seed_is_too_few(world):
    finding = judged(world({"fig3a": {name: values[:1] for name, values in three(90).items()}}), **FIRST)
    assert (finding.verdict, finding.seeds) == (INCONCLUSIVE, 1)


def test_others_are_all_others_of_the_scale(world):
    check = {"kind": "lead", "better": ["PSL"], "worse": "others", "at": "area"}
    assert judged(world({"fig8": three(78)}), "fig8", **check).reason == "above 0 in 2 of 2"
    gone = world({"fig8": three(78)}, absent={("fig8", "Random", seed) for seed in range(SEEDS)})
    assert judged(gone, "fig8", **check).reason == "missing: Random of fig8 (5 unfinished)"
    assert judged(gone, "fig3a", **check).verdict == NOT_RUN


def test_a_lead_of_so_many_points(world):
    check = {"kind": "lead", "better": ["PSL"], "worse": ["Random"], "points": 4.3, "margin": 1.5, "at": -1}
    verdicts = {psl: judged(world({"fig3a": three(psl)}), **check).verdict for psl in (65.7, 70, 74.3, 75.8, 80)}
    assert verdicts == {65.7: CONTRADICTED, 70: CONTRADICTED, 74.3: SUPPORTED, 75.8: INCONCLUSIVE, 80: CONTRADICTED}
    assert judged(world({"fig3b": three(74.3)}), **check).verdict == NOT_RUN


def test_similar_is_shown_and_not_presumed(world):
    check = {"kind": "lead", "better": ["Entropy"], "worse": ["Random"], "points": 0, "margin": 1, "at": "area"}
    assert judged(world({"fig3a": three(1, Entropy=curve(70, noise=2))}), **check).verdict == SUPPORTED
    assert judged(world({"fig3a": three(1, Entropy=curve(80, noise=2))}), **check).verdict == CONTRADICTED
    assert judged(world({"fig3a": three(1, Entropy=curve(70, noise=2) + WILD)}), **check).verdict == INCONCLUSIVE


def test_a_lead_that_grows(world):
    check = {"kind": "lead", "better": ["PSL"], "worse": ["Random"], "at": -1, "than": 1}
    assert judged(world({"fig3a": three(85)}), **check).verdict == SUPPORTED
    assert judged(world({"fig3a": three(70)}), **check).verdict == INCONCLUSIVE
    assert judged(world({"fig3a": three(70, PSL=curve(75, 55))}), **check).verdict == CONTRADICTED


@pytest.mark.slow
def test_across_two_experiments(world):
    curves = {"fig3b": three(78), "fig6a": {name: curve(60, noise=n) for n, name in enumerate(three(0), 5)}}
    curves["fig6a"]["VAAL"] = curve(99)
    check = {"kind": "across", "curves": "both", "at": -1}
    finding = judged(world(curves), "fig3b fig6a", **check)
    assert (finding.verdict, finding.reason) == (SUPPORTED, "above 0 in 3 of 3")
    assert judged(world(curves), "fig6a fig3b", **check).verdict == CONTRADICTED
    curves["fig6a"] |= {name: values[:3] for name, values in curves["fig6a"].items()}  # fewer seeds there: three pairs
    assert judged(world(curves), "fig3b fig6a", **check).seeds == 3
    assert judged(world(curves), "fig3b fig6b", **check).verdict == NOT_RUN
    finding = judged(world(curves), "fig3b fig6a", **check | {"curves": ["PSL", "VAAL"]})
    assert (finding.verdict, finding.reason) == (INCONCLUSIVE, "missing: VAAL of fig3b (not at this scale)")


def test_levels_belong_to_the_paper(world):
    check = {"kind": "level", "curves": ["PSL"], "value": 78.06, "margin": 2, "data": "cifar10", "at": -1}
    assert judged(world({"fig3a": three(78)}, "paper", "cifar10"), **check).verdict == SUPPORTED
    assert judged(world({"fig3a": three(70)}, "paper", "cifar10"), **check).verdict == CONTRADICTED
    assert judged(world({"fig3a": three(80)}, "paper", "cifar10"), **check).verdict == INCONCLUSIVE
    for elsewhere in (("quick", "cifar10"), ("paper", "digits")):
        finding = judged(world({"fig3a": three(70)}, *elsewhere), **check)
        assert finding.verdict == NOT_APPLICABLE
        assert finding.reason == "absolute numbers belong to the paper's protocol, on cifar10"
        assert re.fullmatch(r"PSL 70\.\d ± 0\.\d", finding.ours)
    assert judged(world({"fig3b": three(70)}), **check).verdict == NOT_APPLICABLE


def test_steadiness_is_of_the_spread(world):
    check = {"kind": "steadier", "better": ["PSL"], "worse": ["Random"], "at": -1}
    spread = np.array([-3.0, -1.5, 0, 1.6, 3.1])[:, None]
    swapped = spread[[1, 3, 0, 4, 2]]
    assert judged(
        world({"fig3a": {"PSL": 70 + spread / 40 + NOISE[0] / 40, "Random": 70 + swapped}}), **check
    ).verdict == (SUPPORTED)
    assert judged(world({"fig3a": {"PSL": 70 + spread, "Random": 70 + swapped / 40}}), **check).verdict == CONTRADICTED
    assert judged(world({"fig3a": {"PSL": 70 + spread, "Random": 70 + 1.1 * swapped}}), **check).verdict == INCONCLUSIVE
    for few in (1, 2):
        curves = {"PSL": 70 + spread[:few] + np.zeros(CYCLES), "Random": 70 + swapped[:few] + np.zeros(CYCLES)}
        assert judged(world({"fig3a": curves}), **check).verdict == INCONCLUSIVE


# Looks

LONG = np.random.default_rng(1).normal(0, 0.4, (2, 9, CYCLES))


def looked(world, lead=1.0, **more):
    """Nine seeds at looks of 3 and 6; from the seventh seed on the lead is reversed."""
    psl = 70 + lead + LONG[0]
    psl[6:] -= 20
    return world({"fig3a": {"PSL": psl, "Random": 70 + LONG[1]}}, interim=[3, 6], **more)


ONE = FIRST | {"worse": ["Random"]}


def test_only_the_seeds_of_the_last_look_count(world):
    finding = judged(looked(world), **ONE)
    assert (finding.verdict, finding.seeds) == (SUPPORTED, 6)
    weights = np.array([0.5, 1, 1, 1, 1, 0.5]) / (CYCLES - 1)  # of trapezoids
    differences = 1 + ((LONG[0] - LONG[1]) @ weights)[:6]
    assert finding.ours == f"PSL – Random {differences.mean():+.1f} ± {statistics.interval(differences, 2):.1f}"
    assert statistics.interval(differences, 2) > statistics.interval(differences)


@pytest.mark.parametrize(("finished", "seeds"), [(9, 6), (6, 6), (5, 3), (3, 3)])
def test_seeds_beyond_a_look_wait_for_the_next(world, finished, seeds):
    absent = {("fig3a", "Random", seed) for seed in range(finished, 9)}
    assert judged(looked(world, absent=absent), **ONE).seeds == seeds


def test_below_the_first_look_nothing_is_told(world):
    absent = {("fig3a", "Random", seed) for seed in range(2, 9)}
    finding = judged(looked(world, absent=absent), **ONE)
    assert (finding.verdict, finding.ours, finding.seeds) == (NOT_RUN, "–", 0)
    assert finding.reason == "missing: PSL – Random of fig3a (2 seeds so far, next interim analysis at 3)"
    absent = {("fig3a", "Random", seed) for seed in range(9)}
    assert judged(looked(world, absent=absent), **ONE).verdict == NOT_RUN


def test_a_seed_of_mixed_precision_is_left_out_and_named(world):
    def change(experiment, cell, record):
        bfloat16 = cell.config.seed in (1, 8) or (cell.label, cell.config.seed) == ("PSL", 2)
        record["precision"] = "bfloat16" if bfloat16 else "float32"

    evidence = looked(world, change=change)
    assert judged(evidence, **ONE).seeds == 6
    assert evidence.left_out == {"PSL – Random of fig3a": [2]}
    pairs = evidence.pair(("fig3a", "PSL"), ("fig3a", "Random"), "area")
    assert pairs.index.tolist() == [0, 1, 3, 4, 5, 6]
    evidence = world({"fig3a": three(78)}, change=change)  # without looks, too
    assert judged(evidence, **FIRST).seeds == SEEDS - 1
    assert evidence.left_out == {"PSL – Random of fig3a": [2], "PSL – Entropy of fig3a": [2]}


# Groups of test images


def peers(rng, consensus, with_, without, per_group=40):
    """Peers of 200 images: shares with consensus, and of right answers with and without it, by group."""
    agree = np.concatenate([rng.random(per_group) < share for share in consensus])
    correct = np.where(agree, rng.random(5 * per_group) < with_, rng.random(5 * per_group) < without)
    return {
        "discrepancy": np.arange(5.0 * per_group).tolist(), "consensus": agree.tolist(), "correct": correct.tolist(),
        "correct_each": [correct.tolist()] * 2,
    }  # fmt: skip


@pytest.fixture
def buckets(world):
    def build(consensus, with_, without, seeds=SEEDS, **more):
        rng = np.random.default_rng(0)

        def change(experiment, cell, record):
            record["peers"] = peers(rng, consensus, with_, without)

        return world({"fig7": {"PSL in class": curve(70)[:seeds]}}, change=change, **more)

    return build


def test_consensus_in_every_group(buckets):
    half = [0.5] * 5
    finding = judged(buckets(half, 0.9, 0.3), "fig7", kind="buckets")
    assert (finding.verdict, finding.seeds, finding.reason) == (SUPPORTED, SEEDS, "above 0 in 5 of 5")
    assert judged(buckets(half, 0.6, 0.6), "fig7", kind="buckets").verdict == INCONCLUSIVE
    finding = judged(buckets(half, 0.3, 0.9), "fig7", kind="buckets")
    assert (finding.verdict, finding.reason) == (
        CONTRADICTED,
        f"not above 0: {', '.join(f'group {g}' for g in range(1, 6))}",
    )


def test_a_group_of_one_kind_cannot_be_judged(buckets):
    finding = judged(buckets([1, 0.5, 0.5, 0.5, 0], 0.9, 0.3), "fig7", kind="buckets")
    assert (finding.verdict, finding.reason) == (INCONCLUSIVE, "undecided whether above 0: group 1, group 5")
    assert finding.ours.startswith("group 1 –; group 2 +")
    assert judged(buckets([1, 0.5, 0.5, 0.5, 0], 0.3, 0.9), "fig7", kind="buckets").verdict == CONTRADICTED
    assert judged(buckets([0.5] * 5, 0.9, 0.3, seeds=1), "fig7", kind="buckets").verdict == INCONCLUSIVE
    gone = buckets([0.5] * 5, 0.9, 0.3, absent={("fig7", "PSL in class", 2)})
    finding = judged(gone, "fig7", kind="buckets")
    assert (finding.verdict, finding.reason) == (NOT_RUN, "missing: runs of fig7 (1 unfinished)")


def test_the_groups_are_those_of_the_figure(buckets):
    evidence = buckets([0.9, 0.8, 0.7, 0.6, 0.5], 0.9, 0.3)
    groups = checks.groups(evidence)
    assert groups.shape == (SEEDS, 5, 2, 2)
    shown = fig7.accuracy(fig7.table(evidence.results("fig7")))
    pooled = groups.sum(0)
    assert pooled[:, 0].sum(-1).tolist() == shown["images with consensus"].tolist()
    assert pooled[:, 1].sum(-1).tolist() == shown["images without consensus"].tolist()
    accuracy = 100 * pooled[:, 0, 0] / pooled[:, 0].sum(-1)
    assert [f"{value:.1f}" for value in accuracy] == shown["accuracy with consensus (%)"].tolist()


def test_most_of_the_last_group_are_mistaken(buckets):
    verdicts = [
        judged(buckets([0.5] * 5, right, right), "fig7", kind="mistaken").verdict for right in (0.1, 0.5, 0.9)
    ]  # fmt: skip
    assert verdicts == [SUPPORTED, INCONCLUSIVE, CONTRADICTED]


# Exact claims

SEEN = {"kind": "seen", "methods": ["psl"], "images": "none"}


def test_what_the_cloud_saw(world):
    evidence = world({"fig3a": three(78), "fig3b": three(78)})
    finding = judged(evidence, "fig3a fig3b", **SEEN)
    assert (finding.verdict, finding.ours, finding.seeds) == (SUPPORTED, "in 10 of 10 runs", SEEDS)
    assert judged(evidence, **SEEN | {"methods": ["entropy"]}).verdict == CONTRADICTED
    assert judged(evidence, **SEEN | {"methods": ["entropy"], "images": "some"}).verdict == SUPPORTED
    assert judged(evidence, **SEEN | {"methods": ["random", "entropy"], "images": "some"}).verdict == CONTRADICTED
    finding = judged(evidence, "fig3a fig8", **SEEN)
    assert (finding.verdict, finding.reason) == (SUPPORTED, "missing: fig8 (not at this scale)")
    assert judged(evidence, "fig8", **SEEN).verdict == NOT_RUN
    finding = judged(evidence, **SEEN | {"methods": ["vaal", "psl"]})
    assert (finding.verdict, finding.reason) == (SUPPORTED, "missing: vaal of fig3a (not at this scale)")


def test_exact_claims_need_no_seeds_and_no_whole_experiment(world):
    absent = {("fig3a", label, seed) for label in ("PSL", "Random") for seed in range(1, SEEDS)}
    for scale in ("quick", "looked"):
        evidence = world({"fig3a": three(78)}, scale, absent=absent, interim=[2, 4] if scale == "looked" else None)
        finding = judged(evidence, **SEEN)
        assert (finding.verdict, finding.ours, finding.seeds) == (SUPPORTED, "in 1 of 1 runs", 1)
        assert finding.reason == f"missing: psl of fig3a ({SEEDS - 1} unfinished)"
        assert judged(evidence, kind="unpicked").verdict == SUPPORTED


def test_a_run_that_two_experiments_share_counts_once(world, tmp_path):
    evidence = world({"fig3a": three(78), "fig3b": three(78)})
    params = tmp_path / "params.yaml"
    content = yaml.safe_load(params.read_text())
    sections = content["scales"]["quick"]
    sections["fig5a"] = sections["fig3a"]
    params.write_text(yaml.safe_dump(content, sort_keys=False))
    evidence = type(evidence)("quick", params, tmp_path / "outputs")
    finding = judged(evidence, "fig3a fig3b fig5a", **SEEN)
    assert (finding.verdict, finding.ours, finding.seeds) == (SUPPORTED, "in 10 of 10 runs", SEEDS)


def test_runs_without_their_picks_are_counted_apart(world):
    def brief(experiment, cell, record):
        if cell.config.seed:
            record["content"] = "0" * 16

    evidence = world({"fig3a": three(78)}, change=brief)
    finding = judged(evidence, kind="unpicked")
    n = len(three(78))
    silent = f" ({n * (SEEDS - 1)} more keep a hash of their picks)"
    assert (finding.verdict, finding.ours, finding.seeds) == (SUPPORTED, f"in {n} of {n} runs{silent}", 1)


def test_seeds_of_a_later_interim_analysis_are_not_missing(world):
    for begun, missing in ((("PSL", "Random", "Entropy"), ""), (("PSL",), "missing: psl of fig3a (3 unfinished)")):
        absent = {("fig3a", label, seed) for label in begun for seed in range(2, SEEDS)}
        evidence = world({"fig3a": three(78)}, "looked", absent=absent, interim=[2, 4])
        assert judged(evidence, **SEEN).reason == missing


def test_one_image_at_one_cycle_refutes(world):
    def leak(experiment, cell, record):
        if (cell.label, cell.config.seed) == ("PSL", 3):
            record["cycles"][2]["unlabelled_seen"] = 1

    finding = judged(world({"fig3a": three(78)}, change=leak, absent={("fig3a", "PSL", 0)}), **SEEN)
    assert (finding.verdict, finding.ours) == (CONTRADICTED, "in 3 of 4 runs")
    assert finding.reason == "not so: PSL, seed 3 of fig3a; missing: psl of fig3a (1 unfinished)"


def test_a_protected_image_that_was_picked(world):
    check = {"kind": "unpicked"}
    assert judged(world({"fig3a": three(78)}), **check).verdict == SUPPORTED

    def stray(experiment, cell, record):
        if (cell.label, cell.config.seed) == ("Random", 1):
            record["cycles"][4]["picked"][2] = int(protected_setting(N, 10, 0.75, 1).protected[7])

    finding = judged(world({"fig3a": three(78)}, change=stray), **check)
    assert (finding.verdict, finding.reason) == (CONTRADICTED, "not so: Random, seed 1 of fig3a")

    def other(experiment, cell, record):
        record["pools"] = "0" * 64

    finding = judged(world({"fig3a": three(78)}, change=other), **check)
    assert (finding.verdict, finding.ours) == (NOT_RUN, "–")
    assert "began with other pools" in finding.reason


def test_the_same_pools_within_a_seed(world):
    check = {"kind": "same_pools"}
    assert judged(world({"fig3a": three(78), "fig3b": three(78)}), "fig3a fig3b", **check).verdict == SUPPORTED

    def other(experiment, cell, record):
        if (cell.label, cell.config.seed) == ("Random", 1):
            record["pools"] = "0" * 64

    finding = judged(world({"fig3a": three(78)}, change=other), **check)
    assert (finding.verdict, finding.reason) == (CONTRADICTED, "not so: Random, seed 1 of fig3a")


@pytest.mark.parametrize(
    ("of", "to", "paper", "verdict"),
    [
        (["resnet8"], None, "0.078 M", SUPPORTED),
        (["resnet8"], None, "0.079 M", CONTRADICTED),
        (["resnet14"], None, "0.18 M", SUPPORTED),  # rounded
        (["resnet14"], None, "0.17 M", SUPPORTED),  # truncated
        (["LL4AL"], None, "11.29 M", SUPPORTED),
        (["Entropy", "LL4AL"], None, "11.17 M", CONTRADICTED),
        (["PSL for pixels"], None, "3.25 M", CONTRADICTED),
        (["resnet18"], "resnet8", "143 times", SUPPORTED),
        (["resnet18"], "resnet14", "62 times", CONTRADICTED),
        (["resnet18"], "resnet14", "64 times", SUPPORTED),
    ],
)
def test_printed_sizes(world, of, to, paper, verdict):
    assert judged(world({"fig3a": three(1)}), "table1", paper, kind="size", of=of, to=to).verdict == verdict


def test_the_smallest(world):
    evidence = world({"fig3a": three(1)})
    finding = judged(evidence, "table1", kind="smallest", of="PSL", below=["LL4AL", "VAAL"])
    assert (finding.verdict, finding.ours) == (SUPPORTED, "156,084 against 11,297,867 and more")
    finding = judged(evidence, "table1", kind="smallest", of="LL4AL", below=["VAAL", "PSL", "LL4AL"])
    assert (finding.verdict, finding.reason) == (CONTRADICTED, "not so: PSL, LL4AL")


# Seconds


TIMES = {"PSL": (0.01, "1e-05", 0.001), "Entropy": (0.5, "–", 0.1), "BADGE": (0.5, "–", 3)}


def test_who_is_faster(timed, world):
    check = {"kind": "faster", "order": [["PSL"], ["Entropy", "BADGE"]]}
    finding = judged(timed(TIMES), "table2", **check)
    assert (finding.verdict, finding.ours) == (SUPPORTED, "PSL 0.011 s, Entropy 0.6 s, BADGE 3.5 s")
    for close in (0.55, 0.65):
        finding = judged(timed(TIMES | {"PSL": (close, 0, 0)}), "table2", **check)
        assert (finding.verdict, finding.reason) == (INCONCLUSIVE, "missing: a clear difference PSL – Entropy")
    finding = judged(timed(TIMES | {"PSL": (0.7, 0, 0)}), "table2", **check)
    assert (finding.verdict, finding.reason) == (CONTRADICTED, "not so: PSL – Entropy")
    finding = judged(timed(TIMES), "table2", kind="faster", order=[["PSL"], ["Entropy"], ["VAAL"], ["BADGE"]])
    assert (finding.verdict, finding.reason) == (INCONCLUSIVE, "missing: VAAL of table2")
    assert judged(timed({"VAAL": (1, "–", 1)}), "table2", **check).verdict == NOT_RUN


def test_seconds_belong_to_the_paper(timed, world):
    check = {"kind": "seconds", "of": "PSL", "most": 0.001}
    assert judged(world({"fig3a": three(1)}), "table2", **check).verdict == NOT_RUN
    assert judged(timed(TIMES), "table2", **check).verdict == NOT_APPLICABLE
    assert judged(timed(TIMES, "paper"), "table2", **check).verdict == CONTRADICTED
    assert judged(timed({"PSL": (0.0009, 0, 0.0001)}, "paper"), "table2", **check).verdict == SUPPORTED


# What the data file may say


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"colour": 1}, "colour"),
        ({"better": "PSL"}, "better"),
        ({"worse": "all"}, "worse"),
        ({"at": "end"}, "at"),
        ({"at": True}, "at"),
        ({"at": 1.0}, "at"),
        ({"than": "start"}, "than"),
        ({"points": 0.9, "margin": 1.5}, "margin"),
        ({"points": 0.9}, "margin"),
        ({"points": 0, "margin": 0}, "margin"),
        ({"points": float("nan")}, "points"),
    ],
)
def test_arguments_are_checked_by_the_signature_of_the_rule(changes, name):
    said = {option: value for option, value in FIRST.items() if option != "kind"}
    ARGUMENTS["lead"].model_validate(said)
    ARGUMENTS["lead"].model_validate(said | {"worse": "others", "at": -1, "than": 0, "points": 1, "margin": 1})
    with pytest.raises(ValidationError) as told:
        ARGUMENTS["lead"].model_validate(said | changes)
    assert {error["loc"][0] for error in told.value.errors()} == {name}


def test_what_a_rule_needs_must_be_there():
    with pytest.raises(ValidationError, match=r"better\n.*Field required"):
        ARGUMENTS["lead"].model_validate({"worse": ["Random"], "at": 0})
    assert set(ARGUMENTS) == set(KINDS)
