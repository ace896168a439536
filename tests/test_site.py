"""The site: what becomes of a page, and that it builds with no broken link and nothing from the network."""

import json
import re
from pathlib import Path

import nbformat
import pytest
from mkdocs.exceptions import Abort
from nbformat import v4

TOP = Path(__file__).parents[1]


@pytest.fixture
def site(tmp_path, monkeypatch):
    """``tools/docs_site.py``, building into a folder of its own."""
    monkeypatch.syspath_prepend(str(TOP / "tools"))
    import docs_site

    for name, place in (("BUILD", tmp_path), ("PAGES", tmp_path / "pages"), ("SITE", tmp_path / "site")):
        monkeypatch.setattr(docs_site, name, place)
    (tmp_path / "pages/gallery").mkdir(parents=True)
    return docs_site


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ("Text:\n* one\n* two\n", "Text:\n\n* one\n* two\n"),
        ("Text:\n1. one\n2. two\n", "Text:\n\n1. one\n2. two\n"),
        ("* one\n  goes on\n", "* one\n    goes on\n"),
        ("1. one:\n\n   ```sh\n   make\n     x\n   ```\n", "1. one:\n\n    ```sh\n    make\n      x\n    ```\n"),
        ("```sh\n  two\n* three\n```\n", "```sh\n  two\n* three\n```\n"),
        ("a word\n- 3 is less\n\nnot a-list\n", "a word\n\n- 3 is less\n\nnot a-list\n"),
    ],
)
def test_markdown_of_github_is_read_alike(site, given, made):
    assert site.github(given) == made


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("pslcore", "reference/index.md"),
        ("pslcore/losses.py", "reference/pslcore.losses.md"),
        ("pslcore/sides", "reference/pslcore.sides.md"),
        ("pslcore/sides/guard.py", "reference/pslcore.sides.md#pslcore.sides.guard"),
        ("notebooks/report.ipynb", "gallery/index.md"),
        ("docs/results.md", "docs/results.md"),
        ("CITATION.cff", "CITATION.cff"),
    ],
)
def test_a_link_leads_to_where_the_site_shows_it(site, path, place):
    assert site.target(TOP / path) == place
    assert (site.PAGES / "CITATION.cff").exists() == (path == "CITATION.cff")  # carried along


def test_arrows_become_a_table(site):
    drawn = 'flowchart TD\n\tnode1["buckets"]\n\tnode2["report"]\n\tnode1-->node2\n  a.b --> a.c\n  a.b --> a.d\n'
    said = re.sub(r"(?s).+", site.listed, drawn)
    assert said == "| from | to |\n| --- | --- |\n| buckets | report |\n| `a.b` | `a.c`, `a.d` |\n"
    drawn = 'flowchart LR\n  a["one"]\n  a -- "logits (Eq. 2)" --> b["two"]\n  a -- "more" --> a\n'
    rows = re.sub(r"(?s).+", site.listed, drawn).splitlines()
    assert rows == [
        "| from | what | to |",
        "| --- | --- | --- |",
        "| one | logits (Eq. 2) | two |",
        "| one | more | one |",
    ]


@pytest.mark.parametrize("path", sorted([TOP / "README.md", *(TOP / "docs").glob("*.md")]), ids=lambda path: path.stem)
def test_no_arrow_of_a_page_is_lost(site, path):
    for drawn in re.findall(r"```mermaid\n.*?```\n", path.read_text(), re.S):
        said = re.sub(r"(?s).+", site.listed, drawn)
        starts = {re.split(r" ?-", line.strip())[0] for line in drawn.splitlines() if "-->" in line}
        assert len(said.splitlines()) >= 2 + len(starts) > 2


def test_figures_stand_in_the_page(site, tmp_path):
    figure = {"data": [{"y": [1, 2]}], "layout": {"title": {"text": "</script>"}}}
    output = v4.new_output("display_data", {"application/vnd.plotly.v1+json": figure})
    parameters = [
        v4.new_code_cell(f"a = {n}", metadata={"tags": [f"{tag}parameters"]}) for n, tag in enumerate(("", "injected-"))
    ]
    nbformat.write(
        v4.new_notebook(
            cells=[v4.new_markdown_cell("# A title"), *parameters, v4.new_code_cell("x", outputs=[output])]
        ),
        tmp_path / "a.ipynb",
    )
    assert site.shown(tmp_path / "a.ipynb", "a") == "A title"
    text = (site.PAGES / "gallery/a.md").read_text()
    (drawn,) = re.findall(r'<script type="application/json">(.*?)</script>', text)
    assert json.loads(drawn) == figure
    assert "plotly.min.js" in text
    assert ("a = 1" in text, "a = 0" in text) == (True, False)  # what it was run with


def test_each_section_of_the_tutorial_opens_with_words():
    cells = json.loads((TOP / "notebooks/tutorial.ipynb").read_text())["cells"]
    headed = [n for n, cell in enumerate(cells) if "".join(cell["source"]).startswith("#")]
    for n in headed:  # each section opens with what it shows
        assert cells[n]["cell_type"] == "markdown"
        assert len("".join(cells[n]["source"]).split("\n\n")) >= 2


@pytest.mark.slow
def test_the_site_builds_and_reads_offline(site, monkeypatch):
    """The tutorial runs, the pages and the docstrings are laid out; nothing is asked of the network."""
    monkeypatch.chdir(TOP)
    (site.PAGES / "gallery").rmdir()
    assert site.main(["--parameters", "{seeds: 2}"]) == 0
    html = {str(path.relative_to(site.SITE)): path.read_text() for path in site.SITE.rglob("*.html")}
    assert {"index.html", "docs/results.html", "gallery/tutorial.html", "reference/pslcore.losses.html"} <= set(html)
    loaded = r"""<(?:script|img|link rel="(?:stylesheet|icon)")[^>]*(?:src|href)="?(https?://[^" >]+)"""
    assert {page: found for page, text in html.items() if (found := re.findall(loaded, text))} == {}
    assert 'id="pslcore.losses.margin_loss"' in html["reference/pslcore.losses.html"]
    assert 'id="pslcore.sides.guard"' in html["reference/pslcore.sides.html"]
    tutorial = html["gallery/tutorial.html"]
    assert re.search(r"PSL – Random: [+-]\d+\.\d ± \d+\.\d points, 2 seeds", tutorial)
    assert "unlabelled pictures seen by the cloud: 0" in tutorial
    assert tutorial.count('class="figure"') == 4


@pytest.mark.slow
@pytest.mark.parametrize("link", ["nowhere.md", "README.md#nowhere"])
def test_a_broken_link_ends_the_build(site, link):
    (site.PAGES / "README.md").write_text("# Here\n\n[here](#here)\n")
    site.built([{"Start": "README.md"}])
    assert (site.SITE / "index.html").exists()
    (site.PAGES / "README.md").write_text(f"# Here\n\n[gone]({link})\n")
    with pytest.raises(Abort, match="strict mode"):
        site.built([{"Start": "README.md"}])
