"""The ceiling of any choice, the headroom, and who has how much of it."""

import numpy as np
import pytest
import yaml

from pslcore.runs import records
from psllab import grid
from psllab.analysis import ceiling, figures
from psllab.claims import checks, verdicts
from psllab.claims.evidence import Claim, Evidence

LEVELS = {"PSL": [50.0, 74.0], "Random": [50.0, 70.0], "LL4AL, detached": [50.0, 69.0], "Core-set (rival)": [50, 76.0]}
SEEDS = 3


@pytest.fixture
def with_ceiling(world, tmp_path):
    """``with_ceiling(level)``: results and evidence of ``LEVELS``, and all safe images labelled."""

    def build(level=75.0, seeds=SEEDS, experiment="fig3a"):
        world({experiment: {label: np.tile(metrics, (SEEDS, 1)) for label, metrics in LEVELS.items()}})
        params, out = tmp_path / "params.yaml", tmp_path / "outputs"
        content = yaml.safe_load(params.read_text())
        content["scales"]["quick"][experiment]["ceiling"] = True
        params.write_text(yaml.safe_dump(content, sort_keys=False))
        results = grid.collect(experiment, "quick", params, out)
        template = results.runs[0][1]
        for cell in results.unfinished[:seeds]:
            entry = template["cycles"][0] | {"labelled": 50, "metric": (level + cell.config.seed) / 100, "picked": []}
            made = {"config": cell.config.settings(), "key": cell.config.key, "cycles": [entry], "pools": "0" * 64}
            records.write(out / "quick" / "runs" / f"{cell.config.key}.json", template | made)
        return grid.collect(experiment, "quick", params, out), Evidence("quick", params, out)

    return build


def test_each_method_has_its_share(with_ceiling):
    results, _ = with_ceiling()
    table = ceiling.headroom(results).set_index("method")
    assert list(table.index) == [grid.CEILING, "headroom", *LEVELS]
    assert table["seeds"].tolist() == [SEEDS] * 6
    shares = dict(zip(table.index, table["share of the headroom (%)"], strict=True))
    assert shares == {
        grid.CEILING: "100", "headroom": "100", "PSL": "67", "Random": "0", "LL4AL, detached": "-17",
        "Core-set (rival)": "100",
    }  # fmt: skip
    assert table.loc["headroom", "lead over Random (points, 95 % interval)"].startswith("+6.0 ± ")
    assert table["note"].tolist()[2:] == ["", "", "not in the paper", "not in the paper"]


def test_a_headroom_below_the_papers_lead_is_told(with_ceiling):
    for level, told in ((75.0, False), (72.0, True)):
        note = ceiling.headroom(with_ceiling(level)[0]).set_index("method").loc["headroom", "note"]
        assert ("smaller than the lead of 4.3 points that the paper reports" in note) is told
    note = ceiling.headroom(with_ceiling(72.0, experiment="fig5a")[0]).set_index("method").loc["headroom", "note"]
    assert "paper" not in note  # it gives no lead over Random there


def test_seeds_without_a_ceiling_do_not_count(with_ceiling):
    table = ceiling.headroom(with_ceiling(seeds=2)[0])
    assert set(table["seeds"]) == {2}
    assert ceiling.headroom(with_ceiling(seeds=0)[0]).empty


def test_the_ceiling_is_a_line_and_no_curve(with_ceiling):
    results, evidence = with_ceiling()
    assert set(figures.frame(results)["method"]) == set(LEVELS)
    assert evidence.labels["fig3a"] == list(LEVELS)
    figure = ceiling.draw(figures.budget_curves(results), results)
    assert [trace.name for trace in figure.data] == [*LEVELS, grid.CEILING]
    assert list(figure.data[-1].y) == pytest.approx([76.0, 76.0])
    assert list(figures.summary(results)["method"]) == list(LEVELS)
    without, _ = with_ceiling(seeds=0)
    assert len(ceiling.draw(figures.budget_curves(without), without).data) == len(LEVELS)


def test_no_claim_rests_on_the_ceiling(with_ceiling):
    """It began with other pools than the methods did, and is not finished where all of them are."""
    for seeds in (0, SEEDS):
        _, evidence = with_ceiling(seeds=seeds)
        said = {"claim": "So.", "source": "nowhere", "paper": "–", "id": "made", "experiments": ["fig3a"]}
        for check in ({"kind": "same_pools"}, {"kind": "unpicked"}):
            finding = verdicts.KINDS[check["kind"]](evidence, Claim(check=check, **said))
            assert (finding.verdict, finding.ours) == (checks.SUPPORTED, "in 12 of 12 runs")
            assert finding.reason == ""
