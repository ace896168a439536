"""The page in a browser, as a reviewer has it: from a file, without a network, by mouse and by keyboard alone."""

import os
import re
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

from psllab import grid
from psllab.analysis import ceiling, exhibit, figures
from psllab.claims import verdicts
from psllab.grid import archive
from psllab.report import embedded, page

pytestmark = pytest.mark.browser
TOP = Path(__file__).parents[2]
AXE = "axe-core@4.14.1"
LEAD = "fig3a-lead-random"
AGAINST = {"fig5a": "PSL", "fig5b": "2 peers", "fig5c": "ResNet-8", "choices": "PSL"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """``report.html`` of the committed records at ``laptop``: an exhibit for each experiment that has runs."""
    folder = tmp_path_factory.mktemp("outputs") / "laptop"
    here = os.getcwd()
    os.chdir(TOP)
    try:
        found = embedded.collected("laptop")
        exhibits = [exhibit_of(results) for results in found if any(c.label != grid.CEILING for c, _ in results.runs)]
        rows = verdicts.judge("laptop")
        deviations = page.section("docs/deviations.md", "Deviations and limits")
        text = page.page(
            exhibits, "laptop", rows, verdicts.counts(rows), verdicts.__doc__, page.stages(), deviations, found, "2001"
        )
    finally:
        os.chdir(here)
    folder.mkdir()
    (folder / "report.html").write_text(text)
    return folder / "report.html"


def exhibit_of(results):
    made = exhibit.exhibit(results.experiment, "notebooks/comparison.ipynb", figures.provenance(results), 1.5)
    curves = figures.budget_curves(results, AGAINST.get(results.experiment, "Random"))
    made.show(ceiling.draw(curves, results)).show(figures.win_matrix(results)).show(figures.privacy(results))
    return made.tabulate("Result", figures.summary(results))


@pytest.fixture
def opened(browser):
    """``opened(path, width, scheme)``: the page of a file; nothing but the file may be asked for, and no error come."""
    pages = []

    def build(path, width=1280, scheme="light", fragment=""):
        one = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        one.set_default_timeout(180_000)  # for machines with much to do
        one.asked, one.errors = [], []
        one.on("request", lambda request: one.asked.append(request.url))
        one.on("pageerror", lambda error: one.errors.append(str(error)))
        one.on("console", lambda message: one.errors.append(message.text) if message.type == "error" else None)
        one.goto(f"{path.as_uri()}{fragment}")
        one.wait_for_selector("html[data-ready]", state="attached")
        pages.append(one)
        return one

    yield build
    for one in pages:
        assert [url for url in one.asked if not url.startswith(("file:", "data:", "blob:"))] == []
        assert one.errors == []
        one.close()


def pictured(one, name):
    """With ``PSL_PICTURES`` set a picture of the whole page, every figure drawn."""
    folder = os.environ.get("PSL_PICTURES")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        draw_all(one)
        one.screenshot(path=f"{folder}/{name}.png", full_page=True)


def draw_all(one):
    one.evaluate("() => { places.forEach(draw); scrollTo(0, 0); }")


def shown(one):
    """The id of the claim that is unfolded and in sight, and what has the focus."""
    return one.evaluate(
        """() => {
          const row = document.activeElement.closest('tr[data-claim]');
          const box = row?.getBoundingClientRect();
          const seen = row?.classList.contains('open') && box.top >= -2 && box.top < innerHeight;
          return seen ? row.dataset.claim : null;
        }"""
    )


def test_a_tile_leads_to_its_claim(opened, made):
    one = opened(made)
    for claim in (LEAD, "fig8-below-fig3a", "table1-psl"):
        tile = one.locator(f'a.tile[href="#claim-{claim}"]')
        tile.hover()
        tip = one.locator("#tip")
        assert tip.is_visible()
        assert tile.get_attribute("data-claim") in tip.inner_text()
        assert all(word in tip.inner_text() for word in ("paper:", "ours:"))
        tile.click()
        one.wait_for_function("() => document.activeElement.classList.contains('open')")
        assert shown(one) == claim


def test_three_clicks_to_the_very_run(opened, made):
    """From opening the page to the evidence behind "PSL ends about 4.3 points ahead of Random"."""
    one = opened(made)
    one.get_by_role("link", name="PSL ends about 4.3 points ahead of Random").first.click()
    more = one.locator("tr.open + tr .claim")
    rows = {row["id"]: row for row in verdicts.judge("laptop", TOP / "params.yaml", TOP / "outputs")}
    assert rows[LEAD]["ours"] in more.inner_text()
    assert "PSL – Random: " in more.inner_text()
    assert "python -m pslcore grid fig3a --scale laptop" in more.inner_text()
    more.get_by_role("button", name="seed 0").first.click()
    dialog = one.get_by_role("dialog")
    dialog.get_by_text("Cycles", exact=True).wait_for()
    said = dialog.inner_text()
    key = re.search(r"runs/([0-9a-f]{16})\.json", said)[1]
    record = grid.runner.read(TOP / "outputs" / "laptop" / "runs" / f"{key}.json")
    assert all(f"{entry['metric']:.4f}" in said for entry in record["cycles"])
    assert f"{record['cycles'][0]['seconds']['train']:.2f}" in said
    assert "config.recipe.epochs" in said
    dialog.get_by_text("Picks").click()
    assert ", ".join(map(str, record["cycles"][0]["picked"])) in dialog.inner_text()
    one.keyboard.press("Escape")
    assert not dialog.is_visible()


def test_a_run_of_an_archive_is_named_by_its_key(opened, results, tmp_path):
    found = results(["PSL", "Random"])
    (_, first), (_, second), *_ = found.runs
    found.archived.add(first["key"])
    (tmp_path / "report.html").write_text(page.page([], "quick", [], {}, "", {}, "", [found]))
    one = opened(tmp_path / "report.html")
    one.locator("#all-records > summary").click()
    one.locator("#all-records button").first.wait_for()
    places = [button.get_attribute("title") for button in one.locator("#all-records button").all()]
    part = archive.part(tmp_path / "runs", first["key"]).name
    assert f"{part}, key {first['key']}" in places
    assert f"runs/{second['key']}.json" in places
    one.locator(f"#all-records button[title='{part}, key {first['key']}']").click()
    dialog = one.get_by_role("dialog")
    assert f"Record: {part}, key {first['key']}" in dialog.inner_text()
    assert dialog.get_by_role("link").get_attribute("href") == part


def test_search_filter_and_sort(opened, made):
    sync_api = pytest.importorskip("playwright.sync_api")
    one = opened(made)
    info, lines = one.locator(".dt-info"), one.locator("#claims-table > tbody > tr[data-claim]")
    assert "of 97 claims" in info.inner_text()
    one.locator(".dt-search input").fill("4.3 points ahead")
    assert [line.get_attribute("data-claim") for line in lines.all()] == [LEAD]
    one.get_by_role("button", name="clear").click()
    one.locator('.filters select[data-column="0"]').select_option("contradicted")
    assert {line.locator("td").first.inner_text().split(" ", 1)[1] for line in lines.all()} == {"contradicted"}
    count = lines.count()
    one.locator('.filters select[data-column="2"]').select_option("Table 1")
    assert 0 < lines.count() < count
    one.locator('a.tile[href="#claim-fig3a-start"]').click()  # hidden by the filter: it comes forth
    one.wait_for_function("() => document.activeElement.classList.contains('open')")
    assert shown(one) == "fig3a-start"
    assert "of 97 claims" in info.inner_text()
    one.locator('.filters select[data-column="3"]').select_option("privacy")
    assert {line.locator("td").nth(3).inner_text() for line in lines.all()} == {"privacy"}
    one.get_by_role("button", name="clear").click()
    one.locator("#claims-table > thead th", has_text="verdict").click()
    sync_api.expect(lines.first.locator("td").first).to_contain_text("supported")  # it sorts a moment later
    one.locator("#claims-table > thead th", has_text="verdict").click()
    sync_api.expect(lines.first.locator("td").first).to_contain_text("not run")  # it sorts a moment later


def curves(one):
    return one.evaluate(
        "() => $('[data-figure=\"fig3a-1\"] .plot').data.map(({name, y, opacity}) => ({name, y, opacity}))"
    )


def test_the_switch_changes_the_curves_and_a_click_isolates_a_method(opened, made):
    one = opened(made)
    figure = one.locator('[data-figure="fig3a-1"]')
    figure.scroll_into_view_if_needed()
    figure.locator(".plot svg").first.wait_for()
    before = {trace["name"]: trace["y"] for trace in curves(one)}
    plot = figure.locator(".plot")
    assert "PSL from" in plot.get_attribute("aria-label")
    labels = figure.locator(".annotation-text").all_text_contents()
    assert set(labels) >= {"PSL", "Random", "BADGE"}
    boxes = sorted(
        (box["y"], box["height"]) for box in (each.bounding_box() for each in figure.locator(".annotation-text").all())
    )
    assert all(low[0] + low[1] <= high[0] + 3 for low, high in pairwise(boxes))  # none hides another
    figure.get_by_role("button", name="difference to Random").click()
    after = {trace["name"]: trace["y"] for trace in curves(one)}
    assert set(after["Random"]) == {0}
    assert after["PSL"] != before["PSL"]
    assert max(map(abs, after["PSL"])) < 20
    assert "difference to Random, paired" in plot.get_attribute("aria-label")
    figure.get_by_role("button", name="PSL", exact=True).click()
    assert {trace["name"]: trace["opacity"] for trace in curves(one)} == {
        name: 1 if name == "PSL" else 0.12 for name in after
    }
    figure.get_by_role("button", name="PSL", exact=True).click()
    figure.get_by_role("button", name="as measured").click()
    assert {trace["opacity"] for trace in curves(one)} == {1}
    assert {trace["name"]: trace["y"] for trace in curves(one)} == before
    point = figure.locator(".plot .point").nth(10)
    point.scroll_into_view_if_needed()
    point.hover(force=True)
    box = point.bounding_box()
    one.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert sorted({trace["opacity"] for trace in curves(one)}) == [0.12, 1]


def test_everything_is_reached_by_keyboard(opened, made):
    one = opened(made)
    draw_all(one)
    reachable = one.evaluate(
        """() => $$('a[href], button, input, select, summary').filter((e) => e.checkVisibility() && !e.disabled
             && !e.classList.contains('disabled') && !e.closest('dialog') && e.tabIndex >= 0).length"""
    )
    one.evaluate("() => { window.met = new Set(); document.addEventListener('focusin', (e) => met.add(e.target)); }")
    for _ in range(reachable + 60):
        one.keyboard.press("Tab")
    missed = one.evaluate(
        """() => $$('a[href], button, input, select, summary').filter((e) => e.checkVisibility() && !e.disabled
             && !e.classList.contains('disabled') && !e.closest('dialog') && !met.has(e))
             .map((e) => e.outerHTML.slice(0, 120))"""
    )
    assert missed == []
    tile = one.locator(f'a.tile[href="#claim-{LEAD}"]')
    tile.focus()
    assert one.locator("#tip").is_visible()
    one.keyboard.press("Enter")
    one.wait_for_function("() => document.activeElement.classList.contains('open')")
    assert shown(one) == LEAD
    one.keyboard.press("Enter")  # the same button folds it again
    assert one.locator("tr.open").count() == 0
    one.keyboard.press("Space")
    one.keyboard.press("Tab")
    for _ in range(40):
        if one.evaluate("() => document.activeElement.textContent.startsWith('seed ')"):
            break
        one.keyboard.press("Tab")
    one.keyboard.press("Enter")
    assert one.get_by_role("dialog").is_visible()
    switch = one.locator('[data-figure="fig3a-1"]').get_by_role("button", name="difference to Random")
    one.keyboard.press("Escape")
    switch.focus()
    one.keyboard.press("Enter")
    assert switch.get_attribute("aria-pressed") == "true"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_keeps_its_form(opened, made, width, scheme):
    one = opened(made, width, scheme)
    if width == 1280:
        last = one.locator(".board .tile").last.bounding_box()
        assert last["y"] + last["height"] <= 900  # the answers and all of the board are on the first screen
    draw_all(one)
    size = one.evaluate("() => [document.documentElement.scrollWidth, document.documentElement.scrollHeight]")
    assert size[0] <= width
    assert width < 1280 or size[1] <= 15_000
    assert one.evaluate("() => getComputedStyle(document.body).backgroundColor") == {
        "light": "rgb(255, 255, 255)", "dark": "rgb(20, 23, 26)"
    }[scheme]  # fmt: skip
    pictured(one, f"report-{width}-{scheme}")


def test_with_every_exhibit_and_every_number_it_is_still_short(opened, results, compared, tmp_path):
    found = results(["PSL", "Random", "Entropy", "LL4AL", "VAAL", "Core-set", "BADGE", "ALFA-Mix"])
    curves, wins, privacy = (draw(found) for draw in (figures.budget_curves, figures.win_matrix, figures.privacy))
    note = figures.provenance(found)
    exhibits = []
    for name in exhibit.titles():
        one = exhibit.exhibit(name, "notebooks/comparison.ipynb", note, 1.0).show(curves).show(privacy).show(wins)
        exhibits.append(
            one.show(wins).tabulate("Result", figures.summary(found)).tabulate("Again", figures.summary(found))
        )
    rows = [
        row | {"comparisons": [compared("PSL – Random", 1.0, 0.5), compared("PSL – BADGE", 2.0, 0.5)][: 1 + number % 2]}
        for number, row in enumerate(verdicts.judge("laptop", TOP / "params.yaml", tmp_path))
        if row["unit"] == "points"
    ] + [row for row in verdicts.judge("laptop", TOP / "params.yaml", tmp_path) if row["unit"] != "points"]
    text = page.page(exhibits, "laptop", rows, verdicts.counts(rows), "", {}, "", [found])
    (tmp_path / "report.html").write_text(text)
    assert len(text.encode()) < 7e6
    one = opened(tmp_path / "report.html")
    draw_all(one)
    assert one.evaluate("() => document.documentElement.scrollHeight") <= 15_400


@pytest.mark.parametrize("width", [1280, 390])
def test_names_from_hell_are_shown_as_text(opened, hostile_page, hostile, tmp_path, width):
    (tmp_path / "report.html").write_text(hostile_page)
    one = opened(tmp_path / "report.html", width)
    draw_all(one)
    one.wait_for_selector('[data-figure="fig3a-1"] .plot svg')
    assert one.evaluate(
        "() => [document.querySelectorAll('main b b, b i, bdi b').length, document.documentElement.scrollWidth]"
    ) == [0, width]
    height = one.evaluate("() => document.documentElement.scrollHeight")
    assert height <= (15_000 if width == 1280 else 60_000)
    names = one.evaluate("() => $$('[data-figure=\"fig3a-1\"] .tools > button').map((e) => e.textContent)")
    assert names[0] == hostile["tags"][:39] + "…"
    assert names[1] == hostile["long"][:39] + "…"
    assert names[2:] == [hostile["right to left"], hostile["quotes"], "Random"]
    drawn = one.evaluate(
        "() => $$('[data-figure=fig3a-2] .ytick text, [data-figure=fig3a-1] .annotation-text')"
        ".map((e) => e.textContent)"
    )
    assert any(name.startswith("</script><scr") for name in drawn)
    for number in range(4):
        one.evaluate(f"() => reveal('claim{number}')")
        said = one.locator("tr.open + tr .claim").last.inner_text()
        assert "alert" not in one.evaluate(
            "() => $$('main script').map((e) => e.type === 'application/json' ? '' : e.textContent).join()"
        )
        assert said
    assert one.evaluate("() => document.documentElement.scrollWidth") == width
    one.locator("tr.open + tr .claim").get_by_role("button", name="seed 0").first.click()
    one.get_by_role("dialog").get_by_text("Cycles", exact=True).wait_for()
    pictured(one, f"hostile-{width}")


@pytest.fixture(scope="session")
def axe(tmp_path_factory):
    """The source of axe-core, from npm."""
    npm = shutil.which("npm")
    if not npm:
        pytest.skip("the accessibility test is left out: there is no npm (apt-get install npm).")
    folder = tmp_path_factory.mktemp("axe")
    packed = subprocess.run([npm, "pack", AXE, "--silent"], cwd=folder, capture_output=True, text=True, timeout=120)
    if packed.returncode:
        pytest.skip(f"the accessibility test is left out: npm cannot fetch {AXE}.")
    shutil.unpack_archive(folder / packed.stdout.strip(), folder)
    return (folder / "package" / "axe.min.js").read_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_no_serious_violation(opened, made, axe, width, scheme):
    one = opened(made, width, scheme)
    draw_all(one)
    one.evaluate(f"() => reveal('{LEAD}')")
    one.evaluate(axe)
    found = one.evaluate("async () => (await axe.run(document, {resultTypes: ['violations']})).violations")
    told = [
        f"{rule['id']}: {node['html'][:150]} {node['failureSummary'][:200]}"
        for rule in found if rule["impact"] in ("serious", "critical") for node in rule["nodes"][:3]
    ]  # fmt: skip
    assert told == []


def test_printed_nothing_is_folded_or_cut(opened, made, tmp_path):
    one = opened(made, scheme="dark")
    one.emulate_media(media="print", color_scheme="light")
    one.set_viewport_size({"width": 703, "height": 1032})  # a sheet of A4 within its margins
    one.evaluate("() => dispatchEvent(new Event('beforeprint'))")
    assert one.evaluate("() => $$('details:not([open])').length") == 0
    assert one.evaluate("() => $$('.figure').every((place) => place.querySelector('svg'))")
    assert one.locator("#claims-table > tbody > tr.open").count() == 97
    beyond = "() => $$('main *').filter((e) => e.getBoundingClientRect().right > 704 && !e.closest('.hidden'))"
    assert one.evaluate(f"{beyond}.map((e) => e.outerHTML.slice(0, 100))") == []
    cut = one.evaluate(
        """() => $$('td, th, .label, button.open, dd, figcaption, .verdicts').filter((e) => e.checkVisibility()
             && getComputedStyle(e).overflow !== 'visible'
             && (e.scrollWidth > e.clientWidth + 1 || e.scrollHeight > e.clientHeight + 1))
             .map((e) => e.outerHTML.slice(0, 100))"""
    )
    assert cut == []
    folder = Path(os.environ.get("PSL_PICTURES") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    one.evaluate("() => dispatchEvent(new Event('afterprint'))")
    assert one.locator("#claims-table > tbody > tr.open").count() == 0
    one.pdf(path=folder / "report.pdf", format="A4", print_background=True)
    assert (folder / "report.pdf").stat().st_size > 100_000
    assert (folder / "report.pdf").read_bytes().count(b"/Type /Page\n") > 10
