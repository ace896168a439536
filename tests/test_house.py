"""The house itself: which room may know which, the page of it, notebooks without outputs, a pipeline that fits."""

import ast
import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from dvc.dependency.param import ParamsDependency
from dvc.repo import Repo

from psllab import grid
from psllab.report import exhibits

TOP = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
PARAMS = yaml.safe_load((TOP / "params.yaml").read_text())
SCALES = ["quick", "laptop", "paper"]
PARTS = ["digits", "small", "features", "features_few"]  # some experiments, run by `grid` alone
NOTEBOOKS = sorted((TOP / "notebooks").glob("*.ipynb"))

SPEC = importlib.util.spec_from_file_location("house", TOP / "tools/house.py")
house = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(house)


@pytest.fixture(scope="module")
def tracked():
    """The files in git, as they are in the working tree."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=TOP, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git repository")
    return [TOP / name for name in listed.stdout.split("\0") if name and (TOP / name).is_file()]


# Rooms


def imported(source):
    """The modules that a source imports, and those that a name which it imports may be."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.slow
def test_imports_keep_their_contracts():
    done = subprocess.run([BIN / "lint-imports", "--no-cache"], cwd=TOP, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_page_of_the_house_is_current():
    assert house.page() == house.PAGE.read_text()  # or: make house


def test_the_diagram_shows_what_is_imported():
    shown = set(re.findall(r"^  (\S+) --> (\S+)$", house.drawn(), re.M))
    assert {(user, used) for user, used in shown if used not in house.arrows()[user]} == set()
    for user in house.arrows().keys() - set(house.PACKAGES):  # each import is an arrow or a way along arrows
        targets = house.arrows()[user]
        reached, todo = set(), [user]
        while todo:
            at = todo.pop()
            new = {used for name, used in shown if name == at} - reached
            reached |= new
            todo += new
        assert targets - set(house.PACKAGES) <= reached, user


def test_no_file_is_long():
    files = [path for name in house.PACKAGES for path in (TOP / name).rglob("*.py")]
    long = {path.relative_to(TOP).as_posix(): len(path.read_text().splitlines()) for path in files}
    assert {name: lines for name, lines in long.items() if lines > 400} == {}


def test_the_page_says_where_to_change_what():
    table = house.PAGE.read_text().split("## Where do I change")[1].split("\n\n")[1]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines()[2:]]
    wishes = "method network data experiment claim figure metric recipe oracle scale"
    assert [row[0].split()[1].strip(",") for row in rows] == wishes.split()
    for row in rows:
        files = [name for name in re.findall(r"`([^`]+)`", " ".join(row[1:])) if "/" in name or "." in name]
        assert files, row
        assert [name for name in files if not (TOP / name).exists()] == [], row


def test_torchvision_comes_through_one_door(tracked):
    vision = TOP / "pslcore" / "vision.py"
    sources = {path: path.read_text() for name in house.PACKAGES for path in (TOP / name).rglob("*.py")}
    sources |= {path: path.read_text() for path in tracked if path.suffix == ".py"}
    sources |= {path: code(path) for path in NOTEBOOKS}
    users = [path for path, source in sources.items() if "torchvision" in {n.split(".")[0] for n in imported(source)}]
    assert users == [vision]


# Notebooks


def cells(path):
    """(kind, source, tags) of each cell."""
    content = json.loads(path.read_text())
    return [(cell["cell_type"], "".join(cell["source"]), cell["metadata"].get("tags", [])) for cell in content["cells"]]


def code(path):
    return "\n".join(source for kind, source, _ in cells(path) if kind == "code")


@pytest.mark.slow
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
    names = {module.split(".")[0] for module in imported(code(path))}
    assert names & {*house.PACKAGES}
    assert not {"torch", "torchvision"} & names
    assert not [node for node in ast.walk(ast.parse(code(path))) if isinstance(node, ast.ClassDef)]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_open_with_a_picture_and_go_in_short_steps(path):
    (kind, opening, _), *rest = cells(path)
    title, _, picture, *_ = opening.splitlines()
    shown = re.fullmatch(r"!\[.{10,}\]\((\S+\.png)\)", picture)
    assert (kind, title[:2]) == ("markdown", "# ")
    assert (path.parent / shown[1]).is_file()
    assert [source for kind, source, _ in rest if kind == "code" and len(source.splitlines()) > 5] == []


def test_notebooks_of_the_pipeline_take_parameters_and_define_nothing():
    commands = (TOP / "dvc.yaml").read_text()
    run = set(re.findall(r"tools/stage\.py notebooks/(\w+)\.ipynb", commands))
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


def code_of(source):
    """What decides what a notebook shows, as paths: the rooms that its imports reach, the core as one."""
    known = {name for name in imported(source) if name in house.graph().modules} - set(house.PACKAGES)
    reached = known.union(*map(house.graph().find_upstream_modules, known)) - set(house.PACKAGES)
    rooms = {house.room(name) if name.startswith("psllab") else "pslcore" for name in reached}
    there = [TOP / name.replace(".", "/") for name in rooms]
    return {(path if path.is_dir() else path.with_suffix(".py")).relative_to(TOP).as_posix() for path in there}


