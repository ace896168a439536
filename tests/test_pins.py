"""The pins: one source of them, and places that agree."""

import re
import tomllib
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

TOP = Path(__file__).parents[1]
PROJECT = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]
LOCK = (TOP / "requirements.lock").read_text().splitlines()


def wanted():
    """The requirements of pyproject.toml: ours, and those of every extra."""
    lines = sum(PROJECT["optional-dependencies"].values(), PROJECT["dependencies"])
    return [need for need in map(Requirement, lines) if need.name != "pslcore"]


def versions():
    assert [line for line in LOCK if not re.fullmatch(r"[a-z0-9._-]+==[^\s;+]+", line)] == []  # nor one machine's build
    found = {canonicalize_name(name): version for name, version in (line.split("==") for line in LOCK)}
    assert len(found) == len(LOCK)
    return found


def test_pins_agree():
    lock = versions()
    for need in wanted():
        assert lock.get(canonicalize_name(need.name)) in need.specifier, need
    loose = [need.name for need in wanted() if not re.fullmatch(r"==[^*+,]+", str(need.specifier))]
    assert loose == [
        "soupsieve",
        "jsonschema",
    ]  # bounds on what others pull in; all that we ask for ourselves is pinned
    assert {"torch", "pydantic", "dvc", "papermill", "pytest", "mypy"} <= {need.name for need in wanted()}


def test_who_develops_has_every_extra():
    extras = PROJECT["optional-dependencies"]
    (own,) = (need for need in map(Requirement, extras["dev"]) if need.name == "pslcore")
    assert own.extras == set(extras) - {"dev"}


def test_the_readme_carries_the_pinned_wheels():
    (pin,) = (line for line in PROJECT["dependencies"] if line.startswith("pydantic"))
    assert re.findall(r"pydantic[=<>~]+[\w.]+", (TOP / "docs" / "batch.md").read_text()) == [pin]


def test_conda_users_get_the_same_pins():
    environment = yaml.safe_load((TOP / "environment.yml").read_text())
    plain = [line for line in environment["dependencies"] if isinstance(line, str)]
    (piped,) = (line["pip"] for line in environment["dependencies"] if isinstance(line, dict))
    assert plain == [f"python{PROJECT['requires-python']}", "pip"]
    assert {re.sub(r"^(-e|--editable) ", "-e ", line) for line in piped} == {
        "-e .[dev]", "--constraint requirements.lock",
    }  # fmt: skip


def test_the_same_versions_of_python_everywhere():
    taken = SpecifierSet(PROJECT["requires-python"])
    ours = [minor for minor in range(30) if f"3.{minor}" in taken]
    assert ours == [11, 12, 13]
    assert re.findall(r"python3\.(\d+)", (TOP / "Makefile").read_text().split("VENV ?=")[0]) == [str(n) for n in ours]
    assert "Python 3.11, 3.12 or 3.13" in (TOP / "README.md").read_text()
