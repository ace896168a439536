"""What the documentation shows works as shown."""

import importlib.util
import re
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pslcore import strategies
from pslcore.runs import Config, run
from psllab import cli
from psllab.claims import verdicts

TOP = Path(__file__).parents[1]
DOCS = TOP / "docs"
WORDS = {2: "two", 13: "thirteen"}

SPEC = importlib.util.spec_from_file_location("fill", TOP / "tools/fill.py")
fill = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(fill)


def test_the_worked_example_of_a_new_method_runs(monkeypatch):
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "methods.md").read_text(), re.S)
    scope = {}
    exec(blocks[0], scope)
    name, cls = re.match(r'\s*"(\w+)": (\w+),', blocks[1]).groups()
    monkeypatch.setitem(strategies._STRATEGIES, name, scope[cls])
    monkeypatch.setattr(strategies, "source", lambda _: Path(strategies.__file__))
    recipe = {"epochs": 1, "batch_size": 16, "padding": 1, "flip": False}
    record = run(Config.of({
        "dataset": "digits", "method": name, "teacher": "resnet8", "initial": 20, "budget": 5, "final": 25,
        "recipe": recipe,
    }))  # fmt: skip
    assert len(np.unique(record["cycles"][0]["picked"])) == 5
    assert record["cycles"][0]["unlabelled_seen"] == 110


@pytest.mark.slow
def test_the_pages_say_what_the_records_say():
    """Tables, counts and verdicts; ``make docs`` writes them anew."""
    assert {page.name for page in fill.pages()} == {"README.md", "results.md", "claims.md", "features.md"}
    for page in fill.pages():
        assert fill.filled(page) == page.read_text(), f"{page.name} is not current: run `make docs`"


def test_a_page_keeps_its_own_words(tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    page.write_text("Before.\n<!-- fill: said twice -->\nold\n<!-- /fill -->\nAfter.\n")
    monkeypatch.setitem(fill.FILLS, "said", lambda _, word: f"{word} and {word}\n")
    assert fill.filled(page) == "Before.\n<!-- fill: said twice -->\ntwice and twice\n<!-- /fill -->\nAfter.\n"


@pytest.mark.parametrize(
    ("budgets", "said"),
    [
        ((20, 10, 1060), "20 labels, then 10 a cycle to 1,060; task learner"),
        ((0.1, 0.05, 0.25), "10 % of all labels, then 5 % a cycle to 25 %; task learner"),
        ((4000, 500, 4000), "4,000 labels; task learner"),
    ],
)
def test_budgets_are_images_or_a_part_of_them(results, budgets, said):
    found = results(["PSL"], seeds=1)
    ((cell, record),) = found.runs
    changed = cell.config.but(**dict(zip(("initial", "budget", "final"), budgets, strict=True)))
    found.runs = [(replace(cell, config=changed), record)]
    assert fill.protocol(found).startswith(said)


def test_the_readme_counts_the_claims():
    claims, readme = verdicts.load(), (TOP / "README.md").read_text()
    papers = [claim for claim in claims if claim.source != "ours"]
    assert (
        f"The paper makes {len(papers)} claims that can be checked; we add {WORDS[len(claims) - len(papers)]}" in readme
    )
    assert len(readme.splitlines()) <= 150


def test_the_glossary_is_short_and_reached():
    rows = (DOCS / "glossary.md").read_text().splitlines()[4:]
    assert 0 < len(rows) <= 15
    for page, link in ((TOP / "README.md", "(docs/glossary.md)"), (DOCS / "house.md", "(glossary.md)")):
        assert link in page.read_text()


@pytest.mark.parametrize(
    ("place", "name", "line"),
    [
        ("pslcore/losses.py", "margin_loss", r"return \(margin - gap\)\.clamp_min\(0\)"),
        ("pslcore/strategies/psl.py", "PSL.pick", r"return top\(query, query\.scores\)"),
        ("pslcore/sides/guard.py", "refuse_protected", r"raise ProtectedDataError"),
    ],
)
def test_the_readme_leads_to_the_heart_of_the_code(place, name, line):
    """By one click, to the very line."""
    (said,) = (text for text in (TOP / "README.md").read_text().split("\n* ") if f"`{name}`" in text)
    body = (TOP / place).read_text().split(f"def {name.split('.')[-1]}(")[1].split("\ndef ")[0]
    assert re.search(line, body)
    (number,) = (n for n, text in enumerate((TOP / place).read_text().splitlines(), start=1) if re.search(line, text))
    assert f"]({place}#L{number})" in said


PAGES = [TOP / "README.md", TOP / "CONTRIBUTING.md", TOP / "data/README.md", *sorted(DOCS.glob("*.md"))]
FOREIGN = {
    ".",
    "conda",
    "podman",
    "cd",
    "dvc",
    "echo",
    "export",
    "flower-superlink",
    "flower-supernode",
    "flwr",
    "git",
    "label-studio",
    "openssl",
    "pip",
    "scp",
    "source",
    "ssh-keygen",
}


def blocks(language):
    """Page, number and text of every block of a language that is not marked as not run."""
    for page in PAGES:
        found = re.findall(rf"(<!-- not run.*?-->\n+)?```{language}\n(.*?)```", page.read_text(), re.S)
        yield from ((page, number, text) for number, (marked, text) in enumerate(found) if not marked)


def given(page):
    """What the blocks of a page take for granted."""
    rng = np.random.default_rng(0)
    if page.name == "album.md":
        for name in ("a", "b", "private/c"):
            for number in range(12):
                path = Path(f"Pictures/{name}{number}.png")
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(path)
    if page.parent.name == "data":
        Path("data/album").mkdir(parents=True)
        return {"images": np.zeros((3, 8, 8), np.uint8), "labels": np.arange(3)}
    features, labels = rng.normal(size=(600, 8)).astype(np.float32), np.arange(30) % 3
    return {
        "features": features, "labelled_features": features[:30], "labels": labels,
        "probabilities": np.full((600, 3), 1 / 3, np.float32),
        "weight": np.ones((3, 8), np.float32), "bias": np.zeros(3, np.float32),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("page", "text"), [pytest.param(page, text, id=f"{page.name}-{n}") for page, n, text in blocks("python")]
)
def test_blocks_of_python_run(page, text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    exec(compile(text.replace('"epochs": 30', '"epochs": 1'), page.name, "exec"), {"__name__": "block"} | given(page))


@pytest.mark.parametrize(
    ("page", "text"), [pytest.param(page, text, id=f"{page.name}-{n}") for page, n, text in blocks("sh")]
)
def test_blocks_of_shell_name_what_can_be_called(page, text):
    """Our own commands with arguments that they take, targets of the Makefile, and programs that are known."""
    targets = re.findall(r"^(\w[\w-]*):", (TOP / "Makefile").read_text(), re.M)
    for line in text.replace("\\\n", " ").splitlines():
        words = [word for word in shlex.split(line, comments=True) if not re.fullmatch(r"[A-Z_]+=.*", word)]
        if not words:
            continue
        if words[:3] == ["python", "-m", "pslcore"]:
            words = words[2:]
        if words[0] == "pslcore":
            cli.parser().parse_args(words[1:])
        elif words[0] == "make":
            assert words[1] in targets
        elif words[0] == "python":
            assert (TOP / words[1]).is_file()
        else:
            assert words[0] in FOREIGN
