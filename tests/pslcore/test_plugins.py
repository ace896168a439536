"""Names that installed packages give: a real package in a folder of its own, one that clashes, one that is broken."""

import re
import subprocess
import sys

import pytest

from pslcore import data, models, plugins, strategies
from pslcore.runs import Config, fingerprint, run
from psllab.extend import listing
from psllab.extend.listing import methods as listed_methods

PROJECT = """
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "acme-learning"
version = "1.2"

[project.entry-points."pslcore.methods"]
last = "acme.methods:Last"
random = "acme.methods:Last"
number = "acme.methods:NUMBER"

[project.entry-points."pslcore.networks"]
acme_net = "acme.networks:net"

[project.entry-points."pslcore.datasets"]
stripes = "acme.stripes:read"

[tool.setuptools]
packages = ["acme"]
"""
METHODS = '''from pslcore.strategies import Strategy

NUMBER = 3


class Last(Strategy):
    """The images with the highest numbers."""

    def pick(self, query):
        return query.safe[::-1][: query.budget]
'''
NETWORKS = """from torch import nn


def net(num_classes, in_channels):
    return nn.Sequential(nn.Conv2d(in_channels, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                         nn.Linear(4, num_classes))
"""
STRIPES = """import numpy as np


def read(root):
    labels = np.arange(60) % 2
    images = np.zeros((60, 8, 8), np.uint8)
    images[labels == 0, ::2], images[labels == 1, :, ::2] = 255, 255
    return {"train": (images[:40], labels[:40]), "test": (images[40:], labels[40:]), "classes": ["across", "down"]}
"""


