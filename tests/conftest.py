"""What all tests share: quick settings, tiny data sets and albums with something to learn in them."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from hypothesis import settings
from PIL import Image

from pslcore.album import Album
from pslcore.runs import Config

settings.register_profile("pslcore", deadline=None, max_examples=50, derandomize=True, database=None)
settings.load_profile("pslcore")
torch.set_num_threads(1)

TINY = {
    "dataset": "tiny", "method": "psl", "teacher": "resnet8", "protected_fraction": 0.75,
    "initial": 8, "budget": 4, "final": 16,
    "recipe": {"epochs": 1, "batch_size": 8, "lr": 0.05, "padding": 1},
}  # fmt: skip
DIGITS = TINY | {
    "dataset": "digits", "protected_fraction": 0.9, "initial": 20, "budget": 10, "final": 40,
    "recipe": {"epochs": 2, "batch_size": 16, "lr": 0.05, "padding": 1, "flip": False},
}  # fmt: skip


def colours(n: int, labels: np.ndarray, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """uint8 images [n, *shape], each the colour of its class (the same for every seed) under noise."""
    palette = np.random.default_rng(0).integers(0, 256, (labels.max() + 1, shape[0], 1, 1))
    noise = np.random.default_rng(seed).normal(0, 40, (n, *shape))
    return np.clip(palette[labels] + noise, 0, 255).astype(np.uint8)


def write_set(folder: Path, shape=(3, 8, 8), train=120, test=40, n_classes=4, seed=1, **arrays) -> Path:
    """A folder with ``train.npz`` and ``test.npz``; ``arrays`` replace those of the training file, None leaves out."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"class {label}" for label in range(n_classes)]
    for split, n, offset, own in (("train", train, 0, arrays), ("test", test, 1, {})):
        labels = np.arange(n) % n_classes
        content = {"images": colours(n, labels, shape, seed + offset), "labels": labels, "names": names} | own
        np.savez(folder / f"{split}.npz", **{key: value for key, value in content.items() if value is not None})
    return folder


def layered(base: dict, changes: dict) -> Config:
    """A config with some settings changed; those of the recipe one by one."""
    recipe = changes.get("recipe", {})
    return Config.of(base | changes | {"recipe": base["recipe"] | recipe if isinstance(recipe, dict) else recipe})


HANG = """
import os, sys, time
settings, root, folder, hang_at, mark = eval(sys.argv[1])
original, calls = os.fsync, []
def fsync(handle):
    calls.append(1)
    if len(calls) == hang_at:
        open(mark, "w").close()
        time.sleep(60)
    original(handle)
os.fsync = fsync
"""


@pytest.fixture(scope="session")
def hanging():
    """Source that begins a process: it unpacks its argument, and hangs in the write number ``hang_at``, to be killed.

    The argument is the ``repr`` of (settings, root, folder, hang_at, mark); the file ``mark`` says that it hangs.
    """
    return HANG


@pytest.fixture(scope="session")
def new_set():
    """``write_set``."""
    return write_set


@pytest.fixture(scope="session")
def root(tmp_path_factory) -> Path:
    """A folder of data sets with ``tiny``: 120 colour images of 8x8 in four classes, and 40 to test."""
    folder = tmp_path_factory.mktemp("data")
    write_set(folder / "tiny")
    return folder


@pytest.fixture(scope="session")
def tiny():
    """``tiny(method="random", ...)``: a config for the data set ``tiny``; a run takes a fraction of a second."""
    return lambda **changes: layered(TINY, changes)


@pytest.fixture(scope="session")
def digits():
    """The same for ``digits``."""
    return lambda **changes: layered(DIGITS, changes)


@pytest.fixture(scope="session")
def settings_of_tiny() -> dict:
    """The settings behind ``tiny``, as a section of ``params.yaml`` holds them."""
    return TINY


# Albums: folders of small pictures with something to learn in them, that train in a moment

LEARNING = {"size": 8, "recipe": {"epochs": 1, "batch_size": 8, "lr": 0.05, "padding": 1}}
COLOURS = ("red", "green", "blue")


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
        wanted = {"classes": COLOURS, "learning": LEARNING, "out": tmp_path / "out"} | options
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
            album.answer(picture, COLOURS[int(picture.path.split("/")[-1][0])], by=by)
        return pictures

    return answer


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Path:
    """A folder with the 12 records of a small experiment, ``fig`` at ``little``, its params, and the table of them."""
    from pslcore import campaign  # with plotly, which few tests need
    from pslcore.evidence import published

    folder = tmp_path_factory.mktemp("made")
    base = {"dataset": "digits", "teacher": "resnet8"}
    base |= {"recipe": {"epochs": 2, "batch_size": 16, "lr": 0.05, "padding": 1, "flip": False}}
    fig = {"config": {"initial": 20, "budget": 10, "final": 40}, "seeds": 4, "ceiling": True,
           "methods": {"Random": {"method": "random"}, "Entropy": {"method": "entropy"}}}  # fmt: skip
    content = {"scales": {"little": {"base": base, "fig": fig, "looks": [2, 4]}, "none": {"base": base, "fig": fig}}}
    (folder / "params.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    campaign.run("fig", "little", folder / "params.yaml", folder, folder / "outputs", jobs=1, device="cpu")
    told = published.write(["little", "none"], folder / "params.yaml", folder / "outputs", folder / "table.json.xz")
    assert told == {"fig at little": 12}
    return folder