def test_the_code_of_a_notebook_is_found():
    assert code_of("import numpy") == set()
    assert code_of("from pslcore import streams") == {"pslcore"}
    assert {"pslcore", "psllab/grid"} < code_of("from psllab.report import exhibits")


@pytest.mark.slow
def test_the_pipeline_is_no_longer_than_a_page(pipeline):
    scale, stages, folder = pipeline
    assert 3 <= len(stages) <= 20
    outs = [path for stage in stages for path in paths(stage.outs, folder)]
    assert len(set(outs)) == len(outs)
    assert all(path.startswith(f"outputs/{scale}/") for path in outs)
    (runs,) = (stage for stage in stages if stage.name == "runs")
    assert set(paths(runs.deps[:2], folder)) == {"pslcore", "psllab/grid"}
    # Without an output a clone, which has the lock, would pass it over.
    assert paths(runs.outs, folder) == {f"outputs/{scale}/runs.json"}
    assert [dep.params for dep in runs.deps[2:]] == [["seeds", f"scales.{scale}"]]
    for stage in stages:
        if stage is runs:
            continue
        files = paths([dep for dep in stage.deps if not isinstance(dep, ParamsDependency)], folder)
        (notebook,) = (TOP / name for name in files if name.startswith("notebooks/"))
        assert {name for name in files if name.startswith("psl")} == code_of(code(notebook)), stage.addressing
        for path in files:
            assert path in outs or (TOP / path).exists(), path
        for notebook in re.findall(r"notebooks/\w+\.ipynb", stage.cmd.replace(f"outputs/{scale}/notebooks", "")):
            assert notebook in files, stage.addressing


def test_every_parameter_of_a_stage_is_there(pipeline):
    scale, stages, _ = pipeline
    followed = set()
    for stage in stages:
        for dep in stage.deps if stage.name != "runs" else ():
            for name in dep.params if isinstance(dep, ParamsDependency) else ():
                if name == "seeds":
                    assert name in PARAMS
                    continue
                top, within, section = name.split(".")
                assert (top, within) == ("scales", scale)
                assert section in PARAMS["scales"][scale], (stage.addressing, name)
                followed.add(section)
    # No experiment is forgotten.
    assert followed == {grid.BASE, *grid.experiments(scale, TOP / "params.yaml")}


def test_the_page_shows_all_figures(pipeline):
    _, stages, folder = pipeline
    (report,) = (stage for stage in stages if stage.name == "report")
    figures = {path for stage in stages for path in paths(stage.outs, folder) if "/figures/" in path}
    assert figures == {path for path in paths(report.deps, folder) if "/figures/" in path}


def test_outputs_are_what_a_machine_repeats(pipeline):
    """Seconds and hardware are no outputs, nor is what tells of them: a clean `git status` proves a reproduction."""
    scale, stages, folder = pipeline
    for stage in stages:
        outs = paths(stage.outs, folder)
        assert all(
            re.fullmatch(rf"outputs/{scale}/(runs\.json|(figures|metrics)/\w+\.json|plots/\w+\.csv)", out)
            for out in outs
        )
        assert all(out.persist for out in stage.outs), stage.addressing  # dvc never puts old ones beside new records


def test_views_and_stages_agree():
    stages = yaml.safe_load((TOP / "dvc.yaml").read_text())["stages"]
    made = {name: stage for stage in stages.values() for name in stage.get("foreach", ())}
    for experiment, view in exhibits.VIEWS.items():
        stage = next((s for name, s in stages.items() if experiment in s.get("foreach", ()) or name == view.notebook))
        assert f"notebooks/{view.notebook}.ipynb" in stage.get("do", stage)["cmd"]
    assert set(made) <= set(exhibits.VIEWS)


@pytest.mark.parametrize("scale", SCALES + PARTS)
def test_every_experiment_is_well_said(scale):
    params, sections = TOP / "params.yaml", PARAMS["scales"][scale]
    assert set(grid.experiments(scale, params)) <= set(grid.experiments("quick", params))
    for experiment in grid.experiments(scale, params):
        cells, said = grid.cells(experiment, scale, params), sections[experiment]
        assert len(cells) == said["seeds"] * (len(said["methods"]) + said.get("ceiling", False)) > 0
        assert len({cell.config.key for cell in cells}) == len(cells)
    assert set(SCALES + PARTS) == set(PARAMS["scales"])
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


def test_the_map_names_files_that_are_there():
    table = (TOP / "docs/house.md").read_text().split("## Where is what")[1].split("\n\n|")[1].split("\n\n")[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines()[2:]]
    notebooks, places = (re.findall(r"[\w./]+(?:/|\.\w+)(?=`)", "".join(row[n] for row in rows)) for n in (1, 3))
    assert {f"{path.stem}.ipynb" for path in NOTEBOOKS} >= set(notebooks) > {"tables.ipynb", "report.ipynb"}
    there = {path.relative_to(TOP).as_posix() for name in house.PACKAGES for path in (TOP / name).rglob("*")}
    within = [place.rstrip("/") for place in places if not place.startswith("Cloud.")]
    assert len(within) > 10
    assert [place for place in within if not any(f"/{name}".endswith(f"/{place}") for name in there)] == []
