"""Folders of small pictures with something to learn in them, and albums that train in a moment."""

import numpy as np
import pytest
from PIL import Image

from pslcore.hands_on import Album

QUICK = {"size": 8, "recipe": {"epochs": 1, "batch_size": 8, "lr": 0.05, "padding": 1}}
CLASSES = ("red", "green", "blue")


def draw(path, label, seed, side=8, **options):
    """A picture of one colour under noise."""
    noise = np.random.default_rng(seed).normal(0, 40, (side, side, 3))
    pixels = np.clip(noise + np.eye(3)[label] * 120 + 60, 0, 255).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return pixels


@pytest.fixture
def folder(tmp_path):
    """30 pictures, ten of each colour, named ``<label>-<number>.png``."""
    for number in range(30):
        draw(tmp_path / "photos" / f"{number % 3}-{number:02}.png", number % 3, number)
    return tmp_path / "photos"


@pytest.fixture
def opened(folder, tmp_path):
    """``opened(protect=..., ...)``: the album of ``folder``; closed at the end."""
    albums = []

    def open_it(**options):
        wanted = {"classes": CLASSES, "learning": QUICK, "out": tmp_path / "out"} | options
        albums.append(Album(wanted.pop("folder", folder), **wanted))
        return albums[-1]

    yield open_it
    for album in albums:
        album.close()


@pytest.fixture
def painted():
    """``draw``."""
    return draw


@pytest.fixture
def labelled():
    """``labelled(album, n)``: a round answered with the truth, which the files' names tell; gives the pictures."""

    def answer(album, n, by="somebody"):
        pictures = album.next(n)
        for picture in pictures:
            album.answer(picture, CLASSES[int(picture.path.split("/")[-1][0])], by=by)
        return pictures

    return answer
