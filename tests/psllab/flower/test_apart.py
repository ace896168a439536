"""Clients whose data lie apart: each has a set and a protected set of its own, and what these are stays there."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from pslcore import federated
from pslcore.data import load

pytest.importorskip("flwr", reason="flwr is not installed: pip install '.[federated]'")

from psllab import flower
from psllab.flower import apart

sys.path.insert(0, str(Path(__file__).parent))
from table import Table

CPU = torch.device("cpu")
SETTINGS = {
    "dataset": "digits", "method": "psl", "setting": "standard", "initial": 20, "budget": 10, "final": 30, "clients": 2,
    "rounds": 2, "recipe": {"epochs": 1, "batch_size": 16, "lr": 0.05, "padding": 1, "flip": False},
}  # fmt: skip
SIZES = 60, 90
PROTECTED = range(40), range(31, 71)


@pytest.fixture
def config():
    return federated.FederatedConfig.of(SETTINGS)


@pytest.fixture
def homes(tmp_path):
    """A folder with a set and a protected set for each client."""
    digits = load("digits")
    names = np.array(digits.classes)
    for number, size in enumerate(SIZES):
        home = tmp_path / f"home{number}"
        (home / "mine").mkdir(parents=True)
        part = np.arange(size) + 100 * number
        given = {"images": digits.train.images[part], "labels": digits.train.labels[part], "names": names}
        np.savez(home / "mine" / "train.npz", **given)
        np.savez(home / "mine" / "test.npz", **given)
        (home / "kept.txt").write_text("\n".join(map(str, PROTECTED[number])))
    return tmp_path


def node(homes, number):
    home = homes / f"home{number}"
    given = {"partition-id": number, "folder": str(home / "state"), "root": str(home)}
    return given | {"dataset": "mine", "protected": str(home / "kept.txt")}


class Members(federated.Local):
    """The clients in this process."""

    def __init__(self, config, homes):
        self.sites = []
        for number in range(2):
            own = node(homes, number)
            protocol = apart.member(config, number, load("mine", own["root"]), own["protected"])
            self.sites.append(federated.Site(protocol, number, CPU))

    def summary(self):
        return []


def run(config, federation):
    protocol = apart.between(config, load("digits"))
    return federated.serve(protocol, CPU, federated.new_shelf(None, protocol), federation)


def remote(config, configs):
    table = Table({"settings": json.dumps(config.settings()), "apart": True}, configs)
    return flower.Remote(config, table, 0.3, 60, nodes=list(configs), hello=load("digits"))


def test_over_messages_as_in_process_and_no_protected_image_is_picked(homes, config):
    members = Members(config, homes)
    _, expected = run(config, members)
    record, weights = run(config, remote(config, {10 + number: node(homes, number) for number in range(2)}))
    assert record["failed"] == []
    assert all(torch.equal(weights[name], expected[name]) for name in expected)
    for site, kept in zip(members.sites, PROTECTED, strict=True):
        assert site.summary()["protected"] == len(kept)
        assert not set(site.session.client.pools.labelled.tolist()) & set(kept)
        assert site.labelled == 15


@pytest.mark.parametrize(
    ("file", "text"),
    [("kept.txt", "3 secret.png"), ("kept.txt", "60"), ("kept.txt", " ".join(map(str, range(50)))), ("kept.txt", None)],
)
def test_what_is_wrong_at_home_is_told_there(homes, config, caplog, file, text):
    path = homes / "home0" / file
    path.unlink() if text is None else path.write_text(text)
    record, _ = run(config, remote(config, {10 + number: node(homes, number) for number in range(2)}))
    errors = {entry["error"] for entry in record["failed"] if entry["client"] == 0}
    assert all(error.split(" (")[0].endswith("Error, its own log says more") for error in errors)
    assert not any(word in str(record["failed"]) for word in ("secret", "kept", "50", "60", str(homes)))
    assert "kept.txt" in caplog.text or "protect" in caplog.text


@pytest.mark.parametrize(("name", "value"), [("setting", "protected"), ("split", "dirichlet"), ("noise", 0.1)])
def test_what_only_a_common_set_can_have_is_refused(tmp_path, name, value):
    config = federated.FederatedConfig.of(SETTINGS | {name: value})
    with pytest.raises(ValueError, match=f"{name} = .* the clients' data lie apart"):
        flower.bundle(tmp_path, config, tmp_path, apart=True)
