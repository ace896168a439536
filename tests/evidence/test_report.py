"""Exhibits: what a figure stage leaves, and what comes back of it."""

import re
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go
import pytest
import yaml

from pslcore import campaign
from pslcore.evidence import report
from pslcore.evidence.report import Exhibit

TOP = Path(__file__).parents[2]
PAPER = yaml.safe_load((Path(report.__file__).parent / "paper.yaml").read_text())


def exhibits():
    one = Exhibit("fig0", "Figure 0: <made up>", "It rises & falls.", "Note </script>", "notebooks/some.ipynb", 12.345)
    one.show(go.Figure(go.Scatter(x=[1, 2], y=[3.5, float("nan")], name="<b>"), {"title": {"text": "&"}}))
    one.show(go.Figure(go.Bar(x=["a"], y=[1])))
    one.tabulate("First <table>", pd.DataFrame({"method": ["A & B", "C"], "value <%>": [1.5, "–"]}))
    two = Exhibit("table0", "Table 0", "So.", "Counted.", "notebooks/other.ipynb")
    return [one, two.tabulate("Second", pd.DataFrame({"n": [11_173_962]}))]


def test_an_exhibit_survives_its_file(tmp_path):
    for exhibit in exhibits():
        path = exhibit.write(tmp_path / "figures")
        assert path == tmp_path / "figures" / f"{exhibit.id}.json"
        assert report.read(path) == exhibit
    assert sorted(path.name for path in path.parent.iterdir()) == ["fig0.json", "table0.json"]


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
    experiments = {name for scale in campaign.scales(params) for name in campaign.experiments(scale, params)}
    shown = set(re.findall(r"figures/(\w+)\.json", (TOP / "dvc.yaml").read_text()))
    assert {"table1", "table2"} <= shown
    assert {re.sub("(fig6)[abc]", r"\1", name) for name in experiments} | shown == set(PAPER)
    for name in PAPER:
        exhibit = report.exhibit(name, "", "")
        assert all(text.strip() for text in (exhibit.title, exhibit.finding))
