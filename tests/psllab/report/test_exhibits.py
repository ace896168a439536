"""What the kinds of notebooks show, piece by piece and whole."""

import dataclasses

import pandas as pd
import pytest
import yaml

from psllab import grid
from psllab.analysis import exhibit as report
from psllab.grid import Results
from psllab.report import exhibits as views

CURVES = {
    "fig3a": {"PSL": [[40.0, 50.0], [42.0, 54.0]], "Random": [[40.0, 44.0], [42.0, 46.0]]},
    "fig3b": {"PSL": [[20.0, 30.0], [20.0, 32.0]], "Random": [[20.0, 26.0], [20.0, 28.0]]},
    "fig5b": {"1 peer": [[40.0, 45.0], [41.0, 46.0]], "2 peers": [[40.0, 50.0], [42.0, 54.0]]},
    "fig6a": {"PSL": [[18.0, 28.0], [18.0, 29.0]], "Random": [[18.0, 22.0], [18.0, 24.0]]},
}


def noisy(experiment, cell, record):
    record["noise"] = {"rate": 0.1, "measured": 0.11, "within": "superclass"}


@pytest.fixture
def evidence(world):
    return world(CURVES, change=noisy)


def shown(evidence, experiment):
    return views.VIEWS[experiment](evidence.results(experiment))


def test_a_comparison_is_written_for_the_page_and_for_dvc(evidence, tmp_path):
    view = shown(evidence, "fig3a")
    view.write(tmp_path / "made")
    exhibit = report.read(tmp_path / "made/figures/fig3a.json")
    assert exhibit == view.exhibit()
    assert (exhibit.notebook, len(exhibit.figures)) == ("notebooks/comparison.ipynb", 4)
    assert [table["title"] for table in exhibit.tables] == ["Result, area under the curve, privacy", "Paired by seed"]
    assert (exhibit.made, exhibit.minutes) == ("4 runs on Abacus (cpu); torch 9.9.", pytest.approx(8 / 60))
    assert yaml.safe_load((tmp_path / "made/metrics/fig3a.json").read_text()) == {"PSL": 46.5, "Random": 43.0}
    rows = pd.read_csv(tmp_path / "made/plots/fig3a.csv")
    assert rows.to_dict("list") == {
        "curve": ["PSL", "PSL", "Random", "Random"], "labelled": [10, 14, 10, 14], "metric": [41.0, 52.0, 41.0, 45.0],
        "sd": [1.4142, 2.8284, 1.4142, 1.4142], "seeds": [2, 2, 2, 2],
    }  # fmt: skip


def test_where_sides_are_compared_what_the_cloud_saw_comes_first(evidence):
    found = evidence.results("fig3a")
    at_home = [
        (dataclasses.replace(cell, config=cell.config.model_copy(update={"options": {"side": "client"}})), record)
        for cell, record in found.runs
    ]
    titles = {}
    for name, runs in (("cloud", found.runs), ("home", at_home)):
        exhibit = views.Comparison(dataclasses.replace(found, runs=runs)).exhibit()
        titles[name] = ["what the cloud saw" in str(figure) for figure in exhibit.figures]
    assert titles == {"cloud": [False, True, False, False], "home": [True, False, False, False]}


def test_pace_and_place_change_no_output(evidence, tmp_path):
    results = evidence.results("fig3a")
    elsewhere = Results("fig3a", "quick", [
        (cell, record | {
            "hardware": {"device": "cpu", "processor": "Engine", "cores": 64}, "versions": {"torch": "10.0"},
            "cycles": [entry | {"seconds": {"train": 77.0}} for entry in record["cycles"]],
        }) for cell, record in results.runs
    ])  # fmt: skip
    for name, found in (("here", results), ("there", elsewhere)):
        views.Comparison(found).write(tmp_path / name)
    files = {path.relative_to(tmp_path / "here") for path in (tmp_path / "here").rglob("*.*")}
    assert len(files) == 4
    differ = {
        str(file)
        for file in files
        if (tmp_path / "here" / file).read_bytes() != (tmp_path / "there" / file).read_bytes()
    }
    assert differ == {"figures/fig3a.cost.json"}


def test_a_single_other_pick_is_seen(evidence):
    results = evidence.results("fig3a")
    cell, record = results.runs[0]
    first = record["cycles"][0]
    picks = [*first["picked"][:-1], first["picked"][-1] + 1]
    changed = record | {"cycles": [first | {"picked": picks}, *record["cycles"][1:]]}
    other = dataclasses.replace(results, runs=[(cell, changed), *results.runs[1:]])
    assert views.digest(results) == views.digest(evidence.results("fig3a")) != views.digest(other)


def test_an_ablation_is_held_against_psl_as_it_is(evidence):
    view = shown(evidence, "fig5b")
    assert view.tests.columns[0] == "2 peers against"
    exhibit = view.exhibit()
    assert [table["title"] for table in exhibit.costs] == ["on the client, timed beside other runs"]
    results = evidence.results("fig5b")
    alone = [run for run in results.runs if run[0].label == "1 peer"]
    assert views.Ablation(dataclasses.replace(results, runs=alone)).tests.columns[0] == "1 peer against"


def test_noise_with_and_without_the_clean_runs(evidence):
    clean, few = (evidence.results(name) for name in ("fig3b", "fig6a"))
    view = views.Noise(clean, few)
    assert view.measured["measured"].unique().tolist() == ["11.00%"]
    assert view.metrics() == {"fig6a": {"PSL": 23.25, "Random": 20.5}}
    assert view.id == view.exhibit().id == "fig6"
    assert len(view.exhibit().figures) == 2
    assert views.Noise(Results("fig3b", "quick"), few).plot()["curve"].tolist() == ["PSL", "Random"]


@pytest.mark.slow
def test_a_page_needs_no_notebook(evidence, tmp_path):
    params, out = tmp_path / "params.yaml", tmp_path / "outputs"
    exhibits = views.collected("quick", params, out)
    assert [exhibit.id for exhibit in exhibits] == ["table1", "fig3a", "fig3b", "fig5b", "fig6"]
    assert exhibits[1] == shown(evidence, "fig3a").exhibit()
    for cell in grid.cells("fig3a", "quick", params):
        (out / "quick/runs" / f"{cell.config.key}.json").unlink()
    assert "fig3a" not in [exhibit.id for exhibit in views.collected("quick", params, out)]
    with pytest.raises(FileNotFoundError, match="holds no finished run: run an experiment first"):
        views.collected("quick", params, tmp_path / "elsewhere")
