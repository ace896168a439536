"""Clients whose data lie apart: each has a set and a protected set of its own, and what these are stays there."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

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


def run(config, federation, hello=None):
    protocol = apart.between(config, hello or load("digits"))
    return federated.serve(protocol, CPU, federated.new_shelf(None, protocol), federation)


def remote(config, configs, hello=None, altered=None):
    table = Table({"settings": json.dumps(config.settings()), "apart": True}, configs, altered)
    return flower.Remote(config, table, 0.3, 60, nodes=list(configs), hello=hello or load("digits"))


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


# Folders of pictures


def pictures(folder, images, names, ending=".png"):
    """A class folder each, of ``test`` as well, with one picture that cannot be read; the files of ``images``."""
    files = []
    for split, some in (("train", images), ("test", images[:2])):
        for name in names:
            (folder / split / name).mkdir(parents=True)
        for number, pixels in enumerate(some):
            where = (
                f"{split}/{names[number % (len(names) - 1)]}/day {number // 2 % 2}"  # of the last class there is none
            )
            (folder / where).mkdir(exist_ok=True)
            files += [f"{where}/é {number}{ending}"]
            Image.fromarray(pixels).save(folder / files[-1])
    (folder / "train" / names[0] / "damaged.png").write_text("no picture")
    return files[: len(images)]


NAMES = ["ant", "bee", "cat"]


@pytest.fixture
def albums(tmp_path):
    """The server's set, and each client's: class folders with a list of files and folders as protected set."""
    rng, lists = np.random.default_rng(0), []
    given = {"images": rng.integers(0, 256, (4, 8, 8, 3), dtype=np.uint8), "labels": [0, 1, 2, 0], "names": NAMES}
    for split in ("train", "test"):
        (tmp_path / "server").mkdir(exist_ok=True)
        np.savez(tmp_path / "server" / f"{split}.npz", **given)
    for number, ending in enumerate((".png", ".jpg")):
        home = tmp_path / f"home{number}"
        sides = (8, 8) if number else (20, 16)  # brought to the server's
        files = pictures(home / "mine", rng.integers(0, 256, (60, *sides, 3), dtype=np.uint8), NAMES, ending)
        kept = [file for file in files if ("/day 1/" in file and "/ant/" in file) or (number and "bee" in file)]
        lists.append(kept)
        lines = ["train/ant/day 1/", "./train/bee" * number, "train/ant/damaged.png"]
        (home / "kept.txt").write_text("\n".join([*lines, *(kept if not number else kept[:3])]))
    return tmp_path, lists


def test_pictures_in_folders_take_part_and_those_that_a_list_names_stay(albums):
    home, lists = albums
    config = federated.FederatedConfig.of(SETTINGS | {"dataset": "server"})
    server, sites = load("server", home), []
    for number, kept in enumerate(lists):
        own = node(home, number)
        dataset, places = apart.own("mine", own["root"], [3, 8, 8])
        listed = (home / f"home{number}" / "mine" / "packed@8x8" / "train-files.txt").read_text().splitlines()
        protocol = apart.member(config, number, dataset, own["protected"], places=places)
        assert {listed[row] for row in protocol.own.protected} == set(kept)
        assert dataset.classes == tuple(NAMES)
        sites.append(federated.Site(protocol, number, CPU))
    members = Members.__new__(Members)
    members.sites = sites
    _, expected = run(config, members, server)
    record, weights = run(config, remote(config, {10 + n: node(home, n) for n in range(2)}, server), server)
    assert record["failed"] == []
    assert all(torch.equal(weights[name], expected[name]) for name in expected)
    for site, kept in zip(sites, lists, strict=True):
        assert len(kept) == site.summary()["protected"] > 0
        assert not set(site.session.client.pools.labelled) & set(site.session.client.pools.protected)


@pytest.mark.parametrize("line", ["train/ant/gone.png", "train/an", "ant", "../mine/train", "60", "test/ant",
                                  "train/ant/up"])  # fmt: skip
def test_a_line_that_is_no_training_picture_is_refused(albums, line):
    home, _ = albums
    (home / "home0" / "mine" / "train" / "ant" / "up").symlink_to("../../train/ant")  # a way to what was seen already
    own = node(home, 0)
    dataset, places = apart.own("mine", own["root"], [3, 8, 8])
    (home / "home0" / "kept.txt").write_text(line)
    with pytest.raises(ValueError, match=f"{line}' is no training image of mine@8x8: give 0 to 59, or a file"):
        apart.member(federated.FederatedConfig.of(SETTINGS), 0, dataset, own["protected"], places=places)


@pytest.mark.parametrize("what", ["a picture", "the list"])
def test_a_client_whose_pictures_or_list_change_meanwhile_is_left_out(albums, what):
    home, _ = albums
    config = federated.FederatedConfig.of(SETTINGS | {"dataset": "server"})
    server = load("server", home)

    def altered(number, message):
        mine = home / "home1/mine/train"
        if number == 11 and what == "a picture":
            shutil.copy(mine / "ant/day 0/é 0.jpg", mine / "ant/0.jpg")
        elif number == 11:
            (home / "home1/kept.txt").write_text("train/bee")
        return message

    record, _ = run(config, remote(config, {10 + n: node(home, n) for n in range(2)}, server, altered), server)
    assert [(entry["round"], entry["client"]) for entry in record["failed"]] == [(1, 1)]
