"""The page: what the exhibits say, whole, escaped, and nothing from a network."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go
import pytest
import yaml

from pslcore.evidence import page as pages
from pslcore.evidence.report import Exhibit

TOP = Path(__file__).parents[2]
PAPER = yaml.safe_load((TOP / "pslcore" / "evidence" / "paper.yaml").read_text())
EVIL = """</script><script>alert("1")</script> <b>5 < 6 & 'so'</b> {{ 7 * 7 }}"""
VOID = {"meta", "link", "img", "br", "hr", "input", "source", "base"}


def exhibits():
    one = Exhibit("fig0", "Figure 0: <made up>", "It rises & falls.", f"Note {EVIL}", "notebooks/some.ipynb", 12.345)
    one.show(go.Figure(go.Scatter(x=[1, 2], y=[3.5, float("nan")], name=EVIL), {"title": {"text": EVIL}}))
    one.show(go.Figure(go.Bar(x=["a"], y=[1])))
    one.tabulate("First <table>", pd.DataFrame({"method": ["A & B", "C"], "value <%>": [1.5, "–"]}))
    two = Exhibit("table0", "Table 0", EVIL, "Counted.", "notebooks/other.ipynb")
    return [one, two.tabulate("Second", pd.DataFrame({"n": [11_173_962]}))]


class Page(HTMLParser):
    """Tags with their attributes, and text by the id of the section it stands in."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.scripts, self.texts, self.open, self.section = [], [], {}, [], None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "section":
            self.section = dict(attributes).get("id")
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] == ["script"]:
            self.scripts[-1] += data
        else:
            self.texts.setdefault(self.section, []).append(data.strip())

    def named(self, *names):
        return [attributes for tag, attributes in self.tags if tag in names]


def claim(number, experiment, verdict, **more):
    return {"id": f"claim{number}", "experiment": experiment, "claim": f"Claim {number} & more.", "source": "section 4",
            "paper": f"{number} points", "ours": f"{number}.5 ± 0.5", "seeds": 3, "scale": "quick", "data": "digits",
            "hardware": "Abacus", "verdict": verdict, "reason": f"because {number}", "stale": 0,
            "forecast": ""} | more  # fmt: skip


CLAIMS = [
    claim(1, "fig99, fig0", "holds"),
    claim(2, "fig0", "does not hold", stale=4),
    claim(3, "fig99", "not run", ours="–", seeds=0),
    claim(4, "fig98, fig99, fig0", "holds"),
]


@pytest.fixture(scope="module")
def page():
    stages = {"fig0": "some@fig0"}
    text = pages.page(
        exhibits(), "quick <scale>", CLAIMS, {"holds": 2, "does not hold": 1, "not run": 1}, "* **One** rule.", stages,
        "<ul><li>Other.</li></ul>",
    )  # fmt: skip
    return text, Page(text)


def test_the_page_says_all_that_the_exhibits_say(page):
    _, parsed = page
    assert parsed.open == []
    sections = ["claims", "fig0", "table0", "cost", "deviations", "environment"]
    assert [attributes["id"] for attributes in parsed.named("section")] == sections
    for exhibit in exhibits():
        text = parsed.texts[exhibit.id]
        assert exhibit.title in text
        assert exhibit.finding in text
        assert any(exhibit.note in part for part in text)
        assert exhibit.notebook in text
        for table in exhibit.tables:
            assert {table["title"], *table["columns"], *(value for row in table["rows"] for value in row)} <= set(text)
    assert any("12.3 processor minutes" in part for part in parsed.texts["fig0"])
    assert "quick <scale>" in parsed.texts[None]
    assert "dvc repro some@fig0" in parsed.texts["fig0"]
    links = [attributes["href"] for attributes in parsed.named("a")]
    assert links[:6] == [f"#{name}" for name in ["claims", "fig0", "table0", "cost", "deviations", "environment"]]
    assert links[6:] == ["../../notebooks/some.ipynb", "../../notebooks/other.ipynb", "#fig0"]
    assert "Other." in parsed.texts["deviations"]


def test_the_verdicts_come_first_and_again_with_their_figure(page):
    _, parsed = page
    text = parsed.texts["claims"]
    assert "One" in text  # the rules
    for row in CLAIMS:
        assert {row["paper"], row["ours"], row["verdict"]} <= set(text)
        assert any(row["claim"] in part for part in text)
        assert any(row["reason"] in part for part in text)
    assert any("4 records made by" in part for part in text)
    counts = {attributes["class"] for attributes in parsed.named("li") if "class" in attributes}
    assert counts == {"holds", "does-not-hold", "not-run"}
    assert text[text.index("2") + 1] == "holds"
    beside = " ".join(parsed.texts["fig0"])
    assert [f"Claim {n} & more." in beside for n in (1, 2, 3, 4)] == [True, True, False, False]
    assert "Claim" not in " ".join(parsed.texts["table0"])


def test_nothing_is_loaded_from_a_network(page):
    text, parsed = page
    assert not parsed.named("link", "img", "iframe", "object", "embed", "base", "source", "video", "audio")
    assert not any({"src", "srcset", "data", "action"} & set(attributes) for _, attributes in parsed.tags)
    assert all(re.match(r"#|\.\./\.\./notebooks/", attributes["href"]) for attributes in parsed.named("a"))
    style = text[text.index("<style>") : text.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style


def test_texts_are_escaped(page):
    text, parsed = page
    assert not parsed.named("b")
    assert len(parsed.scripts) == 1 + 2 + 1  # plotly, one a figure, and one that fits them to a phone
    assert "{{ 7 * 7 }}" in text  # a text is no template


def test_plotly_is_inside_once_and_every_figure_has_its_place(page):
    _, parsed = page
    assert [len(script) > 1_000_000 for script in parsed.scripts] == [True, False, False, False]
    ids = [attributes["id"] for _, attributes in parsed.tags if "id" in attributes]
    assert len(set(ids)) == len(ids)
    places = [attributes["id"] for attributes in parsed.named("div") if attributes.get("class") == "figure"]
    assert len(places) == 2
    for place, script, figure in zip(places, parsed.scripts[1:-1], exhibits()[0].figures, strict=True):
        beginning = f'Plotly.newPlot("{place}", '
        assert script.startswith(beginning)
        data, end = json.JSONDecoder().raw_decode(script, len(beginning))
        layout, _ = json.JSONDecoder().raw_decode(script, end + len(", "))
        assert (data, layout) == (figure["data"], figure["layout"])


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


def test_a_page_without_exhibits():
    assert Page(pages.page([], "quick")).scripts
