"""Batches against a reference that pads, slices and flips one image at a time."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pslcore.data import Endless, ImageStore, Plan, chunks, normalise, plans
from pslcore.losses import VOID

CPU = torch.device("cpu")


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def augmented(image, padding, top, left, mirrored, border):
    """The crop [.., H, W] of one padded image or table of labels."""
    height, width = image.shape[-2:]
    around = [(0, 0)] * (image.ndim - 2) + [(padding, padding)] * 2
    crop = np.pad(image, around, constant_values=border)[..., top : top + height, left : left + width]
    return crop[..., ::-1] if mirrored else crop


@st.composite
def cases(draw):
    """A store's contents in some order, in several parts, and a plan for it."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n, channels, padding = draw(st.integers(2, 12)), draw(st.sampled_from([1, 3])), draw(st.integers(0, 4))
    height = draw(st.integers(1, 9))
    width = draw(st.integers(1 + (height == 1), 9))  # one pixel would be a vector
    images = rng.integers(0, 256, (n, channels, height, width)).astype(np.uint8)
    labels = rng.integers(0, 10, (n, height, width) if draw(st.booleans()) else n)
    parts = np.array_split(rng.permutation(n), draw(st.integers(1, 3)))
    size = draw(st.integers(1, 8))
    plan = Plan(
        torch.as_tensor(rng.integers(0, n, size)),
        *torch.as_tensor(rng.integers(0, 2 * padding + 1, (2, size))),
        torch.as_tensor(rng.random(size) < 0.5),
    )
    return images, labels, parts, padding, plan


@given(cases())
def test_a_batch_is_what_padding_slicing_and_flipping_give(case):
    """Images and pixel labels move together, whatever the order in which they came."""
    images, labels, parts, padding, plan = case
    store = ImageStore(len(images), padding, CPU)
    for part in parts:
        store.add(part, images[part])
    for part in reversed(parts):  # labels may come later, and in another order
        store.tell(part, labels[part])
    moves = list(zip(plan.indices.tolist(), plan.top.tolist(), plan.left.tolist(), plan.mirrored.tolist(), strict=True))
    wanted = np.stack([augmented(images[index], padding, *move, border=0) for index, *move in moves])
    batch = store.batch(plan)
    assert batch.dtype == torch.float32
    np.testing.assert_allclose(batch, (wanted.astype(float) - 127.5) / 63.75, rtol=1e-6, atol=1e-6)
    if labels.ndim == 1:
        truth = labels[plan.indices.numpy()]
    else:
        truth = np.stack([augmented(labels[index], padding, *move, border=VOID) for index, *move in moves])
    told = store.labels(plan)
    assert told.dtype == torch.int64
    assert np.array_equal(told, truth)


def zoomed(image, padding, top, left, mirrored, zoom, shift, border):
    """The crop [..., H, W] of one padded image at a zoom: bilinear for an image, the nearest pixel for labels."""
    around = [(0, 0)] * (image.ndim - 2) + [(padding, padding)] * 2
    padded = np.pad(image, around, constant_values=border).astype(float)
    places = []
    for start, move, inner in zip((top, left), shift, image.shape[-2:], strict=True):
        window = inner / zoom
        middle = start + inner / 2 + move * abs(inner - window) / 2
        places.append(middle + window * ((np.arange(inner) + 0.5) / inner - 0.5) - 0.5)
    if mirrored:
        places[1] = places[1][::-1]

    def at(y, x):
        inside = 0 <= y < padded.shape[-2] and 0 <= x < padded.shape[-1]
        return padded[..., y, x] if inside else np.full(padded.shape[:-2], border, dtype=float)

    out = np.empty(image.shape)
    for i, y in enumerate(places[0]):
        for j, x in enumerate(places[1]):
            if border == VOID:
                out[..., i, j] = at(round(y), round(x))
                continue
            y0, x0 = math.floor(y), math.floor(x)
            below, right = y - y0, x - x0
            corners = ((0, 0, (1 - below) * (1 - right)), (0, 1, (1 - below) * right),
                       (1, 0, below * (1 - right)), (1, 1, below * right))  # fmt: skip
            out[..., i, j] = sum(part * at(y0 + dy, x0 + dx) for dy, dx, part in corners)
    return out


