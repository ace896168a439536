"""The training recipe, the same for every network and every method, and the few steps that apply it."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from pathlib import Path
from tempfile import SpooledTemporaryFile, gettempdir
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.optim import lr_scheduler

from pslcore.settings import Real, Settings, Whole
from pslcore.streams import derive


class Recipe(Settings):
    """How networks train. The paper states the epochs alone; the rest are *decisions*, and parameters.

    Attributes
    ----------
    epochs : int
        Passes over ``D_L`` per cycle.
    batch_size : int
    lr, momentum, weight_decay : float
        SGD with Nesterov momentum.
    schedule : {"cosine", "step", "constant"}
        Cosine to 0; or a tenth at 50 % and again at 75 % of the steps; or none.
    padding : int
        Random crops from images padded by so many pixels.
    flip : bool
        Random mirroring left to right (not for digits).
    zoom : float
        Random enlargement by a factor between ``1 / zoom`` and ``zoom``; 1 leaves the size alone.
    warmup : float
        Part of the steps in which the rate rises linearly to ``lr``, before the schedule begins.
    decay : {"all", "filters"}
        What weight decay pulls at: all parameters, or matrices and filters alone, no norms and no biases.
    label_smoothing : float
        Of the task learner's labels (Szegedy et al. 2016).
    precision : {"float32", "bfloat16", "auto"}
        Of the training steps; scores and losses are float32 always. ``auto`` is bfloat16 where the device computes it
        itself, float32 elsewhere; the record says which it was.
    """

    epochs: Whole = Field(350, ge=1, le=100_000)
    batch_size: Whole = Field(128, ge=1, le=65_536)
    lr: Real = Field(0.1, ge=0, le=1000)
    momentum: Real = Field(0.9, ge=0, le=1)
    weight_decay: Real = Field(5e-4, ge=0, le=100)
    schedule: Literal["cosine", "step", "constant"] = "cosine"
    padding: Whole = Field(4, ge=0, le=1024)
    flip: bool = True
    zoom: Real = Field(1.0, ge=1, le=16)
    warmup: Real = Field(0.0, ge=0, lt=1)
    decay: Literal["all", "filters"] = "all"
    label_smoothing: Real = Field(0.0, ge=0, lt=1)
    precision: Literal["float32", "bfloat16", "auto"] = "float32"

    def on(self, device: torch.device) -> "Recipe":
        """The same recipe with its precision settled for a device."""
        if self.precision != "auto":
            return self
        return self.but(precision="bfloat16" if native_bfloat16(device) else "float32")

    def autocast(self, images: Tensor) -> AbstractContextManager[object]:
        """The context of a training step's forward pass."""
        return torch.autocast(images.device.type, torch.bfloat16) if self.precision == "bfloat16" else nullcontext()


@cache
def processor() -> dict[str, str]:
    """What the system says of the first processor; nothing where it has no ``/proc/cpuinfo``."""
    try:
        lines = Path("/proc/cpuinfo").read_text().partition("\n\n")[0].splitlines()
    except OSError:
        return {}
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


def native_bfloat16(device: torch.device) -> bool:
    """Whether the device is known to compute bfloat16 itself; where it does not, float32 is many times faster."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    told = processor() if device.type == "cpu" else {}
    flags = told.get("flags") or told.get("Features") or ""
    return not {"avx512_bf16", "amx_bf16", "bf16"}.isdisjoint(flags.split())


N = TypeVar("N", bound=nn.Module)


def fresh(builder: Callable[[], N], seed: int, purpose: str, cycle: int, device: torch.device) -> N:
    """Build a network with weights from the stream (seed, purpose, cycle), whatever was drawn elsewhere."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, purpose, cycle))
        network = builder()
    return network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]


