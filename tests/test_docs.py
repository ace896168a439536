"""What the documentation shows works as shown."""

import re
from pathlib import Path

import numpy as np

from pslcore import strategies
from pslcore.evidence import verdicts
from pslcore.runs import Config, run

TOP = Path(__file__).parents[1]
DOCS = TOP / "docs"


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


def test_the_readme_shows_the_verdicts_of_the_committed_records():
    rows = verdicts.judge("laptop", TOP / "params.yaml", TOP / "outputs")
    readme = (TOP / "README.md").read_text()
    assert verdicts.markdown([row for row in rows if row["verdict"] != "not run"]) in readme
    counts = ", ".join(f"{count} {verdict}" for verdict, count in verdicts.counts(rows).items())
    assert counts in readme
    papers = [claim for claim in verdicts.load() if claim.source != "ours"]
    assert f"The paper makes {len(papers)} claims" in readme
