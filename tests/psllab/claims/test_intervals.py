"""The numbers behind a verdict: those that it was passed on."""

import json

import numpy as np
import pytest

from psllab.analysis import statistics
from psllab.analysis.decision import CONTRADICTED, INCONCLUSIVE, NEGLIGIBLE, NOT_RUN, SUPPORTED
from psllab.claims import checks, intervals, verdicts
from psllab.claims.evidence import Claim, Early, Missing

SPREAD = np.array([-0.1, 0.0, 0.1, 0.05, -0.05])


def of(*samples, **more):
    looked = [(f"c{number}", lambda values=values: values) for number, values in enumerate(samples)]
    return intervals.of(checks.settle(looked, 0.0, matters=0.5, **more))


def test_a_comparison_has_its_interval_and_its_own_verdict():
    told = of(3 + SPREAD, -3 + SPREAD, SPREAD, 3 + 40 * SPREAD)
    assert [one["verdict"] for one in told["comparisons"]] == [SUPPORTED, CONTRADICTED, NEGLIGIBLE, INCONCLUSIVE]
    assert (told["unit"], told["paper_value"], told["region"]) == ("points", None, [0.0, None])
    for one, shift in zip(told["comparisons"], (3, -3, 0), strict=False):
        half = statistics.interval(SPREAD)
        assert one["estimate"] == pytest.approx(shift, abs=1e-4)
        assert (one["low"], one["high"]) == pytest.approx((shift - half, shift + half), abs=1e-4)
        assert (one["seeds"], one["judged"]) == (5, True)
    assert json.loads(json.dumps(told)) == told


def test_of_several_looks_the_interval_is_wider():
    (one,) = of(3 + SPREAD, interim=3)["comparisons"]
    assert one["high"] - 3 == pytest.approx(statistics.interval(SPREAD, 3), abs=1e-4)


def test_what_is_too_early_is_told_and_not_judged():
    def early():
        error = Early("1 seed so far")
        error.values = __import__("pandas").Series([1.0, 2.0])
        raise error

    def missing():
        raise Missing("PSL of fig3a (2 unfinished)")

    told = intervals.of(checks.settle([("a", early), ("b", missing)], 0.0))["comparisons"]
    assert [(one["judged"], one["verdict"], one["estimate"], one["seeds"]) for one in told] == [
        (False, NOT_RUN, 1.5, 2), (False, NOT_RUN, None, 0),
    ]  # fmt: skip
    assert intervals.of(checks.settle([("b", missing)], 0.0))["comparisons"] == []


def test_one_seed_or_no_number_has_no_interval():
    (one,) = of(np.array([2.0]))["comparisons"]
    assert (one["estimate"], one["low"], one["high"], one["verdict"]) == (2.0, None, None, INCONCLUSIVE)
    (one,) = of(np.array([2.0, np.nan]))["comparisons"]
    assert (one["estimate"], one["low"], one["seeds"]) == (None, None, 2)


def sized(paper, of, **more):
    entry = {"id": "x", "experiments": ["table1"], "claim": "c", "source": "s", "paper": paper}
    claim = Claim.of(entry | {"check": {"kind": "size", "of": of} | more})
    return intervals.of(verdicts.KINDS["size"](None, claim, **claim.check.arguments))


def test_a_printed_size_is_a_number_with_what_rounds_to_it():
    told = sized("0.078 M", ["resnet8"])
    assert (told["unit"], told["paper_value"]) == ("M", 0.078)
    assert told["region"] == pytest.approx([0.0775, 0.079])
    assert [(one["estimate"], one["verdict"]) for one in told["comparisons"]] == [(0.078, SUPPORTED)]
    told = sized("62 times", ["resnet18"], to="resnet14")
    assert (told["unit"], told["comparisons"][0]["verdict"]) == ("times", CONTRADICTED)
    assert told["comparisons"][0]["estimate"] == pytest.approx(11_173_962 / 175_258, abs=1e-4)
