"""The page: one file, ``report.html``, that shows the verdicts and all exhibits."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import jinja2
import mistune
import yaml
from plotly.offline import get_plotlyjs

from pslcore.evidence.report import Exhibit
from pslcore.runs import records


def stages(pipeline: str | Path = "dvc.yaml") -> dict[str, str]:
    """Each exhibit and the stage of the pipeline that makes it."""
    found = {}
    for name, stage in yaml.safe_load(Path(pipeline).read_text())["stages"].items():
        for item in stage.get("foreach", ()):
            found[item] = f"{name}@{item}"
        for out in stage.get("outs", ()):
            found[Path(next(iter(out)) if isinstance(out, dict) else out).stem] = name
    return found


def section(page: str | Path, title: str) -> str:
    """A section of a Markdown file as HTML, without its title.

    Raises
    ------
    ValueError
        If there is no such section.
    """
    parts = re.split(rf"^##? {re.escape(title)}\n", Path(page).read_text(), maxsplit=1, flags=re.M)
    if len(parts) < 2:
        raise ValueError(f"{page} has no section {title!r}.")
    return str(mistune.html(parts[1].partition("\n## ")[0]))


def page(
    exhibits: list[Exhibit],
    scale: str,
    claims: Sequence[dict] = (),
    verdicts: Mapping[str, int] | None = None,
    rules: str = "",
    stages: Mapping[str, str] | None = None,
    deviations: str = "",
) -> str:
    """One self-contained HTML page; plotly's script is inside it, once.

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
    """
    resting: dict[str, list[dict]] = {exhibit.id: [] for exhibit in exhibits}
    for row in claims:
        rests_on = list(dict.fromkeys(re.sub("(fig6)[abc]", r"\1", name) for name in row["experiment"].split(", ")))
        if len(rests_on) < 3:  # what is said of everything stands at the top alone
            resting.setdefault(rests_on[-1], []).append(row)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pslcore.evidence", "templates"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    return environment.get_template("report.html.j2").render(
        exhibits=exhibits, scale=scale, versions=records.versions(), plotly_js=get_plotlyjs(), claims=claims,
        verdicts=verdicts or {}, resting=resting, rules=mistune.html(rules), stages=stages or {}, deviations=deviations,
    )  # fmt: skip
