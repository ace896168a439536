"""The page: what verdicts and exhibits say, whole, escaped, and nothing from a network."""

import json
import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go
import pytest
import yaml

from psllab.analysis.exhibit import Exhibit
from psllab.report import page as pages

TOP = Path(__file__).parents[3]
PAPER = yaml.safe_load((TOP / "psllab/analysis/paper.yaml").read_text())
EVIL = """</script><script>alert("1")</script> <b>5 < 6 & 'so'</b> {{ 7 * 7 }}"""
VOID = {"meta", "link", "img", "br", "hr", "input", "source", "base"}


def exhibits():
    one = Exhibit("fig0", "Figure 0: <made up>", "It `rises` & falls.", f"Note {EVIL}", "notebooks/some.ipynb", 12.345)
    one.show(go.Figure(go.Scatter(x=[1, 2], y=[3.5, float("nan")], name=EVIL), {"title": {"text": EVIL}}))
    one.show(go.Figure(go.Bar(x=["a"], y=[1]), {"title": {"text": "fig0: bars &lt;all&gt;"}}))
    one.tabulate("First <table>", pd.DataFrame({"method": ["A & B", "C"], "value <%>": [1.5, "–"]}))
    two = Exhibit("table0", "Table 0", EVIL, "Counted.", "notebooks/other.ipynb")
    return [one, two.tabulate("Second", pd.DataFrame({"n": [11_173_962]}))]


