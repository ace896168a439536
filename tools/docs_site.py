"""Builds the site from the pages, the docstrings and executed notebooks, into ``build/site`` (``make docs-site``).

Pages keep their places, so that their links stay right; a link to code leads into the API reference. The gallery shows
the notebooks that ``make repro`` executed, and the tutorial, which is executed here. A broken link ends the build.
"""

import argparse
import json
import logging
import os
import re
import shutil
import sys
from hashlib import sha256
from pathlib import Path

import house
import nbformat
import stage
from mkdocs.commands.build import build
from mkdocs.config import load_config
from nbconvert import MarkdownExporter
from plotly.offline import get_plotlyjs

TOP = Path(__file__).parents[1]
BUILD = TOP / "build"
PAGES, SITE = BUILD / "pages", BUILD / "site"
LINK = re.compile(r"(!?\[[^\]]*\]\()([^)#\s]+)(?:#L\d+|(#[^)]*))?\)")  # no lines: the site shows code by name
FIGURE = '<div class="figure"><script type="application/json">{}</script></div>'
SHOWS = {
    "Guides": ["install", "hands_on", "your_method", "your_network", "methods", "features", "album", "federated"],
    "Results": ["results", "claims", "performance", "deviations"],
    "Reference": ["settings", "glossary", "house", "pipeline", "batch"],
}
"""The pages of ``docs/`` under each tab; a page that is named by none comes last under Guides."""


def github(text: str) -> str:
    """GitHub's Markdown as Python-Markdown reads it: lists after a blank line, indented by four."""
    lines: list[str] = []
    shift, fence = 0, False
    for line in text.splitlines():
        indent = len(line) - len(line.lstrip())
        if line.lstrip().startswith("```"):
            shift = (4 - indent if indent in (2, 3) else 0) if not fence else shift
            fence = not fence
        elif not fence:
            shift = 4 - indent if indent in (2, 3) else 0
            item = re.match(r"([*-]|\d+\.) ", line)
            if item and lines and lines[-1].strip() and not re.match(r"\s|[*-] |\d+\. ", lines[-1]):
                lines.append("")
        lines.append(" " * shift + line if line.strip() else line)
    return "\n".join(lines) + "\n"


def listed(match: re.Match) -> str:
    """The arrows of a mermaid diagram as a table: the drawing library would come from the network."""
    names = dict(re.findall(r'(\w+)\["(.+?)"\]', match[0]))
    ends: dict[tuple[str, str], list[str]] = {}
    for start, said, end in re.findall(r'([\w.]+) ?(?:-- "(.+?)" ?)?--> ?([\w.]+)', match[0]):
        ends.setdefault((names.get(start, f"`{start}`"), said), []).append(names.get(end, f"`{end}`"))
    rows = [[start, *[said] * bool(said), ", ".join(to)] for (start, said), to in ends.items()]
    head = ["from", *["what"] * (len(rows[0]) - 2), "to"]
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, ["---"] * len(head), *rows))


def target(path: Path) -> str:
    """Where the site shows a file of the repository; what it does not show it carries as a file."""
    name = path.relative_to(TOP).as_posix()
    if name in house.PACKAGES:
        return "reference/index.md"
    if name.split("/")[0] in house.PACKAGES and (path.is_dir() or path.suffix == ".py"):
        module = name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        page = f"reference/{house.room(module)}.md"
        return page if house.room(module) == module else f"{page}#{module}"
    if path.suffix == ".ipynb":
        return "gallery/index.md"
    if path.suffix != ".md" and path.is_file():
        (PAGES / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, PAGES / name)
    return name


def page(path: Path) -> None:
    """Copy a page of the repository, its links turned to where the site has their targets."""

    def turned(match: re.Match) -> str:
        if "://" in match[2] or match[2].startswith("mailto:"):
            return match[0]
        aim = target((path.parent / match[2]).resolve())
        relative = os.path.relpath(PAGES / aim.split("#")[0], (PAGES / path.relative_to(TOP)).parent)
        anchor = f"#{aim.split('#')[1]}" if "#" in aim else match[3] or ""
        return f"{match[1]}{relative}{anchor})"

    text = re.sub(r"```mermaid\n.*?```\n", listed, path.read_text(), flags=re.S)
    place = PAGES / path.relative_to(TOP)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(github(LINK.sub(turned, text)))


def reference() -> list:
    """A page for each part of both packages; the navigation of them."""
    (PAGES / "reference").mkdir()
    index, entries = "# The API\n\nPublic names, from their docstrings.\n", []
    for package in sorted(house.PACKAGES):
        names = sorted(name for name in house.arrows() if name.startswith(f"{package}.") and "._" not in name)
        index += f"\n## {package}\n\n" + "".join(f"* [`{name}`]({name}.md): {house.about(name)}\n" for name in names)
        for name in names:
            (PAGES / f"reference/{name}.md").write_text(f"# {name}\n\n::: {name}\n")
        entries.append({package: [{name: f"reference/{name}.md"} for name in names]})
    (PAGES / "reference/index.md").write_text(index)
    return ["reference/index.md", *entries]


