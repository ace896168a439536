"""The findings in words: made by rule, and honest about what is not known."""

from psllab.analysis.decision import VERDICTS
from psllab.claims import summary, verdicts


def lead(row, compared, verdict, estimate=1.25, half=0.5, **more):
    one = compared("PSL – Random", estimate, half, **more)
    return row(1, "fig3a", verdict, paper="4.3 points", paper_value=4.3, region=[2.8, 5.8], comparisons=[one])


def test_every_kind_has_a_theme_and_every_verdict_a_sign():
    assert set(summary.THEMES) == set(verdicts.KINDS)
    assert tuple(summary.SYMBOLS) == VERDICTS
    assert len(set(summary.SYMBOLS.values())) == len(VERDICTS)


def test_what_was_found(row, compared):
    rows = [
        row(1, "fig3a", "supported"), row(2, "fig3a", "supported", kind="seen"),
        row(3, "fig3a", "supported", kind="seen"),
        *(row(number, "fig3a", "contradicted") for number in range(4, 9)),
        row(9, "fig3a", "no relevant difference"),
        row(10, "fig3a", "inconclusive", more_seeds=3, core_minutes=1234.4), row(11, "fig3a", "inconclusive"),
        row(12, "fig3a", "not applicable", kind="level"), row(13, "fig3b", "not run"),
    ]  # fmt: skip
    said = summary.found(rows)
    assert [one.verdict for one in said] == list(VERDICTS)
    assert said[0].words == "3 claims are supported: privacy 2, who is ahead 1."
    assert said[1].words == "5 claims are contradicted:"
    assert ([one["id"] for one in said[1].claims], said[1].more) == (["claim4", "claim5", "claim6"], 2)
    assert said[2].words == "1 claim shows no relevant difference (within half a point):"
    assert said[3].words.startswith("2 claims are inconclusive")
    assert "not to say that there is no difference" in said[3].words
    assert "Of 1 it is known" in said[3].words
    assert "1,234 core-minutes" in said[3].words
    assert said[4].words == "1 claim is not applicable here, a level of the paper's own protocol."
    assert said[5].words == "1 claim has not been run at this scale, or not up to its first interim analysis."
    assert summary.found([]) == []


def test_a_lead_with_a_number_is_told_with_its_interval_and_verdict(row, compared):
    (first, *_) = summary.found([lead(row, compared, "inconclusive")])
    assert first.verdict == "inconclusive"
    assert (
        first.words == "PSL – Random, fig3a: +1.2 ± 0.5 points (3 seeds; the paper's number inside our interval: no), "
        "4.3 points in the paper."
    )
    assert [one["id"] for one in first.claims] == ["claim1"]
    early = lead(row, compared, "not run", -1.25, None, seeds=1, judged=False)
    said = summary.found([early])[0].words
    assert said.startswith("PSL – Random, fig3a: −1.2 points (1 seed, before the first interim analysis)")
    assert len(summary.found([lead(row, compared, "not applicable")])) == 1  # the sentence on what is not applicable


def test_what_was_judged_on_other_data_is_told(row, compared):
    frozen, digits, numbers = ({"basis": basis} for basis in (
        "on frozen features", "same comparison on digits", "same comparison on numbers"
    ))  # fmt: skip
    words = {
        "2 claims are contradicted, 1 of them by the same comparison on digits:": ({}, digits),
        "2 claims are contradicted, 2 of them on frozen features:": (frozen, frozen),
        "2 claims are contradicted, 2 of them by the same comparison on other data:": (digits, numbers),
        "1 claim is contradicted:": ({},),
    }
    for said, bases in words.items():
        rows = [row(number, "fig3a", "contradicted", **basis) for number, basis in enumerate(bases)]
        assert summary.found(rows)[0].words == said
    told = summary.found([lead(row, compared, "inconclusive") | digits])[0].words
    assert told.startswith("PSL – Random, fig3a, by the same comparison on digits: +1.2")
    assert summary.verdict(row(1, "fig3a", "supported", **digits)) == "supported (same comparison on digits)"
    assert summary.verdict(row(1, "fig3a", "supported")) == "supported"


def test_whether_the_papers_number_is_inside_our_interval(row, compared):
    near, far, alone = compared("a", 4.0, 0.5), compared("b", 1.0, 0.5), compared("c", 4.3)
    of = {"paper": "4.3 points", "paper_value": 4.3}
    told = {"yes": [near], "no": [far], "in 1 of 2": [near, far, alone], "": [alone]}
    for words, comparisons in told.items():
        assert summary.inside(row(1, "fig3a", "supported", **of), comparisons) == words
    assert summary.inside(row(1, "fig3a", "supported", **of | {"paper": "–"}), [near]) == ""  # it prints none
    assert summary.inside(row(1, "fig3a", "supported", **of | {"paper_value": None}), [near]) == ""


def test_numbers_for_people(row, compared):
    assert summary.number(-0.06, "points") == "−0.1"
    assert summary.number(-0.04, "points") == "+0.0"
    assert summary.number(0.078, "M") == "0.078"
    assert summary.number(11.17, "M") == "11.17"
    assert summary.number(50.58, "%") == "50.6"
    assert summary.measured(compared("a", None), "points") == "not run"
    assert summary.measured(compared("a", None) | {"seeds": 2}, "points") == "no number"
    assert summary.region(row(1, "fig3a", "supported")) == "above 0.0 points"
    assert summary.region(row(1, "fig3a", "supported", region=[38.8, 42.8], unit="%")) == "between 38.8 and 42.8 %"


def test_ours_in_few_words(row, compared):
    assert summary.brief(row(1, "fig3a", "supported", ours="in 3 of 3 runs")) == "in 3 of 3 runs"
    assert len(summary.brief(row(1, "fig3a", "supported", ours="x" * 500))) == 60
    several = [compared("a", 1.0, 0.5), compared("b", -2.0), compared("c", None)]
    assert summary.brief(row(1, "fig3a", "supported", comparisons=several)) == "−2.0 to +1.0 points in 2 comparisons"
    early = [one | {"judged": False} for one in several]
    assert summary.brief(row(1, "fig3a", "inconclusive", comparisons=early)).endswith(" so far")
    same = [compared("a", 11.17), compared("b", 11.17)]
    assert summary.brief(row(1, "table1", "supported", comparisons=same, unit="M")) == "11.17 M in 2 comparisons"


def test_the_place_of_a_claim(row):
    assert summary.place(row(1, "fig3a", "supported")) == "fig3a"
    assert summary.place(row(1, "fig3b, fig6a", "supported")) == "fig6"
    assert summary.place(row(1, "fig6a, fig6b", "supported")) == "fig6"
    assert summary.place(row(1, "fig3a, fig3b, fig3c", "supported")) == ""


def test_beside_a_figure_verdicts_are_counted(row):
    of = ["supported", "contradicted", "contradicted", "inconclusive"]
    assert summary.beside([row(number, "fig3a", verdict) for number, verdict in enumerate(of, 1)]) == (
        "1 supported, 2 contradicted, 1 inconclusive"
    )
    assert summary.beside([row(1, "fig3a", "contradicted")]) == "1 contradicted"


def test_nothing_has_no_minus(compared):
    assert summary.measured(compared("a – b", -0.04, 0.7), "points") == "+0.0 ± 0.7"
    assert summary.measured(compared("a – b", -0.06, 0.7), "points") == "−0.1 ± 0.7"