class Page(HTMLParser):
    """Tags with their attributes, text by the id of the section or template it stands in, scripts by their id."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.scripts, self.texts, self.open, self.place = [], {}, {}, [], None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)
        if tag in ("section", "template"):
            self.place = dict(attributes).get("id")
        if tag == "script":
            self.script = dict(attributes).get("id", f"script {len(self.scripts)}")
            self.scripts[self.script] = ""

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] == ["script"]:
            self.scripts[self.script] += data
        elif self.open[-1:] != ["style"]:
            self.texts.setdefault(self.place, []).append(data.strip())

    def named(self, *names):
        return [attributes for tag, attributes in self.tags if tag in names]

    def said(self, place):
        return " ".join(" ".join(self.texts[place]).split())


@pytest.fixture(scope="module")
def claims(row, compared):
    several = [compared("A – B", 1.0, 0.25), compared("A – C", None)]
    return [
        row(1, "fig99, fig0", "supported", comparisons=several, curves=[["fig3a", "A"]]),
        row(2, "fig0", "contradicted", stale=4, forecast="about 3 more paired seeds"),
        row(3, "fig99", "not run", ours="–", seeds=0),
        row(4, "fig98, fig99, fig0", "supported", kind="seen"),
    ]


@pytest.fixture(scope="module")
def page(claims, results):
    counts = {"supported": 2, "contradicted": 1, "not run": 1}
    text = pages.page(
        exhibits(), "quick <scale>", claims, counts, "* **One** rule.", {"fig0": "some@fig0"},
        "<ul><li>Other.</li></ul>", [results(["A"])], "2001-02-03 (abcdef0)",
    )  # fmt: skip
    return text, Page(text)


def test_the_page_answers_first_and_tells_what_is_published(row, compared):
    def scale(name, lead, verdict):
        compare = [compared("PSL – Random", lead, 0.5, seeds=20)]
        return [
            row(1, "private", verdict, id="ours-peers-beat-all-at-home", comparisons=compare, scale=name),
            row(2, "fig3a", "supported", id="privacy-protected", kind="seen", ours="in 7 of 7 runs", scale=name),
        ]

    text = pages.page([], "quick", scale("quick", 0.2, "inconclusive"), published={
        "digits": scale("digits", 2.0, "supported"), "photographs": scale("features", -2.0, "contradicted")[:1],
    })  # fmt: skip
    parsed = Page(text)
    first = next(attributes["id"] for tag, attributes in parsed.tags if tag == "section")
    said = parsed.said(first)
    assert "here cannot be told , +0.2 ± 0.5 (20 seeds)" in said
    assert "digits ahead , +2.0 ± 0.5 (20 seeds)" in said
    assert "photographs behind , −2.0 ± 0.5 (20 seeds)" in said
    assert "saw no unlabelled image, in 7 of 7 runs" in said
    tiles = [tile for tile in parsed.named("a") if tile.get("class", "").startswith("tile")]
    assert {tile["href"].removeprefix("#claim-"): tile["data-published"] for tile in tiles} == {
        "ours-peers-beat-all-at-home": "digits: supported; photographs: contradicted",
        "privacy-protected": "digits: supported; photographs: not run",
    }
    assert all(f"({tile['data-published']})" in tile["aria-label"] for tile in tiles)
    assert "photographs: ✕ contradicted" in parsed.said("more-ours-peers-beat-all-at-home")


def test_the_page_says_all_that_the_exhibits_say(page):
    _, parsed = page
    assert parsed.open == []
    for exhibit in exhibits():
        said = parsed.said(exhibit.id)
        assert exhibit.title in said
        assert exhibit.note in said
        assert exhibit.notebook in said
        for table in exhibit.tables:
            values = {table["title"], *table["columns"], *(value for row in table["rows"] for value in row)}
            assert all(value in said for value in values)
    assert "It rises & falls." in parsed.said("fig0")  # `rises` is code
    assert "12.3 processor minutes" in parsed.said("fig0")
    assert "dvc repro some@fig0" in parsed.said("fig0")
    assert "bars <all>" in parsed.said("fig0")
    assert "12.3 processor minutes in all" in parsed.said("cost")
    assert "Other." in parsed.said("deviations")
    assert "quick <scale>" in parsed.said(None)
    assert "2001-02-03 (abcdef0)" in parsed.said("about")


def test_every_link_within_the_page_leads_somewhere(page):
    _, parsed = page
    ids = [attributes["id"] for _, attributes in parsed.tags if "id" in attributes]
    assert len(set(ids)) == len(ids)
    links = {attributes["href"] for attributes in parsed.named("a")}
    assert {href[1:] for href in links if href.startswith("#")} <= set(ids)
    assert {href for href in links if not href.startswith("#")} == {
        "../../notebooks/some.ipynb",
        "../../notebooks/other.ipynb",
    }
    labelled = {attributes["aria-labelledby"] for _, attributes in parsed.tags if "aria-labelledby" in attributes}
    assert labelled <= set(ids)


def test_every_claim_has_its_tile_its_line_and_its_evidence(page, claims):
    _, parsed = page
    tiles = {tile["href"]: tile for tile in parsed.named("a") if tile.get("class", "").startswith("tile")}
    assert set(tiles) == {f"#claim-{one['id']}" for one in claims}
    for one in claims:
        tile, more = tiles[f"#claim-{one['id']}"], parsed.said(f"more-{one['id']}")
        assert tile["class"] == f"tile {one['verdict'].replace(' ', '-')}"
        assert tile["aria-label"] == f"{one['verdict']}: {one['claim']}"
        assert (tile["data-paper"], tile["data-claim"]) == (one["paper"], one["claim"])
        assert all(
            one[name] in more for name in ("claim", "paper", "ours", "reason", "verdict", "source", "experiment")
        )
        assert "python -m pslcore claims --scale quick <scale>" in more
    assert "(4 records made by other code)" in parsed.said("more-claim2")
    assert "about 3 more paired seeds" in parsed.said("more-claim2")
    assert "stage some@fig0" in parsed.said("more-claim2")
    assert "A – B +1.0 ± 0.2 points" in parsed.said("more-claim1").replace("+1.0 ± 0.3", "+1.0 ± 0.2")
    (place,) = [attributes for attributes in parsed.named("dd") if "data-curves" in attributes]
    assert json.loads(place["data-curves"]) == [["fig3a", "A"]]


def test_the_verdicts_stand_again_beside_their_figure(page):
    _, parsed = page
    beside = parsed.said("fig0")
    assert "Of 2 claims: 1 supported, 1 contradicted." in beside
    assert [f"Claim {n} & more." in beside for n in (1, 2, 3, 4)] == [True, True, False, False]
    assert "Claim" not in parsed.said("table0")


def test_the_records_are_inside(page, results):
    _, parsed = page
    found = results(["A"])
    assert json.loads(parsed.scripts["runs"]) == {
        "fig3a": {"A": [[0, found.runs[0][1]["key"]], [1, found.runs[1][1]["key"]]]}
    }
    assert "Config, cycles, seconds and picks of each are inside" in parsed.said("records")


def test_nothing_is_loaded_from_a_network(page):
    text, parsed = page
    assert not parsed.named("link", "img", "iframe", "object", "embed", "base", "source", "video", "audio")
    assert not any({"src", "srcset", "data", "action"} & set(attributes) for _, attributes in parsed.tags)
    policy = next(tag["content"] for tag in parsed.named("meta") if tag.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none';")
    assert "http" not in policy
    styles = "".join(re.findall(r"<style>(.*?)</style>", text, re.S))
    assert re.findall(r"url\((?!data:)", styles) == []
    assert "@import" not in styles


def test_texts_are_escaped(page):
    text, parsed = page
    assert not parsed.named("b") or all(not attributes for attributes in parsed.named("b"))
    assert set(parsed.scripts) == {
        "fig0-1",
        "fig0-2",
        "template",
        "runs",
        "files",
        "parts",
        "packed",
        "plotly",
        "tables",
        f"script {len(parsed.scripts) - 1}",
    }
    assert "{{ 7 * 7 }}" in text  # a text is no template
    assert "alert(" not in "".join(parsed.scripts[name] for name in ("runs", "packed"))


def test_hostile_names_are_text(hostile_page, hostile):
    parsed = Page(hostile_page)
    assert parsed.open == []
    said = " ".join(" ".join(parts) for parts in parsed.texts.values())
    assert all(" ".join(name.split()) in " ".join(said.split()) for name in hostile.values())
    assert len(parsed.scripts) == 3 + 7 + 1  # figures; data, template and libraries; the page's own


def test_each_figure_is_kept_as_it_is_and_has_its_place(page):
    _, parsed = page
    places = [attributes["data-figure"] for attributes in parsed.named("figure")]
    assert places == ["fig0-1", "fig0-2"]
    kept = [json.loads(parsed.scripts[place]) for place in places]
    template = json.loads(parsed.scripts["template"])  # once for all that share it
    for figure in kept:
        figure["layout"].setdefault("template", template)
    assert kept == exhibits()[0].figures


def test_the_libraries_are_inside_once_and_run_when_they_are_wanted(page):
    text, parsed = page
    kinds = {attributes.get("id"): attributes.get("type") for attributes in parsed.named("script")}
    assert kinds["plotly"] == kinds["tables"] == "text/plain"
    assert len(parsed.scripts["plotly"]) > 1_000_000
    assert parsed.scripts["tables"].count("window.tables=") == 1
    assert not re.search(r"\bexport\s*\{", parsed.scripts["tables"])
    assert len(text.encode()) < 7e6


def test_another_itables_is_told(monkeypatch, tmp_path):
    (tmp_path / "itables" / "html").mkdir(parents=True)
    (tmp_path / "itables" / "__init__.py").write_text("")
    for name in ("dt_bundle.js", "dt_bundle.css"):
        (tmp_path / "itables" / "html" / name).write_text("export default 1")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "itables", raising=False)
    with pytest.raises(RuntimeError, match=r"packs DataTables in another way than 2\.9 does"):
        pages.table_library()


def test_the_date_of_the_code(tmp_path):
    assert re.fullmatch(r"version \d+\.\d+\.\d+", pages.code(tmp_path))
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b.c"]
    subprocess.run([*git, "init", "-q"], check=True)
    assert pages.code(tmp_path).startswith("version")  # no commit yet
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "x", "--date", "2001-02-03T04:05:06"], check=True)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \([0-9a-f]{7,}\)", pages.code(tmp_path))


def test_every_exhibit_has_its_stage():
    stages = pages.stages(TOP / "dvc.yaml")
    assert set(PAPER) <= set(stages)
    assert (stages["fig3a"], stages["fig5b"], stages["fig7"]) == ("comparison@fig3a", "ablation@fig5b", "buckets")


def test_a_section_of_the_readme(tmp_path):
    (tmp_path / "README.md").write_text("# T\n\n## One\n\na **b**\n\n## Two\n\n* c < d\n")
    assert pages.section(tmp_path / "README.md", "One").strip() == "<p>a <strong>b</strong></p>"
    assert "c &lt; d" in pages.section(tmp_path / "README.md", "Two")
    with pytest.raises(ValueError, match="has no section 'Three'"):
        pages.section(tmp_path / "README.md", "Three")
    assert "<li>" in pages.section(TOP / "docs" / "deviations.md", "Deviations and limits")


def test_a_page_without_exhibits_or_claims():
    assert Page(pages.page([], "quick")).open == []
