"""What all tests share: quick settings, tiny data sets and albums with something to learn in them."""

import os
from itertools import count
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from hypothesis import settings
from PIL import Image

from pslcore.runs import Config
from psllab.album import Album
from psllab.grid import Cell, Results

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


def pytest_collection_modifyitems(items):
    """The pipeline first: begun last, its minutes would have the other workers wait."""
    items.sort(key=lambda item: item.get_closest_marker("pipeline") is None)


_HOMES = count()

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


@pytest.fixture(scope="session", autouse=True)
def no_waiting_for_the_disk():
    """No test takes the power away, and a process that is killed loses nothing that was written."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)
        yield


@pytest.fixture(autouse=True)
def own_data_home(monkeypatch, tmp_path_factory):
    """No test sees the albums of this machine, or those of another test."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path_factory.getbasetemp() / f"data-home-{next(_HOMES)}"))


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


@pytest.fixture
def executed(tmp_path, monkeypatch):
    """``executed("album", folder=...)``: that notebook as papermill runs it in ``tmp_path``, with its outputs."""
    top = Path(__file__).parents[1]

    def execute(name, **given):
        from papermill import execute_notebook  # takes seconds, and few tests need it

        monkeypatch.setenv("PYTHONPATH", str(top))
        out = tmp_path / f"{name}.ipynb"
        return execute_notebook(top / f"notebooks/{name}.ipynb", out, given, cwd=tmp_path, progress_bar=False)

    return execute


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


# Pages

EVIL = """</script><script>alert("1")</script> <b>5 < 6 & 'so'</b> {{ 7 * 7 }} %{x}"""
HOSTILE = {
    "tags": EVIL,
    "long": "never-ends" * 500,
    "right to left": "\u202eשלום עולם \u2067مرحبا بالعالم",
    "quotes": "\"'`&quot;&lt;&#60;\\",
}
"""What a person may call a class, a curve, a data set."""


def claim_row(number: int, experiment: str, verdict: str, **more) -> dict:
    """A row as ``verdicts.judge`` gives it."""
    return {
        "id": f"claim{number}", "experiment": experiment, "claim": f"Claim {number} & more.", "source": "section 4",
        "paper": f"{number} points", "ours": f"{number}.5 ± 0.5", "seeds": 3, "scale": "quick", "data": "digits",
        "hardware": "Abacus", "verdict": verdict, "basis": "",
        "reason": f"because {number}", "stale": 0, "forecast": "",
        "more_seeds": None, "core_minutes": None, "kind": "lead", "curves": [], "unit": "points",
        "paper_value": None, "region": [0.0, None], "comparisons": [],
    } | more  # fmt: skip


def comparison(name: str, estimate: float | None, half: float | None = None, seeds: int = 3, **more) -> dict:
    """One comparison of a row."""
    low, high = (None, None) if half is None else (estimate - half, estimate + half)
    verdict = "not run" if estimate is None else "inconclusive"
    return {"name": name, "seeds": seeds if estimate is not None else 0, "estimate": estimate, "low": low, "high": high,
            "judged": estimate is not None, "verdict": verdict} | more  # fmt: skip


@pytest.fixture(scope="session")
def row():
    """``row(number, experiment, verdict, ...)``: a row as ``verdicts.judge`` gives it."""
    return claim_row


@pytest.fixture(scope="session")
def compared():
    """``compared(name, estimate, half, ...)``: one comparison of a row."""
    return comparison


@pytest.fixture(scope="session")
def hostile() -> dict[str, str]:
    """Names with tags, quotes, 5,000 characters, text from right to left."""
    return HOSTILE


