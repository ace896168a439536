"""The JSON schema that editors complete ``params.yaml`` from, and the reference of all settings."""

from pathlib import Path

import pytest
import yaml

from pslcore import strategies
from pslcore.federated import FederatedConfig
from pslcore.recipe import Recipe
from psllab.grid import schema

TOP = Path(__file__).parents[3]
PARAMS = yaml.safe_load((TOP / "params.yaml").read_text())


@pytest.fixture(scope="module")
def check():
    import jsonschema  # two seconds, and no other file needs it

    validator = jsonschema.Draft202012Validator(schema.json_schema())
    validator.check_schema(validator.schema)
    return lambda content: next(iter(sorted(validator.iter_errors(content), key=str)), None)


def test_what_is_in_the_repository_is_current(tmp_path):
    for path in schema.write(tmp_path):
        there = TOP / path.relative_to(tmp_path)
        assert path.read_text() == there.read_text(), f"{there.name} is of other settings: make schema"


def test_the_parameters_of_the_repository_fit(check):
    assert check(PARAMS) is None
    assert (TOP / "params.yaml").read_text().startswith("# yaml-language-server: $schema=params.schema.json\n")


def experiment(config=None, own=None, **changes):
    section = {"config": config or {}, "methods": {"A": own or {"method": "psl"}}, "seeds": 2} | changes
    return {"scales": {"quick": {"base": {"dataset": "digits"}, "fig": section}}}


@pytest.mark.parametrize(
    "content",
    [
        {}, {"scales": {"quick": {"fig": {}}}}, experiment(seeds=0), experiment(seeds="two"), experiment(sees=2),
        experiment({"seed": 3}), experiment({"method": "psl"}), experiment({"datasets": "digits"}),
        experiment({"recipe": {"epoch": 3}}), experiment({"recipe": {"epochs": 0}}), experiment({"teacher": "vgg"}),
        experiment({"setting": "open"}), experiment({"noise": 1}), experiment(own={"method": "bagde"}),
        experiment(own={"method": "psl", "options": {"peer": 2}}),
        experiment(own={"method": "random", "options": {"peers": 2}}),
        experiment(own={"method": "psl", "options": {"peers": 0}}), experiment({"split": "even"}),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_marked(check, content):
    assert check(content) is not None


@pytest.mark.parametrize(
    "content",
    [
        experiment(), experiment({"recipe": {"epochs": 3}, "clients": 4, "rounds": 3}),
        experiment(own={"method": "psl", "options": {"peers": 4, "ranking": "ordered"}}),
        experiment(own={"method": "vaal", "options": {"width": 8}, "noise": 0.1}),
    ],
)  # fmt: skip
def test_what_fits_is_not(check, content):
    assert check(content) is None


def test_every_setting_stands_in_the_reference():
    text = schema.reference()
    kinds = [FederatedConfig, Recipe, *(strategies.kind(name) for name in strategies.names())]
    for kind in kinds:
        for name in kind.model_fields:
            assert f"| `{name}` |" in text
    assert "| `peers` | whole number from 1 to 64 | `2` | `P`, from 1; with one peer" in text
    assert "| `warmup` | number from 0 below 1 | `0.0` | Part of the steps" in text
