"""Write the parts of both packages and their imports into ``docs/house.md`` (``make house``).

A part (``room``) is a module or package right below one of ours. Contracts in ``pyproject.toml`` say what may import
what (``lint-imports``). The diagram leaves out an arrow where a longer way says the same.
"""

import ast
import re
from functools import cache
from pathlib import Path

import grimp

TOP = Path(__file__).parents[1]
PAGE = TOP / "docs" / "house.md"
PACKAGES = [name for name in ("psllab", "pslcore") if (TOP / name).is_dir()]
DRAWN = re.compile(r"(<!-- drawn -->\n).*(<!-- end -->)", re.S)


@cache
def graph() -> grimp.ImportGraph:
    return grimp.build_graph(*PACKAGES, cache_dir=None)


def room(module: str) -> str:
    return ".".join(module.split(".")[:2])


@cache
def arrows() -> dict[str, set[str]]:
    """The parts that each part imports from."""
    found: dict[str, set[str]] = {room(module): set() for module in graph().modules}
    for module in graph().modules:
        for target in graph().find_modules_directly_imported_by(module):
            found[room(module)].add(room(target))
    return {name: targets - {name} for name, targets in found.items()}


def floor(name: str) -> int:
    """The layer: 1 for what imports from no other part."""
    return 1 + max((floor(target) for target in arrows()[name]), default=0)


def about(name: str) -> str:
    """The first sentence of a part's docstring."""
    place = TOP / name.replace(".", "/")
    file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    text = (ast.get_docstring(ast.parse(file.read_text())) or "").partition("\n\n")[0].replace("\n", " ")
    return re.split(r"(?<=\.)\s(?=[A-Z])", text)[0].replace("``", "`").replace("|", "\\|")


def drawn() -> str:
    """A mermaid diagram and a table of the parts, from the top layer down."""
    rooms = sorted((name for name in arrows() if name not in PACKAGES), key=lambda name: (-floor(name), name))
    lines = ["```mermaid", "flowchart TD"]
    for package in PACKAGES:
        own = [name for name in rooms if name.split(".")[0] == package]
        lines += [f"  subgraph {package}", *(f"    {name}[{name.split('.')[1].strip('_')}]" for name in own), "  end"]
    for name in rooms:
        targets = arrows()[name] & set(rooms)
        longer = {far for target in targets for far in reached(target)}
        lines += [f"  {name} --> {target}" for target in sorted(targets - longer)]
    table = ["| layer | part | what it holds |", "|---|---|---|"]
    table += [f"| {floor(name)} | `{name}` | {about(name)} |" for name in rooms]
    return "\n".join([*lines, "```", "", *table]) + "\n"


@cache
def reached(name: str) -> frozenset[str]:
    return frozenset(arrows()[name]).union(*map(reached, arrows()[name]))


def page() -> str:
    return DRAWN.sub(lambda match: match[1] + drawn() + match[2], PAGE.read_text())


if __name__ == "__main__":
    PAGE.write_text(page())
