"""A scoring function from a notebook: the file that it becomes, the widgets, and the notebook with nobody there."""

import time
from pathlib import Path

import numpy as np
import pytest

from pslcore import strategies
from psllab.explore.method import Sketch, as_file
from psllab.extend import contract
from psllab.extend.method_file import of_file

TOP = Path(__file__).parents[3]


def unsure(logits, entropy, power=2.0):
    """Wants what is "unsure"."""
    return entropy**power - logits.max(1)


def plain(features):
    return features.sum(1)


def diverging(logits):
    return logits[:, 0] * np.nan


@pytest.mark.parametrize(("score", "option"), [(unsure, "power"), (plain, None)])
def test_a_function_becomes_a_file_that_keeps_the_contract(score, option, tmp_path):
    text, found = as_file(score)
    assert found == option
    (tmp_path / "mine.py").write_text(text)
    cls = of_file(str(tmp_path / "mine.py"))
    assert cls.__name__ == score.__name__.title()
    contract.check(cls())
    query = contract.made(cls(), contract.ORDINARY)
    wanted = score(*(query.answers[name] for name in cls.requires))
    assert cls().pick(query).tolist() == strategies.top(query, wanted).tolist()
    if option:
        assert cls(power=1).pick(query).tolist() == strategies.top(query, score(*query.answers.values(), 1)).tolist()


@pytest.mark.parametrize(
    ("score", "said"),
    [
        (lambda pixels: pixels, "asks for 'pixels': choose from logits, features, entropy"),
        (lambda logits, how="best": logits, "the default of 'how' must be a number"),
        (lambda a=1, b=2: a, "must ask for something, such as `logits`, and have one option at most"),
        (lambda: 1, "must ask for something"),
    ],
)
def test_what_is_no_scoring_function(score, said):
    with pytest.raises(ValueError, match=said):
        as_file(score)


@pytest.mark.slow
def test_run_stop_and_run_again(made, tmp_path):
    given = {"experiment": "fig", "scale": "little", "out": tmp_path, "root": tmp_path, "jobs": 1}
    sketch = Sketch(unsure, 0.5, 3.0, 0.5, table=made / "table.json.xz", **given)
    assert sketch.slider.value == 2.0
    assert sketch.run(wait=False) is None
    assert sketch.button.disabled
    sketch.progress.stop.click()
    sketch.progress.job.wait()
    assert "Stopped; what was finished is kept" in sketch.status.value
    assert not sketch.button.disabled
    found = sketch.run()
    assert found.analysis == 1
    assert [curve.name for curve in sketch.plot.data][:3] == ["Random", "Entropy", "Unsure"]
    assert "Unsure with power = 2: area under the curve" in sketch.status.value
    assert "inconclusive" in sketch.rows.value or "better" in sketch.rows.value or "worse" in sketch.rows.value
    runs = list(tmp_path.glob("little/tried/*/runs/*.json"))
    assert len(runs) == 2
    sketch.slider.value = 1.0
    start = time.monotonic()
    sketch.run()
    assert len(list(tmp_path.glob("little/tried/*/runs/*.json"))) == 4
    assert time.monotonic() > start
    broken = Sketch(diverging, table=made / "table.json.xz", **given)
    assert broken.slider.disabled
    assert broken.run() is None
    assert "is not a number" in broken.status.value


@pytest.mark.slow
def test_the_notebook_runs_with_nobody_there(made, tmp_path, executed):
    (tmp_path / "params.yaml").write_text("")
    given = {"experiment": "fig", "scale": "little", "table": str(made / "table.json.xz"), "jobs": 1}
    ran = executed("your_method", **given)
    assert all(output.output_type != "error" for cell in ran.cells for output in cell.get("outputs", []))
    assert len(list(tmp_path.glob("outputs/little/tried/*/runs/*.json"))) == 2