@given(cases(), st.floats(1.1, 3), st.integers(0, 2**32))
def test_a_zoomed_batch_is_what_looking_between_the_pixels_gives(case, zoom, seed):
    """Images and pixel labels move together; beyond the border images are black and labels void."""
    images, labels, _, padding, plan = case
    rng = np.random.default_rng(seed)
    factor, shift = zoom ** rng.uniform(-1, 1, len(plan)), rng.uniform(-1, 1, (2, len(plan)))
    plan = Plan(
        plan.indices,
        plan.top,
        plan.left,
        plan.mirrored,
        torch.as_tensor(factor).float(),
        torch.as_tensor(shift).float(),
    )
    store = ImageStore(len(images), padding, CPU)
    store.add(np.arange(len(images)), images)
    store.tell(np.arange(len(images)), labels)
    moves = list(zip(plan.indices.tolist(), plan.top.tolist(), plan.left.tolist(), plan.mirrored.tolist(),
                     plan.zoom.double().tolist(), plan.shift.double().T.tolist(), strict=True))  # fmt: skip
    wanted = np.stack([zoomed(images[index], padding, *move, border=0) for index, *move in moves])
    np.testing.assert_allclose(store.batch(plan) * 63.75 + 127.5, wanted, atol=0.05)
    told = store.labels(plan)
    assert told.dtype == torch.int64
    if labels.ndim == 3:
        truth = np.stack([zoomed(labels[index], padding, *move, border=VOID) for index, *move in moves])
        assert (told.numpy() != truth).mean() < 0.02  # a place half-way between two pixels may round to either


def test_zoom_factors_and_shifts_fill_their_ranges():
    plan = next(plans(np.arange(20_000), 20_000, 1, True, seeded(), zoom=2.0))
    logs = plan.zoom.log2()
    assert -1 <= logs.min() < -0.99
    assert 0.99 < logs.max() <= 1
    assert abs(logs.mean()) < 0.02  # as often reduced as enlarged
    assert plan.shift.shape == (2, 20_000)
    assert plan.shift.abs().max() <= 1
    assert abs(float(plan.shift[0] @ plan.shift[1]) / 20_000) < 0.02
    assert next(plans(np.arange(9), 9, 1, True, seeded())).zoom is None


@given(cases(), st.booleans())
def test_images_looked_up_on_the_disk_are_the_resident_ones(case, zoom):
    images, _, _, padding, plan = case
    if zoom:
        factor = torch.linspace(0.5, 2, len(plan))
        plan = Plan(plan.indices, plan.top, plan.left, plan.mirrored, factor, torch.zeros(2, len(plan)))
    resident, lent = ImageStore(len(images), padding, CPU), ImageStore(len(images), padding, CPU)
    resident.add(np.arange(len(images)), images)
    lent.lend(images)
    assert torch.equal(lent.batch(plan), resident.batch(plan))
    indices = plan.indices.numpy()
    assert torch.equal(torch.cat(list(lent.plain(indices, 2))), torch.cat(list(resident.plain(indices, 2))))


def test_large_images_are_scored_few_at_a_time():
    """So that the logits of all classes at all pixels are held for a few images only."""
    images = np.zeros((5, 3, 128, 128), dtype=np.uint8)
    store = ImageStore(5, 0, CPU)
    store.add(np.arange(5), images)
    assert [len(part) for part in store.plain(np.arange(5))] == [len(part) for part in chunks(images, CPU)] == [2, 2, 1]
    assert [len(part) for part in chunks(np.zeros((600, 1, 8, 8), dtype=np.uint8), CPU)] == [512, 88]


@given(cases(), st.integers(1, 5))
def test_plain_images_are_as_they_came(case, chunk):
    images, _, parts, padding, plan = case
    store = ImageStore(len(images), padding, CPU)
    for part in parts:
        store.add(part, images[part])
    got = list(store.plain(plan.indices.numpy(), chunk))
    wanted = normalise(torch.tensor(images[plan.indices.numpy()]))
    assert torch.equal(torch.cat(got), wanted)
    assert all(len(part) <= chunk for part in got)


