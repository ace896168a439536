"""An album on features of a frozen network: what is computed when, and what of it crosses."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from psllab.album import Album, Learning, settings
from psllab.album.forecast import forecast
from psllab.album.sampling import typical
from psllab.features import Backbone, backbones

METHODS = ("psl", "random", "entropy", "badge", "alfa_mix")


@pytest.fixture
def net(monkeypatch):
    """A made-up backbone, ``tiny_net``: 192 features; ``seen`` holds the pixels that it was given."""
    calls = SimpleNamespace(seen=[], fail_after=10**6)

    def embed(pixels):
        if len(calls.seen) >= calls.fail_after:
            raise KeyboardInterrupt
        calls.seen.append(pixels.to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy().tobytes())
        return pixels.flatten(1) / 255

    monkeypatch.setitem(backbones._BACKBONES, "tiny_net", lambda: Backbone(embed, 192, "a" * 64, 1.0))
    monkeypatch.setattr(settings, "DEFAULT", "tiny_net@8")
    backbones.backbone.cache_clear()
    yield calls
    backbones.backbone.cache_clear()


def features_of(pixels):
    """As an album keeps them."""
    return backbones.backbone("tiny_net").encode(pixels.transpose(2, 0, 1)[None], 8).tobytes()


def answer(album, n):
    for number, picture in enumerate(album.next(n)):
        album.answer(picture, album.classes[number % 3])
    return album.train()


@pytest.mark.parametrize("method", METHODS)
def test_features_of_protected_or_unanswered_pictures_never_cross(canaries, opened, tmp_path, net, crossed, method):
    album = opened(folder=tmp_path / "noise", protect={"folders": ["private"]}, learning={"method": method})
    assert album.learning.features == "tiny_net@8"
    for _ in range(2):
        answer(album, 8)
    uploaded = {event[0] for each in album._state.uploads for event in each["pictures"]}
    places = b"".join([*crossed, *(path.read_bytes() for path in (tmp_path / "out").iterdir() if path.is_file())])
    for path, (_, _, pixels) in canaries.items():
        vector = features_of(pixels)
        assert (vector in places) == (path in uploaded)
        assert pixels.tobytes() not in places
        if path.startswith("private"):
            assert vector in (b"".join(p.read_bytes() for p in (tmp_path / "out" / "cache").iterdir()))
    assert "up: unlabelled images" not in album.ledger()["crossed"]


def test_no_features_of_what_is_left_out(folder, opened, net, painted):
    hidden = painted(folder / ".Trash-1000" / "a.png", 0, 99)
    painted(folder / "b.png", 0, 98)
    opened(learning=None, protect={"folders": [".Trash-1000"]}).read()
    assert hidden.tobytes() not in net.seen
    assert len(net.seen) == 31


def test_features_are_computed_once_and_anew_for_a_changed_picture(folder, opened, net, painted):
    opened(learning=None).close()
    assert len(net.seen) == 30
    pixels = painted(folder / "0-00.png", 2, 77)
    album = opened(learning=None)
    assert net.seen[30:] == [pixels.tobytes()]
    assert album._index.images([0]).tobytes() == features_of(pixels)


def test_an_extraction_that_was_killed_goes_on(folder, opened, net, monkeypatch):
    monkeypatch.setattr("psllab.album.cache._AT_ONCE", 5)
    net.fail_after = 12
    with pytest.raises(KeyboardInterrupt):
        opened(learning=None)
    net.fail_after = 10**6
    first, _ = len(net.seen), net.seen.clear()
    album = opened(learning=None)
    # A thread of the first try may still end its picture, which is computed again.
    assert len(set(net.seen)) <= 30 - 5 * (first // 5) < 30
    whole = album._index.images(range(30))
    assert len({row.tobytes() for row in whole}) == 30


def test_without_the_extra_it_learns_from_pixels_and_says_what_it_would_gain(folder, opened, labelled, monkeypatch):
    monkeypatch.setattr(settings, "find_spec", lambda name: None)
    recipe = {"epochs": 1, "batch_size": 8, "lr": 0.05, "padding": 1}
    album = opened(learning={"recipe": recipe})
    assert album.learning == Learning.of({"recipe": recipe})
    labelled(album, 6)
    assert "pip install '.[features]'" in str(album.train())


def test_an_album_begun_on_pixels_goes_on_so(folder, opened, labelled, net):
    album = opened()
    labelled(album, 6)
    album.train()
    album.close()
    assert opened(learning=None).learning.features == ""
    assert not net.seen


@pytest.mark.parametrize(
    ("learning", "message"),
    [
        ({"features": "tiny_net"}, "names no features"),
        ({"features": "", "start": "typical"}, "needs features"),
        ({"method": "entropy", "options": {"side": "cloud"}}, "would upload"),
    ],
)
def test_settings_that_cannot_be_are_one_sentence(folder, net, learning, message):
    with pytest.raises(ValueError, match=message) as caught:
        Album(folder, ["a", "b"], learning=learning)
    assert "\n" not in str(caught.value)


def test_the_typical_are_central_and_each_of_another_cluster():
    rng = np.random.default_rng(0)
    centres = 20 * np.eye(4)
    vectors = np.concatenate(
        [centre + rng.normal(0, 1, (n, 4)) for centre, n in zip(centres, (30, 20, 10, 1), strict=True)]
    )
    picked = typical(vectors, 4, 0)
    assert [int(np.abs(centres - vectors[row]).sum(1).argmin()) for row in picked] == [0, 1, 2, 3]
    for row, start, stop in zip(picked[:3], (0, 30, 50), (30, 50, 60), strict=True):
        spread = np.linalg.norm(vectors[start:stop] - vectors[start:stop].mean(0), axis=1)
        assert spread[row - start] < np.median(spread)


def test_the_forecast_falls_with_answers_and_says_when_it_cannot_tell():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 600)
    vectors = rng.normal(0, 1, (600, 64)) + 0.7 * np.eye(64)[labels * 3] * 4
    fair = np.ones(600, bool)
    assert forecast(vectors[:10], labels[:10], fair[:10]) is None
    assert forecast(vectors[:300], labels[:300], np.zeros(300, bool)) is None
    middles = [forecast(vectors[:n], labels[:n], fair[:n], 0.8) for n in (40, 400)]
    assert middles[0][0] > middles[1][0] == 0
    assert all(low <= middle <= high for middle, low, high in middles)
    noise = forecast(vectors[:200], rng.integers(0, 4, 200), fair[:200])
    assert np.isinf(noise[0])
