"""What the documentation shows works as shown."""

import re
from pathlib import Path

import numpy as np

from pslcore import strategies
from pslcore.experiment import Config, run

DOCS = Path(__file__).parents[1] / "docs"


def test_the_worked_example_of_a_new_method_runs(monkeypatch):
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "methods.md").read_text(), re.S)
    scope = {}
    exec(blocks[0], scope)
    name, cls = re.match(r'\s*"(\w+)": (\w+),', blocks[1]).groups()
    monkeypatch.setitem(strategies._STRATEGIES, name, scope[cls])
    monkeypatch.setattr(strategies, "source", lambda _: Path(strategies.__file__))
    recipe = {"epochs": 1, "batch_size": 16, "padding": 1, "flip": False}
    record = run(Config.of({
        "dataset": "digits", "method": name, "teacher": "resnet8", "initial": 20, "budget": 5, "final": 25,
        "recipe": recipe,
    }))  # fmt: skip
    assert len(np.unique(record["cycles"][0]["picked"])) == 5
    assert record["cycles"][0]["unlabelled_seen"] == 110
