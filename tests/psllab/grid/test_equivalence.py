"""Proof by running: a change that alters nothing is written down, a change of a learning rate is caught and named."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import pslcore
import psllab
from pslcore import models, strategies
from pslcore.federated import FederatedConfig
from psllab.grid import attest, current, params
from psllab.grid.equivalence import ATTESTED, GOLDEN

SMALL = {
    "base": {"dataset": "digits", "teacher": "resnet8", "initial": 20, "budget": 10, "final": 30,
             "recipe": {"epochs": 1, "batch_size": 16}},
    "plain": {"methods": {"PSL": {"method": "psl"}, "Random": {"method": "random"}}, "seeds": 1},
}  # fmt: skip
ATTEST = """
import json, sys
from psllab.grid import attest, current
found = attest("HEAD", golden="golden.yaml", attested="attested.json")
print(*found, sep="\\n")
"""


@pytest.fixture
def repository(tmp_path):
    """A repository of the present code, committed; ``change(file, old, new)`` edits it, ``attest()`` runs it."""
    folder = tmp_path / "repository"
    for package in (pslcore, psllab):
        there = folder / package.__name__
        shutil.copytree(Path(package.__file__).parent, there, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "golden.yaml").write_text(yaml.safe_dump({"scales": {"golden": SMALL}}))
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@t"]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "all"]):
        subprocess.run([*git, *words], cwd=folder, check=True)

    class Repository:
        attested = folder / "attested.json"

        def change(self, file, old, new):
            text = (folder / "pslcore" / file).read_text()
            assert old in text
            (folder / "pslcore" / file).write_text(text.replace(old, new))

        def attest(self):
            done = subprocess.run(
                [sys.executable, "-c", ATTEST], cwd=folder, env=os.environ | {"PYTHONPATH": str(folder)},
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            return done.stdout.splitlines()

    return Repository()


@pytest.mark.slow
def test_what_changes_nothing_is_written_down_and_a_learning_rate_is_caught(repository):
    repository.change("recipe.py", "rising", "ascending")  # another name for the same thing
    psl, random = repository.attest()
    assert psl.startswith("psl (resnet8): 1 runs equal bit for bit, ")
    assert random.startswith("random (resnet8): 1 runs equal bit for bit, ")
    rows = json.loads(repository.attested.read_text())
    assert [row["method"] for row in rows] == ["psl", "random"]
    for row in rows:
        assert row["old"] != row["new"]
        assert {"processor", "model", "capability", "bfloat16"} <= set(row["hardware"])
        assert {"torch", "python"} <= set(row["versions"])

    repository.change("strategies/peers.py", "ge=1, le=64)", "ge=1, le=65)")  # touches one method alone
    repository.change("recipe.py", "groups, lr=recipe.lr,", "groups, lr=1.001 * recipe.lr,")
    psl, random = repository.attest()
    assert psl.startswith("psl (resnet8): DIFFERS in plain/PSL (")
    assert random.startswith("random (resnet8): DIFFERS in plain/Random (")
    assert " then, " in random
    assert json.loads(repository.attested.read_text()) == rows  # nothing is added


def test_a_revision_that_there_is_not():
    with pytest.raises(ValueError, match=r"git cannot give revision 'no-such' of .*: name a commit of it"):
        attest("no-such", attested=None)


def test_the_golden_set_passes_through_everything():
    golden = params.scales(GOLDEN)["golden"]
    cells = [cell for name in golden if name != params.BASE for cell in params.cells(name, "golden", GOLDEN)]
    configs = [cell.config for cell in cells]
    assert {config.method for config in configs} == set(strategies.names())
    families = set().union(
        *(models.sources(name) for config in configs for name in (config.teacher, *config.strategy.students))
    )
    assert families == set().union(*map(models.sources, models.names()))
    for wanted in (
        lambda config: config.warm_start, lambda config: config.noise, lambda config: config.examine_peers,
        lambda config: config.recipe.precision == "bfloat16", lambda config: config.setting == "standard",
        lambda config: models.for_pixel_labels(config.teacher), lambda config: isinstance(config, FederatedConfig),
        lambda config: isinstance(config, FederatedConfig) and config.split == "dirichlet",
    ):  # fmt: skip
        assert any(map(wanted, configs))


def test_a_fingerprint_leads_to_another_through_any_number_of_proofs(monkeypatch, tmp_path):
    rows = [{"old": "a", "new": "b"}, {"old": "b", "new": "c"}, {"old": "x", "new": "y"}]
    (tmp_path / "attested.json").write_text(json.dumps(rows))
    from psllab.grid import attest as _  # the function; its module holds the graph

    module = sys.modules[_.__module__]
    graph = module._graph.__wrapped__(tmp_path / "attested.json")
    monkeypatch.setattr(module, "_graph", lambda: graph)
    assert current("a", "c")
    assert current("c", "a")  # equal is equal both ways
    assert current("z", "z")
    assert not current("a", "x")
    assert not current("a", "z")


def test_what_is_attested_here_is_in_form():
    for row in json.loads(ATTESTED.read_text()):
        assert row["runs"] > 0
        assert row["old"] != row["new"]
        assert len(row["revision"]) == 40
