"""The house itself: which wing may know which, the picture of it, notebooks without outputs, a pipeline that fits."""

import ast
import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml
from dvc.dependency.param import ParamsDependency
from dvc.repo import Repo

from pslcore import campaign
from pslcore.evidence import views

TOP = Path(__file__).parents[1]
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


# Wings and floors


@pytest.fixture
def package(tmp_path):
    """``package({"losses.py": source, ...})``: a folder ``pslcore`` with these files, and empty ``__init__`` beside."""

    def write(sources):
        top = tmp_path / "pslcore"
        for name, source in sources.items():
            (top / name).parent.mkdir(parents=True, exist_ok=True)
            (top / name).write_text(source)
        for folder in {path.parent for path in top.rglob("*.py")}:
            (folder / "__init__.py").touch()
        return top

    return write


def trespasses(package):
    """Imports that go to the same floor or up; past a wing's `__init__`; for a private name; relatively."""
    modules = house.files(package)
    for name, targets in house.arrows(package).items():
        for target in targets:
            own, other = house.wing(name), house.wing(target)
            if own != other and own and house.floor(own) <= house.floor(other):
                yield f"{name} looks up to {target}"
    for name, path in modules.items():
        source = path.read_text()
        if name == "pslcore" and list(house.imported(source)):
            yield "pslcore imports"
        known = set()
        for module, what in house.imported(source):
            if module.startswith("."):
                yield f"{name} imports relatively"
            if module.split(".")[0] != "pslcore":
                continue
            known.add(what)
            if what.startswith("_") and not what.startswith("__"):
                yield f"{name} takes {what} from {module}"
            if house.wing(module) not in ("", house.wing(name)) and module.count(".") > 1:
                yield f"{name} reaches into {module}"
            if module.count(".") == 1 and house.wing(module) != house.wing(name) and what:
                handed_out = names(modules[module].read_text()) if module in modules else {what}
                if what not in handed_out:
                    yield f"{name} takes {what}, which {module} does not hand out"
        for node in ast.walk(ast.parse(source)):
            match node:
                case ast.Attribute(value=ast.Name(id=room), attr=what) if room in known and re.match("_[^_]", what):
                    yield f"{name} takes {what} from {room}"


