"""One trained cycle in memory: the same as that of a run, and what its networks say of a scene."""

import numpy as np
import pytest
import torch

from pslcore.data import load, normalise
from pslcore.losses import discrepancy
from pslcore.runs import METRICS, run, session
from pslcore.sides import ProtectedDataError
from psllab import retrain

LRASPP = "lraspp_mobilenet_v3_small"


@pytest.mark.parametrize("method", ["psl", "entropy", "ll4al", "vaal"])
def test_the_first_cycle_is_that_of_a_run(root, tiny, method):
    config = tiny(method=method, **({"options": {"width": 4}} if method == "vaal" else {}))
    first, test = run(config, root)["cycles"][0], load("tiny", root).test
    made = retrain.first_cycle(config, root)
    assert METRICS["accuracy"](made.session.cloud.examine(test.images, test.labels, 4)) == first["metric"]
    query = made.session.query(made.learner, made.budget, 0)
    assert made.budget == 4
    assert config.strategy.pick(query).tolist() == first["picked"]


def test_bad_input_is_found_before_anything_is_trained(root, tiny, monkeypatch):
    monkeypatch.setattr(session, "train", lambda *given: pytest.fail("something was trained"))
    with pytest.raises(ValueError, match="final = 31 labelled images cannot be reached"):
        retrain.first_cycle(tiny(final=31), root)


@pytest.fixture(scope="module")
def scenes(tiny):
    config = tiny(dataset="digit_scenes", teacher=LRASPP, options={"student": LRASPP, "peers": 3}, initial=6, final=7,
                  recipe={"epochs": 1, "batch_size": 3})  # fmt: skip
    return retrain.first_cycle(config), load("digit_scenes").train


@pytest.mark.slow
@torch.no_grad()
def test_what_the_networks_say_of_a_scene(scenes):
    made, train = scenes
    index = made.session.client.pools.safe[0]
    teacher, students, per_pixel = retrain.segment(made, index, train.images[index])
    assert teacher.shape == per_pixel.shape == (32, 48)
    assert students.shape == (3, 32, 48)
    image = normalise(torch.tensor(train.images[index][None]))
    made.learner.eval()
    logits = made.learner(image)
    made.learner.train()
    assert np.array_equal(students, logits[:, 0].argmax(1))
    np.testing.assert_allclose(per_pixel.sum(), discrepancy(logits)[0], rtol=1e-4)
    network = made.session.cloud._network.eval()
    assert np.array_equal(teacher, network(image)[0].argmax(0))
    network.train()
    assert index in made.session.cloud.ledger.state()["seen_unlabelled"]  # through the door, and written down


def test_the_door_holds_for_scenes_too(scenes):
    made, train = scenes
    protected, labelled = made.session.client.pools.protected[0], made.session.client.pools.labelled[0]
    with pytest.raises(ProtectedDataError, match="were about to be uploaded"):
        retrain.segment(made, protected, train.images[protected])
    with pytest.raises(ValueError, match=f"image {labelled} was uploaded with its label before"):
        retrain.segment(made, labelled, train.images[labelled])
