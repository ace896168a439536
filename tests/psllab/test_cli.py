"""``python -m pslcore``: one sentence for every bad input, and an exit status that a script can go by."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from pslcore.runs import records
from psllab import cli as commands
from psllab import shell

TOP = Path(__file__).parents[2]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}

# Importing torch takes seconds, so one process imports it once and forks for every command line that it is given.
SERVER = """
import gc, json, os, runpy, sys, traceback
import psllab.grid, torch._dynamo
gc.freeze()
for line in sys.stdin:
    job = json.loads(line)
    child = os.fork()
    if not child:
        for handle, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(os.path.join(job["folder"], name), os.O_WRONLY | os.O_CREAT | os.O_TRUNC), handle)
        os.chdir(job["folder"])
        sys.argv = ["pslcore", *job["arguments"]]
        status = 0
        try:
            runpy.run_module("pslcore", run_name="__main__", alter_sys=True)
        except SystemExit as end:
            status = end.code
        except BaseException:
            traceback.print_exc()
            status = 1
        sys.stdout.flush()
        os._exit(status)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.fixture(scope="module")
def server():
    with subprocess.Popen(
        [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT
    ) as process:
        yield process
        process.stdin.close()


@pytest.fixture
def here(tmp_path, server, new_set, settings_of_tiny):
    """A folder with a data set and parameters; ``here(*arguments)`` runs a command line in it."""

    class Here:
        folder, runs = tmp_path, tmp_path / "outputs" / "quick" / "runs"

        def params(self, **config):
            shared = {name: value for name, value in settings_of_tiny.items() if name != "method"}
            own = {"R": {"method": config.pop("method", "random")}}
            section = {"config": shared | {"final": 12} | config, "methods": own}
            content = {"scales": {"quick": {"fig": section | {"seeds": 2}}}}
            (tmp_path / "params.yaml").write_text(yaml.safe_dump(content))

        def __call__(self, *arguments):
            print(json.dumps({"folder": str(tmp_path), "arguments": arguments}), file=server.stdin, flush=True)
            status = int(server.stdout.readline())
            out, err = ((tmp_path / name).read_text() for name in ("out", "err"))
            return SimpleNamespace(status=status, out=out, err=err)

        def grid(self, *arguments):
            return self("grid", "fig", "--jobs", "1", *arguments)

    here = Here()
    here.params()
    new_set(tmp_path / "data" / "tiny")
    return here


def one_line(result, status=2):
    """The error, which must be the only line of stderr."""
    assert result.status == status, result
    lines = result.err.splitlines()
    assert len(lines) == 1, result.err
    assert lines[0].startswith("pslcore: ")
    return lines[0]


# What it does


@pytest.mark.slow
def test_a_grid_is_run_and_gone_on_with(here):
    result = here.grid("--minutes", "0")
    assert (result.status, result.out) == (3, "fig at quick: 0 runs finished, 2 to go.\n")
    result = here.grid()
    assert (result.status, result.out) == (0, "fig at quick: 2 runs finished, 0 to go.\n")
    assert len(list(here.runs.iterdir())) == 2
    assert here.grid("--minutes", "0").status == 0  # nothing to do needs no time


@pytest.mark.slow
def test_stale_records_are_told_of(here):
    here.grid()
    path = next(here.runs.iterdir())
    records.write(path, records.read(path) | {"source": "other"})
    result = here.grid("--keep-stale")
    assert result.out.endswith("1 of them were made by other code than today's.\n")
    assert result.status == 0


def test_records_are_merged(here):
    assert here.grid("--out", "elsewhere").status == 0
    result = here("merge", "elsewhere", "--scale", "quick")
    assert (result.status, result.out) == (0, "2 records taken into outputs/quick/runs.\n")
    assert here("merge", "elsewhere", "--scale", "quick").out.startswith("0 records taken")
    assert here.grid("--minutes", "0").status == 0
    assert "holds no record" in one_line(here("merge", "nowhere", "--scale", "quick"))
    assert "unknown scale '../../x': choose one of quick." in one_line(here("merge", "elsewhere", "--scale", "../../x"))


@pytest.mark.slow
def test_what_there_is_is_shown(here):
    assert "unknown experiment 'fig9'" in one_line(here("show", "fig9"))
    here.grid()
    result = here("show", "fig")
    assert result.status == 0
    assert "R" in result.out.split()
    assert len(list(here.runs.iterdir())) == 2  # nothing was run


def test_a_data_set_is_looked_at(here):
    result = here("look", "data/tiny")
    assert result.status == 0, result.err
    assert result.out.startswith("tiny: 120 images to train and 40 to test, 8x8, colour, 4 classes")
    assert here("look", "tiny").out == result.out
    assert "unknown data set 'nothing'" in one_line(here("look", "data/nothing"))


def test_all_names_are_listed(here):
    result = here("list")
    assert result.status == 0, result.err
    titles = [line for line in result.out.splitlines() if line and not line.startswith(" ")]
    assert titles == ["methods", "networks", "data sets"]
    assert re.search(r"(?m)^  tiny +data/tiny +train\.npz, test\.npz$", result.out)


@pytest.mark.slow
def test_the_verdicts_are_told_and_kept(here):
    result = here("claims", "--scale", "quick")  # no experiment of the paper is in these parameters
    assert result.status == 0, result.err
    told = dict((name, int(count)) for count, name in re.findall(r"(\d+) ([a-z ]+)", result.out.splitlines()[0]))
    rows = json.loads((here.folder / "outputs" / "quick" / "claims.json").read_text())
    assert {name: count for name, count in told.items() if count} == Counter(row["verdict"] for row in rows)
    assert told["not run"] > told["supported"] > 0  # what is counted on networks needs no run
    assert result.out.count("\n| ") == 2 + len(rows) - told["not run"]
    assert "unknown scale 'huge'" in one_line(here("claims", "--scale", "huge"))


def test_failed_runs_are_status_1_and_say_where_their_traceback_is(here):
    here.params(recipe={"epochs": 40, "batch_size": 8, "lr": 1000})
    result = here.grid()
    assert result.status == 1
    told = result.err.splitlines()[-1]
    assert told.startswith(
        "pslcore: 2 of 2 runs of fig failed, the others are kept. R, seed 0: FloatingPointError: the "
    )
    assert told.endswith("What happened stands in outputs/quick/fig.log.")
    assert "Traceback" in (here.folder / "outputs" / "quick" / "fig.log").read_text()
    assert "Traceback" not in result.err


def test_a_traceback_on_demand(here):
    result = here("--traceback", "grid", "nothing")
    assert result.status == 1
    assert "Traceback" in result.err
    assert "ValueError: unknown experiment 'nothing'" in result.err


def test_usage(here):
    assert here().status == 2
    help_ = here("grid", "--help")
    assert help_.status == 0
    assert "--keep-stale" in help_.out


@pytest.mark.slow
def test_a_process_of_its_own(here):
    """All other tests fork; this one is what a user types."""
    result = subprocess.run(
        [sys.executable, "-m", "pslcore", "grid", "fig9"],
        cwd=here.folder, env=ENVIRONMENT | {"PYTHONPATH": str(TOP)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    one_line(SimpleNamespace(status=result.returncode, err=result.stderr))


# What it refuses

NO_GPU = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["fig9"], "unknown experiment 'fig9' at scale 'quick': choose one of fig."),
        (["fig", "--scale", "huge"], "unknown scale 'huge': choose one of quick."),
        (["fig", "--params", "none.yaml"], "none.yaml is missing: run from the top of the repository, or name one."),
        (["fig", "--out", "params.yaml"], "cannot be written to"),
        (["fig", "--device", "tpu"], "tpu"),
        (["fig", "--out", ""], "out = '' is no folder"),
        (["fig", "--params", "data"], "data cannot be read (Is a directory): name a YAML file."),
        (["fig", "--jobs", "0"], "jobs = 0 processes cannot run anything"),
        (["fig", "--jobs", "-1"], "jobs = -1 processes cannot run anything"),
        (["fig", "--minutes", "nan"], "--minutes nan is no length of time: give a number from 0."),
        pytest.param(["fig", "--device", "cuda"], "cuda", marks=NO_GPU),
    ],
)
def test_arguments_that_are_wrong(here, arguments, sentence):
    assert sentence in one_line(here("grid", "--jobs", "1", *arguments))


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"dataset": "tinny"}, "unknown data set 'tinny': choose one of digits"),
        ({"method": "bagde"}, "unknown method 'bagde'"),
        ({"recipe": {"lr": "1e-3"}}, "params.yaml: quick.fig: R: recipe.lr = '1e-3' must be a valid number"),
        ({"initial": 3}, "params.yaml: quick.fig: R: initial = 3 labelled images are fewer than the 4 classes"),
        ({"final": 31}, "final = 31 labelled images cannot be reached"),
    ],
)
def test_configs_that_are_wrong(here, config, sentence):
    here.params(**config)
    assert sentence in one_line(here.grid())
    assert not here.runs.exists()