def dist_info(folder, name, version, groups):
    """An installed package, as its metadata has it."""
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(
        "".join(f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in entries.items()) + "\n"
                for group, entries in groups.items())
    )  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """``pip install`` of a small package into a folder."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("site")
    (source / "acme").mkdir()
    for name, text in (("__init__", ""), ("methods", METHODS), ("networks", NETWORKS), ("stripes", STRIPES)):
        (source / "acme" / f"{name}.py").write_text(text)
    (source / "pyproject.toml").write_text(PROJECT)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    done = subprocess.run([*command, "--target", target, source], capture_output=True, text=True)
    if "setuptools" in done.stderr:  # it is no dependency of ours: the package as it would have been installed
        (source / "acme").rename(target / "acme")
        methods = dict.fromkeys(("last", "random"), "acme.methods:Last")
        dist_info(target, "acme_learning", "1.2", {
            "pslcore.methods": methods | {"number": "acme.methods:NUMBER"},
            "pslcore.networks": {"acme_net": "acme.networks:net"},
            "pslcore.datasets": {"stripes": "acme.stripes:read"},
        })  # fmt: skip
    else:
        assert done.returncode == 0, done.stderr
    return target


@pytest.fixture
def installed(site, monkeypatch):
    monkeypatch.syspath_prepend(str(site))
    yield site
    for name in [name for name in sys.modules if name.partition(".")[0] == "acme"]:
        del sys.modules[name]


@pytest.mark.slow
def test_names_come_without_an_import(installed):
    assert plugins.names(strategies.PACKAGES) == ["last", "number", "random"]
    assert models.known("acme_net") == "acme_net"
    assert [name for name in sys.modules if name.startswith("acme")] == []


def test_a_run_by_a_package_alone(installed, tmp_path, tiny):
    config = tiny(
        dataset="stripes", method="last", teacher="acme_net", initial=4, budget=2, final=6, protected_fraction=0.5
    )
    record = run(config, tmp_path)
    first, _ = record["cycles"]
    assert first["picked"] == sorted(first["picked"], reverse=True)
    assert record["data"]["name"] == "stripes"
    assert record["config"]["teacher"] == "acme_net"


def test_the_fingerprint_is_of_the_package_and_its_version(installed, tiny):
    config = tiny(method="last")
    before = fingerprint(config)
    assert before == fingerprint(config) != fingerprint(tiny(method="random"))
    (given,) = (given for given in plugins.found(strategies.PACKAGES) if given.name == "last")
    assert given.identity().startswith(("acme-learning 1.2 ", "acme_learning 1.2 "))
    path = plugins.source(given.load())
    text = path.read_text()
    try:
        path.write_text(text + "\n# other\n")
        assert fingerprint(config) != before
    finally:
        path.write_text(text)


def test_a_name_of_ours_means_ours(installed):
    assert strategies.kind("random").__module__ == "pslcore.strategies.random"
    assert ("random", "REFUSED: 'random' is a name of ours or in use; ask its makers for another.") in [
        (name, told) for name, _, told in listed_methods()
    ]


def test_what_is_no_method_is_refused(installed):
    with pytest.raises(ValueError, match=r"the method 'number' of the package acme.learning 1\.2 is 3: it must be a"):
        Config.of({"dataset": "digits", "method": "number"})
    with pytest.raises(ValueError, match=r"unknown method 'lasst': choose one of psl, .*skactiveml, last, number, "):
        strategies.kind("lasst")


def test_a_broken_package_is_named_and_hurts_no_other(installed, tmp_path, monkeypatch):
    (tmp_path / "broken_mod.py").write_text("import bananas\n")
    (tmp_path / "ends.py").write_text("raise SystemExit(3)\n")
    dist_info(tmp_path, "broken", "0.1", {
        "pslcore.methods": {"bad": "broken_mod:Bad", "worse": "ends:Bad"},
        "pslcore.networks": {"bad_net": "broken_mod:net", "gone": "broken_mod_gone:net"},
        "pslcore.datasets": {"bad_set": "broken_mod:read", "mine": "broken_mod:read"},
    })  # fmt: skip
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ValueError, match=r"the package broken 0\.1, which gives 'bad', cannot be imported \(Modul"):
        strategies.kind("bad")
    with pytest.raises(ValueError, match=r"cannot be imported \(SystemExit: 3\): mend or uninstall it"):
        strategies.kind("worse")
    with pytest.raises(ValueError, match=r"the network 'bad_net': the package broken 0\.1, which gives 'bad_net'"):
        models.check("bad_net", 3, 3, (8, 8))
    with pytest.raises(ValueError, match=r"which gives 'bad_set', cannot be imported"):
        data.load("bad_set", tmp_path)
    assert strategies.kind("last").__name__ == "Last"
    text = listing.as_text(tmp_path)
    assert "\n  last " in text
    assert text.count("REFUSED: the package broken 0.1, which gives") == 6
    assert "acme_net" in text


def test_a_name_that_two_packages_give_is_refused(installed, tmp_path, monkeypatch):
    dist_info(tmp_path, "rival", "3", {"pslcore.methods": {"last": "rival:Last"}})
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ValueError, match=r"the name 'last' is given by acme.learning 1\.2 and by rival 3: uninstall"):
        strategies.kind("last")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("read = 3", "is 3, which cannot be called; a data set is a function of (root)"),
        ("def read(root):\n    return 1 / 0", "cannot be read (ZeroDivisionError: division by zero)."),
        ("def read(root):\n    return [1]", "returned [1]; a data set is a function"),
        ("def read(root):\n    return {'train': 3, 'test': 3}", "returned no pair of images and labels to train with"),
        ("def read(root):\n    return {'train': (1, 2), 'test': 3}", "returned no arrays to train with"),
    ],
)
def test_a_data_set_of_another_form_is_refused(tmp_path, monkeypatch, body, said):
    name = f"form_{abs(hash(body))}"
    (tmp_path / f"{name}.py").write_text(body + "\n")
    dist_info(tmp_path, "forms", "1", {"pslcore.datasets": {"shapes": f"{name}:read"}})
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ValueError) as caught:
        data.load("shapes", tmp_path)
    assert said in str(caught.value)
    assert "the data set 'shapes' of the package forms 1" in str(caught.value)


def test_a_data_set_of_one_size(installed, tmp_path):
    with pytest.raises(ValueError, match=r"'stripes' of the package .* comes in one size only: leave out @4x4\."):
        data.load("stripes@4x4", tmp_path)
    with pytest.raises(ValueError, match=r"unknown data set 'stripe': choose one of digits, .*camvid, stripes, or"):
        data.load("stripe", tmp_path)


def test_the_list_tells_every_name_and_what_it_needs(installed, tmp_path, new_set):
    new_set(tmp_path / "mine")
    (tmp_path / "tree" / "train").mkdir(parents=True)
    text = listing.as_text(tmp_path)
    for line in (
        r"psl +pslcore +2 students on the client \(resnet8\)",
        r"badge +pslcore +the cloud's logits and features, so all safe images are uploaded",
        r"vaal +pslcore +networks on the client",
        r"last +acme.learning 1\.2 +nothing",
        r"resnet8 +pslcore +labels of images; 78,042 parameters for 10 classes",
        r"file\.py:function +your file",
        r"mine +.*/mine +train\.npz, test\.npz",
        r"tree +.*/tree +pictures in class folders",
        r"stripes +acme.learning 1\.2 +nothing",
    ):
        assert re.search(rf"(?m)^  {line}", text), line
