"""The forest plot: everything stands where its number is."""

import pytest

from psllab.claims import forest


def one(row, compared, *comparisons, **more):
    ((block,),) = [forest.blocks([row(1, "fig3a", "supported", comparisons=list(comparisons), **more)])]
    return block["rows"][0]


def test_a_number_stands_at_its_place(row, compared):
    drawn = one(row, compared, compared("a", 2.5, 1.25), paper_value=4.0, region=[2.5, 5.0])["drawn"]
    assert (drawn["place"], drawn["left"], drawn["width"]) == (75, 62.5, 25)  # the axis goes from -5 to 5
    assert (drawn["paper"], drawn["region"]) == (90, (75, 25))
    assert drawn["cut"] == {"low": False, "high": False}
    assert drawn["alt"] == (
        "a: paper +4.0 points, inside our interval: no; ours +2.5 ± 1.2 points; "
        "the claim wants between 2.5 and 5.0 points."
    )


def test_a_direction_reaches_to_the_end_of_the_axis(row, compared):
    assert one(row, compared, compared("a", 1.0, 0.5))["drawn"]["region"] == (50, 50)


def test_what_lies_beyond_the_axis_is_cut_and_said(row, compared):
    drawn = one(row, compared, compared("a", 60.0, 70.0))["drawn"]
    assert drawn["cut"] == {"low": False, "high": True}
    assert (drawn["place"], drawn["left"] + drawn["width"]) == (100, 100)
    assert (
        forest.blocks([row(1, "fig3a", "supported", comparisons=[compared("a", 60.0, 71.0)])])[0]["ticks"][-1][1]
        == "10"
    )


def test_of_several_the_farthest_from_the_region_is_drawn(row, compared):
    rows = [compared("a", 3.0, 0.5), compared("b", -1.0, 0.5), compared("c", None), compared("d", 1.0, 9.0)]
    found = one(row, compared, *rows)
    assert found["drawn"]["name"] == "b"
    assert [each["name"] for each in found["comparisons"]] == ["a", "b", "c", "d"]
    assert found["comparisons"][2]["place"] is None
    assert "not run" in found["comparisons"][2]["alt"]
    found = one(row, compared, compared("a", 3.0), compared("b", 8.0), region=[2.0, 6.0])
    assert found["drawn"]["name"] == "b"
    assert one(row, compared, rows[0])["comparisons"] == []


def test_sizes_are_parts_of_the_printed_ones(row, compared):
    drawn = one(row, compared, compared("a", 2.14), unit="M", paper_value=3.25, region=[3.245, 3.26])["drawn"]
    assert drawn["paper"] == 50
    assert drawn["place"] == pytest.approx(50 * 2.14 / 3.25, abs=0.01)
    assert drawn["ours"] == "2.14"


def test_what_is_early_says_so(row, compared):
    drawn = one(row, compared, compared("a", 1.0, 0.5, judged=False))["drawn"]
    assert not drawn["judged"]
    assert "3 seeds, before the first interim analysis" in drawn["alt"]


def test_a_block_a_unit_and_none_for_what_has_no_number(row, compared):
    rows = [
        row(1, "fig3a", "supported", comparisons=[compared("a", 1.0)]),
        row(2, "fig3a", "supported", comparisons=[compared("a", 50.0)], unit="%", region=[40, 60]),
        row(3, "fig3a", "not run", comparisons=[compared("a", None)]),
        row(4, "fig3a", "supported"),
    ]
    assert [(block["unit"], len(block["rows"])) for block in forest.blocks(rows)] == [("points", 1), ("%", 1)]
    assert forest.blocks([]) == []
    places = [place for place, _ in forest.blocks(rows)[1]["ticks"]]
    assert places == sorted(places)
    assert (places[0], places[-1]) == (0, 100)
