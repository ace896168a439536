"""The pins: one source of them, and places that agree; no release that its makers withdrew."""

import importlib.util
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

TOP = Path(__file__).parents[1]
PROJECT = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]
LOCK = (TOP / "requirements.lock").read_text().splitlines()


@pytest.fixture(scope="module")
def tool():
    """``tools/lock.py``."""
    spec = importlib.util.spec_from_file_location("lock", TOP / "tools/lock.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def wanted():
    """The requirements of pyproject.toml: ours, and those of every extra."""
    lines = sum(PROJECT["optional-dependencies"].values(), PROJECT["dependencies"])
    return [need for need in map(Requirement, lines) if need.name != "pslcore"]


def versions():
    assert [line for line in LOCK if not re.fullmatch(r"[a-z0-9._-]+==[^\s;+]+", line)] == []  # nor one machine's build
    found = {canonicalize_name(name): version for name, version in (line.split("==") for line in LOCK)}
    assert len(found) == len(LOCK)
    assert sorted(LOCK) == LOCK
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


def test_the_lock_holds_no_withdrawn_release(tool):
    assert tool.WITHDRAWN["soupsieve"] == {"3.0.1"}
    assert [line for line in LOCK if line.split("==")[1] in tool.WITHDRAWN.get(line.split("==")[0], ())] == []


def row(name, version, **more):
    return {"metadata": {"name": name, "version": version}} | more


def test_the_tool_locks_what_pip_reports(tool):
    rows = [row("torch", "2.13.0+cpu"), row("pslcore", "0.1.0"), row("PyYAML", "6.0.3", is_yanked=False)]
    assert tool.locked({"install": rows}) == ["pyyaml==6.0.3", "torch==2.13.0"]


@pytest.mark.parametrize("bad", [row("some", "1.0", is_yanked=True), row("SoupSieve", "3.0.1", is_yanked=False)])
def test_the_tool_takes_no_withdrawn_release(tool, bad):
    with pytest.raises(ValueError, match=r"was withdrawn by its makers: give \w+ a bound in pyproject\.toml"):
        tool.locked({"install": [row("torch", "2.13.0"), bad]})
