"""The two notebooks for exploring, used as a person uses them."""

import os
import re

import pytest

from pslcore.runs import run
from psllab import grid

pytestmark = [pytest.mark.browser, pytest.mark.slow]

NICE = bool(os.environ.get("PSL_PICTURES"))
"""For pictures the networks learn as they do in the experiments; else just enough to have something to show."""


@pytest.fixture(scope="module", autouse=True)
def ready(lab):
    """Few epochs, and one finished run."""
    params = lab.folder / "params.yaml"
    if not NICE:
        quick = (
            params.read_text()
            .replace("epochs: 30,", "epochs: 3,")
            .replace("{epochs: 10, batch_size: 4", "{epochs: 1, batch_size: 4")
        )
        params.write_text(quick)
    for cell in [
        *grid.cells("fig3a", "quick", params)[: 2 if NICE else 1],
        grid.cells("fig4a", "quick", params)[0],
    ]:
        run(cell.config, folder=lab.folder / "outputs/quick/runs")


def text(page, name):
    return page.locator(f".psl-{name}").first.inner_text()


def slide(page, name, key):
    handle = page.locator(f".psl-{name} .noUi-handle").first
    handle.focus()
    handle.press(key)


def changed(page, name, before):
    page.wait_for_function(
        "([name, before]) => document.querySelector(`.psl-${name}`).innerText !== before", arg=[name, before]
    )
    return text(page, name)


def ids(page):
    """Ids of the pictures on the screen, once they are there."""
    page.wait_for_function(
        "() => [...document.querySelectorAll('.psl-gallery')][0].querySelector('.psl-picture')?.naturalWidth"
    )
    tiles = page.locator(".psl-gallery").first.locator(".psl-tile[data-id]")
    return [tile.get_attribute("data-id") for tile in tiles.all()]


def test_buckets(lab, browser, picture):
    page = lab.open(browser, "explore_discrepancy.ipynb")
    page.wait_for_selector(".psl-gallery .psl-picture")
    page.wait_for_selector(".psl-detail .bars")
    assert "is exactly the record's" in text(page, "status")
    summary, shown = text(page, "summary"), ids(page)
    assert summary.startswith("bucket 5 of 5")
    picture(page, "explore-discrepancy", ".psl-explorer")

    # the slider changes the grid
    slide(page, "shown", "ArrowLeft")
    summary = changed(page, "summary", summary)
    assert summary.startswith("bucket 4 of 5")
    page.wait_for_function("first => document.querySelector('.psl-tile[data-id]')?.dataset.id !== first", arg=shown[0])
    assert not set(shown) & set(ids(page))

    # how many there are, too
    slide(page, "buckets", "ArrowRight")
    summary = changed(page, "summary", summary)
    assert summary.startswith("bucket 4 of 6")

    # a filter
    page.locator(".psl-class select").select_option("3")
    summary = changed(page, "summary", summary)
    number = int(re.search(r": ([\d,]+) of", summary).group(1))
    page.wait_for_function(
        "n => { const firsts = [...document.querySelectorAll('.psl-gallery')][0].querySelectorAll('.psl-first');"
        " return firsts.length && [...firsts].every(one => one.innerText === '3'); }", arg=number
    )  # fmt: skip

    # a click opens the distributions, keys go on, a digit does not make the cell a heading
    before = page.locator(".psl-detail .gtitle").text_content()
    page.locator(".psl-gallery").first.locator(".psl-tile").nth(2).click()
    page.wait_for_function("before => document.querySelector('.psl-detail .gtitle').textContent !== before", arg=before)
    second = page.locator(".psl-detail .gtitle").text_content()
    assert page.locator(".psl-detail .legendtext").all_text_contents() == [
        "student 1",
        "student 2",
        "teacher (local copy)",
    ]
    page.keyboard.press("ArrowRight")
    page.wait_for_function("before => document.querySelector('.psl-detail .gtitle').textContent !== before", arg=second)
    page.keyboard.press("1")
    page.keyboard.press(" ")
    page.wait_for_selector(".psl-gallery .psl-marked")
    cells = page.evaluate("() => window.jupyterapp.shell.currentWidget.content.model.cells.length")
    kinds = page.evaluate("() => [...window.jupyterapp.shell.currentWidget.content.model.cells].map(c => c.type)")
    assert (cells, kinds[-1]) == (7, "code")

    # a lasso
    plot = page.locator(".js-plotly-plot .nsewdrag").nth(1)
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    x, y, w, h = box["x"], box["y"], box["width"], box["height"]
    page.mouse.move(x + 4, y + 4)
    page.mouse.down()
    for along, down in ((0.97, 0.02), (0.97, 0.97), (0.02, 0.97), (0.01, 0.02)):
        page.mouse.move(x + along * w, y + down * h, steps=6)
    page.mouse.up()
    page.wait_for_function("() => document.querySelector('.psl-summary').innerText.startsWith('the lasso')")

    # what is saved holds no picture
    page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")
    page.wait_for_timeout(2000)
    assert "image/png" not in (lab.folder / "notebooks/explore_discrepancy.ipynb").read_text()
    page.close()


