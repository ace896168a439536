"""The page: one file, ``report.html``, that shows the verdicts and all exhibits, and loads nothing."""

import html
import importlib.metadata
import importlib.util
import os
import re
import subprocess
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import jinja2
import mistune
import yaml
from markupsafe import Markup, escape
from plotly.offline import get_plotlyjs

from pslcore.runs import records
from psllab.analysis import exhibit as report
from psllab.analysis.exhibit import Exhibit
from psllab.claims import answers, forest, summary
from psllab.claims import verdicts as judging
from psllab.grid import Results, archive, experiments, runs_folder
from psllab.report import embedded


def stages(pipeline: str | Path = "dvc.yaml") -> dict[str, str]:
    """Each exhibit and the stage of the pipeline that makes it."""
    found = {}
    for name, stage in yaml.safe_load(Path(pipeline).read_text("utf-8"))["stages"].items():
        for item in stage.get("foreach", ()):
            found[item] = f"{name}@{item}"
        for out in stage.get("outs", ()):
            found[Path(next(iter(out)) if isinstance(out, dict) else out).stem] = name
    return found


def lacking(scale: str, pipeline: str | Path = "dvc.yaml") -> list[str]:
    """The experiments that the pipeline follows and the scale does not have; with any, the scale is run without dvc."""
    followed = [
        name.replace("${item}", item).split(".")[2]
        for stage in yaml.safe_load(Path(pipeline).read_text("utf-8"))["stages"].values()
        for item in stage.get("foreach", [""]) for name in stage.get("do", stage).get("params", ())
        if name.startswith("scales.${scale}.")
    ]  # fmt: skip
    there = {"base", *experiments(scale)}
    return [name for name in dict.fromkeys(followed) if name not in there]


def section(page: str | Path, title: str) -> str:
    """A section of a Markdown file as HTML, without its title.

    Raises
    ------
    ValueError
        If there is no such section.
    """
    parts = re.split(rf"^##? {re.escape(title)}\n", Path(page).read_text("utf-8"), maxsplit=1, flags=re.M)
    if len(parts) < 2:
        raise ValueError(f"{page} has no section {title!r}.")
    shown = parts[1].partition("\n## ")[0]
    base = os.path.relpath(Path(page).parent, Path("outputs/scale"))  # links are those of the page, two folders below
    return str(mistune.html(re.sub(r"\]\((?!\w+:|#)", f"]({base}/", shown)))


def code(folder: str | Path = ".") -> str:
    """Date and name of the code: of the last commit, or the version of the package where there is no git."""
    try:
        told = subprocess.run(
            ["git", "-C", str(folder), "log", "-1", "--format=%cs (%h)"], capture_output=True, text=True, timeout=20
        )
        if told.returncode == 0 and told.stdout.strip():
            return told.stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        pass
    return f"version {importlib.metadata.version('pslcore')}"


def table_library() -> tuple[str, str]:
    """DataTables (MIT), as itables packs it: its script, which leaves ``window.tables``, and its style."""
    spec = importlib.util.find_spec("itables")  # its files are wanted alone
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(
            "itables is not installed: the page takes its table from it (pip install itables==2.9.1)."
        )
    folder = Path(spec.origin).parent / "html"
    script, n = re.subn(
        r"export\s*\{[^}]*?([\w$]+) as jQuery[^}]*\}", r"window.tables=\1", (folder / "dt_bundle.js").read_text("utf-8")
    )
    if n != 1:
        raise RuntimeError("itables packs DataTables in another way than 2.9 does: pin itables==2.9.1.")
    return script, (folder / "dt_bundle.css").read_text("utf-8")


