"""Every path, module, command, option and file that pages and docstrings name exists; nothing but text is read."""

import argparse
import ast
import json
import re
import tomllib
from functools import cache
from pathlib import Path

import pytest

from psllab import cli

TOP = Path(__file__).parents[1]
OURS = ("pslcore", "psllab")
CODE = (*OURS, "tools", "bench")
EXAMPLES = {"mine.py", "folder/mine.py", "a.xmp", "pslcore/strategies/margin.py"}  # files of the reader
FOREIGN = {
    "labels.py",
    "interface.xml",
    "window.tables",
    "event.key",
    "--insecure",
    "--enable-supernode-auth",
}  # Cityscapes, Label Studio, JavaScript, Flower


def _docstrings(text: str) -> str:
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return "\n".join(ast.get_docstring(node) or "" for node in ast.walk(ast.parse(text)) if isinstance(node, kinds))


def _prose(path: Path) -> str:
    text = path.read_text()
    if path.suffix == ".ipynb":
        return "\n".join(
            "".join(cell["source"]) for cell in json.loads(text)["cells"] if cell["cell_type"] == "markdown"
        )
    return _docstrings(text) if path.suffix == ".py" else text


@cache
def texts() -> dict[str, str]:
    """What is said, by the file that says it."""
    pages = [TOP / "README.md", TOP / "CONTRIBUTING.md", TOP / "data/README.md", *(TOP / "docs").glob("*.md")]
    sources = [path for folder in CODE for path in (TOP / folder).rglob("*.py")]
    said = sorted([*pages, *(TOP / "notebooks").glob("*.ipynb"), *sources, *(TOP / "psllab").rglob("*.txt")])
    return {str(path.relative_to(TOP)): _prose(path) for path in said}


@cache
def files() -> set[str]:
    """Our files, each by every end of its path."""
    folders = (*CODE, "docs", "notebooks", "tests", "data", ".ci", ".dvc")
    found = [path for folder in folders for path in (TOP / folder).rglob("*")] + list(TOP.iterdir())
    parts = [path.relative_to(TOP).parts for path in found]
    return {"/".join(each[start:]) for each in parts for start in range(len(each))}


@cache
def groups() -> set[str]:
    """Entry-point groups, which are spelled like modules."""
    declared = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]["entry-points"]
    return {*declared, "pslcore.methods", "pslcore.networks", "pslcore.datasets"}


@cache
def names(path: Path) -> set[str]:
    """What a module or package defines, imports or uses by name."""
    if path.is_dir():
        return {each.stem for each in path.iterdir()} | names(path / "__init__.py")
    found = set[str]()
    for node in ast.walk(ast.parse(path.read_text())):
        found |= {getattr(node, field) for field in ("id", "attr", "arg", "name") if hasattr(node, field)}
        found |= {getattr(node, "asname", None) or ""}
    return found


@cache
def modules() -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for package in OURS:
        for path in (TOP / package).rglob("*"):
            if path.suffix == ".py" or (path / "__init__.py").is_file():
                found.setdefault(path.stem, []).append(path)
    return found


def wrong_files(text: str) -> list[str]:
    ours = r"[\w./-]+\.(?:py|md|ya?ml|ipynb|toml|j2|lock|cff)"
    named = re.findall(rf"`+({ours})`+", text)
    named += re.findall(rf"\b((?:tests/)?(?:{'|'.join(OURS)})/[\w/-]*\w(?:\.\w+)*)", text)
    named += re.findall(r"\bpython ((?:bench|tools)/\w+\.py)", text)
    return [name for name in named if name not in files() | EXAMPLES | FOREIGN]


def wrong_links(text: str, page: str) -> list[str]:
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text)
    return [link for link in links if "://" not in link and not (TOP / page).parent.joinpath(link).exists()]


def wrong_modules(text: str) -> list[str]:
    """``psllab.grid.run`` and the like; as far as modules go, and one name in the last of them."""
    wrong = []
    for whole in re.findall(rf"\b((?:{'|'.join(OURS)})(?:\.[A-Za-z_]\w*)+)", text):
        if whole in groups():
            continue
        package, *rest = whole.split(".")
        at = TOP / package
        while rest and at.is_dir() and ((at / rest[0]).is_dir() or (at / f"{rest[0]}.py").is_file()):
            at = at / rest[0] if (at / rest[0]).is_dir() else at / f"{rest[0]}.py"
            rest = rest[1:]
        if rest and rest[0] not in names(at):
            wrong.append(whole)
    return wrong


