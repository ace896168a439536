"""``your_method.ipynb`` used as a person uses it: run, look at the curve, turn the slider, run again."""

import shutil

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_a_slider_and_a_verdict(lab, browser, picture, made):
    shutil.copy(made / "table.json.xz", lab.folder)
    notebook = lab.folder / "notebooks/your_method.ipynb"
    text = notebook.read_text().replace(r"experiment = \"fig3a\"", r"experiment = \"fig\"")
    text = text.replace(r"scale = \"digits\"", r"scale = \"little\"").replace("start = True", "start = False")
    notebook.write_text(text.replace("table = None", r"table = \"table.json.xz\""))
    page = lab.open(browser, "your_method.ipynb")

    def said(what):
        page.wait_for_function("what => document.querySelector('.psl-status')?.innerText.includes(what)", arg=what)
        return page.locator(".psl-status").inner_text()

    said("2 seeds of fig at little")
    page.locator(".psl-button").click()
    assert "area under the curve" in said("Margin with sharpness = 1")
    page.wait_for_function("() => document.querySelectorAll('.psl-figure .legendtext').length > 2")
    names = page.locator(".psl-figure .legendtext").all_text_contents()
    assert names == ["Random", "Entropy", "Margin", "all safe images labelled"]
    page.wait_for_function("() => document.querySelectorAll('.psl-rows tbody tr').length === 2")
    picture(page, "your-method", ".psl-figure")

    handle = page.locator(".psl-slider .noUi-handle").first
    handle.focus()
    handle.press("ArrowRight")
    page.locator(".psl-button").click()
    said("Margin with sharpness = 1.25")
    assert len(list((lab.folder / "outputs/little/tried").glob("*/runs/*.json"))) == 4
    page.close()