class Descent:
    """Stochastic gradient descent by the recipe on some parameters.

    Parameters
    ----------
    parameters : iterable of parameters
    recipe : Recipe
    steps : int
        Steps of the whole training, which the schedule is stretched over.
    weight_decay : float, optional
        In place of the recipe's.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], recipe: Recipe, steps: int, weight_decay: float | None = None
    ):
        self._parameters = [parameter for parameter in parameters if parameter.requires_grad]
        decay = recipe.weight_decay if weight_decay is None else weight_decay
        groups: list[dict[str, Any]] = [{"params": self._parameters}]
        if recipe.decay == "filters":
            groups = [
                {"params": [p for p in self._parameters if (p.ndim > 1) == filters], "weight_decay": filters * decay}
                for filters in (True, False)
            ]
        self._optimiser = torch.optim.SGD(
            groups, lr=recipe.lr, momentum=recipe.momentum, weight_decay=decay, nesterov=recipe.momentum > 0, fused=True
        )
        self._schedule = _schedule(self._optimiser, recipe, steps)
        self._loss: Tensor | None = None

    def step(self, loss: Tensor, backward: Callable[[], None] | None = None) -> None:
        """One step down the gradient of a scalar loss, which ``backward`` brings to the parameters if not autograd."""
        # A loss of exactly 0 is a minimum of ours: its gradient is 0 and need not be computed. (A GPU would stall.)
        flat = loss.device.type == "cpu" and loss.item() == 0
        if flat or backward is None:  # by hand every gradient is made anew
            self._optimiser.zero_grad(set_to_none=not flat)
        if flat:
            for parameter in self._parameters:
                parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        else:
            (backward or loss.backward)()
        self._optimiser.step()
        self._schedule.step()
        self._loss = loss.detach() if self._loss is None else self._loss + loss.detach()

    def check(self, what: str) -> None:
        """Raise ``FloatingPointError`` if any loss so far was not finite; once an epoch, since it waits for the GPU."""
        if self._loss is not None and not torch.isfinite(self._loss):
            mend = "lower `lr`."
            raise FloatingPointError(f"the training of the {what} diverged (its loss is {self._loss.item()}): {mend}")


def _schedule(optimiser: torch.optim.SGD, recipe: Recipe, steps: int) -> lr_scheduler.LRScheduler:
    rising = round(recipe.warmup * steps)
    left = max(1, steps - rising)
    then: lr_scheduler.LRScheduler
    if recipe.schedule == "cosine":
        then = lr_scheduler.CosineAnnealingLR(optimiser, left)
    elif recipe.schedule == "step":
        then = lr_scheduler.MultiStepLR(optimiser, [-(-left // 2), -(-left * 3 // 4)])
    else:
        then = lr_scheduler.ConstantLR(optimiser, factor=1.0)
    if not rising:
        return then
    rise = lr_scheduler.LinearLR(optimiser, start_factor=1 / rising, total_iters=rising - 1 or 1)
    return lr_scheduler.SequentialLR(optimiser, [rise, then], [rising])


def forward(network: nn.Module, images: Tensor, recipe: Recipe) -> Tensor:
    """Logits for a training step: float32, computed in the recipe's precision."""
    with recipe.autocast(images):
        return network(images).float()


_HELD = 1 << 27
"""Bytes of answers of one kind that stay in memory; more go to the system's temporary folder."""


@torch.no_grad()
def answer(
    network: nn.Module, batches: Iterable[Tensor], question: Callable[[Tensor], tuple[Tensor, ...]], dim: int = 0
) -> list[Tensor]:
    """Put every batch to the network in eval mode and float32; the answers, each joined along ``dim``, on the CPU."""
    network.eval()
    files, parts = list[SpooledTemporaryFile](), list[Tensor]()
    for images in batches:
        parts = [part.float().cpu().movedim(dim, 0).contiguous() for part in question(images)]
        files = files or [SpooledTemporaryFile(_HELD) for _ in parts]  # noqa: SIM115
        for file, part in zip(files, parts, strict=True):
            try:
                file.write(part.numpy().data)
            except OSError as error:
                told = f"{gettempdir()} has no room for what a network answers on a large pool ({error})"
                raise OSError(f"{told}: set TMPDIR to a folder on a larger disk.") from error
    network.train()
    return [_joined(*each).movedim(0, dim).contiguous() for each in zip(files, parts, strict=True)]


def _joined(file: SpooledTemporaryFile, like: Tensor) -> Tensor:
    """All rows in the file, mapped if it lies on the disk."""
    with file:
        file.flush()
        shape = file.tell() // (4 * like.shape[1:].numel() or 1), *like.shape[1:]
        if file.tell() > _HELD:
            return torch.from_numpy(np.memmap(file, np.float32, "r+", shape=shape))  # type: ignore[call-overload]
        rows = np.empty(shape, dtype=np.float32)
        file.seek(0)
        file.readinto(rows.data)
    return torch.from_numpy(rows)
