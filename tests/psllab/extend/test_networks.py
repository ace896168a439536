"""Networks of somebody else's: what is taken, what is refused in a sentence, and that they learn as ours do."""

import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from pslcore import models
from pslcore.recipe import fresh
from pslcore.runs import fingerprint, run

HEADER = "import torch\nfrom torch import nn\n\n\ndef net(num_classes, in_channels):\n    "
SEQUENTIAL = (
    "return nn.Sequential(nn.Conv2d(in_channels, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.5),\n"
    "        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, num_classes))"
)
PARTED = '''"""A backbone with `features` and a `head`."""

from torch import nn


class Net(nn.Module):
    def __init__(self, num_classes, in_channels):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(in_channels, 5, 3), nn.ReLU())
        self.unused = nn.Linear(3, 2)
        self.head = nn.Linear(5, num_classes, bias=False)

    def forward(self, x):
        return self.head(self.features(x).mean((2, 3)))
'''
OURS = """from torch import nn

from pslcore.models import Network


class Net(Network):
    def __init__(self, num_classes, in_channels):
        super().__init__()
        self.first = nn.Conv2d(in_channels, 4, 3, 2)
        self.second = nn.Conv2d(4, 7, 3)
        self.head = nn.Linear(7, num_classes)

    def stage_maps(self, x):
        first = self.first(x).relu()
        return [first, self.second(first)]

    def pool(self, last):
        return last.mean((2, 3))
"""


@pytest.fixture
def file(tmp_path):
    def write(source, name="mine.py"):
        (tmp_path / name).write_text(source)
        return f"{tmp_path / name}:{'Net' if 'class Net' in source else 'net'}"

    return write


@pytest.mark.parametrize("source", [HEADER + SEQUENTIAL, PARTED, OURS], ids=["sequential", "parted", "ours"])
def test_a_module_becomes_a_network_that_answers_the_same(file, source, tmp_path):
    name = file(source)
    models.check(name, 5, 3, (9, 8))
    torch.manual_seed(3)
    network = models.build(name, 5).eval()
    scope: dict = {}
    exec(source, scope)
    torch.manual_seed(3)
    plain = scope.get("Net", scope.get("net"))(5, 3).eval()
    images = torch.randn(3, 3, 9, 8)
    with torch.no_grad():
        maps, logits = models.maps_and_logits(network, images)
        torch.testing.assert_close(logits, plain(images))
        assert torch.equal(network(images), logits)
        weight, bias = network.last_layer()
        answered = network.embed(images).numpy() @ weight.T + bias
    np.testing.assert_allclose(answered, logits, rtol=1e-4, atol=1e-5)
    assert network.stage_widths() == [x.shape[1] for x in maps]
    assert len(maps) == (2 if source is OURS else 1)


FLAT = "nn.Sequential(nn.Flatten(), {}nn.Linear({}, num_classes){})\n"
NOISY = "class D(nn.Dropout):\n        def forward(self, x):\n            return nn.functional.dropout(x)\n    return "


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return 7\n", "it returned 7, which is no module"),
        ("raise RuntimeError('no\\nluck')\n", "(line 6: RuntimeError: no luck)"),
        ("return nn.Conv2d(in_channels, num_classes, 3)\n", "it has no linear head: its last layer must be an nn.Linear"
         " with 5 outputs, one a class (it has no nn.Linear at all)"),
        ("return nn.Sequential(nn.Flatten(), nn.Linear(4, 9))\n", "(it has 1 with 9)"),
        ("return nn.Linear(4, num_classes)\n", "it is a linear layer alone, without features"),
        ("return " + FLAT.format("", 4, ""), "it has [4, 216] in place of features [4, 4]: make them fit, or bring the "
         "pictures to its size"),
        ("return nn.Sequential(nn.Conv2d(2, 4, 3), nn.Flatten(), nn.Linear(4, num_classes))\n",
         "it does not take images [4, 3, 9, 8] (RuntimeError: Given groups=1"),
        ("return " + FLAT.format("", 216, ", nn.Softmax(1)"), "its answer is not that of its last linear layer"),
        ("return nn.Sequential(nn.Flatten(2), nn.Linear(72, num_classes))\n", "in front of its last linear layer it has"
         " [4, 3, 72] in place of features [4, 72]: make them fit"),
        ("return " + FLAT.format("nn.BatchNorm1d(216, track_running_stats=False), ", 216, ""),
         "it does not take images [1, 3, 9, 8] (ValueError: Expected more than 1 value"),
        ("return nn.Sequential(nn.BatchNorm2d(3, track_running_stats=False), nn.Flatten(),\n        "
         "nn.Linear(216, num_classes))\n", "in eval mode its answer to an image depends on the other images"),
        (NOISY + FLAT.format("D(), ", 216, ""), "answers differently when it is asked"),
        ("import random\n    m = " + FLAT.format("", 216, "") + "    m[1].bias.data *= random.random()\n    return m\n",
         "comes out different: draw its first weights with"),
        ("m = " + FLAT.format("", 216, "") + "    m[1].weight.data[0] = float('nan')\n    return m\n",
         "values that are no finite numbers"),
        ("return nn.Sequential(nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(216, num_classes))\n",
         "it changes the images that it is given"),
        ("m = " + FLAT.format("", 216, "") + "    m.requires_grad_(False)\n    return m\n",
         "its last linear layer is not trained"),
        ("m = " + FLAT.format("", 216, "") + "    nn.utils.parametrizations.weight_norm(m[1])\n    return m\n",
         "it must be a plain nn.Linear."),
        ("class L(nn.Module):\n        def __init__(self):\n            super().__init__()\n"
         "            self.head = nn.Linear(216, num_classes)\n\n        def forward(self, x):\n"
         "            if not hasattr(self, 'late'):\n                self.late = nn.Parameter(torch.ones(216))\n"
         "            return self.head(x.flatten(1) * self.late)\n    return L()\n",
         "it makes body.late when it first sees images, too late to be trained"),
    ],
)  # fmt: skip
def test_what_is_missing_is_said_in_a_sentence(file, body, said):
    _refused(file(HEADER + body), said)