def wrong_names(text: str, path: Path) -> list[str]:
    """``module.name`` in a docstring: a module of ours that has the name, or what the file itself uses."""
    wrong = []
    for module, name in re.findall(r"``([a-z]\w*)\.([A-Za-z_]\w*)(?:\([^`]*\))?``", text):
        if module in OURS or f"{module}.{name}" in EXAMPLES | FOREIGN or name in ("json", "html", "npz", "csv", "txt"):
            continue
        where = modules().get(module, [])
        if f"{module}.{name}" not in files() and not (
            any(name in names(each) for each in where) or (not where and module in names(path))
        ):
            wrong.append(f"{module}.{name}")
    return wrong


@cache
def options() -> dict[str, set[str]]:
    """The options of every command."""
    (commands,) = (action for action in cli.parser()._actions if isinstance(action, argparse._SubParsersAction))
    return {name: set(command._option_string_actions) for name, command in commands.choices.items()}


def wrong_commands(text: str) -> list[str]:
    wrong = []
    shown = [*re.findall(r"`+([^`\n]+)`+", text), *re.findall(r"^ *(?:\$ )?((?:python -m )?pslcore .+)$", text, re.M)]
    for line in shown:
        for command, given in re.findall(r"\bpslcore ([a-z][\w-]*)([^#;|]*)", line):
            there = options().get(command)
            bad = there is None or set(re.findall(r"(?<!\S)--[a-z][\w-]*", given)) - there
            wrong += [line] * bool(bad)
        for target in re.findall(r"^make ([a-z]+)", line):
            wrong += [line] * (not re.search(rf"^{target}:", (TOP / "Makefile").read_text(), re.M))
        for script, given in re.findall(r"python ((?:bench|tools)/\w+\.py)(.*)", line):
            known = (TOP / script).read_text() if (TOP / script).is_file() else ""
            wrong += [line] * any(f'"{option}"' not in known for option in re.findall(r"--[a-z][\w-]*", given))
        alone = re.match(r"(--[a-z][\w-]*)", line)
        everywhere = set().union(*options().values()) | FOREIGN
        wrong += [line] * (alone is not None and alone[1] not in everywhere and not _script_has(alone[1]))
    return wrong


@cache
def _script_has(option: str) -> bool:
    scripts = [path for folder in ("bench", "tools") for path in (TOP / folder).glob("*.py")]
    return any(f'"{option}"' in path.read_text() for path in scripts)


def test_what_is_named_exists():
    wrong = {}
    for page, text in texts().items():
        found = [*wrong_files(text), *wrong_modules(text), *wrong_commands(text)]
        found += wrong_names(text, TOP / page) if page.endswith(".py") else wrong_links(text, page)
        if found:
            wrong[page] = found
    assert not wrong, "\n".join(f"{page}: {', '.join(found)}" for page, found in wrong.items())


@pytest.mark.parametrize(
    ("check", "right", "wrong"),
    [
        (wrong_files, "`pslcore/losses.py`, `losses.py`", "`pslcore/loss.py`"),
        (wrong_files, "runs `python bench/heads.py`", "runs `python bench/tails.py`"),
        (wrong_modules, "pslcore.losses.discrepancy", "pslcore.losses.agreement"),
        (wrong_modules, "the group pslcore.methods", "pslcore.crew"),
        (wrong_commands, "`pslcore grid fig3a --minutes 5`", "`pslcore grid fig3a --hours 5`"),
        (wrong_commands, "\npython -m pslcore benchmark mine.py\n", "\npython -m pslcore try mine.py\n"),
        (wrong_commands, "`make check`", "`make cheque`"),
        (wrong_commands, "`--until-settled`", "`--until-tired`"),
        (lambda text: wrong_links(text, "docs/house.md"), "[a](methods.md#x)", "[a](docs/methods.md)"),
        (lambda text: wrong_names(text, TOP / "psllab/cli.py"), "``records.write``", "``campaign.run``"),
    ],
)  # fmt: skip
def test_the_check_sees(check, right, wrong):
    assert not check(right)
    assert check(wrong)
