"""What is settled before a run: batches that a network could not be trained on."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pslcore import data, models
from pslcore.federated import FederatedConfig, resolve
from pslcore.runs import check_batches, run

CANNOT = r"cannot be trained on a batch of one image \(Expected more than 1 value per channel"


@given(
    st.integers(1, 5), st.lists(st.integers(1, 12), min_size=1, max_size=3), st.sampled_from(["resnet8", "fast_cnn"])
)
@settings(deadline=None)
def test_a_batch_of_one_is_refused_where_there_would_be_one_and_the_network_could_not_take_it(
    root, tiny, size, labelled, name
):
    config, dataset = tiny(teacher=name, method="random", recipe={"batch_size": size}), data.load("tiny", root)
    sizes = [
        len(plan)
        for count in labelled for plan in data.plans(np.arange(count), size, 0, False, torch.Generator())
    ]  # fmt: skip
    if 1 in sizes and name == "fast_cnn":  # whose last norm sees a single pixel of 8x8
        mend = r"raise `initial`\.$" if labelled_alone(labelled, size) == 1 else r"raise `batch_size` to 3 at least\.$"
        with pytest.raises(ValueError, match=rf"batch_size = {size} makes .*'fast_cnn' {CANNOT}.*: {mend}"):
            check_batches(config, dataset, labelled)
    else:
        check_batches(config, dataset, labelled)


def labelled_alone(labelled, size):
    return [count for count in labelled if count // -(-count // size) == 1][-1]


@pytest.mark.parametrize("name", [*models.names()[:4], "brought"])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_run_is_refused_before_it_trains_or_goes_through(root, tiny, tmp_path, name, size, monkeypatch):
    if name == "brought":
        (tmp_path / "mine.py").write_text(
            "from torch import nn\n\n\ndef net(classes, channels):\n    return nn.Sequential(nn.Flatten(), "
            "nn.Linear(64 * channels, 4), nn.BatchNorm1d(4), nn.Linear(4, classes))\n"
        )
        name = f"{tmp_path / 'mine.py'}:net"
    config = tiny(teacher=name, method="random", initial=5, budget=2, final=7, recipe={"epochs": 1, "batch_size": size})
    trained = []
    monkeypatch.setattr("pslcore.sides.cloud.Cloud.step", lambda self, plan: trained.append(len(plan)))
    sentence = ""
    try:
        run(config, root)
    except ValueError as error:
        sentence = str(error)
    if sentence:
        assert f"batch_size = {size} makes batches of one out of 7 labelled images" in sentence
        assert not trained
    else:
        models.build(name, 4, 3).train()(torch.zeros(min(trained), 3, 8, 8))


def test_students_and_clients_of_a_federation_are_looked_at_as_well(root, tiny, settings_of_tiny):
    with pytest.raises(ValueError, match=rf"'fast_cnn' {CANNOT}"):
        run(tiny(options={"student": "fast_cnn"}, initial=5, final=5, recipe={"batch_size": 2}), root)
    config = FederatedConfig.of(settings_of_tiny | {
        "method": "random", "teacher": "fast_cnn", "clients": 4, "rounds": 1, "initial": 4, "budget": 4, "final": 4,
    })  # fmt: skip
    with pytest.raises(ValueError, match=rf"makes batches of one out of 1 labelled .*{CANNOT}.*: raise `initial`\.$"):
        resolve(config, root)
