"""Differential privacy of updates: the bound holds, the noise has its scale, epsilon is what theory says."""

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest, norm

from pslcore import federated
from pslcore.data import load

pytest.importorskip("flwr", reason="flwr is not installed: pip install '.[federated]'")
pytest.importorskip("opacus", reason="opacus is not installed: pip install '.[dp]'")

from psllab import flower
from psllab.flower.privacy import Privacy

sys.path.insert(0, str(Path(__file__).parent))
from table import Table

SETTINGS = {
    "dataset": "digits", "method": "psl", "initial": 20, "budget": 10, "final": 30, "clients": 2, "rounds": 2,
    "recipe": {"epochs": 1, "batch_size": 16, "lr": 0.05, "padding": 1, "flip": False},
}  # fmt: skip
CONFIG = federated.FederatedConfig.of(SETTINGS)


def weights(rng, size, far=0.0):
    given = {"a": rng.normal(size=(size, 3)), "b.running_var": rng.random(size), "c": rng.normal(size=())}
    state = {name: torch.as_tensor(value + far, dtype=torch.float32) for name, value in given.items()}
    return state | {"b.num_batches_tracked": torch.tensor(7)}


@given(st.integers(0, 99), st.integers(1, 50), st.floats(0, 1e4), st.floats(1e-3, 1e3))
def test_an_update_is_never_longer_than_the_clip_and_keeps_its_direction(seed, size, far, clip):
    rng = np.random.default_rng(seed)
    sent, trained = weights(rng, size), weights(rng, size, far)
    sent["b.running_var"] += 1e5  # so that nothing is cut off at 0
    trained["b.running_var"] += 1e5
    told = Privacy(clip=clip, noise=1e-12).noised(trained, sent)
    assert told["b.num_batches_tracked"] == 7
    names = [name for name in told if told[name].is_floating_point()]
    before, after = ([(one[name].double() - sent[name]).flatten() for name in names] for one in (trained, told))
    before, after, rounding = torch.cat(before), torch.cat(after), 0.01 * (size * 4) ** 0.5  # of 1e5 in float32
    assert after.norm() <= clip + rounding
    shrunk = before * min(1, clip / float(before.norm()))
    assert (after - shrunk).norm() <= rounding


@given(st.floats(0.01, 100), st.floats(0.01, 10))
def test_the_noise_has_the_scale_that_the_accountant_is_told_and_nobody_can_draw_it_again(clip, noise):
    sent = {"a": torch.zeros(4000)}
    draws = [Privacy(clip=clip, noise=noise).noised(sent, sent)["a"].numpy() for _ in range(2)]
    assert kstest(draws[0] / (clip * noise), "norm").pvalue > 1e-6
    assert abs(np.corrcoef(*draws)[0, 1]) < 0.1


def test_variances_stay_variances():
    sent = {"1.bn.running_var": torch.zeros(100)}
    assert (Privacy(clip=1, noise=1).noised(sent, sent)["1.bn.running_var"] >= 0).all()


def exact(sensitivity, deviation, rounds, delta):
    """Epsilon of composed Gaussian mechanisms (Balle & Wang 2018), by bisection."""
    mu = sensitivity / deviation * math.sqrt(rounds)

    def spent(epsilon):
        return norm.cdf(mu / 2 - epsilon / mu) - math.exp(epsilon) * norm.cdf(-mu / 2 - epsilon / mu)

    low, high = 0.0, 500.0
    while high - low > 1e-9:
        low, high = ((low + high) / 2, high) if spent((low + high) / 2) > delta else (low, (low + high) / 2)
    return high


@pytest.mark.parametrize("rounds", [1, 5, 50])
@pytest.mark.parametrize("noise", [2.0, 8.0, 30.0])
def test_epsilon_bounds_the_exact_one_closely(noise, rounds):
    clip = 0.7
    given = Privacy(clip=clip, noise=noise).epsilon(rounds)
    wanted = exact(2 * clip, noise * clip, rounds, 1e-5)
    assert wanted <= given <= 1.15 * wanted


def test_epsilon_is_the_closed_form_of_renyi():
    alphas = np.array([*(1 + x / 10 for x in range(1, 100)), *range(12, 64)])
    renyi = 10 * alphas / (2 * (4.0 / 2) ** 2)
    closed = renyi + np.log1p(-1 / alphas) - (np.log(1e-5) + np.log(alphas)) / (alphas - 1)
    assert Privacy(clip=3, noise=4).epsilon(10) == pytest.approx(closed.min(), rel=1e-9)


# In a run


def serve(tmp_path, privacy, altered=None):
    protocol = federated.resolve(CONFIG)
    given = {"settings": json.dumps(SETTINGS)} | ({"privacy": privacy.model_dump_json()} if privacy else {})
    if privacy:
        protocol = privacy.stated(protocol)
    nodes = {10 + n: {"partition-id": n, "folder": str(tmp_path / str(n))} for n in range(2)}
    remote = flower.Remote(CONFIG, Table(given, nodes, altered), 0.3, 60)
    return federated.serve(protocol, torch.device("cpu"), federated.new_shelf(None, protocol), remote)


def test_the_record_states_epsilon_and_without_privacy_nothing_changes(tmp_path):
    privacy = Privacy(clip=1, noise=0.5, delta=1e-4)
    plain, private = serve(tmp_path / "plain", None)[0], serve(tmp_path / "private", privacy)[0]
    assert private["failed"] == plain["failed"] == []
    assert f"2 rounds are ({privacy.epsilon(2):.4g}, 0.0001)-differentially private" in private["data"]["note"]
    assert plain["source"] == federated.fingerprint(CONFIG) != private["source"]
    assert plain["data"]["note"] == load("digits").note
    assert not list((tmp_path / "plain").glob("*/*.sent.pt"))


def test_who_asks_again_gets_the_same_answer_or_none(tmp_path, caplog):
    privacy, seen = Privacy(clip=1, noise=1), []

    def watched(node, message):
        arrays = message.content.array_records.get("weights") if message.has_content() else None
        if node == 10 and arrays:
            seen.append(arrays.to_torch_state_dict())
        return message

    serve(tmp_path, privacy, watched)
    assert len(seen) == 2
    with pytest.raises(federated.FederationError, match="its own log says more"):
        serve(tmp_path, privacy, watched)
    assert "step 0 was answered before" in caplog.text
    assert len(seen) == 2
    for path in tmp_path.glob("*/*.sent.pt"):
        state = torch.load(path)
        torch.save(state | {"step": 0}, path)
    serve(tmp_path, privacy, watched)
    assert all(torch.equal(seen[2][name], seen[1][name]) for name in seen[1])


@pytest.mark.parametrize("wrong", [{"clip": 0}, {"clip": -1.0}, {"noise": 0}, {"delta": 1}, {"clip": math.inf}])
def test_settings_that_protect_nothing_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Privacy(**{"clip": 1, "noise": 1} | wrong)
