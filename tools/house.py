"""Draw ``docs/house.svg`` from the imports of the package: which wing stands on which (``make house``).

``FLOORS`` is the plan, from the ground up; the tests hold the package to it, and this draws what the files really do.
Wings stand in one column. Each wing that others use has a lane of its own on the right: it begins at the highest wing
that uses it, has a dot where one joins, and ends in an arrow at the wing. So every arrow goes down.
"""

import ast
from collections import defaultdict
from functools import cache
from html import escape
from pathlib import Path
from textwrap import wrap

TOP = Path(__file__).parents[1]
PACKAGE = TOP / "pslcore"
PICTURE = TOP / "docs" / "house.svg"

FLOORS: list[dict[str, str]] = [
    {
        "streams": "randomness by name",
        "settings": "what settings share: checks, and one sentence",
        "vision": "the one door to torchvision",
        "plugins": "somebody's own file, by its path",
        "packages": "what installed packages add, by entry points",
        "completion": "what a shell completes",
        "beginning": "a file to begin with",
        "losses": "the equations",
    },
    {"recipe": "how any network learns", "models": "networks by name", "data": "data sets and batches"},
    {"sides": "client and cloud, the door between them, pools and oracle"},
    {"strategies": "one file a method"},
    {"runs": "one run: settings, protocol, cycle, record"},
    {
        "federated": "several clients, one server",
        "album": "one's own pictures, labelled by people",
    },
    {
        "campaign": "many runs; a change proven to alter no record",
        "hands_on": "what a person clicks",
    },
    {"evidence": "figures, tables, claims, the page"},
    {"__main__": "the commands"},
]
"""A wing imports from itself and from floors below, and from nowhere else."""

WIDTH, BOX, LANE, MARGIN = 900, 470, 20, 34
FONT = "font-family=\"system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif\""
LINE, INK, FAINT, FILL = "#6e7781", "#1f2933", "#52606d", "#eef2f6"
COLOURS = ["#0072b2", "#c2410c", "#158466", "#a2559c", "#8a6d00", "#3b6ea5"]  # seen on white and on near-black


def floor(wing: str) -> int:
    """The floor of a wing, 1 on the ground."""
    (number,) = (number for number, wings in enumerate(FLOORS, 1) if wing in wings)
    return number


def files(package: Path = PACKAGE) -> dict[str, Path]:
    """The modules of a package by their dotted names; a folder goes by its own name, as python has it."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def wing(module: str) -> str:
    """The wing of a module; the empty name for the package itself."""
    return [*module.split("."), ""][1]


@cache
def imported(source: str) -> list[tuple[str, str]]:
    """(module, name) of all that a source imports, wherever in it; the name is empty for ``import module``."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found += [("." * node.level + (node.module or ""), alias.name) for alias in node.names]
    return found


def arrows(package: Path = PACKAGE) -> dict[str, set[str]]:
    """Module → the modules of the package that it imports from."""
    modules = files(package)
    found: dict[str, set[str]] = {name: set() for name in modules}
    for name, path in modules.items():
        for module, what in imported(path.read_text()):
            target = f"{module}.{what}" if f"{module}.{what}" in modules else module
            if target in modules and target not in (name, package.name):
                found[name].add(target)
    return found


def between_wings(found: dict[str, set[str]]) -> dict[str, set[str]]:
    """The same between wings: wing → the other wings that it imports from."""
    wings: dict[str, set[str]] = defaultdict(set)
    for module, targets in found.items():
        wings[wing(module)] |= {wing(target) for target in targets} - {wing(module), ""}
    return {name: targets for name, targets in wings.items() if name}


def drawn(package: Path = PACKAGE) -> str:
    """The picture as SVG."""
    uses = between_wings(arrows(package))
    order = [(number, name) for number in range(len(FLOORS), 0, -1) for name in reversed(FLOORS[number - 1])]
    order = [(number, name) for number, name in order if name in uses]
    used = [name for _, name in order if any(name in targets for targets in uses.values())]
    rows, y, lines = {}, 16, {}
    for place, (number, name) in enumerate(order):
        inside = [module.split(".")[2] for module in files(package) if module.startswith(f"{package.name}.{name}.")]
        lines[name] = wrap(" ".join(inside), 60, break_long_words=False)
        height = 30 + 17 * len(lines[name]) + (5 if inside else 0)
        rows[name] = (y, height)
        below = order[place + 1][0] if place + 1 < len(order) else number
        y += height + (14 if below != number else 5)
    lane = {name: MARGIN + BOX + 30 + LANE * place for place, name in enumerate(used)}
    colour = {name: COLOURS[place % len(COLOURS)] for place, name in enumerate(used)}
    right = MARGIN + BOX

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + 2}" role="img" {FONT}>',
        "<title>The wings of pslcore, floor by floor; a dot is an import, and every arrow goes down</title>",
    ]
    for name in used:  # the lanes, below everything
        top = min(rows[user][0] + rows[user][1] - 10 for user in uses if name in uses[user])
        end, x = rows[name][0] + 10, lane[name]
        parts.append(
            f'<path d="M{x} {top}V{end - 6}q0 6 -6 6H{right + 8}" fill="none" stroke="{colour[name]}" '
            f'stroke-width="1.6"/><path d="M{right + 1} {end}l9 -4.5v9z" fill="{colour[name]}"/>'
        )
    for _, name in order:
        out = rows[name][0] + rows[name][1] - 10
        if uses[name]:
            last = max(lane[target] for target in uses[name])
            parts.append(f'<path d="M{right} {out}H{last}" stroke="{LINE}" stroke-width="1" stroke-dasharray="1 3"/>')
        for target in used:
            if target in uses[name]:
                parts.append(
                    f'<circle cx="{lane[target]}" cy="{out}" r="4" fill="{colour[target]}">'
                    f"<title>{escape(name)} uses {escape(target)}</title></circle>"
                )
    for number in range(1, len(FLOORS) + 1):
        stories = [rows[name] for level, name in order if level == number]
        if stories:
            top, bottom = stories[0][0], stories[-1][0] + stories[-1][1]
            parts.append(f'<path d="M{MARGIN - 8} {top}V{bottom}" stroke="{LINE}" stroke-width="2"/>')
            parts.append(
                f'<text x="{MARGIN - 14}" y="{(top + bottom) / 2 + 5:g}" text-anchor="end" font-size="15" '
                f'fill="{LINE}">{number}</text>'
            )
    for number, name in order:
        top, height = rows[name]
        title = f"{name}/" if (package / name).is_dir() else f"{name}.py"
        about = escape(FLOORS[number - 1][name])
        parts.append(
            f'<rect x="{MARGIN}" y="{top}" width="{BOX}" height="{height}" rx="5" fill="{FILL}" stroke="{LINE}"/>'
            f'<text x="{MARGIN + 10}" y="{top + 20}" font-size="14" fill="{INK}">'
            f'<tspan font-weight="600">{title}</tspan><tspan dx="10" font-size="12.5">{about}</tspan></text>'
        )
        for place, line in enumerate(lines[name]):
            told, below = " · ".join(line.split()), top + 40 + 17 * place
            parts.append(f'<text x="{MARGIN + 10}" y="{below}" font-size="12.5" fill="{FAINT}">{told}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def main() -> None:
    PICTURE.write_text(drawn())


if __name__ == "__main__":
    main()