def test_parameters_that_are_no_yaml(here):
    (here.folder / "params.yaml").write_text("scales: [\n quick")
    assert "params.yaml cannot be read" in one_line(here.grid())


def images(*shape):
    return np.zeros(shape, dtype=np.uint8)


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        (
            {"images": np.zeros((120, 3, 8, 8))},
            "data/tiny/train.npz: images are float64, but must be uint8 from 0 to 255",
        ),
        ({"images": images(120, 8)}, "data/tiny/train.npz: images have the shape (120, 8)"),
        ({"labels": np.full(120, np.nan)}, "data/tiny/train.npz: label nan is no whole number"),
    ],
)
def test_data_sets_that_are_wrong(here, new_set, arrays, sentence):
    new_set(here.folder / "data" / "tiny", **arrays)
    assert sentence in one_line(here.grid())


def test_numbers_and_scales_that_there_cannot_be(here):
    for words, said in (
        (
            ["pack", "--scale", "quick", "--seeds", "-1"],
            "argument --seeds: '-1' is none of the numbers from 1 to 1000000",
        ),
        (["cloud", "--store", "s", "--port", "99999"], "'99999' is none of the numbers from 1 to 65535"),
        (["label", "data", "--port", "x"], "'x' is none of the numbers from 1 to 65535"),
    ):
        result = here(*words)
        assert result.status == 2
        assert said in result.err
    assert "none/quick/runs holds no record" in one_line(here("pack", "--scale", "quick", "--out", "none"))
    assert one_line(here("merge", ".", "--scale", "huge")) == "pslcore: unknown scale 'huge': choose one of quick."
    assert {path.name for path in here.folder.iterdir()} == {"data", "params.yaml", "out", "err"}


