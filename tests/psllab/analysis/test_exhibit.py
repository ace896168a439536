"""Exhibits: what a figure stage leaves, and what comes back of it."""

import json
import re
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go
import pytest
import yaml

from psllab import grid
from psllab.analysis import exhibit as report
from psllab.analysis.exhibit import Exhibit

TOP = Path(__file__).parents[3]
PAPER = yaml.safe_load((Path(report.__file__).parent / "paper.yaml").read_text())


def exhibits():
    one = Exhibit("fig0", "Figure 0: <made up>", "It rises & falls.", "Note </script>", "notebooks/some.ipynb", 12.345)
    one.show(go.Figure(go.Scatter(x=[1, 2], y=[3.5, float("nan")], name="<b>"), {"title": {"text": "&"}}))
    one.show(go.Figure(go.Bar(x=["a"], y=[1])))
    one.tabulate("First <table>", pd.DataFrame({"method": ["A & B", "C"], "value <%>": [1.5, "–"]}))
    one.price("Third", pd.DataFrame({"seconds": [0.5]})).made = "2 runs on Abacus"
    one.records = "0123456789abcdef"
    two = Exhibit("table0", "Table 0", "So.", "Counted.", "notebooks/other.ipynb")
    return [one, two.tabulate("Second", pd.DataFrame({"n": [11_173_962]}))]


def test_an_exhibit_survives_its_file(tmp_path):
    for exhibit in exhibits():
        path = exhibit.write(tmp_path / "figures")
        assert path == tmp_path / "figures" / f"{exhibit.id}.json"
        assert report.read(path) == exhibit
    names = ["fig0.cost.json", "fig0.json", "table0.cost.json", "table0.json"]
    assert sorted(path.name for path in path.parent.iterdir()) == names


def test_what_a_run_cost_stands_beside(tmp_path):
    """Two runs of the same, on another machine and at another pace, leave the same output of the pipeline."""
    one, again = exhibits()[0], exhibits()[0]
    again.minutes, again.made, again.costs = 99.0, "2 runs on Engine", []
    first, second = one.write(tmp_path / "first"), again.write(tmp_path / "second")
    assert first.read_bytes() == second.read_bytes()
    assert not set(report.COST) & set(json.loads(first.read_text()))
    assert "Abacus" not in first.read_text()
    cost = first.with_suffix(".cost.json")
    assert set(json.loads(cost.read_text())) == set(report.COST)
    cost.unlink()
    without = report.read(first)
    assert (without.minutes, without.made, without.costs) == (0.0, "", [])
    assert (without.figures, without.tables, without.records) == (one.figures, one.tables, one.records)


def test_a_table_comes_back_as_it_is_shown():
    one = exhibits()[0]
    assert one.frame(0).to_dict("list") == {"method": ["A & B", "C"], "value <%>": ["1.5", "–"]}
    assert one.frame(1).to_dict("list") == {"seconds": ["0.5"]}


def test_figures_and_tables_are_kept_as_they_are():
    one = exhibits()[0]
    assert one.figures[0]["data"][0]["y"] == [3.5, None]
    assert one.tables == [
        {"title": "First <table>", "columns": ["method", "value <%>"], "rows": [["A & B", "1.5"], ["C", "–"]]}
    ]
    assert go.Figure(one.figures[1]).data[0].type == "bar"


def test_exhibits_come_in_the_order_of_the_paper(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no exhibit: run the notebooks of the figures first"):
        report.exhibits(tmp_path)
    for name in ("fig7", "fig3a", "table1"):
        report.exhibit(name, "", "").write(tmp_path)
    assert [exhibit.id for exhibit in report.exhibits(tmp_path)] == ["table1", "fig3a", "fig7"]


def test_an_exhibit_begins_with_what_the_paper_says():
    exhibit = report.exhibit("fig3a", "notebooks/comparison.ipynb", "A note.", 2.5)
    assert (exhibit.title, exhibit.finding) == (PAPER["fig3a"]["title"], PAPER["fig3a"]["finding"])
    assert (exhibit.id, exhibit.note, exhibit.minutes, exhibit.figures) == ("fig3a", "A note.", 2.5, [])
    with pytest.raises(ValueError, match=r"paper.yaml says nothing of 'fig99': give it a title and a finding"):
        report.exhibit("fig99", "", "")


def test_the_paper_is_known_for_every_experiment():
    params = TOP / "params.yaml"
    experiments = {name for scale in grid.scales(params) for name in grid.experiments(scale, params)}
    shown = set(re.findall(r"figures/(\w+)\.json", (TOP / "dvc.yaml").read_text()))
    assert {"table1", "table2"} <= shown
    assert {re.sub("(fig6)[abc]", r"\1", name) for name in experiments} | shown == set(PAPER)
    for name in PAPER:
        exhibit = report.exhibit(name, "", "")
        assert all(text.strip() for text in (exhibit.title, exhibit.finding))