def executed(notebook: Path, parameters: str) -> Path:
    """The tutorial with its outputs, from the last time where neither it nor the packages have changed."""
    code = [path.read_bytes() for name in house.PACKAGES for path in sorted((TOP / name).rglob("*.py"))]
    key = sha256(b"".join([notebook.read_bytes(), parameters.encode(), *code])).hexdigest()[:16]
    out = BUILD / "executed" / f"{notebook.stem}-{key}.ipynb"
    if not out.exists():
        stage.execute(str(notebook), str(out.with_suffix(".part.ipynb")), parameters)
        out.with_suffix(".part.ipynb").rename(out)
    return out


def shown(notebook: Path, name: str) -> str:
    """A page of the gallery; its title."""
    content = nbformat.read(notebook, 4)
    given = any("injected-parameters" in cell.metadata.get("tags", ()) for cell in content.cells)
    content.cells = [cell for cell in content.cells if not given or "parameters" not in cell.metadata.get("tags", ())]
    for cell in content.cells:
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            if figure := data.pop("application/vnd.plotly.v1+json", None):
                data["text/html"] = FIGURE.format(json.dumps(figure).replace("</", "<\\/"))
    names = {"unique_key": name, "output_files_dir": f"{name}_files"}
    text, resources = MarkdownExporter().from_notebook_node(content, names)
    for file, data in resources["outputs"].items():
        (PAGES / "gallery" / file).parent.mkdir(exist_ok=True)
        (PAGES / "gallery" / file).write_bytes(data)
    title = re.search(r"^# (.+)$", text, re.M)[1]
    text = re.sub(r"\]\(\.\./[^)]*?docs/", "](../docs/", text)
    script = '\n\n<script src="../assets/plotly.min.js"></script>\n<script src="../assets/figures.js"></script>\n'
    (PAGES / f"gallery/{name}.md").write_text(github(text) + script * ('class="figure"' in text))
    return title


def gallery(scale: str, parameters: str) -> list:
    """The tutorial, and every notebook that the pipeline has executed at that scale; the navigation of them."""
    (PAGES / "gallery").mkdir()
    title = shown(executed(TOP / "notebooks/tutorial.ipynb", parameters), "tutorial")
    made = sorted((TOP / "outputs" / scale / "notebooks").glob("*.ipynb"))
    entries = [(f"{path.stem}: {shown(path, path.stem)}", path.stem) for path in made]
    staged = re.findall(r"notebooks/(\w+)\.ipynb outputs", (TOP / "dvc.yaml").read_text())
    asking = sorted({path.stem for path in (TOP / "notebooks").glob("*.ipynb")} - {*staged, "tutorial"})
    lines = [
        f"# Gallery\n\nNotebooks with their outputs. Read [{title}](tutorial.md) first.\n",
        f"The stages of the pipeline at the scale `{scale}`, as `make repro` executed them:\n",
        *([f"* [{told}]({name}.md)" for told, name in entries] or ["* none yet: `make repro`, then `make docs-site`"]),
        "\nThese ask a person, in JupyterLab (`make lab`; [what they look like](../docs/hands_on.md)):\n",
        *(f"* `{name}.ipynb`" for name in asking),
    ]
    (PAGES / "gallery/index.md").write_text("\n".join(lines) + "\n")
    return ["gallery/index.md", *({told: f"gallery/{name}.md"} for told, name in entries)]


def built(nav: list) -> None:
    """Pages to HTML; ends with ``mkdocs.exceptions.Abort`` if a link is broken."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    build(load_config(str(TOP / "mkdocs.yml"), nav=nav, strict=True, docs_dir=str(PAGES), site_dir=str(SITE)))
    for html in SITE.rglob("*.html"):  # search from the disk, without the network
        shim = os.path.relpath(SITE / "assets/worker.js", html.parent)
        html.write_text(html.read_text().replace("https://unpkg.com/iframe-worker/shim", shim))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", default="quick", help="the scale whose executed notebooks are shown")
    parser.add_argument("--parameters", default="{}", help="of the tutorial, as YAML")
    options = parser.parse_args(arguments)
    os.chdir(TOP)
    shutil.rmtree(PAGES, ignore_errors=True)
    (PAGES / "assets").mkdir(parents=True)
    (PAGES / "assets/plotly.min.js").write_text(get_plotlyjs())
    for asset in (TOP / "tools/site").iterdir():
        shutil.copy(asset, PAGES / "assets")
    for picture in (TOP / "docs").glob("*.png"):  # of the notebooks too
        target(picture)
    notebooks, api = gallery(options.scale, options.parameters), reference()
    docs = {path.stem: path for path in sorted((TOP / "docs").glob("*.md"))}
    tops = [TOP / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "data/README.md")]
    for path in [*tops, *docs.values()]:
        page(path)
    rest = sorted(docs.keys() - {name for names in SHOWS.values() for name in names})
    tabs = {tab: [f"docs/{name}.md" for name in names + rest * (tab == "Guides")] for tab, names in SHOWS.items()}
    tabs["Guides"] += ["data/README.md"]
    tabs["Reference"] += ["CONTRIBUTING.md", "CHANGELOG.md"]
    tabs = {"Start": "README.md", "Tutorial": "gallery/tutorial.md", "Gallery": notebooks, **tabs, "API": api}
    built([{tab: pages} for tab, pages in tabs.items()])
    print(f"The site: {os.path.relpath(SITE / 'index.html')}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