LAZY = {
    "a linear": "nn.Flatten(), nn.LazyLinear(7), nn.Linear(7, num_classes)",
    "the head": "nn.Flatten(), nn.LazyLinear(num_classes)",
    "a convolution": "nn.LazyConv2d(3, 3), nn.Flatten(), nn.Linear(126, num_classes)",
    "a norm": "nn.LazyBatchNorm2d(), nn.Flatten(), nn.Linear(216, num_classes)",
    "a norm without weights": "nn.LazyBatchNorm2d(affine=False), nn.Flatten(), nn.Linear(216, num_classes)",
}


@pytest.mark.parametrize("what", LAZY)
def test_a_lazy_layer_is_refused_unless_it_was_shown_an_image(file, what):
    net = f"net = nn.Sequential({LAZY[what]})\n"
    _refused(
        file(f"{HEADER}{net}    return net\n"), "which has no weights before it sees images: give it its size, as in"
    )
    if what != "the head":
        models.check(file(f"{HEADER}{net}    net(torch.zeros(2, in_channels, 9, 8))\n    return net\n"), 5, 3, (9, 8))


WRAP = """class W(nn.Module):
        def __init__(self):
            super().__init__()
            self.drop, self.head = nn.Dropout(0.3), nn.Linear(216, num_classes)

        def forward(self, x):
            logits = self.head({before})
            return {after} if self.training else logits

    return W()
"""
HARMLESS = ["self.drop(x.flatten(1))", "x.flatten(1)", "x.flatten(1) + torch.rand_like(x.flatten(1)) * self.training"]


@pytest.mark.parametrize("before", HARMLESS)
@pytest.mark.parametrize(
    ("after", "said"),
    [
        ("logits", ""),
        ("self.drop(logits)", "in training its answer is not that of its last linear layer: put dropout, and whatever"),
        ("3 * logits", "in training its answer is not that of its last linear layer"),
        ("logits + torch.randn_like(logits)", "in training its answer is not that of its last linear layer"),
        ("logits - logits.mean(0)", "in training its answer is not that of its last linear layer"),
        ("(logits, x)", "in front of its last linear layer it has tuple in place of features"),
    ],
)
def test_what_works_in_training_alone_stands_in_front_of_the_head(file, before, after, said):
    name = file(HEADER + WRAP.format(before=before, after=after))
    _refused(name, said) if said else models.check(name, 5, 3, (9, 8))


def test_noise_that_no_seed_brings_back_is_refused(file):
    before = "x.flatten(1) * __import__('random').random() if self.training else x.flatten(1)"
    _refused(file(HEADER + WRAP.format(before=before, after="logits")), "draw its noise with torch alone.")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("net = 3\n", "it is 3, which cannot be called; a network is a function of (num_classes, in_channels)"),
        ("def net(classes):\n    pass\n", "it cannot be made for 5 classes and 3 channels (TypeError: net() takes 1"),
    ],
)
def test_what_is_no_function_of_two(file, source, said):
    _refused(file(source), said)


def _refused(name, said):
    with pytest.raises(ValueError) as caught:
        models.check(name, 5, 3, (9, 8))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "mine.py" in str(caught.value)


