"""Other networks as ``Network``: any module with features and a linear head, timm's, given weights.

Whatever the module is made of, its last linear layer becomes the ``head``, and what goes into that layer are the
features. ``try_out`` holds that the two together are the module, before anything is trained.
"""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.lazy import LazyModuleMixin

from pslcore import plugins as packages
from pslcore.models import PACKAGES
from pslcore.models.network import Network
from pslcore.settings import short
from psllab import userfile
from psllab.extend.network_spec import Spelled, digest_of

Maker = Callable[..., nn.Module]
"""``maker(num_classes, in_channels) -> module``."""

_FORM = "a network is a function of (num_classes, in_channels) that returns a torch.nn.Module"


class Unfit(ValueError):
    """What a module lacks, in a sentence of ours; torch raises ``ValueError`` as well."""


class Adapted(Network):
    """A module of any make. Its only feature map is that of the features, [N, D, 1, 1].

    Parameters
    ----------
    body : module
        With an ``nn.Linear`` somewhere, which answers last; ``nn.Identity`` takes its place.
    """

    def __init__(self, body: nn.Module, num_classes: int):
        super().__init__()
        place = last_linear(body, num_classes)
        head = body.get_submodule(place)
        assert isinstance(head, nn.Linear)
        if head.bias is None:
            head.bias = nn.Parameter(head.weight.new_zeros(num_classes), requires_grad=False)
        above, _, leaf = place.rpartition(".")
        setattr(body.get_submodule(above), leaf, nn.Identity())
        self.body, self.head = body, head

    def stage_maps(self, x: Tensor) -> list[Tensor]:
        """The features, [N, D, 1, 1], of images [N, in_channels, H, W]."""
        features = self.body(x)
        if not isinstance(features, Tensor) or features.shape[1:] != (self.head.in_features,):
            shape = list(features.shape) if isinstance(features, Tensor) else type(features).__name__
            raise Unfit(
                f"in front of its last linear layer it has {shape} in place of features [{len(x)}, "
                f"{self.head.in_features}]: make them fit, or bring the pictures to its size (name@HEIGHTxWIDTH)."
            )
        return [features[..., None, None]]

    def pool(self, last: Tensor) -> Tensor:
        return last.flatten(1)

    def stage_widths(self) -> list[int]:
        return [self.head.weight.shape[1]]  # its first parameter tells nothing of the images


def last_linear(body: nn.Module, num_classes: int) -> str:
    """Where in a module the last linear layer with an output a class is; ``ValueError`` says what is missing."""
    layers = {place: layer for place, layer in body.named_modules() if isinstance(layer, nn.Linear)}
    fitting = [place for place, layer in layers.items() if layer.out_features == num_classes]
    if not fitting:
        others = ", ".join(f"{place or 'itself'} with {layer.out_features}" for place, layer in layers.items())
        raise ValueError(
            f"it has no linear head: its last layer must be an nn.Linear with {num_classes} outputs, one a class"
            + (f" (it has {short(others)[1:-1]})." if others else " (it has no nn.Linear at all).")
        )
    if not fitting[-1]:
        raise ValueError("it is a linear layer alone, without features: put it behind something, nn.Flatten at least.")
    names = [name for name, _ in body.get_submodule(fitting[-1]).named_parameters()]
    if set(names) - {"weight", "bias"}:
        raise ValueError(
            f"the parameters of its head {fitting[-1]} are {', '.join(names)}: it must be a plain nn.Linear."
        )
    return fitting[-1]