def drawn(page, name):
    """What a plot has drawn: (x of all images, how many are ringed, how many have a star)."""
    return page.evaluate(
        "name => { const gd = document.querySelector(`.psl-${name} .js-plotly-plot`);"
        " return [Array.from(gd.data[0].x), gd.data[1].x.length, gd.data[2].x.length]; }",
        name,
    )


FIRST = """before => {
  const image = document.querySelector(".psl-grid .psl-tile[data-id] .psl-picture");
  if (!image?.complete || !image.naturalWidth) return false;
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
  canvas.getContext("2d").drawImage(image, 0, 0);
  return canvas.toDataURL() !== before && canvas.toDataURL();
}"""
"""The pixels of the first thumbnail in the grid, once they are other than ``before``."""


def test_maps_and_street_scenes(lab, browser, picture):
    page = lab.open(browser, "explore_discrepancy.ipynb")
    page.wait_for_selector(".psl-detail .bars")

    # t-SNE, with a bar while it is made; PCA comes back at once
    before, ringed, starred = drawn(page, "map")
    assert ringed > 0
    assert starred == 0
    page.locator(".psl-kind button", has_text="t-SNE").click()
    page.locator(".psl-stop-map:not([disabled])").wait_for()
    page.locator(".psl-stop-map[disabled]").wait_for()
    after, *_ = drawn(page, "map")
    assert len(after) == len(before)
    assert after != before
    picture(page, "explore-map", ".psl-explorer")
    page.locator(".psl-kind button", has_text="PCA").click()
    page.wait_for_function(
        "x => document.querySelector('.psl-map .js-plotly-plot').data[0].x[0] === x",
        arg=before[0],
    )

    # a mark in the grid is a star in both maps
    page.locator(".psl-grid .psl-tile").nth(1).click(modifiers=["Control"])
    for name in ("map", "scatter"):
        page.wait_for_function(
            "name => document.querySelector(`.psl-${name} .js-plotly-plot`)"
            ".data[2].x.length === 1", arg=name,
        )  # fmt: skip

    # pixel labels: the discrepancy over the image, and the answers pixel by pixel
    page.locator(".psl-experiment select").select_option("fig4a")
    page.locator(".psl-open").click()
    page.wait_for_function("() => /mean IoU/.test(document.querySelector('.psl-status').innerText)")
    page.wait_for_function("() => /of the pixels right/.test(document.querySelector('.psl-grid').innerText)")
    plain = page.wait_for_function(FIRST, arg="").json_value()
    page.locator(".psl-maps .psl-tile[data-id]").nth(5).wait_for()
    names = page.locator(".psl-maps .psl-first").all_text_contents()
    assert names == ["image", "truth", "student 1", "student 2", "teacher (local copy)", "discrepancy"]
    page.locator(".psl-heat input").check()
    page.wait_for_function(FIRST, arg=plain)  # red lies over it
    picture(page, "explore-scenes", ".psl-explorer")
    page.close()


def test_peers(lab, browser, picture):
    page = lab.open(browser, "explore_peers.ipynb")
    page.wait_for_function("() => document.querySelector('.jp-MarkdownOutput img')?.naturalWidth > 0")
    page.wait_for_function("() => document.querySelector('.psl-tried')?.innerText.startsWith('2 peers: ')")
    assert page.locator(".psl-curves .scatterlayer .trace").count() == 1
    assert page.locator(".psl-table tbody tr").count() == 1

    # the slider trains again and draws
    slide(page, "peers", "ArrowRight")
    page.wait_for_function("() => document.querySelector('.psl-tried').innerText.startsWith('3 peers: ')")
    page.wait_for_function("() => document.querySelectorAll('.psl-curves .scatterlayer .trace').length === 2")
    assert page.locator(".psl-table tbody tr").count() == 2

    # the same settings at once give the same curve
    slide(page, "peers", "ArrowLeft")
    page.wait_for_function("() => document.querySelector('.psl-tried').innerText.startsWith('2 peers: ')")
    assert page.locator(".psl-table tbody tr").count() == 2
    if NICE:
        for key, shown in (("ArrowLeft", "1 peer:"), ("ArrowRight", "2 peers:"), ("ArrowRight", "3 peers:"),
                           ("ArrowRight", "4 peers:")):  # fmt: skip
            slide(page, "peers", key)
            page.wait_for_function("said => document.querySelector('.psl-tried').innerText.startsWith(said)", arg=shown)
    page.locator(".psl-keep").click()
    page.wait_for_selector(".psl-kept pre")
    picture(page, "explore-peers", ".psl-trainer")

    # stop stops
    slide(page, "peers", "End")
    page.wait_for_function("() => !document.querySelector('.psl-stop-peers').disabled")
    page.locator(".psl-stop-peers").click()
    page.wait_for_function("() => /topped/.test(document.querySelector('.psl-tried').innerText)")
    page.wait_for_function("() => document.querySelector('.psl-stop-peers').disabled")
    page.close()