def test_a_file_that_changed_is_not_taken_for_the_old_one(file, tmp_path):
    name = models.known(file(PARTED))
    models.build(name, 4)
    file(PARTED.replace("5", "6"))
    with pytest.raises(ValueError, match=r"has changed, its hash is \w{16} in place of \w{16}: bring the old file"):
        models.build(name, 4)
    other = models.known(f"{tmp_path / 'mine.py'}:Net")
    assert other != name
    assert models.build(other, 4).head.in_features == 6


def test_a_record_names_the_file_by_its_hash(file, root, tiny):
    name = file(HEADER + SEQUENTIAL)
    config = tiny(teacher=name, method="badge")
    again = tiny(teacher=config.teacher, method="badge")
    assert config.key == again.key
    assert re.search(r"mine\.py:net@\w{16}$", config.teacher)
    file(HEADER + SEQUENTIAL + "  # other\n")
    assert tiny(teacher=name, method="badge").key != config.key
    assert fingerprint(config) == fingerprint(again) != fingerprint(tiny(method="badge"))


METHODS = ["psl", "entropy", "ll4al", "vaal", "core_set", "badge", "alfa_mix"]


@pytest.mark.parametrize("method", METHODS)
def test_it_is_teacher_and_student_of_every_method(file, root, tiny, method):
    name = file(HEADER + SEQUENTIAL)
    options = {"psl": {"student": name}, "vaal": {"width": 8}}.get(method, {})
    config = tiny(teacher=name, method=method, options=options)
    record = run(config, root)
    assert record == run(config, root) | {key: record[key] for key in ("cycles", "source")}
    assert record["config"]["teacher"] == config.teacher
    assert [entry["labelled"] for entry in record["cycles"]] == [8, 12, 16]
    if method in ("entropy", "badge"):
        home = run(tiny(method=method, options={"side": "client", "student": name}), root)
        assert home["cycles"][-1]["unlabelled_seen"] == 0


def test_a_network_that_does_not_fit_is_found_before_anything_is_trained(file, root, tiny):
    name = file(HEADER + "return nn.Sequential(nn.Flatten(), nn.Linear(7, num_classes))")
    with pytest.raises(ValueError, match=r"^teacher: the network '.*mine.py:net': in front of its last linear layer"):
        run(tiny(teacher=name), root)
    with pytest.raises(ValueError, match=r"^student: the network"):
        run(tiny(options={"student": name}), root)


# Weights

safetensors = pytest.importorskip("safetensors.torch", reason="the extra .[timm] is not installed")


@pytest.fixture
def weights(tmp_path):
    """A safetensors file of a network for some classes; its tensors."""

    def write(name="resnet8", classes=4, path="w.safetensors", **changes):
        torch.manual_seed(11)
        state = models.build(name, classes).state_dict() | changes
        state = {key: tensor for key, tensor in state.items() if tensor is not None}
        safetensors.save_file(state, tmp_path / path)
        return str(tmp_path / path), state

    return write


def test_weights_of_the_same_classes_are_taken_whole(weights):
    path, state = weights()
    got = models.build(f"resnet8 weights={path}", 4).state_dict()
    assert all(torch.equal(got[name], tensor) for name, tensor in state.items())


def test_of_other_classes_all_but_the_head(weights):
    path, state = weights(classes=9)
    first, second = (
        fresh(lambda: models.build(f"resnet8 weights={path}", 4), seed, "teacher-init", 0, torch.device("cpu"))
        for seed in (0, 1)
    )
    assert not torch.equal(first.head.weight, second.head.weight)  # the head is this run's own
    for name, tensor in first.state_dict().items():
        assert name.startswith("head.") or torch.equal(tensor, state[name])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"conv.weight": None}, "is of another network: conv.weight of the shape (16, 3, 3, 3) is missing there."),
        ({"conv.weight": torch.zeros(16, 1, 3, 3)}, "is there with the shape (16, 1, 3, 3)."),
        ({"extra": torch.zeros(2)}, "is of another network: it holds extra, which this one has not."),
        ({"bn.bias": torch.full((16,), float("nan"))}, "bn.bias holds NaN or infinity; take another file."),
    ],
)
def test_weights_of_another_network_are_refused(weights, changes, said):
    path, _ = weights(**changes)
    with pytest.raises(ValueError) as caught:
        models.check(f"resnet8 weights={path}", 4, 3, (8, 8))
    assert said in str(caught.value)


def test_damaged_and_changed_weights_are_refused(weights, tmp_path):
    path, _ = weights()
    name = models.known(f"resnet8 weights={path}")
    whole = (tmp_path / "w.safetensors").read_bytes()
    for content in (b"", b"\xff" * 100, whole[:-1], whole[:5]):
        (tmp_path / "w.safetensors").write_bytes(content)
        with pytest.raises(ValueError, match="is no safetensors file"):
            models.build(f"resnet8 weights={path}", 4)
        with pytest.raises(ValueError, match=r"weights=.* has changed, its hash is \w+ in place of"):
            models.build(name, 4)