class _Rescaled(nn.Module):
    """Our images, (pixel - 127.5) / 63.75, brought to the mean and deviation that a pretrained network was made for."""

    scale: Tensor
    shift: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]):
        super().__init__()
        middle, spread = (torch.tensor(values)[:, None, None] for values in (mean, std))
        self.register_buffer("scale", 0.25 / spread, persistent=False)
        self.register_buffer("shift", (0.5 - middle) / spread, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale + self.shift


# Making


def build(spelled: Spelled, ours: Maker | None, num_classes: int, in_channels: int) -> Network:
    """The network, its weights read and what is ``frozen`` frozen; ``ours`` makes it where it is one of ours.

    Raises
    ------
    ValueError
        In one sentence, as for all that is wrong with it.
    """
    try:
        body = _made(spelled, ours, num_classes, in_channels)
        _refuse_lazy(body)
        if spelled.weights:
            _read(body, spelled, num_classes)
        network = body if isinstance(body, Network) else _adapted(body, spelled, num_classes)
    except ValueError as error:
        raise ValueError(f"the network {spelled.what!r}: {error}") from error
    if spelled.frozen:
        network.freeze()
    return network


def _made(spelled: Spelled, ours: Maker | None, num_classes: int, in_channels: int) -> nn.Module:
    if ours is not None:
        return ours(num_classes, in_channels)
    if spelled.kind == "timm":
        return _of_timm(spelled.what.partition(":")[2], num_classes, in_channels)
    maker, path = maker_of(spelled)
    try:
        made = maker(num_classes, in_channels)
    except (Exception, SystemExit) as error:  # it is somebody else's: whatever it raises
        raise ValueError(
            f"it cannot be made for {num_classes} classes and {in_channels} channels "
            f"({userfile.describe_error(error, path)}); {_FORM}."
        ) from error
    if not isinstance(made, nn.Module):
        raise ValueError(f"it returned {short(made)}, which is no module; {_FORM}.")
    return made


def _refuse_lazy(body: nn.Module) -> None:
    for place, layer in body.named_modules():
        if isinstance(layer, LazyModuleMixin) and layer.has_uninitialized_params():  # type: ignore[misc]
            raise ValueError(
                f"its layer {place or 'itself'} is a {type(layer).__name__}, which has no weights before it sees "
                "images: give it its size, as in nn.Linear(64, 10), or show it an image in your function."
            )


def maker_of(spelled: Spelled) -> tuple[Maker, str]:
    """The function behind a file's or a package's name, and the file that it stands in.

    Raises
    ------
    ValueError
        In one sentence: no such name, it cannot be loaded, or the file is not the one that was named.
    """
    if spelled.kind == "file":
        path = str(userfile.split(spelled.what)[0])
        found = userfile.digest(path)
        if spelled.digest not in ("", found):
            raise ValueError(
                f"{path} has changed, its hash is {found} in place of {spelled.digest}: bring the old file back, or "
                "leave the hash out to take the new one."
            )
        maker = userfile.attribute(spelled.what)
    else:
        given = packages.find(PACKAGES, spelled.what)
        if given is None:
            raise ValueError("no package that is installed gives it.")
        maker, path = given.load(), f"the package {given}"
    if not callable(maker):
        raise ValueError(f"it is {short(maker)}, which cannot be called; {_FORM}.")
    return maker, path


def _of_timm(name: str, num_classes: int, in_channels: int) -> nn.Module:
    timm = _timm()
    if not timm.is_model(name):
        from difflib import get_close_matches

        near = get_close_matches(name.partition(".")[0], timm.list_models(), 5, 0.4)
        raise ValueError(f"timm {timm.__version__} knows no {name!r}: try {', '.join(near) or 'timm.list_models()'}.")
    try:
        model = timm.create_model(name, pretrained=False, num_classes=num_classes, in_chans=in_channels)
    except Exception as error:
        raise ValueError(f"timm cannot make it for {in_channels} channels ({_line(error)}): choose another.") from error
    return model


def _timm() -> Any:
    from pslcore.vision import torchvision  # timm imports it, which fails unless this has  # noqa: F401

    try:
        import timm
    except ImportError as error:
        raise ValueError(f"it needs timm ({error}): install it with `pip install '.[timm]'`.") from None
    return timm


def timm_version() -> str:
    """For fingerprints: what the networks of ``timm:`` are."""
    try:
        return f"timm {_timm().__version__}"
    except ValueError:
        return "timm absent"


def _adapted(body: nn.Module, spelled: Spelled, num_classes: int) -> Network:
    made_for = getattr(body, "pretrained_cfg", {}) if spelled.kind == "timm" else {}
    network = Adapted(body, num_classes)
    mean, std = made_for.get("mean"), made_for.get("std")
    if mean and std and len(mean) == len(std) == 3 and getattr(body, "in_chans", 3) == 3:
        network.body = nn.Sequential(_Rescaled(mean, std), network.body)
    return network


# Weights


def _read(body: nn.Module, spelled: Spelled, num_classes: int) -> None:
    """The weights of a safetensors file, under the module's own names; a head of other classes stays fresh."""
    path, found = spelled.weights, digest_of(spelled.weights)
    if spelled.weights_digest not in ("", found):
        raise ValueError(
            f"weights={path} has changed, its hash is {found} in place of {spelled.weights_digest}: bring the old file "
            "back, or leave the hash out to take the new one."
        )
    try:
        from safetensors.torch import load_file
    except ImportError as error:
        raise ValueError(f"weights need safetensors ({error}): install it with `pip install '.[timm]'`.") from None
    try:
        held = load_file(path)
    except Exception as error:  # the library has several kinds for damaged bytes
        raise ValueError(f"weights={path} is no safetensors file ({_line(error)}): write or copy it again.") from error
    own = body.state_dict()
    head = _head_of(body, num_classes)
    held = {
        name: tensor for name, tensor in held.items()
        if name.removeprefix(head) not in ("weight", "bias") or (name in own and own[name].shape == tensor.shape)
    }  # fmt: skip
    for name, tensor in own.items():
        if (name not in held and name.removeprefix(head) in ("weight", "bias")) or name.endswith("num_batches_tracked"):
            continue
        if name not in held or held[name].shape != tensor.shape:
            there = f"there with the shape {tuple(held[name].shape)}" if name in held else "missing there"
            raise ValueError(
                f"weights={path} is of another network: {name} of the shape {tuple(tensor.shape)} is {there}."
            )
    for name, tensor in held.items():
        if name not in own:
            raise ValueError(f"weights={path} is of another network: it holds {name}, which this one has not.")
        if not torch.isfinite(tensor.float()).all():
            raise ValueError(f"weights={path}: {name} holds NaN or infinity; take another file.")
    body.load_state_dict(held, strict=False)


def _head_of(body: nn.Module, num_classes: int) -> str:
    """What the names of the head's tensors begin with."""
    place = "head" if isinstance(body, Network) else last_linear(body, num_classes)
    return f"{place}."


def _line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}".rstrip(".: ")