@pytest.mark.parametrize("damage", ["truncated", "missing"])
def test_data_files_that_are_damaged(here, damage):
    path = here.folder / "data" / "tiny" / "train.npz"
    whole = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(whole[: len(whole) // 2])
    wanted = {"missing": "train.npz is missing: a data set needs", "truncated": "train.npz is damaged or no .npz file"}
    assert wanted[damage] in one_line(here.grid())


def test_contradicting_and_damaged_records_are_not_merged(here):
    here.grid()
    path = next(here.runs.iterdir())
    record = records.read(path)
    record["pools"] = "0" * 64
    records.write(here.folder / "elsewhere" / path.name, record)
    assert "have the same config but differ" in one_line(here("merge", "elsewhere", "--scale", "quick"))
    (here.folder / "elsewhere" / path.name).write_text("{")
    assert "is damaged" in one_line(here("merge", "elsewhere", "--scale", "quick"))


# What it needs

NEEDED = "torch torchvision numpy pandas scikit-learn pyyaml tqdm pydantic"  # as `grid` promises
ABSENT = "plotly papermill dvc IPython ipykernel ipywidgets jinja2 matplotlib jupyterlab anywidget hypothesis"
BARE = """
import json, sys
from importlib.machinery import PathFinder
allowed = set(json.loads(sys.argv[1])) | sys.stdlib_module_names
class Bare(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        top = name.partition(".")[0]
        return super().find_spec(name, path, target) if top in allowed or top.startswith("_") else None
sys.meta_path = [Bare if finder is PathFinder else finder for finder in sys.meta_path]
import pslcore.__main__, pslcore.data.cifar
from pslcore.runs import Config, run
from pslcore.vision import torchvision
run(Config.of(json.loads(sys.argv[2])))
print(*{name.partition(".")[0] for name in sys.modules})
"""


def requirements(names):
    """Distributions that these need, themselves included, as their own metadata say."""
    todo, found = [canonicalize_name(name) for name in names], set()
    while todo:
        name = todo.pop()
        if name in found:
            continue
        found.add(name)
        for need in map(Requirement, metadata.requires(name) or ()):
            if need.marker is None or need.marker.evaluate({"extra": ""}):
                todo.append(canonicalize_name(need.name))
    return found


@pytest.mark.slow
def test_a_batch_machine_needs_no_more_than_is_said(digits):
    """A run on a machine that has nothing but the packages that `grid` names, and theirs."""
    distributions = requirements(NEEDED.split())
    assert {"scipy", "joblib", "threadpoolctl"} < distributions
    modules = {
        module for module, owners in metadata.packages_distributions().items()
        if {canonicalize_name(owner) for owner in owners} & distributions
    }  # fmt: skip
    allowed = sorted(modules - set(ABSENT.split()) | {"pslcore", "psllab"})
    settings = digits(method="psl", final=30, recipe={"epochs": 1}).settings()
    result = subprocess.run(
        [sys.executable, "-c", BARE, json.dumps(allowed), json.dumps(settings)],
        env=ENVIRONMENT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert not set(result.stdout.split()) & set(ABSENT.split())


def test_every_command_has_an_example_that_its_parser_takes(capsys):
    top = commands.parser()
    for name, (_, _, examples) in commands._COMMANDS.items():
        assert examples, name
        for example in examples:
            words = shlex.split(example.partition(" >")[0])
            assert words[0] == name
            top.parse_args(words)
        with pytest.raises(SystemExit) as end:
            top.parse_args([name, "--help"])
        assert not end.value.code
        assert f"pslcore {examples[0]}" in capsys.readouterr().out


@pytest.mark.parametrize("old", shell.RENAMED)
def test_a_former_name_goes_on_and_says_the_new_one(old, capsys):
    new = shell.RENAMED[old]
    assert new in commands._COMMANDS
    assert old not in commands._COMMANDS  # hidden: neither help nor completion shows it
    for before in ([], ["--traceback"]):
        with pytest.raises(SystemExit) as end:
            commands.main([*before, old, "--help"])
        assert not end.value.code
        shown = capsys.readouterr()
        assert shown.err == f"pslcore: `{old}` is now called `{new}`.\n"
        assert f"usage: pslcore {new}" in shown.out
    with pytest.raises(SystemExit):
        commands.main([new, "--help"])
    assert not capsys.readouterr().err


def test_a_former_name_is_a_command_only_where_a_command_stands(here):
    result = here("show", "settle")
    assert "unknown experiment 'settle'" in one_line(result)


def test_help_does_not_wait_for_torch():
    code = "import sys; from psllab import cli; cli.parser().format_help(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def completed(line: list[str], folder: Path) -> set[str]:
    """What bash offers for the last word of a line, in a folder."""
    script = subprocess.run(
        [sys.executable, "-m", "pslcore", "completion", "bash"], capture_output=True, text=True, check=True, cwd=TOP
    ).stdout
    (folder / "bin").mkdir()
    command = folder / "bin" / "pslcore"  # as pip writes it
    command.write_text(f"#!{sys.executable}\nfrom pslcore.__main__ import main\nraise SystemExit(main())\n")
    command.chmod(0o755)
    words = " ".join(shlex.quote(word) for word in line)
    ask = (
        f"COMP_WORDS=({words}); COMP_CWORD={len(line) - 1}; COMP_LINE='{' '.join(line)}'; COMP_POINT=${{#COMP_LINE}}\n"
        "COMP_TYPE=9; _python_argcomplete pslcore\nprintf '%s\\n' \"${COMPREPLY[@]}\""
    )
    environment = os.environ | {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(TOP)}
    shell = ["bash", "-c", f"{script}\n{ask}"]
    done = subprocess.run(shell, capture_output=True, text=True, check=True, cwd=folder, env=environment)
    return set(done.stdout.split())


@pytest.mark.skipif(not shutil.which("bash"), reason="no bash here")
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (["pslcore", "cla"], {"claims"}),
        (["pslcore", "grid", "fi"], {"fig"}),
        (["pslcore", "show", "fig", "--scale", ""], {"quick", "large"}),
        (["pslcore", "grid", "fig", "--dev"], {"--device"}),
        (["pslcore", "grid", "fig", "--device", "c"], {"cpu", "cuda"}),
    ],
)
def test_bash_completes_commands_options_and_names(line, expected, tmp_path):
    sections = {"base": {}, "fig": {"methods": {}, "seeds": 2}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"scales": {"quick": sections, "large": sections}}))
    assert completed(line, tmp_path) == expected
