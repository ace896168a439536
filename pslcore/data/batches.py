"""Batches without a DataLoader: images stay resident as uint8, one gather crops and flips, one line normalises.

A batch is planned (which images, which crops) before anybody touches a pixel. Teacher and students look up the same
plan in their own stores, so they see the very same augmented batch without an image crossing between them.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample, layer_norm, pad

from pslcore.data.arrays import Bytes, Indices
from pslcore.losses import VOID

_AT_ONCE, _PIXELS, _CACHED = 512, 512 * 32 * 32, 32 * 32 * 32
"""Images, and pixels, that are scored together: on a processor as many as its cache takes; and the logits of a large
pool, or of large images, are never all held."""


@dataclass(frozen=True)
class Plan:
    """One batch: dataset ``indices`` [B]; crop offsets ``top``, ``left`` [B]; ``mirrored`` [B], left to right.

    With zoom also the factor ``zoom`` [B] and ``shift`` [2, B], from -1 to 1: where in the room that an enlarged
    image leaves (or that a reduced one has) the crop lies, down and across.
    """

    indices: Tensor
    top: Tensor
    left: Tensor
    mirrored: Tensor
    zoom: Tensor | None = None
    shift: Tensor | None = None

    def __len__(self) -> int:
        return len(self.indices)


def plans(
    indices: Indices, batch_size: int, padding: int, flip: bool, generator: torch.Generator, zoom: float = 1.0
) -> Iterator[Plan]:
    """One epoch: every image once, in random order, each with its random crop, flip and zoom.

    The batches are as equal in size as they can be, none larger than ``batch_size``; so from ``batch_size`` 3 on no
    batch of a single image is ever left over, which batch norm could not train on.
    """
    order = torch.as_tensor(indices)[torch.randperm(len(indices), generator=generator)]
    for part in order.tensor_split(-(-len(order) // batch_size)):
        yield _augmented(part, padding, flip, generator, zoom)


class Endless:
    """Batches of any size from ``indices``, which are gone through in random order again and again."""

    def __init__(self, indices: Indices, padding: int, flip: bool, generator: torch.Generator, zoom: float = 1.0):
        self._indices = torch.as_tensor(indices)
        self._padding, self._flip, self._generator, self._zoom = padding, flip, generator, zoom
        self._queue = self._indices[:0]

    def draw(self, size: int) -> Plan | None:
        """The next batch; no larger than there are images, and none where there are fewer than two."""
        size = min(size, len(self._indices))
        if size < 2:
            return None
        if len(self._queue) < size:
            order = torch.randperm(len(self._indices), generator=self._generator)
            self._queue = torch.cat([self._queue, self._indices[order]])
        taken, self._queue = self._queue[:size], self._queue[size:]
        return _augmented(taken, self._padding, self._flip, self._generator, self._zoom)


def _augmented(indices: Tensor, padding: int, flip: bool, generator: torch.Generator, zoom: float) -> Plan:
    n = len(indices)
    top, left = torch.randint(2 * padding + 1, (2, n), generator=generator)
    mirrored = torch.rand(n, generator=generator) < (0.5 if flip else 0.0)
    if zoom == 1:
        return Plan(indices, top, left, mirrored)
    factor, *shift = 2 * torch.rand(3, n, generator=generator) - 1
    return Plan(indices, top, left, mirrored, zoom**factor, torch.stack(shift))


class ImageStore:
    """uint8 images that one side holds, with the labels it knows, found by their dataset index.

    Parameters
    ----------
    n : int
        Size of the training set that the indices refer to.
    padding : int
        Pixels of border that ``batch`` may crop into: black for images, void for pixel labels.
    device : torch.device
        Where the images stay and the batches are made.
    """

    def __init__(self, n: int, padding: int, device: torch.device):
        self.padding, self.device = padding, device
        self._row = torch.full((n,), -1, dtype=torch.int64)
        self._label_row = torch.full((n,), -1, dtype=torch.int64)
        self._labels: Tensor | None = None  # [rows] int64 or [rows, H + 2 padding, W + 2 padding] uint8
        self._pixels: Tensor | None = None  # [rows, H + 2 padding, W + 2 padding, C]
        self._lent: Bytes | None = None  # [n, C, H, W]
        self._size: tuple[int, ...] = (1, 1)

    def add(self, indices: Indices, images: Bytes) -> None:
        """Keep images (uint8, [B, C, H, W]) under their dataset indices."""
        if len(indices) == 0:
            return
        pixels, self._size = self._padded(images), images.shape[2:]
        held = 0 if self._pixels is None else len(self._pixels)
        self._row[torch.as_tensor(indices)] = torch.arange(held, held + len(indices))
        self._pixels = pixels if self._pixels is None else torch.cat([self._pixels, pixels])

    def lend(self, images: Bytes) -> None:
        """Look all images of the training set up in an array on the disk (uint8, [n, C, H, W]), batch by batch."""
        self._lent, self._size = images, images.shape[2:]
        self._row = torch.arange(len(images))

    def _padded(self, images: Bytes) -> Tensor:
        p = self.padding
        pixels = torch.as_tensor(np.array(images)).to(self.device).permute(0, 2, 3, 1)
        return pad(pixels, (0, 0, p, p, p, p)).contiguous()

    def tell(self, indices: Indices, labels: Indices) -> None:
        """Learn the labels (int64, [B] or [B, H, W]) of some images."""
        told = torch.tensor(labels).to(self.device)
        if told.ndim == 3:
            told = pad(told, (self.padding,) * 4, value=VOID).to(torch.uint8)
        known = 0 if self._labels is None else len(self._labels)
        self._label_row[torch.as_tensor(indices)] = torch.arange(known, known + len(indices))
        self._labels = told if self._labels is None else torch.cat([self._labels, told])

    def batch(self, plan: Plan) -> Tensor:
        """The planned crops, float32 [B, C, H, W], channels last in memory."""
        pixels, rows = self._held(plan.indices)
        if pixels.shape[1:3] == (1, 1):  # vectors
            return normalise(pixels.flatten(1).index_select(0, rows)[..., None, None])
        if plan.zoom is not None:
            return normalise(self._zoomed(pixels[rows].permute(0, 3, 1, 2).float(), plan, "bilinear"))
        crops = self._crop(pixels.flatten(0, 2), plan, rows, pixels.shape[1:3])
        return normalise(crops.permute(0, 3, 1, 2))

    def labels(self, plan: Plan) -> Tensor:
        """The labels of the planned crops: int64, [B] or [B, H, W]."""
        rows = self._label_row[plan.indices]
        if (rows < 0).any():
            raise ValueError(f"the label of image {int(plan.indices[rows < 0][0])} is not known in this store.")
        rows, known = rows.to(self.device), self._labels
        assert known is not None
        if known.ndim == 1:
            return known[rows]
        if plan.zoom is not None:
            inside = known[rows, None].float() - VOID  # 0 is what lies beyond the border
            return (self._zoomed(inside, plan, "nearest")[:, 0] + VOID).long()
        return self._crop(known.flatten(), plan, rows, known.shape[1:]).long()

    def _crop(self, flat: Tensor, plan: Plan, rows: Tensor, padded: tuple[int, ...]) -> Tensor:
        """One gather from pixels laid out in a row (of values or of channels): crops and mirrors at once."""
        height, width = (extent - 2 * self.padding for extent in padded)
        across = torch.arange(width, device=self.device)
        x = torch.where(plan.mirrored.to(self.device)[:, None], across.flip(0), across)
        x = x + plan.left.to(self.device)[:, None]
        y = torch.arange(height, device=self.device) + plan.top.to(self.device)[:, None]
        places = (rows[:, None] * padded[0] + y)[:, :, None] * padded[1] + x[:, None, :]
        return flat.index_select(0, places.flatten()).view(*places.shape, *flat.shape[1:])

    def _zoomed(self, padded: Tensor, plan: Plan, mode: str) -> Tensor:
        """Crops [B, C, H, W] of padded images at their own zoom; zeros beyond the border."""
        zoom, shifts = plan.zoom, plan.shift
        assert zoom is not None and shifts is not None  # noqa: PT018

        def along(start: Tensor, shift: Tensor, extent: int) -> Tensor:
            """Where to look, [B, extent], from -1 to 1 over the padded image."""
            inner = extent - 2 * self.padding
            window = inner / zoom
            middle = start + inner / 2 + shift * (inner - window).abs() / 2
            steps = (torch.arange(inner) + 0.5) / inner - 0.5
            return (2 * (middle[:, None] + window[:, None] * steps) / extent - 1).to(self.device)

        y, x = (along(s, d, e) for s, d, e in zip((plan.top, plan.left), shifts, padded.shape[2:], strict=True))
        x = torch.where(plan.mirrored.to(self.device)[:, None], x.flip(1), x)
        places = torch.stack([x[:, None, :].expand(-1, y.shape[1], -1), y[:, :, None].expand(-1, -1, x.shape[1])], 3)
        return grid_sample(padded, places, mode, align_corners=False)

    def plain(self, indices: Indices, chunk: int | None = None) -> Iterator[Tensor]:
        """The images as they are (test transforms), float32 [<= chunk, C, H, W], in the order of the indices."""
        p = self.padding
        for part in torch.as_tensor(indices).split(chunk or _at_once(self._size, self.device)):
            pixels, rows = self._held(part)
            inner = pixels[:, p : pixels.shape[1] - p, p : pixels.shape[2] - p]
            yield normalise(inner[rows].permute(0, 3, 1, 2))

    def _held(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Padded pixels, and in which of their rows the images are."""
        rows = self._row[indices]
        if (rows < 0).any():
            raise ValueError(f"image {int(indices[rows < 0][0])} is not in this store: it was never uploaded here.")
        if self._lent is not None:
            return self._padded(self._lent[indices.numpy()]), torch.arange(len(indices), device=self.device)
        assert self._pixels is not None
        return self._pixels, rows.to(self.device)


def _at_once(size: tuple[int, ...], device: torch.device) -> int:
    return max(1, min(_AT_ONCE, (_CACHED if device.type == "cpu" else _PIXELS) // (size[0] * size[1])))


def chunks(images: Bytes, device: torch.device, size: int | None = None) -> Iterator[Tensor]:
    """uint8 images [N, C, H, W] from anywhere as normalised batches on the device, in their order."""
    size = size or _at_once(images.shape[2:], device)
    for start in range(0, len(images), size):
        yield normalise(torch.as_tensor(np.array(images[start : start + size])).to(device))


def normalise(images: Tensor) -> Tensor:
    """uint8 pixels to float32 with mean 0.5 and deviation 0.25 of the full range taken as 0 and 1; vectors to mean 0
    and deviation 1, each by its own (a layer norm).

    *Decision*: constants, the same for every data set. Statistics of the training set would carry what the
    protected images look like into the task learner.
    """
    if images.shape[2:] == (1, 1):
        return layer_norm(images.float().flatten(1), images.shape[1:2])[..., None, None]
    return images.float().sub_(127.5).div_(63.75)
