"""The house itself: which room may know which, notebooks without outputs, a pipeline that fits."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from dvc.dependency.param import ParamsDependency
from dvc.repo import Repo

from pslcore.campaign import grid

TOP = Path(__file__).parents[1]
PARAMS = yaml.safe_load((TOP / "params.yaml").read_text())
SCALES = list(PARAMS["scales"])
NOTEBOOKS = sorted((TOP / "notebooks").glob("*.ipynb"))

FLOORS = [
    {"streams", "guard", "losses", "vision", "records", "statistics"},
    {"pools", "oracle", "models", "data", "recipe"},
    {"sides"},
    {"strategies"},
    {"training"},
    {"experiment"},
    {"trial", "federated"},
    {"grid", "tables", "flower"},
    {"figures", "report"},
    {"claims"},
    {"__main__"},
]
"""A room imports from itself and from floors below, and from nowhere else."""


@pytest.fixture(scope="module")
def tracked():
    """The files in git, as they are in the working tree."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=TOP, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git repository")
    return [TOP / name for name in listed.stdout.split("\0") if name and (TOP / name).is_file()]


# Floors


def imported(source):
    """Dotted names of all that a source imports, wherever in it; ``a.b`` and ``a.b.c`` for ``from a.b import c``."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")
            yield from (f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names)


def trespasses(room, source):
    """What a source of that room imports from its own floor (but itself) or above; or relatively, which is not read."""
    (floor,) = (number for number, rooms in enumerate(FLOORS) if room in rooms)
    allowed = {room}.union(*FLOORS[:floor])
    for name in imported(source):
        first, _, rest = name.partition(".")
        other = rest.split(".")[0]
        if first == "" or (first == "pslcore" and other in set().union(*FLOORS) and other not in allowed):
            yield name


def test_rooms_import_from_below_only():
    package = TOP / "pslcore"
    rooms = {path.stem for path in package.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert rooms - {"__init__"} == set().union(*FLOORS)  # a new room: give it a floor
    assert not list(imported((package / "__init__.py").read_text()))
    for path in package.rglob("*.py"):
        room = path.relative_to(package).parts[0].removesuffix(".py")
        if room != "__init__":
            assert not list(trespasses(room, path.read_text())), path


@pytest.mark.parametrize(
    ("room", "source", "found"),
    [
        ("losses", "from pslcore.models import build", ["pslcore.models", "pslcore.models.build"]),
        ("oracle", "from pslcore import pools", ["pslcore.pools"]),  # the same floor
        ("grid", "def late():\n    import pslcore.figures as f", ["pslcore.figures"]),
        ("grid", "from . import figures", [".", "..figures"]),
        ("figures", "from pslcore import __version__, grid\nimport numpy, experiment", []),
        ("data", "from pslcore.data import npz\nfrom pslcore.losses import VOID", []),
    ],
)
def test_trespasses_are_seen(room, source, found):
    assert list(trespasses(room, source)) == found


def test_methods_do_not_know_each_other():
    shared = ("pslcore.strategies.base", "pslcore.strategies._checks")
    for path in (TOP / "pslcore" / "strategies").glob("[!_]*.py"):
        for name in imported(path.read_text()):
            assert not name.startswith("pslcore.strategies") or name == "pslcore.strategies" or name.startswith(shared)


def test_torchvision_comes_through_one_door(tracked):
    vision = TOP / "pslcore" / "vision.py"
    sources = {path: path.read_text() for path in (TOP / "pslcore").rglob("*.py")}
    sources |= {path: path.read_text() for path in tracked if path.suffix == ".py"}
    sources |= {path: code(path) for path in NOTEBOOKS}
    users = [path for path, source in sources.items() if {"torchvision"} & {n.split(".")[0] for n in imported(source)}]
    assert users == [vision]


# Notebooks


def cells(path):
    """(kind, source, tags) of each cell."""
    content = json.loads(path.read_text())
    return [(cell["cell_type"], "".join(cell["source"]), cell["metadata"].get("tags", [])) for cell in content["cells"]]


def code(path):
    return "\n".join(source for kind, source, _ in cells(path) if kind == "code")


def test_notebooks_are_as_nbstripout_leaves_them():
    for path in NOTEBOOKS:
        content = json.loads(path.read_text())
        assert [cell["id"] for cell in content["cells"]] == [str(number) for number in range(len(content["cells"]))]
        kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
        assert content["metadata"] == {"kernelspec": kernel}, path
        for cell in content["cells"]:
            if cell["cell_type"] == "code":
                assert (cell["outputs"], cell["execution_count"]) == ([], None), path
    command = [sys.executable, "-m", "nbstripout", "--verify", *map(str, NOTEBOOKS)]
    verified = subprocess.run(command, capture_output=True, text=True)
    assert verified.returncode == 0, verified.stdout + verified.stderr


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_use_the_library(path):
    names = set(imported(code(path)))
    assert any(name.startswith("pslcore") for name in names)
    assert not {"torch", "torchvision"} & {name.split(".")[0] for name in names}
    assert not [node for node in ast.walk(ast.parse(code(path))) if isinstance(node, ast.ClassDef)]


def test_notebooks_of_the_pipeline_take_parameters_and_define_nothing():
    commands = (TOP / "dvc.yaml").read_text()
    run = set(re.findall(r"papermill[^&]*?notebooks/(\w+)\.ipynb", commands))
    assert {path.stem for path in NOTEBOOKS} >= run >= {"comparison", "buckets", "tables", "report"}
    for name in run:
        path = TOP / "notebooks" / f"{name}.ipynb"
        nodes = list(ast.walk(ast.parse(code(path))))
        assert not [node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)]
        (parameters,) = (source for _, source, tags in cells(path) if "parameters" in tags)
        names = {node.id for node in ast.walk(ast.parse(parameters)) if isinstance(node, ast.Name)}
        given = re.findall(rf"notebooks/{name}\.ipynb\s+outputs\S+\s+-y \"{{(.*?)}}\"", commands.replace("${", "$("))
        assert given
        for arguments in given:
            assert set(re.findall(r"(\w+):", arguments)) <= names


# Pipeline


@pytest.fixture(scope="module", params=SCALES)
def pipeline(request, tmp_path_factory):
    """A scale and its stages, as dvc itself reads them."""
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "dvc.yaml").write_text((TOP / "dvc.yaml").read_text())
    (folder / "params.yaml").write_text(yaml.safe_dump(PARAMS | {"scale": request.param}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_NO_ANALYTICS", "1")
        patch.setenv("DVC_SITE_CACHE_DIR", str(folder / "site"))
        with Repo.init(str(folder), no_scm=True) as repo:
            yield request.param, sorted(repo.index.stages, key=lambda stage: stage.addressing), folder


def paths(things, folder):
    return {Path(thing.fs_path).relative_to(folder).as_posix() for thing in things}


def test_the_pipeline_is_no_longer_than_a_page(pipeline):
    scale, stages, folder = pipeline
    assert 3 <= len(stages) <= 20
    outs = [path for stage in stages for path in paths(stage.outs, folder)]
    assert len(set(outs)) == len(outs)
    assert all(path.startswith(f"outputs/{scale}/") for path in outs)
    for stage in stages:
        files = paths([dep for dep in stage.deps if not isinstance(dep, ParamsDependency)], folder)
        assert "pslcore" in files, stage.addressing
        for path in files:
            assert path in outs or (TOP / path).exists(), path
        for notebook in re.findall(r"notebooks/\w+\.ipynb", stage.cmd.replace(f"outputs/{scale}/notebooks", "")):
            assert notebook in files, stage.addressing


def test_every_parameter_of_a_stage_is_there(pipeline):
    scale, stages, _ = pipeline
    followed = set()
    for stage in stages:
        for dep in stage.deps:
            for name in dep.params if isinstance(dep, ParamsDependency) else ():
                top, within, section = name.split(".")
                assert (top, within) == ("scales", scale)
                assert section in PARAMS["scales"][scale], (stage.addressing, name)
                followed.add(section)
    assert followed == set(PARAMS["scales"][scale])  # and no experiment is forgotten


def test_the_page_shows_all_figures(pipeline):
    scale, stages, folder = pipeline
    (report,) = (stage for stage in stages if f"outputs/{scale}/report.html" in paths(stage.outs, folder))
    figures = {path for stage in stages for path in paths(stage.outs, folder) if "/figures/" in path}
    assert figures == {path for path in paths(report.deps, folder) if "/figures/" in path}


@pytest.mark.parametrize("scale", SCALES)
def test_every_experiment_is_well_said(scale):
    sections = PARAMS["scales"][scale]
    assert set(sections) == set(PARAMS["scales"]["quick"])
    for experiment in set(sections) - {grid.BASE}:
        cells = grid.cells(experiment, scale, TOP / "params.yaml")
        assert len(cells) == sections[experiment]["seeds"] * len(sections[experiment]["methods"]) > 0
        assert len({cell.config.key for cell in cells}) == len(cells)
    assert PARAMS["scale"] in SCALES


# What must not be in the repository


def texts(tracked):
    for path in tracked:
        try:
            yield path, path.read_text()
        except UnicodeDecodeError:
            continue


def test_nothing_of_a_machine(tracked):
    home = re.compile(r"(?<![\w.}>)])/(?:work|root|home|Users)\b")
    hosts = ["pypi" + ".org", "python" + "hosted", "index" + "-url", "trusted" + "-host", "find" + "-links"]
    found = [
        (path.relative_to(TOP).as_posix(), word)
        for path, text in texts(tracked)
        for word in [*home.findall(text), *(host for host in hosts if host in text)]
    ]
    assert found == []


def test_nothing_large(tracked):
    assert [path for path in tracked if path.stat().st_size > 1 << 20] == []


def test_the_readme_names_files_that_are_there(tracked):
    text = (TOP / "README.md").read_text()
    if not text.strip():
        pytest.skip("the README is still empty")
    links = re.findall(r"\[[^\]]*\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)|<img[^>]+src=\"([^\"]+)\"", text)
    relative = {link.split("#")[0] for pair in links for link in pair if link and "://" not in link} - {""}
    assert [link for link in relative if not (TOP / link).exists()] == []