@given(st.integers(1, 60), st.integers(1, 20), st.integers(0, 5), st.booleans(), st.integers(0, 1000))
def test_an_epoch_shows_every_image_once_in_even_batches(n, batch_size, padding, flip, seed):
    indices = np.random.default_rng(seed).permutation(1000)[:n]
    epoch = list(plans(indices, batch_size, padding, flip, seeded(seed)))
    sizes = [len(plan) for plan in epoch]
    assert sorted(torch.cat([plan.indices for plan in epoch]).tolist()) == sorted(indices.tolist())
    assert max(sizes) <= batch_size
    assert max(sizes) - min(sizes) <= 1
    assert len(sizes) == -(-n // batch_size)
    assert batch_size < 3 or n == 1 or min(sizes) > 1  # batch norm cannot train on a single image
    for plan in epoch:
        assert plan.top.shape == plan.left.shape == plan.mirrored.shape == plan.indices.shape
        assert min(plan.top.min(), plan.left.min()) >= 0
        assert max(plan.top.max(), plan.left.max()) <= 2 * padding
        assert flip or not plan.mirrored.any()


def test_all_crops_and_flips_are_equally_likely():
    plan = next(plans(np.arange(20_000), 20_000, 1, True, seeded()))
    which = plan.top * 6 + plan.left * 2 + plan.mirrored
    counts = torch.bincount(which, minlength=18).double()
    expected = 20_000 / 18
    assert ((counts - expected) ** 2 / expected).sum() < 40.8  # chi-square with 17 degrees of freedom, p = 0.001


def test_a_generator_decides_the_epoch():
    def first(seed):
        return next(plans(np.arange(50), 50, 4, True, seeded(seed)))

    one, same, other = first(1), first(1), first(2)
    for name in ("indices", "top", "left", "mirrored"):
        assert torch.equal(getattr(one, name), getattr(same, name))
        assert not torch.equal(getattr(one, name), getattr(other, name))
    generator = seeded(1)
    epochs = [next(plans(np.arange(50), 50, 4, True, generator)).indices for _ in range(2)]
    assert not torch.equal(*epochs)


@given(st.integers(2, 12), st.lists(st.integers(2, 30), min_size=1, max_size=8), st.integers(0, 100))
def test_endless_batches_go_through_all_images_again_and_again(n, sizes, seed):
    indices = np.arange(n) * 3
    endless = Endless(indices, 2, True, seeded(seed))
    drawn = [endless.draw(size) for size in sizes]
    assert [len(plan) for plan in drawn] == [min(size, n) for size in sizes]
    everything = torch.cat([plan.indices for plan in drawn]).tolist()
    for start in range(0, len(everything), n):  # round by round
        part = everything[start : start + n]
        assert len(set(part)) == len(part)
        assert set(part) <= set(indices.tolist())


@pytest.mark.parametrize(("n", "size"), [(0, 5), (1, 5), (5, 1), (5, 0)])
def test_no_endless_batch_of_fewer_than_two(n, size):
    assert Endless(np.arange(n), 1, True, seeded()).draw(size) is None


def test_what_a_store_does_not_hold():
    store, plan = ImageStore(9, 1, CPU), next(plans(np.arange(4), 4, 1, True, seeded()))
    for ask in (lambda: store.batch(plan), lambda: list(store.plain(np.array([0])))):
        with pytest.raises(ValueError, match=r"image \d is not in this store: it was never uploaded here"):
            ask()
    store.add(np.empty(0, dtype=np.int64), np.empty((0, 3, 2, 2), dtype=np.uint8))
    with pytest.raises(ValueError, match="is not in this store: it was never uploaded here"):
        store.batch(plan)
    store.add(np.array([0, 1, 2]), np.zeros((3, 3, 2, 2), dtype=np.uint8))
    for ask in (lambda: store.batch(plan), lambda: list(store.plain(np.array([2, 3, 0])))):
        with pytest.raises(ValueError, match="image 3 is not in this store: it was never uploaded here"):
            ask()


def test_labels_that_were_never_told():
    store, plan = ImageStore(9, 1, CPU), next(plans(np.arange(4), 4, 1, True, seeded()))
    store.add(np.arange(9), np.zeros((9, 3, 2, 2), dtype=np.uint8))
    with pytest.raises(ValueError, match="label"):
        store.labels(plan)
    store.tell(np.array([0, 1, 2]), np.array([5, 6, 7]))
    with pytest.raises(ValueError, match="label"):
        store.labels(plan)  # 3 is in it, and must not be given the label of another image


@pytest.mark.parametrize("pixels", [False, True])
@pytest.mark.parametrize("padding", [0, 2])
def test_a_store_keeps_copies(pixels, padding):
    images = np.full((4, 1, 3, 3), 200, dtype=np.uint8)
    labels = np.full((4, 3, 3) if pixels else 4, 7)
    store = ImageStore(4, padding, CPU)
    store.add(np.arange(4), images)
    store.tell(np.arange(4), labels)
    images[:], labels[:] = 0, 0
    still = Plan(torch.arange(4), *torch.full((2, 4), padding), torch.zeros(4, dtype=torch.bool))
    assert (store.batch(still) > 0).all()
    assert (store.labels(still) == 7).all()


def test_chunks_are_the_images_in_their_order():
    images = np.random.default_rng(0).integers(0, 256, (7, 3, 4, 4)).astype(np.uint8)
    got = list(chunks(images, CPU, 3))
    assert [len(part) for part in got] == [3, 3, 1]
    assert torch.equal(torch.cat(got), normalise(torch.tensor(images)))
    assert list(chunks(images[:0], CPU)) == []


def test_normalising_takes_the_same_constants_for_every_data_set():
    pixels = torch.tensor([0, 51, 255], dtype=torch.uint8)
    before = pixels.clone()
    torch.testing.assert_close(normalise(pixels), torch.tensor([-2.0, -1.2, 2.0]))
    assert torch.equal(pixels, before)
