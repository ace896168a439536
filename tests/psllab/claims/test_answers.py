"""The first screen of the page: answered by judged comparisons alone, and by those that were published."""

import json
from pathlib import Path

import pytest

from psllab.claims import answers, verdicts

TOP = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("estimate", "half", "standing"),
    [
        (1.0, 0.5, "ahead"), (-1.0, 0.5, "behind"), (1.0, 1.5, "cannot be told"), (-0.2, 0.4, "cannot be told"),
        (0.1, 0.3, "no relevant difference"), (0.3, 0.1, "no relevant difference"),
    ],
)  # fmt: skip
def test_an_interval_answers(row, compared, estimate, half, standing):
    rows = [row(1, "private", "inconclusive", id="ours-peers-beat-all-at-home", comparisons=[
        compared("PSL – VAAL", 9.0, 1.0), compared("PSL – Random", estimate, half, seeds=20)
    ])]  # fmt: skip
    found = answers.answer(answers.WORKS, rows)
    assert answers.STANDING[found["verdict"]] == standing
    assert found["told"] == f"{estimate:+} ± {half} (20 seeds)".replace("-", "−")
    assert answers.answer(answers.COSTS, rows) is None


def test_the_most_seeds_answer_and_what_is_not_judged_does_not(row, compared):
    def rows(**few):
        return [
            row(1, "fig3a, fig3b", "inconclusive", id="psl-superior",
                comparisons=[compared("fig3a: PSL – Random", 5.0, 9.0, **few)]),
            row(2, "private", "inconclusive", id="ours-peers-beat-all-at-home",
                comparisons=[compared("PSL – Random", 2.0, 2.5, seeds=20)]),
        ]  # fmt: skip

    assert answers.answer(answers.WORKS, rows(seeds=3))["seeds"] == 20
    assert answers.answer(answers.WORKS, rows(seeds=200))["seeds"] == 200
    assert answers.answer(answers.WORKS, rows(seeds=200, judged=False))["seeds"] == 20
    assert answers.answer(answers.WORKS, rows(seeds=200, low=None))["seeds"] == 20
    assert answers.answer(answers.WORKS, []) is None


def test_two_seeds_are_too_few_to_be_told(row, compared):
    for seeds, told in [(2, "too few seeds"), (3, "+5.0 ± 9.0 (3 seeds)")]:
        comparisons = [compared("fig3a: PSL – Random", 5.0, 9.0, seeds=seeds)]
        rows = [row(1, "fig3a, fig3b", "inconclusive", id="psl-superior", comparisons=comparisons)]
        assert answers.answer(answers.WORKS, rows)["told"] == told


def test_every_question_is_one_that_is_judged():
    """By the published verdicts at ``digits``, which has them all."""
    rows = json.loads((TOP / "outputs/digits/claims.json").read_text())
    assert all(answers.answer(question, rows) for question in answers.QUESTIONS)
    places = {(claim, name) for question in answers.QUESTIONS for claim, name in question.held.items()}
    assert places <= {(row["id"], one["name"]) for row in rows for one in row["comparisons"]}


def test_what_is_published_is_read_where_it_is(row, tmp_path):
    assert answers.published("quick", tmp_path) == {}
    rows = [row(1, "fig3a", "supported")]
    for scale in ("digits", "features_few"):
        verdicts.write(rows, scale, tmp_path)
    assert answers.published("quick", tmp_path) == {"digits": rows, "photographs, few labels": rows}
    assert answers.published("digits", tmp_path) == {"photographs, few labels": rows}