def results_of(labels, seeds=2, name="made-up", note="Drawn by hand.", budgets=3) -> Results:
    """Finished runs of a made-up experiment ``fig3a``: a curve a label, a little higher with every seed."""
    runs = []
    for place, label in enumerate(labels):
        for seed in range(seeds):
            config = Config.of(
                {"dataset": "made-up", "method": "psl", "seed": seed, "teacher": "resnet8", "protected_fraction": 0.75,
                 "initial": 10, "budget": 4, "final": 6 + 4 * budgets, "options": {"margin": 0.01 * (place + 1)}}
            )  # fmt: skip
            cycles = [
                {"labelled": 10 + 4 * cycle, "metric": 0.3 + 0.1 * cycle + 0.013 * place * cycle + 0.01 * seed * place,
                 "picked": list(range(4 * cycle, 4 * cycle + 4)) if cycle < budgets - 1 else [],
                 "unlabelled_seen": 0, "crossed": {}, "seconds": {"train": 1.5, "pick": 0.25}, "memory": 2**28}
                for cycle in range(budgets)
            ]  # fmt: skip
            record = {
                "config": config.settings(), "key": config.key, "pools": "0" * 64, "metric": "accuracy",
                "data": {"name": name, "fingerprint": "0" * 16, "note": note, "train": 200, "test": 50, "classes": 4},
                "source": "0" * 16, "precision": "float32", "versions": {"torch": "9.9"}, "digest": "0" * 64,
                "hardware": {"device": "cpu", "processor": "Abacus", "cores": 2}, "cycles": cycles,
            }  # fmt: skip
            runs.append((Cell(label, config), record))
    return Results("fig3a", "quick", runs)


@pytest.fixture(scope="session")
def results():
    """``results(labels, seeds=2)``: made-up finished runs."""
    return results_of


@pytest.fixture(scope="session")
def hostile_page(hostile) -> str:
    """A page whose every text is one that nobody should call anything."""
    from psllab.analysis import figures
    from psllab.analysis.exhibit import Exhibit
    from psllab.report import page

    found = results_of([*hostile.values(), "Random"], name=hostile["tags"], note=" ".join(hostile.values()))
    note = figures.provenance(found)
    exhibit = Exhibit("fig3a", f"Figure 3a: {EVIL}", hostile["long"], note, "notebooks/comparison.ipynb", 1.0)
    exhibit.show(figures.budget_curves(found)).show(figures.win_matrix(found)).show(figures.privacy(found))
    exhibit.tabulate(EVIL, figures.summary(found)).tabulate(
        "names", pd.DataFrame({name: [name] for name in hostile.values()})
    )
    rows = [
        claim_row(
            number, "fig3a", verdict, claim=name, ours=name, paper=name[:60], reason=name, data=name, hardware=name,
            curves=[["fig3a", name]],
            comparisons=[comparison(name, 1.0, 0.5), comparison(f"{name} – Random", -1.0, 0.5)],
        )
        for number, (name, verdict) in enumerate(zip(
            hostile.values(), ["supported", "contradicted", "inconclusive", "not run"], strict=True
        ))
    ]  # fmt: skip
    counts = {"supported": 1, "contradicted": 1, "no relevant difference": 0, "inconclusive": 1, "not run": 1}
    return page.page([exhibit], "quick <scale>", rows, counts, "* **One** rule.", {}, "<p>Other.</p>", [found], EVIL)


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Path:
    """A folder with the 12 records of a small experiment, ``fig`` at ``little``, its params, and the table of them."""
    from psllab import grid  # with plotly, which few tests need
    from psllab.benchmark import published

    folder = tmp_path_factory.mktemp("made")
    base = {"dataset": "digits", "teacher": "resnet8"}
    base |= {"recipe": {"epochs": 2, "batch_size": 16, "lr": 0.05, "padding": 1, "flip": False}}
    fig = {"config": {"initial": 20, "budget": 10, "final": 40}, "seeds": 4, "ceiling": True,
           "methods": {"Random": {"method": "random"}, "Entropy": {"method": "entropy"}}}  # fmt: skip
    content = {"scales": {"little": {"base": base, "fig": fig, "looks": [2, 4]}, "none": {"base": base, "fig": fig}}}
    (folder / "params.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    grid.run("fig", "little", folder / "params.yaml", folder, folder / "outputs", jobs=1, device="cpu")
    told = published.write(["little", "none"], folder / "params.yaml", folder / "outputs", folder / "table.json.xz")
    assert told == {"fig at little": 12}
    return folder