def names(source):
    """What a source binds at its top level."""
    tree = ast.parse(source)
    found = {
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    found |= {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    return found | {
        node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }


def circles(package):
    """Modules that come back to themselves along imports."""
    arrows = house.arrows(package)
    for start in arrows:
        seen, todo = set(), list(arrows[start])
        while todo:
            if (name := todo.pop()) not in seen:
                seen.add(name)
                todo += arrows[name]
        if start in seen:
            yield start


def test_every_wing_has_a_floor():
    assert {house.wing(name) for name in house.files()} - {""} <= set().union(*house.FLOORS)  # a new wing: give it one
    assert sum(map(len, house.FLOORS)) == len(set().union(*house.FLOORS))


def test_arrows_only_go_down_and_through_the_door():
    assert list(trespasses(house.PACKAGE)) == []


def test_no_circle_inside_a_wing():
    assert list(circles(house.PACKAGE)) == []


def test_no_file_is_long():
    long = {name: len(path.read_text().splitlines()) for name, path in house.files().items()}
    assert {name: lines for name, lines in long.items() if lines > 400} == {}


@pytest.mark.parametrize(
    ("file", "source", "found"),
    [
        ("losses.py", "from pslcore.data import load", "pslcore.losses looks up to pslcore.data"),
        ("recipe.py", "from pslcore.data import load", "pslcore.recipe looks up to pslcore.data"),  # the same floor
        (
            "campaign/grid.py",
            "def f():\n    import pslcore.evidence as e",
            "campaign.grid looks up to pslcore.evidence",
        ),
        ("campaign/grid.py", "from pslcore import evidence", "pslcore.campaign.grid looks up to pslcore.evidence"),
        ("campaign/grid.py", "from . import data", "pslcore.campaign.grid imports relatively"),
        (
            "campaign/grid.py",
            "from pslcore.data.npz import read",
            "pslcore.campaign.grid reaches into pslcore.data.npz",
        ),
        ("campaign/grid.py", "from pslcore.data import _x", "pslcore.campaign.grid takes _x from pslcore.data"),
        ("campaign/grid.py", "from pslcore import data\ndata._x()", "pslcore.campaign.grid takes _x from data"),
        ("campaign/grid.py", "from pslcore.data import y", "takes y, which pslcore.data does not hand out"),
        ("campaign/grid.py", "from pslcore.data import load\nimport numpy, evidence", None),
        ("data/npz.py", "from pslcore.losses import VOID", None),
        ("__init__.py", "import numpy", "pslcore imports"),
    ],
)
def test_trespasses_are_seen(package, file, source, found):
    rest = {"data/__init__.py": "from pslcore.data.batches import load", "data/batches.py": "load = 1",
            "data/npz.py": "", "evidence/__init__.py": "", "losses.py": "VOID = 255"}  # fmt: skip
    seen = list(trespasses(package(rest | {file: source})))
    assert (found in seen[0]) if found else seen == []


def test_circles_are_seen(package):
    sources = {"a/x.py": "from pslcore.a import y", "a/y.py": "from pslcore.a.z import f", "a/z.py": ""}
    assert list(circles(package(sources))) == []
    sources["a/z.py"] = "def late():\n    from pslcore.a.x import g"
    assert list(circles(package(sources))) == ["pslcore.a.x", "pslcore.a.y", "pslcore.a.z"]


# The picture and the page of the house


def test_the_picture_is_current():
    assert house.PICTURE.read_text() == house.drawn()  # or: make house


def test_the_picture_shows_what_is_imported(package):
    top = package({"losses.py": "", "data/__init__.py": "", "data/npz.py": "from pslcore.losses import VOID",
                   "runs/__init__.py": "import pslcore.losses"})  # fmt: skip
    picture = house.drawn(top)
    assert picture == house.drawn(top)
    tree = ElementTree.fromstring(picture)
    said = [element.text for element in tree.iter("{http://www.w3.org/2000/svg}title")][1:]
    assert said == ["runs uses losses", "data uses losses"]
    shown = [element.text for element in tree.iter("{http://www.w3.org/2000/svg}tspan") if element.get("font-weight")]
    assert shown == ["runs/", "data/", "losses.py"]
    assert "npz" in picture


def test_the_picture_has_room_for_its_words():
    for wings in house.FLOORS:
        for wing, about in wings.items():
            assert 9 * len(f"{wing}.py") + 6.4 * len(about) + 25 < house.BOX, wing
    lanes = sum(any(wing in used for used in house.between_wings(house.arrows()).values()) for wing in WINGS)
    assert house.MARGIN + house.BOX + 30 + house.LANE * (lanes - 1) + 5 < house.WIDTH


WINGS = [wing for wings in reversed(house.FLOORS) for wing in reversed(wings)]
PAGE = (TOP / "docs/house.md").read_text()


def test_the_page_has_a_line_for_each_wing():
    listed = re.findall(r"^\| (\d) \| `(\w+)(?:/|\.py)` \| (.+) \|$", PAGE, re.M)
    there = {house.wing(name) for name in house.files()}
    told = [(int(floor), wing) for floor, wing, _ in listed]
    assert [row for row in told if row[1] in there] == [(house.floor(wing), wing) for wing in WINGS if wing in there]
    assert {wing for _, wing in told} <= set(WINGS)


def test_the_page_says_where_to_change_what():
    table = PAGE.split("## Where do I change")[1].split("\n\n")[1]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines()[2:]]
    wishes = "method network data experiment claim figure metric recipe oracle scale"
    assert [row[0].split()[1].strip(",") for row in rows] == wishes.split()
    for row in rows:
        files = [name for name in re.findall(r"`([^`]+)`", " ".join(row[1:])) if "/" in name or "." in name]
        assert files, row
        assert [name for name in files if not (TOP / name).exists()] == [], row


def test_methods_do_not_know_each_other():
    shared = ("base", "checks", "peers", "sided")
    for name, targets in house.arrows().items():
        if house.wing(name) == "strategies" and name != "pslcore.strategies":
            assert {target for target in targets if house.wing(target) == "strategies"} <= {
                f"pslcore.strategies.{file}" for file in shared
            }, name


def test_torchvision_comes_through_one_door(tracked):
    vision = TOP / "pslcore" / "vision.py"
    sources = {path: path.read_text() for path in (TOP / "pslcore").rglob("*.py")}
    sources |= {path: path.read_text() for path in tracked if path.suffix == ".py"}
    sources |= {path: code(path) for path in NOTEBOOKS}
    users = [
        path
        for path, source in sources.items()
        if "torchvision" in {n.split(".")[0] for n, _ in house.imported(source)}
    ]
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
    names = {module.split(".")[0] for module, _ in house.imported(code(path))}
    assert "pslcore" in names
    assert not {"torch", "torchvision"} & names
    assert not [node for node in ast.walk(ast.parse(code(path))) if isinstance(node, ast.ClassDef)]


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


def wings(source, package=house.PACKAGE):
    """The wings that a source reaches through its imports, as paths: what decides what it shows."""
    modules, arrows = house.files(package), house.arrows(package)
    known = [name for pair in house.imported(source) for name in (pair[0], ".".join(pair)) if name in modules]
    reached, todo = set(), [name for name in known if name != package.name]
    while todo:
        if (name := todo.pop()) not in reached:
            reached.add(name)
            todo += arrows[name]
    there = {package / house.wing(name) for name in reached}
    return {
        (path if path.is_dir() else path.with_suffix(".py")).relative_to(package.parent).as_posix() for path in there
    }


def test_the_wings_of_a_notebook_are_found(package):
    sources = {
        "losses.py": "",
        "hands_on/desk.py": "from pslcore.losses import x",
        "runs/loop.py": "import pslcore.data",
    }
    top = package(sources | {"data/npz.py": ""})
    (top / "runs/__init__.py").write_text("from pslcore.runs.loop import run")
    assert wings("import numpy", top) == set()
    assert wings("from pslcore import runs", top) == {"pslcore/runs", "pslcore/data"}
    assert wings("from pslcore.hands_on.desk import Desk", top) == {"pslcore/hands_on", "pslcore/losses.py"}


@pytest.mark.slow
def test_the_pipeline_is_no_longer_than_a_page(pipeline):
    scale, stages, folder = pipeline
    assert 3 <= len(stages) <= 20
    outs = [path for stage in stages for path in paths(stage.outs, folder)]
    assert len(set(outs)) == len(outs)
    assert all(path.startswith(f"outputs/{scale}/") for path in outs)
    for stage in stages:
        files = paths([dep for dep in stage.deps if not isinstance(dep, ParamsDependency)], folder)
        (notebook,) = (TOP / name for name in files if name.startswith("notebooks/"))
        assert {name for name in files if name.startswith("pslcore")} == wings(code(notebook)), stage.addressing
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
    # No experiment is forgotten.
    assert followed == {campaign.BASE, *campaign.experiments(scale, TOP / "params.yaml")}


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
        assert all(re.fullmatch(rf"outputs/{scale}/((figures|metrics)/\w+\.json|plots/\w+\.csv)", out) for out in outs)
        assert all(out.persist for out in stage.outs), stage.addressing  # dvc never puts old ones beside new records


def test_views_and_stages_agree():
    stages = yaml.safe_load((TOP / "dvc.yaml").read_text())["stages"]
    made = {name: stage for stage in stages.values() for name in stage.get("foreach", ())}
    for experiment, view in views.VIEWS.items():
        stage = next((s for name, s in stages.items() if experiment in s.get("foreach", ()) or name == view.notebook))
        assert f"notebooks/{view.notebook}.ipynb" in stage.get("do", stage)["cmd"]
    assert set(made) <= set(views.VIEWS)


@pytest.mark.parametrize("scale", SCALES + PARTS)
def test_every_experiment_is_well_said(scale):
    params, sections = TOP / "params.yaml", PARAMS["scales"][scale]
    assert set(campaign.experiments(scale, params)) <= set(campaign.experiments("quick", params))
    for experiment in campaign.experiments(scale, params):
        cells, said = campaign.cells(experiment, scale, params), sections[experiment]
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
    table = (TOP / "README.md").read_text().split("## Where is what")[1].split("\n\n")[2]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines()[2:]]
    notebooks, places = (re.findall(r"[\w./]+(?:/|\.\w+)(?=`)", "".join(row[n] for row in rows)) for n in (1, 3))
    assert {f"{path.stem}.ipynb" for path in NOTEBOOKS} >= set(notebooks) > {"tables.ipynb", "report.ipynb"}
    there = {path.relative_to(house.PACKAGE).as_posix() for path in house.PACKAGE.rglob("*")}
    within = [place.rstrip("/") for place in places if not place.startswith("Cloud.")]
    assert len(within) > 10
    assert [place for place in within if not any(f"/{name}".endswith(f"/{place}") for name in there)] == []
