"""The pins: ranges in one place, exact versions in another, and places that agree."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

import pslcore

TOP = Path(__file__).parents[1]
FILE = tomllib.loads((TOP / "pyproject.toml").read_text())
PROJECT = FILE["project"]
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


def range_of(need):
    """Where the range begins and ends, or None where it does not say both and nothing else."""
    ends = {each.operator: Version(each.version) for each in need.specifier}
    return (ends[">="], ends["<"]) if set(ends) == {">=", "<"} and len(need.specifier) == 2 else None


def test_the_lock_lies_in_every_range():
    lock = versions()
    for need in [*wanted(), *map(Requirement, FILE["tool"]["uv"]["constraint-dependencies"])]:
        assert lock.get(canonicalize_name(need.name)) in need.specifier, need
    assert {"torch", "pydantic", "dvc", "papermill", "pytest", "mypy", "mkdocs-material"} <= set(lock)


def test_ranges_end_below_a_major_version():
    """So that our package does not break the environment that it is installed into."""
    for need in wanted():
        begin, end = range_of(need) or pytest.fail(f"{need} is no range: say >= what was tested, and < the next major.")
        assert begin < end, need
        assert end.release[1:] in ((), (0,)) or end.major == 0, need
        locked = Version(versions()[canonicalize_name(need.name)])
        following = (locked.major + 1,) if end.major or locked.major else (0, locked.minor + 1)
        assert end.release == following, f"{need}: {locked} is in the lock, the next major is {following}"


@pytest.mark.parametrize(("text", "fine"), [("a>=1.2,<2", True), ("a==1.2", False), ("a>=1", False), ("a", False)])
def test_a_range_is_told_from_a_pin(text, fine):
    assert (range_of(Requirement(text)) is not None) == fine


def test_exact_versions_stand_in_the_lock_alone():
    """Elsewhere one may be shown, if it is that of the lock."""
    lock = versions()
    files = [*TOP.glob("*.md"), *TOP.glob("docs/*.md"), *TOP.glob(".github/**/*.yml"), *TOP.glob("*.y*ml")]
    files += [TOP / name for name in ("pyproject.toml", "Makefile", "Containerfile", ".devcontainer/devcontainer.json")]
    shown = {match for file in files for match in re.findall(r"\b([A-Za-z][\w-]*)==(\d[\w.]*)", file.read_text())}
    assert {(name, version) for name, version in shown if lock.get(canonicalize_name(name)) != version} == set()
    assert ("pydantic", lock["pydantic"]) in shown  # the wheels to carry to a batch machine


def test_who_develops_has_every_extra():
    extras = PROJECT["optional-dependencies"]
    (own,) = (need for need in map(Requirement, extras["dev"]) if need.name == "pslcore")
    assert own.extras == set(extras) - {"dev"}


def test_conda_users_get_the_same_pins():
    environment = yaml.safe_load((TOP / "environment.yml").read_text())
    python, pip, piped = environment["dependencies"]
    assert Version(python.removeprefix("python=")) in SpecifierSet(PROJECT["requires-python"])
    assert (pip, piped) == ("pip", {"pip": ["-c requirements.lock", "-e .[dev]"]})  # short, as Binder looks for them


def test_the_same_versions_of_python_everywhere():
    taken = SpecifierSet(PROJECT["requires-python"])
    ours = [f"3.{minor}" for minor in range(30) if f"3.{minor}" in taken]
    makefile = (TOP / "Makefile").read_text()
    assert ours == ["3.11", "3.12", "3.13", "3.14"]
    assert re.findall(r"python(3\.\d+)", makefile.split("VENV ?=")[0]) == ours
    assert re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["classifiers"])) == ours
    for place in ("Makefile", "README.md", "CONTRIBUTING.md"):
        assert set(re.findall(r"Python (3\.\d+) (?:to|or) (3\.\d+)", (TOP / place).read_text())) == {
            (ours[0], ours[-1])
        }
    matrix = yaml.safe_load((TOP / ".github/workflows/test.yml").read_text())["jobs"]["quick"]["strategy"]["matrix"]
    assert matrix["python"] == [ours[0], ours[-1]]


def test_one_version_of_ours():
    cited = yaml.safe_load((TOP / "CITATION.cff").read_text())
    latest = re.findall(r"^## (\S+)", (TOP / "CHANGELOG.md").read_text(), re.M)[0]
    assert {PROJECT["version"], pslcore.__version__, cited["version"], latest} == {PROJECT["version"]}


def test_the_paper_is_cited_by_its_identity():
    (paper,) = yaml.safe_load((TOP / "CITATION.cff").read_text())["references"]
    assert [author["family-names"] for author in paper["authors"]] == ["Cao", "Wang", "Yu", "Tao"]
    assert paper["url"] == PROJECT["urls"]["Paper"]
    assert paper["url"] in (TOP / "README.md").read_text()


def test_hooks_and_workflows_name_what_is_there():
    """Tools of the environment, targets of the Makefile."""
    hooks = yaml.safe_load((TOP / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    assert {hook["entry"].split()[0] for hook in hooks} <= {*versions(), "lint-imports"}
    makefile = (TOP / "Makefile").read_text()
    places = [*TOP.glob(".github/workflows/*.yml"), TOP / "Containerfile", TOP / ".devcontainer/devcontainer.json"]
    for place in places:
        for target in re.findall(r"make (?!PYTHON)([a-z-]+)", place.read_text()):
            assert re.search(rf"^{target}:", makefile, re.M), (place, target)
