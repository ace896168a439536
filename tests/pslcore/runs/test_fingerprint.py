"""The fingerprint of the code: which files decide a run's numbers, and that nothing else of a file counts."""

import ast
import importlib
import inspect
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from pslcore import federated, models, runs, strategies
from pslcore.federated import protocol as federation
from pslcore.runs import protocol, records

PACKAGE = Path(runs.__file__).parents[1]
DECIDING = {PACKAGE / f"{name}.py" for name in protocol.DECIDES.split()}
DECIDING |= {Path(federation.__file__).with_name(f"{name}.py") for name in federation.DECIDES.split()}
DECIDING |= set().union(*map(models.sources, models.names()), *map(strategies.sources, strategies.names()))

# What deciding files may import beside each other, and why no number depends on it.
EXCEPTIONS = {
    "data/__init__.py": "the contents of a data set are hashed themselves",
    "data/arrays.py": "types",
    "plugins.py": "names; what a package gives is in the fingerprint by itself",
    "runs/__init__.py": "hands out",
    "runs/records.py": "writes what is there",
    "runs/schema.py": "checks what is read",
    "runs/shelf.py": "keeps what is there, bit for bit",
    "strategies/__init__.py": "a table of names",
}


def imports():
    """(file, name, module that it comes from, file of that module) of what deciding files import from us."""
    for file in sorted(DECIDING):
        for node in ast.walk(ast.parse(file.read_text())):
            assert not isinstance(node, ast.Import) or not any(name.name.startswith("psl") for name in node.names), file
            if not isinstance(node, ast.ImportFrom) or not (node.module or ".").startswith("psl"):
                continue
            for name in (alias.name for alias in node.names):
                module = importlib.import_module(node.module)
                if not hasattr(module, name):
                    module = importlib.import_module(f"{node.module}.{name}")
                thing = getattr(module, name, module)
                if inspect.ismodule(thing):
                    module = thing
                elif str(getattr(thing, "__module__", "")).startswith("psl"):
                    module = sys.modules[thing.__module__]
                yield file, name, module, Path(module.__file__)


def test_what_a_deciding_file_imports_decides_too_or_is_an_exception():
    found = {origin for _, _, _, origin in imports()} - DECIDING
    assert found == {PACKAGE / name for name in EXCEPTIONS}


def test_an_imported_name_says_where_it_comes_from():
    """The fingerprint does not see the module: no two functions or classes that are imported have one name."""
    meanings = defaultdict(set)
    for _, name, module, _ in imports():
        if inspect.isroutine(getattr(module, name, None)) or inspect.isclass(getattr(module, name, None)):
            meanings[name].add(module.__name__)
    twice = {name: modules for name, modules in meanings.items() if len(modules) > 1}
    assert twice == {"resolve": {runs.resolve.__module__, federated.resolve.__module__}}


@pytest.fixture
def fingerprint(tmp_path):
    def of(*texts, names="abc"):
        files = [tmp_path / f"{name}.py" for name in names[: len(texts)]]
        for file, text in zip(files, texts, strict=True):
            file.write_text(text)
        return records.source_fingerprint(files)

    return of


HERE = "import math\nfrom pslcore.data import load, names as known\n\ndef f():\n    from pslcore.runs import run\n"


def test_a_file_may_move_and_so_may_what_it_imports(fingerprint):
    before = fingerprint(HERE, "x = 1")
    assert fingerprint("x = 1", HERE, names="zq") == before
    assert (
        fingerprint(HERE.replace("pslcore.data", "psllab.extend").replace("pslcore.runs", "psllab"), "x = 1") == before
    )
    split = HERE.replace("import load, names as known", "import names as known\nfrom psllab.extend import load")
    assert fingerprint(split, "x = 1") == before


@pytest.mark.parametrize(
    ("old", "new"),
    [("import load", "import look"), ("names as known", "names as here"), ("import math", "import cmath"),
     ("import run", "import runs"), ("pslcore.data", "numpy"), ("def f", "def g")],
)  # fmt: skip
def test_what_is_imported_counts(fingerprint, old, new):
    assert old in HERE
    assert fingerprint(HERE, "x = 1") != fingerprint(HERE.replace(old, new), "x = 1")
    assert fingerprint(HERE, "x = 1") != fingerprint(HERE, "x = 1", "x = 1")
