"""The sequential rule by simulation: how often it finds what is not there, and what is."""

import numpy as np
import pytest

from psllab.analysis import decision
from psllab.analysis.decision import CONTRADICTED, INCONCLUSIVE, NEGLIGIBLE, SUPPORTED, VERDICTS, Region
from psllab.claims import checks

CAMPAIGNS = 2000
TOLERANCE = 3 * np.sqrt(0.05 * 0.95 / CAMPAIGNS)  # of Monte Carlo: three standard errors
SPREAD = 1.0  # paired deviation in area at laptop, points
LOOKS = {"laptop": (5, 10, 20), "digits": (20, 60, 200)}


def campaigns(differences, interim, spread=SPREAD, matters=decision.MATTERS, seed=0):
    """The verdict of each campaign at each look, [campaigns, looks], on so many comparisons with these true means."""
    rng = np.random.default_rng(seed)
    values = rng.normal(0, spread, (CAMPAIGNS, len(differences), interim[-1])) + np.array(differences)[:, None]
    region = Region(matters=matters, interim=len(interim))
    return np.stack(
        [decision.verdict(*decision.decide(*decision.summary(values[..., :look]), region)) for look in interim], axis=1
    )  # fmt: skip


def ever(verdicts, *which):
    return np.isin(verdicts, which).any(1).mean()


@pytest.mark.parametrize("interim", LOOKS.values(), ids=LOOKS)
@pytest.mark.parametrize("matters", [0.0, decision.MATTERS])
@pytest.mark.parametrize("comparisons", [1, 7])
def test_without_a_difference_hardly_any_campaign_ever_claims_one(interim, matters, comparisons):
    verdicts = campaigns([0.0] * comparisons, interim, matters=matters)
    assert ever(verdicts, SUPPORTED, CONTRADICTED) <= 0.05 + TOLERANCE


@pytest.mark.parametrize("spread", [1.0, 3.75])  # as measured at laptop, and on the digits
def test_a_difference_of_a_point_is_found(spread):
    interim = LOOKS["laptop" if spread == 1 else "digits"]
    verdicts = campaigns([1.0], interim, spread)
    assert ever(verdicts, SUPPORTED) >= 0.8
    assert ever(verdicts, CONTRADICTED) <= 0.05
    assert ever(campaigns([-1.0], interim, spread), CONTRADICTED) >= 0.8


def test_what_does_not_matter_is_told_and_what_does_is_not_called_so():
    interim = LOOKS["laptop"]
    assert ever(campaigns([0.0], interim, spread=0.5), NEGLIGIBLE) >= 0.8
    for true in (decision.MATTERS, -decision.MATTERS):
        assert ever(campaigns([true], interim, spread=0.5), NEGLIGIBLE) <= 0.05 + TOLERANCE
        assert ever(campaigns([true] * 5, interim, spread=0.5), NEGLIGIBLE) <= 0.05 + TOLERANCE


def test_the_simulated_verdict_is_that_of_a_claim():
    rng = np.random.default_rng(1)
    for _ in range(50):
        values = rng.normal(0.5, 0.5, (3, 10))
        expected = decision.verdict(*decision.decide(*decision.summary(values), Region(matters=0.5, interim=3)))
        finding = checks.settle(
            [(str(n), lambda n=n, values=values: values[n]) for n in range(3)], 0, interim=3, matters=0.5
        )
        assert finding.verdict == expected


@pytest.mark.parametrize(
    ("mean", "sd", "expected"),
    [([1.0], [0.1], SUPPORTED), ([-1.0], [0.1], CONTRADICTED), ([0.2], [0.1], NEGLIGIBLE), ([-0.2], [0.1], NEGLIGIBLE),
     ([0.5], [2.0], INCONCLUSIVE), ([1.0, 0.0], [0.1, 0.1], NEGLIGIBLE), ([1.0, -1.0], [0.1, 0.1], CONTRADICTED),
     ([0.0, -1.0], [0.1, 0.1], CONTRADICTED), ([0.0, 0.5], [0.1, 2.0], INCONCLUSIVE), ([np.nan], [1.0], INCONCLUSIVE),
     ([1.0, np.nan], [0.1, 1.0], INCONCLUSIVE)],
)  # fmt: skip
def test_a_verdict_of_several_comparisons(mean, sd, expected):
    found = decision.decide(mean, sd, [10] * len(mean), Region(matters=decision.MATTERS))
    assert decision.verdict(*found) == expected
    assert decision.verdict(*found, whole=False) == (CONTRADICTED if expected == CONTRADICTED else INCONCLUSIVE)
    assert expected in VERDICTS


@pytest.mark.parametrize(
    ("mean", "sd", "expected"),
    [(0.0, 0.1, NEGLIGIBLE), (0.0, 2.0, INCONCLUSIVE), (-0.3, 0.1, CONTRADICTED), (0.3, 0.1, SUPPORTED),
     (1.5, 0.1, SUPPORTED), (4.0, 0.1, CONTRADICTED)],
)  # fmt: skip
def test_of_a_region_that_begins_at_0_only_what_is_on_its_edge_makes_no_difference(mean, sd, expected):
    region = Region(0, 3, decision.MATTERS)
    assert decision.verdict(*decision.decide([mean], [sd], [10], region)) == expected


def test_a_look_is_stricter_than_a_single_test():
    one, three = (decision.decide([0.75], [1.0], [10], Region(interim=interim))[0].item() for interim in (1, 3))
    assert (one, three) == (True, False)