# Trying out


@lru_cache(maxsize=64)
def try_out(
    spelled: Spelled, ours: Maker | None, num_classes: int, in_channels: int, size: tuple[int, int]
) -> None:  # fmt: skip
    """Hold a network to what everybody expects of one, on random images of that height and width.

    Raises
    ------
    ValueError
        In one sentence: what is missing.
    """
    if spelled.frozen and not spelled.weights and (ours is not None or spelled.kind == "timm"):
        raise ValueError(
            f"the network {str(spelled)!r} is frozen at random weights and could learn nothing: add weights=FILE, or "
            "leave `frozen` out."
        )
    images = torch.randn(4, in_channels, *size, generator=torch.Generator().manual_seed(0))
    with torch.random.fork_rng(devices=[]):
        try:
            _hold(spelled, ours, num_classes, in_channels, images)
        except ValueError as error:
            message = " ".join(str(error).split())
            place = "" if message.startswith("the network ") else f"the network {spelled.what!r}: "
            raise ValueError(f"{place}{message}") from error


def _hold(spelled: Spelled, ours: Maker | None, num_classes: int, in_channels: int, images: Tensor) -> None:
    def fresh() -> Network:
        torch.manual_seed(1)
        return build(spelled, ours, num_classes, in_channels)

    def plain() -> nn.Module:
        torch.manual_seed(1)
        whole = _made(spelled, ours, num_classes, in_channels)
        if spelled.weights:
            _read(whole, spelled, num_classes)
        return whole

    network, again = fresh(), fresh()
    compared = isinstance(network, Adapted) and spelled.kind != "timm"
    for (name, one), other in zip(network.state_dict().items(), again.state_dict().values(), strict=True):
        if one.shape != other.shape or not torch.equal(one.nan_to_num(), other.nan_to_num()):
            raise ValueError(
                f"made twice from one seed, {name} comes out different: draw its first weights with torch alone."
            )
    if not network.head.weight.requires_grad:
        raise ValueError("its last linear layer is not trained: let its parameters require gradients.")
    of = f"images {_shape(images)}"
    network.eval()
    with torch.no_grad():
        logits = _asked(network, images)
        if not isinstance(logits, Tensor) or logits.shape[:2] != (len(images), num_classes):
            shape = _shape(logits) if isinstance(logits, Tensor) else type(logits).__name__
            raise ValueError(f"of {of} it makes {shape}; they must be logits [{len(images)}, {num_classes}].")
        if not torch.isfinite(logits).all():
            raise ValueError(f"of {of} it makes values that are no finite numbers.")
        if not _near(network(images), logits):
            raise ValueError("in eval mode it answers differently when it is asked twice: switch its noise off there.")
        if not _near(_asked(network, images[:1]), logits[:1]):
            raise ValueError("in eval mode its answer to an image depends on the other images of the batch.")
        if network.embed(images).shape != (len(images), network.head.weight.shape[1]):
            raise ValueError("its `embed` must give the features that its `head` takes, a row an image.")
        if compared and not _near(plain().eval()(images), logits):
            raise ValueError(
                "its answer is not that of its last linear layer: return the logits, with no softmax or scale after it."
            )
    known = {name for name, _ in again.named_parameters()}
    logits = _noisy(network.train(), images)
    if late := sorted({name for name, _ in network.named_parameters()} - known):
        raise ValueError(f"it makes {late[0]} when it first sees images, too late to be trained: make it beforehand.")
    if compared and not network.frozen:  # a frozen one is never in training mode
        if not _near(_noisy(again.train(), images), logits):
            raise ValueError("in training it answers differently from one seed: draw its noise with torch alone.")
        if not _near(_noisy(plain().train(), images), logits):
            raise ValueError(
                "in training its answer is not that of its last linear layer: put dropout, and whatever else works in "
                "training alone, in front of that layer."
            )
    logits.float().square().mean().backward()
    for name, parameter in network.named_parameters():
        if parameter.grad is not None and not torch.isfinite(parameter.grad).all():
            raise ValueError(f"the gradient of {name} is no finite number.")


def _asked(network: nn.Module, images: Tensor) -> Tensor:
    before = images.clone()
    try:
        logits = network(images)
    except Unfit:
        raise
    except Exception as error:
        raise ValueError(
            f"it does not take images {_shape(images)} ({_line(error)}): choose one that does, or bring the pictures "
            "to its size (name@HEIGHTxWIDTH)."
        ) from error
    if not torch.equal(before, images):
        raise ValueError("it changes the images that it is given, which others use as well: copy them first.")
    return logits


def _noisy(network: nn.Module, images: Tensor) -> Tensor:
    """Its answer, with its noise drawn from one seed."""
    torch.manual_seed(2)
    return _asked(network, images)


def _near(one: Any, other: Tensor) -> bool:
    if not isinstance(one, Tensor) or one.shape != other.shape:
        return False
    return torch.allclose(one.float(), other, rtol=1e-3, atol=1e-4 * max(1.0, _size(other)), equal_nan=True)


def _size(tensor: Tensor) -> float:
    most = float(tensor.detach().abs().max())
    return most if math.isfinite(most) else 1.0


def _shape(tensor: Tensor) -> str:
    return f"[{', '.join(map(str, tensor.shape))}]"
