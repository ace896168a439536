"""Explorers on frozen features: heads learn from the vectors, people see the photographs that those were made of."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from pslcore import data
from pslcore.runs import Config, run
from psllab import features
from psllab.explore.discrepancy import Explorer
from psllab.explore.peers import Trainer
from psllab.features import Backbone, backbones
from psllab.grid import archive

NAME = "small+flat_net@16"


@pytest.fixture
def root(tmp_path, new_set, monkeypatch):
    """A folder of data sets with ``small``, 8x8 pixels, and a backbone that gives 48 features of it."""
    new_set(tmp_path / "small")
    flat = Backbone(lambda pixels: torch.nn.functional.avg_pool2d(pixels, 4).flatten(1), 48, "f" * 64, 255.0)
    monkeypatch.setitem(backbones._BACKBONES, "flat_net", lambda: flat)
    backbones.backbone.cache_clear()
    yield tmp_path
    backbones.backbone.cache_clear()


def config(**changes):
    given = {"dataset": NAME, "teacher": "mlp32", "initial": 8, "budget": 4, "final": 16, "protected_fraction": 0.75}
    given |= {"method": "psl", "options": {"student": "mlp16"}, "recipe": {"epochs": 1, "batch_size": 8}}
    return Config.of(given | changes)


def shown(gallery, place):
    return np.asarray(Image.open(io.BytesIO(gallery._thumb([place])[0])))


def photograph(root, row):
    """As the backbone gets it: 16x16, bicubic."""
    pixels = torch.tensor(data.load("small", root).train.images[row])[None].float()
    large = torch.nn.functional.interpolate(pixels, (16, 16), mode="bicubic", antialias=True).clamp(0, 255)
    return large[0].byte().permute(1, 2, 0).numpy()


@pytest.mark.slow
@pytest.mark.parametrize("method", ["psl", "random"])
def test_a_pool_of_features_is_shown_as_photographs(root, method):
    record = run(config(method=method, options={"student": "mlp16"} if method == "psl" else {}), root)
    brief = archive.brief(run(config(seed=1), root))
    explorer = Explorer({"fig": [("PSL", brief), ("mine", record)]}, root / "explore", root)
    assert explorer.method.options == ("mine",)  # of the other run the picks are not known
    explorer.open()
    opened = explorer.chosen.opened
    assert opened.dataset.vectors
    assert opened.own == (method == "psl")
    assert "is exactly the record's" in opened.summary()
    for row in (0, 50):
        assert np.array_equal(shown(explorer.grid, row), photograph(root, opened.predictions.index[row]))


def test_no_run_says_what_it_picked(root):
    brief = archive.brief(run(config(), root))
    with pytest.raises(ValueError, match="no run is finished that says what it picked"):
        Explorer({"fig": [("PSL", brief)]}, root / "explore", root)


@pytest.mark.slow
def test_the_slider_trains_heads_and_shows_the_photographs_that_they_pick(root):
    trainer = Trainer(config(), root / "runs", "own", root / "kept.yaml", root)
    assert trainer.student.value == "mlp16"
    assert "resnet8" not in trainer.student.options
    trainer.train()
    trainer.peers.value = 3
    trainer.progress.job.wait(60)
    assert [curve.name for curve in trainer.figure.data] == ["2 peers", "3 peers"]
    picked = list(trainer.tries.records.values())[-1]["cycles"][-2]["picked"]
    assert "The 4 images that 3 peers picked last" in trainer.caption.value
    assert np.array_equal(shown(trainer.picked, 2), photograph(root, picked[2]))
    other = Trainer(config(method="random", options={}), root / "runs", "own", root / "kept.yaml", root)
    assert other.student.value == "mlp32"  # a head, whatever the base trains


def test_vectors_of_no_pictures_are_shown_as_squares(tmp_path):
    from psllab.explore.pool import viewer

    picture = viewer(data.load("digit_vectors", tmp_path), tmp_path)
    assert np.array_equal(picture(3), data.load("digits", tmp_path).train.images[3])


def test_features_that_are_not_there_are_missing_in_one_sentence(root):
    assert "`pslcore look 'small+flat_net@16'` make them, once." in features.missing(NAME, root)
    data.load(NAME, root)
    assert features.missing(NAME, root) == ""
