"""Canaries: pictures with marks in name, EXIF and pixels, and the search for these in what crossed or was written."""

import base64
import io
import re
from functools import cache
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import ExifTags, Image

from pslcore.sides import Cloud

SIDE = 8
"""Of the pictures, and of the training pictures: pixels reach the door as they are."""


def canary(path, number, day=None):
    """A picture of noise at ``path``, in which the number's marks stand in name and EXIF: (name, mark, pixels)."""
    name, secret = f"NAME-{number:03}-{number**3:06}", f"EXIF-{number:03}-{number**3:06}"
    pixels = np.random.default_rng(number).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = secret
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = secret
    if day is not None:
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = day
    path = path.parent / path.name.replace("NAME", name)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, exif=exif)
    return name, secret, pixels


@pytest.fixture
def planted():
    """``canary``."""
    return canary


@pytest.fixture
def canaries(tmp_path):
    """40 pictures of noise, every second in ``private``, with a canary in name and EXIF; path to (marks, pixels)."""
    found = {}
    for number in range(40):
        folder = "private" if number % 2 else "shared"
        marks = canary(tmp_path / "noise" / folder / "NAME.png", number)
        found[f"{folder}/{marks[0]}.png"] = marks
    return found


@pytest.fixture
def crossed(monkeypatch):
    """The bytes of all that goes through the door from here on, as they go."""
    seen, upload = [], Cloud.upload

    def spy(self, indices, images, labels=None):
        seen.append(np.asarray(images).tobytes() + np.asarray(indices).tobytes() + np.asarray(labels).tobytes())
        upload(self, indices, images, labels)

    monkeypatch.setattr(Cloud, "upload", spy)
    return seen


@cache
def unquoted(haystack):
    """As a reader of addresses sees it."""
    return unquote(haystack.decode("latin-1"))


def _traces(canary, haystack):
    """What of a picture is found in some bytes: its name, its EXIF, any row of its pixels, its thumbnail."""
    name, secret, pixels = canary
    found = {"name"} if name.encode() in haystack or name in unquoted(haystack) else set()
    found |= {"exif"} if secret.encode() in haystack or secret.encode("utf-16-le") in haystack else set()
    rows = [pixels[row].tobytes() for row in range(SIDE)]  # 24 bytes each: no accident
    rows += [pixels[row, :, channel].tobytes() for row in range(SIDE) for channel in range(3)]
    found |= {"pixels"} if any(row in haystack for row in rows) else set()
    for coded in re.findall(rb"base64,([A-Za-z0-9+/=]+)", haystack):
        shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(coded))).convert("L"), float)
        if shown.shape == (SIDE, SIDE):
            truth = np.asarray(Image.fromarray(pixels).convert("L"), float)
            found |= {"thumbnail"} if np.corrcoef(shown.ravel(), truth.ravel())[0, 1] > 0.7 else set()
    return found


@pytest.fixture
def traces():
    """``traces(canary, bytes)``: what of a picture is found there."""
    return _traces