def page(
    exhibits: list[Exhibit], scale: str, claims: Sequence[dict] = (), verdicts: Mapping[str, int] | None = None,
    rules: str = "", stages: Mapping[str, str] | None = None, deviations: str = "", results: Sequence[Results] = (),
    code: str = "", published: Mapping[str, Sequence[dict]] | None = None,
) -> str:  # fmt: skip
    """One self-contained HTML page; the scripts of plotly and DataTables are inside it, once.

    Parameters
    ----------
    exhibits : list of Exhibit
    scale : str
    claims : list of dict
        Rows of ``verdicts.judge``; beside a figure stand those that rest on it, if on one other at the most.
    verdicts : dict
        As ``verdicts.counts`` gives it.
    rules : str
        How they were decided, as Markdown.
    stages : dict
        As ``stages`` gives it.
    deviations : str
        HTML.
    results : list of Results
        As ``embedded.collected`` gives it: the records that a claim leads to.
    code : str
        As ``code`` gives it.
    published : dict
        As ``answers.published`` gives it: what the published scales say, beside what this one does.
    """
    shown = {exhibit.id: exhibit for exhibit in exhibits}
    titles = report.titles() | {exhibit.id: exhibit.title for exhibit in exhibits}
    names = {name: _short(name, title) for name, title in titles.items()}
    boards = _by_place(claims)
    script, style = table_library()
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("psllab.report", "templates"), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    drawn = [figure["layout"].get("template") for exhibit in exhibits for figure in exhibit.figures]
    environment.globals |= {
        "words": summary, "symbols": summary.SYMBOLS, "units": summary.UNITS, "names": names, "stages": stages or {},
        "notebooks": {name: exhibit.notebook for name, exhibit in shown.items()},
        "grids": {one.experiment for one in results},
    }  # fmt: skip
    environment.filters |= {
        "bare": lambda figure: figure | {"layout": _without(figure["layout"], drawn[0])},
        "theme": summary.theme, "plain": html.unescape, "rank": list(summary.SYMBOLS).index,
        "after_heading": lambda title: title.partition(": ")[2] or title,
        "ticked": lambda said: Markup(re.sub("`([^`]*)`", r"<code>\1</code>", str(escape(said)))),
        "places": lambda rows: _by_place(rows, "claim").items(),
    }  # fmt: skip
    runs = embedded.index(results)
    elsewhere = {where: {row["id"]: row for row in rows} for where, rows in (published or {}).items()}
    archived = set[str]().union(*(one.archived for one in results))
    return environment.get_template("report.html.j2").render(
        answers=answers, elsewhere=elsewhere, scales={"here": {row["id"]: row for row in claims}} | elsewhere,
        exhibits=exhibits, scale=scale, versions=records.versions(), claims=claims, verdicts=verdicts or {},
        boards={name: boards[name] for name in ["", *names, *boards] if name in boards},
        forest=forest.blocks(claims), found=summary.found(claims), rules=mistune.html(rules), deviations=deviations,
        code=code, plotly_js=get_plotlyjs(), table_js=script, table_css=style,
        template=next(iter(drawn), None), runs=runs, packed=embedded.packed(results),
        files=sorted({key for curves in runs.values() for found in curves.values() for _, key in found} - archived),
        parts={key[0]: archive.part(Path("runs"), key).name for key in sorted(archived)},
        data=sorted({row["data"] for row in claims if row["data"] != "–" and ";" not in row["data"]}),
        hardware=sorted({part for row in claims if row["hardware"] != "–" for part in row["hardware"].split("; ")}),
    )  # fmt: skip


def write(scale: str, exhibits: list[Exhibit], rows: Sequence[dict], out: str | Path = "outputs") -> Path:
    """``report.html`` of a scale, whole or not at all; read from the top of the repository."""
    html = page(
        exhibits, scale, rows, judging.counts(rows), judging.__doc__ or "", {} if lacking(scale) else stages(),
        section("docs/deviations.md", "Deviations and limits"), embedded.collected(scale), code(),
        answers.published(scale, out),
    )  # fmt: skip
    path = runs_folder(out, scale).parent / "report.html"
    records.write_bytes(path, html.encode())
    return path


def _by_place(rows: Iterable[dict], part: str = "") -> dict[str, list[dict]]:
    """Rows by the exhibit beside which their claims stand."""
    found: dict[str, list[dict]] = defaultdict(list)
    for row in rows:
        found[summary.place(row[part] if part else row)].append(row)
    return found


def _without(layout: dict, template: dict | None) -> dict:
    """A layout without its template if that is the one; it takes kilobytes, and nearly all figures share it."""
    return {name: value for name, value in layout.items() if name != "template" or value != template}


def _short(name: str, title: str) -> str:
    """``Figure 3a`` of a title, or the name of the experiment."""
    head, _, rest = title.partition(":")
    return head if rest and re.fullmatch(r"(Figure|Table) \w+", head) else name