def test_frozen_at_random_weights_is_refused():
    with pytest.raises(ValueError, match=r"the network 'resnet8 frozen' is frozen at random weights"):
        models.check("resnet8 frozen", 4, 3, (8, 8))


@pytest.mark.parametrize("method", ["random", "badge", "ll4al", "psl"])
def test_of_a_frozen_network_only_the_head_moves(weights, root, tiny, method):
    from psllab.retrain import first_cycle

    path, state = weights(classes=9)
    frozen = f"resnet8 weights={path} frozen"
    options = {"options": {"student": frozen}} if method == "psl" else {}
    trial = first_cycle(tiny(method=method, teacher=frozen, **options), root, "cpu")
    learned = {name.removeprefix("0."): tensor for name, tensor in trial.session.cloud.weights().items()}
    for name, tensor in state.items():
        assert name.startswith("head.") or torch.equal(learned[name], tensor), name  # the norms' statistics too
    start = fresh(lambda: models.build(frozen, 4), 0, "teacher-init", 0, torch.device("cpu"))
    assert not torch.equal(learned["head.weight"], start.head.weight)
    if method == "psl":
        for name, tensor in trial.learner.students[0].state_dict().items():
            assert name.startswith("head.") or torch.equal(tensor, state[name])
    assert models.Network.train(start).training is False


def test_frozen_weights_make_other_records(weights, tiny, tmp_path):
    path, _ = weights()
    names = [f"resnet8 weights={path}", f"resnet8 weights={path} frozen", "resnet8"]
    keys = [tiny(teacher=name).key for name in names]
    weights(**{"bn.bias": torch.ones(16)})
    assert len({*keys, tiny(teacher=names[0]).key}) == 4


# timm


def test_timm_without_timm(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ValueError, match=r"the network 'timm:resnet10t': it needs timm \(.*\): install it with `pip"):
        models.check("timm:resnet10t", 4, 3, (32, 32))


@pytest.mark.slow
def test_timm_networks_random_saved_and_loaded_again(root, tiny, tmp_path):
    timm = pytest.importorskip("timm", reason="the extra .[timm] is not installed")
    name = "timm:test_resnet.r160_in1k"
    models.check(name, 4, 3, (8, 8))
    torch.manual_seed(2)
    plain = timm.create_model("test_resnet.r160_in1k", pretrained=False, num_classes=1000)
    path = tmp_path / "pretrained.safetensors"
    safetensors.save_file(plain.state_dict(), path)
    frozen = f"{name} weights={path} frozen"
    models.check(frozen, 4, 3, (8, 8))
    network = models.build(frozen, 4).eval()
    pixels = torch.randint(256, (3, 3, 32, 32)).float()
    mean, std = (torch.tensor(plain.pretrained_cfg[what])[:, None, None] for what in ("mean", "std"))
    with torch.no_grad():
        wanted = plain.eval().forward_head(plain.forward_features((pixels / 255 - mean) / std), pre_logits=True)
        torch.testing.assert_close(network.embed((pixels - 127.5) / 63.75), wanted, rtol=1e-3, atol=1e-4)
    assert [p.shape for p in network.parameters() if p.requires_grad] == [(4, wanted.shape[1]), (4,)]
    for method, options in (("badge", {}), ("psl", {"student": frozen}), ("ll4al", {})):
        record = run(tiny(method=method, teacher=frozen, options=options), root)
        assert len(record["cycles"]) == 3
    assert fingerprint(tiny(teacher=name)) != fingerprint(tiny())
    with pytest.raises(ValueError, match=r"knows no 'resnet10x': try .*resnet10t"):
        models.check("timm:resnet10x", 4, 3, (8, 8))
    with pytest.raises(
        ValueError, match=r"'timm:test_vit': it does not take images \[4, 3, 8, 8\] .*name@HEIGHTxWIDTH"
    ):
        models.check("timm:test_vit", 4, 3, (8, 8))
    with torch.no_grad():
        assert models.build("timm:test_resnet", 4, in_channels=1)(torch.zeros(2, 1, 32, 32)).shape == (2, 4)


@pytest.mark.slow
def test_nothing_foreign_is_imported_unless_it_is_asked_for():
    code = (
        "import sys; from pslcore.runs import Config; from psllab import grid as campaign; "
        "Config.of({'dataset': 'digits', 'method': 'psl', 'teacher': 'timm:resnet10t'}); "
        "assert not {'timm', 'safetensors'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_of_a_module_in_training_the_mode_follows():
    network = models.build("resnet8", 3)
    assert network.train().training
    assert not network.eval().training
    assert isinstance(network.head, nn.Linear)
