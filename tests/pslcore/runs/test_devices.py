"""Devices that are not at hand: on torch's ``meta`` device there are shapes and no values, so whoever mixes devices, or
waits for a value, is found out."""

from types import SimpleNamespace

import pytest
import torch

from pslcore import strategies
from pslcore.data import batches
from pslcore.recipe import Recipe, native_bfloat16
from pslcore.runs import Config, Protocol, Session, device, load

META = torch.device("meta")
ADAM, SGD = torch.optim.Adam, torch.optim.SGD
IMAGES = {"dataset": "digits", "teacher": "resnet8", "initial": 10, "budget": 1, "final": 11}
PIXELS = IMAGES | {"dataset": "digit_scenes", "teacher": "lraspp_mobilenet_v3_small"}
VECTORS = IMAGES | {"dataset": "digit_vectors", "teacher": "mlp16"}
METHODS = [name for name in strategies.names() if strategies.kind(name).__module__.startswith("pslcore.")]
TRAINED_ALIKE = ("entropy", "core_set", "badge", "alfa_mix")
"""Methods that train nothing of their own in the cloud: their epoch is Random's. (PSL on vectors waits at every step:
the gradients of heads are by hand, and the number of pairs has to be known.)"""
CASES = [
    *((name, {}, IMAGES) for name in METHODS),
    *((name, {}, VECTORS) for name in METHODS if name not in ("psl", *TRAINED_ALIKE)),
    *((name, {}, PIXELS) for name in METHODS if strategies.kind(name).pixels),
    ("badge", {"side": "client"}, IMAGES), ("psl", {"peers": 3, "ranking": "ordered"}, IMAGES),
]  # fmt: skip


@pytest.fixture
def no_kernels(monkeypatch):
    """``meta`` has no fused optimisers and no autocast; of both a real device has its own."""
    for kind in (ADAM, SGD):
        monkeypatch.setattr(
            kind, "__init__", lambda self, *a, fused, kind=kind, init=kind.__init__, **k: init(self, *a, **k)
        )
    monkeypatch.setattr(torch, "autocast", lambda kind, dtype: torch.autograd.set_detect_anomaly(False))


def session_of(method, options, base, precision="float32"):
    if method == "vaal":
        options = options | {"width": 4}
    if method == "psl" or options.get("side") == "client":
        options = options | {"student": base["teacher"]}
    recipe = {"epochs": 1, "batch_size": 5, "padding": 1, "zoom": 1.2 if base is PIXELS else 1.0}
    config = Config.of(base | {"method": method, "options": options, "recipe": recipe | {"precision": precision}})
    return Session(Protocol.of(config, load(config.dataset, "data")), META)


@pytest.mark.parametrize(
    ("method", "options", "base"), CASES, ids=lambda case: getattr(case, "get", lambda _: case)("dataset") or ""
)
def test_an_epoch_mixes_no_devices_and_waits_for_none(method, options, base, no_kernels, monkeypatch):
    """But for the look at the loss once an epoch, which is all that waits."""
    session = session_of(method, options, base)
    learner, waits = session.begin(0), []
    for side in filter(None, (session.cloud, learner)):
        monkeypatch.setattr(type(side), "check", lambda self: waits.append(type(self).__name__))
    session.train(learner, 0)
    assert len(waits) == 1 + (learner is not None)
    parameters = [*session.cloud._trained.parameters(), *(learner.parameters() if learner else ())]
    assert {parameter.device for parameter in parameters} == {META}


def test_what_waits_is_found_out(no_kernels):
    session = session_of("random", {}, IMAGES)
    session.begin(0)
    with pytest.raises(RuntimeError, match="meta tensors"):
        session.train(None, 0)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_autocast_is_entered_only_where_it_is_on(precision, monkeypatch):
    """Of some devices torch knows none, and says so as soon as it is asked for."""
    entered = []
    monkeypatch.setattr(torch, "autocast", lambda kind, dtype: entered.append((kind, dtype)))
    Recipe(precision=precision).autocast(torch.empty(1, device=META))
    assert entered == ([("meta", torch.bfloat16)] if precision == "bfloat16" else [])


def test_all_devices_but_a_processor_score_large_batches():
    sizes = {kind: batches._at_once((32, 32), torch.device(kind)) for kind in ("cpu", "cuda", "mps", "xpu", "meta")}
    assert sizes == {"cpu": 32, "cuda": 512, "mps": 512, "xpu": 512, "meta": 512}


@pytest.fixture
def present(monkeypatch):
    """``present("mps")``: a machine that has this device, and what it was asked for."""

    def made(*kinds):
        asked = []
        modules = {
            kind: SimpleNamespace(is_available=lambda kind=kind: kind in kinds, synchronize=lambda: asked.append(1))
            for kind in ("cpu", "cuda", "mps", "xpu")
        }
        monkeypatch.setattr(torch, "get_device_module", lambda what: modules[torch.device(what).type])
        monkeypatch.setattr(torch, "use_deterministic_algorithms", lambda *_, **__: None)
        monkeypatch.setattr(torch.cuda, "is_available", modules["cuda"].is_available)
        return asked

    return made


@pytest.mark.parametrize("kind", ["cuda", "mps", "xpu"])
def test_a_device_is_taken_where_it_is_and_refused_where_it_is_not(kind, present, monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")
    present("cpu", kind)
    assert device.prepare_process(f"{kind}:0") == torch.device(kind, 0)
    assert device.prepare_process("auto") == torch.device(kind if kind == "cuda" else "cpu")
    present("cpu")
    with pytest.raises(ValueError, match=f"device '{kind}' is not to be had here: choose cpu, or auto"):
        device.prepare_process(kind)
    with pytest.raises(ValueError, match="unknown device 'tpu': choose auto, cpu, cuda, mps or xpu"):
        device.prepare_process("tpu")


@pytest.mark.parametrize("kind", ["cpu", "mps", "xpu"])
def test_the_clock_waits_for_its_device(kind, present):
    asked, seconds = present(kind), {}
    with device.clock(seconds, "train", torch.device(kind)):
        assert len(asked) == 1
    assert len(asked) == 2
    assert set(seconds) == {"train"}


@pytest.mark.parametrize("kind", ["mps", "xpu"])
def test_what_the_processor_computes_says_nothing_of_another_device(kind, monkeypatch):
    monkeypatch.setattr("pslcore.recipe.processor", lambda: {"flags": "amx_bf16"})
    assert native_bfloat16(torch.device("cpu"))
    assert not native_bfloat16(torch.device(kind))
