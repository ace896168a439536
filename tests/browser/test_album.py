"""The album's desk, used as a person uses it: protect, label by clicks and keys, lose the kernel, go on."""

import json
import os
import re
import shutil
import signal

import numpy as np
import pytest
from PIL import Image

pytestmark = [pytest.mark.browser, pytest.mark.slow]

NICE = bool(os.environ.get("PSL_PICTURES"))
CLASSES = ["red", "green", "blue"]
QUICK = {"size": 8, "recipe": {"epochs": 2, "batch_size": 8, "lr": 0.05, "padding": 1}}


def notebook(lab, name, **parameters):
    """The notebook with other parameters, under another name; Ada answers."""
    text = (lab.folder / "notebooks/album.ipynb").read_text()
    content = json.loads(text.replace("learning, n=n)", "learning, n=n, by='Ada')"))
    (cell,) = (one for one in content["cells"] if "parameters" in one["metadata"].get("tags", []))
    cell["source"] += "".join(f"\n{key} = {value!r}" for key, value in parameters.items())
    (lab.folder / "notebooks" / name).write_text(json.dumps(content))


@pytest.fixture(scope="module")
def folder(lab):
    """Pictures of one colour each, which their names tell; ten of forty lie in ``private``, with canaries for names.

    A small copy of one of these lies outside.
    """
    for number in range(40):
        noise = np.random.default_rng(number).normal(0, 25, (24, 32, 3))
        pixels = np.clip(noise + np.eye(3)[number % 3] * 120 + 70, 0, 255).astype(np.uint8)
        path = (
            lab.folder
            / "photos"
            / (f"private/CANARY-{number}.png" if number % 4 == 3 else f"{number % 3}-{number}.png")
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.kron(pixels, np.ones((4, 4, 1), np.uint8))).save(path)
    with Image.open(lab.folder / "photos/private/CANARY-3.png") as file:
        file.resize((90, 68)).save(lab.folder / "photos/copy.jpg")
    (lab.folder / "photos/broken.jpg").write_bytes(b"no picture")
    return lab.folder / "photos"


@pytest.fixture(scope="module", autouse=True)
def prepared(lab, folder):
    shared = {"folder": str(folder), "learning": QUICK, "n": 6}
    notebook(lab, "mine.ipynb", classes=CLASSES, **shared)
    notebook(lab, "other.ipynb", **shared)


def tab(page, number):
    page.locator(".psl-desk .lm-TabBar-tab").nth(number).click()


def says(page, name, what):
    """Wait until a status line says so."""
    page.wait_for_function(
        "([name, what]) => new RegExp(what).test(document.querySelector(`.psl-status-${name}`)?.innerText)",
        arg=[name, what],
    )


def asked(page, after=None):
    """Id and caption of the picture that is asked about, once it is on the screen and can be answered."""
    page.wait_for_function(
        "after => { const one = document.querySelector('.psl-desk-question .psl-one');"
        " return one?.dataset.id && one.dataset.id !== after && !one.classList.contains('psl-waits'); }",
        arg=after,
    )  # fmt: skip
    one = page.locator(".psl-desk-question .psl-one")
    return one.get_attribute("data-id"), one.locator(".psl-first").inner_text()


def begin(page):
    """Ask for the first picture of a round."""
    tab(page, 1)
    turn, _ = asked(page)
    page.locator(".psl-do-label").click()
    asked(page, turn)


def answer(page, how):
    """Answer with the truth; gives the picture's name."""
    turn, name = asked(page)
    label = int(name[0])
    if how == "click":
        page.locator(".psl-desk-question .psl-button", has_text=CLASSES[label]).click()
    else:
        page.locator(".psl-desk-question .psl-gallery").focus()
        page.keyboard.press(str(label + 1))
    asked(page, turn)
    return name


def note(page):
    return page.locator(".psl-desk-question .psl-note").inner_text()


def albums(lab):
    return lab.folder / "home/share/pslcore/albums"


def journal(lab):
    (path,) = albums(lab).glob("*/journal.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()]


def answers(lab):
    """File to label of the answers that were not taken back."""
    events = journal(lab)
    undone = {event["of"] for event in events if event["what"] == "undo"}
    return {e["file"]: CLASSES.index(e["label"]) for e in events if e["what"] == "answer" and e["n"] not in undone}


def test_album(lab, browser, folder):
    page = lab.open(browser, "mine.ipynb")
    page.set_default_timeout(600_000)
    says(page, "folder", "41 pictures may be asked about; 0 are protected")
    assert "1 left out:" in page.locator(".psl-desk").inner_text()

    # rules, with a preview; by hand by a click; nothing is asked before they are applied
    page.locator(".psl-rule-folders input").fill("private")
    page.locator(".psl-rule-folders input").press("Enter")
    tab(page, 1)
    page.locator(".psl-do-label").click()
    says(page, "label", "press Apply first")
    tab(page, 0)
    page.locator(".psl-do-apply").click()
    says(page, "folder", "30 pictures may be asked about; 11 are protected")
    found = page.locator(".psl-desk-found")
    assert "in the folder private" in found.locator(".psl-tile[data-id]", has_text="CANARY-7.png").inner_text()
    page.locator(".psl-desk select").first.select_option("held back: resemble protected ones")
    held = found.locator(".psl-tile[data-id]", has_text="copy.jpg")
    assert "like private/CANARY-3.png" in held.inner_text()
    for badge in ("to be released", "held back"):
        held.click()
        held.locator(".psl-badge", has_text=badge).wait_for()
    page.locator(".psl-desk select").first.select_option("may be asked about")
    tile = found.locator(".psl-tile[data-id]", has_text="0-0.png")
    tile.click()
    tile.locator(".psl-badge", has_text="to be protected").wait_for()
    page.locator(".psl-do-apply").click()
    says(page, "folder", "29 pictures may be asked about; 12 are protected")

    # a round by clicks, with an undo
    begin(page)
    first = answer(page, "click")
    assert "says Ada" in note(page)
    turn, second = asked(page)
    page.locator(".psl-desk-question .psl-button", has_text="blue").click()
    asked(page, turn)
    turn, _ = asked(page)
    page.locator(".psl-desk-question .psl-button", has_text="undo").click()
    assert asked(page, turn)[1] == second
    assert list(answers(lab)) == [first]
    for _ in range(5):
        answer(page, "click")
    assert "Press Train" in asked(page)[1]
    said = answers(lab)
    assert len(said) == 6
    assert all(int(name[0]) == label for name, label in said.items())

    # training, which can be watched; then the report
    page.locator(".psl-do-train").click()
    says(page, "learned", "after round 1")
    report = page.locator(".psl-desk-report").inner_text()
    assert "Estimated accuracy" in report
    page.locator(".psl-desk-ledger summary", has_text="0 of them were protected").click()
    assert [row.inner_text() for row in page.locator(".psl-ledger tbody tr:first-child td:last-child").all()] == ["0"]
    page.locator(".psl-desk-rest .psl-tile[data-id]").first.wait_for()
    page.locator(".psl-do-csv").click()
    says(page, "learned", "Labels written to .*labels.csv")
    page.locator(".psl-do-tree").click()
    says(page, "learned", "6 pictures, a folder a class")

    # a round by keys: two at once answer one picture, and the second is told
    begin(page)
    turn, name = asked(page)
    page.evaluate(
        "keys => { for (const key of keys) document.querySelector('.psl-desk-question .psl-gallery')"
        ".dispatchEvent(new KeyboardEvent('keydown', {key, bubbles: true, cancelable: true})); }",
        [str(int(name[0]) + 1), "2", "3"],
    )  # fmt: skip
    asked(page, turn)
    page.locator(".psl-desk-question .psl-note", has_text="nothing was taken in").wait_for()
    assert len(answers(lab)) == 7
    assert answers(lab)[name] == int(name[0])
    page.locator(".psl-desk-who input").fill("Bob")
    answer(page, "key")
    turn, _ = asked(page)
    page.keyboard.press("u")
    asked(page, turn)
    answer(page, "key")
    turn, unsure = asked(page)
    page.keyboard.press("?")
    asked(page, turn)
    answer(page, "key")
    assert [e["by"] for e in journal(lab) if e["what"] in ("answer", "not sure")][-2:] == ["Bob", "Bob"]
    before = answers(lab)
    assert len(before) == 9

    # the notebook, saved with the widgets' state, names and shows no protected picture
    page.evaluate("() => window.jupyterapp.commands.execute('@jupyter-widgets/jupyterlab-manager:saveWidgetState')")
    page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")
    page.wait_for_timeout(3000)
    text = (lab.folder / "notebooks/mine.ipynb").read_text()
    (states,) = (one["state"] for one in json.loads(text)["metadata"]["widgets"].values())
    assert any(CLASSES[1] in str(one["state"].get("buttons")) for one in states.values())
    assert not [one for one in states.values() if one.get("buffers")]
    assert not re.search(r"CANARY|0-0\.png|iVBORw0KGgo|/9j/", text)

    # the kernel dies in the middle; a second notebook is told that another has the album
    home = next(albums(lab).glob("*/journal.jsonl")).parent
    os.kill(int((home / "lock").read_text()), signal.SIGKILL)
    page.wait_for_timeout(4000)
    page.close()
    page = lab.open(browser, "mine.ipynb")
    _, name = asked(page)
    assert name not in before
    assert name != unsure
    assert answers(lab) == before
    assert "2 left of this round" in page.locator(".psl-desk-question .psl-under").inner_text()
    second = lab.open(browser, "other.ipynb")
    says(second, "folder", f"is open in process {(home / 'lock').read_text().strip()}")
    second.close()
    answer(page, "key")
    answer(page, "click")
    page.locator(".psl-do-train").click()
    says(page, "learned", "after round 2")
    assert "Ada 9, Bob 2" in page.locator(".psl-desk-report").inner_text()
    assert {event["protected"] for event in journal(lab) if event["what"] == "uploaded"} == {0}
    page.close()


CUT_OFF = """() => [...document.querySelectorAll(".psl-desk, .psl-desk *")].filter(
  (one) => one.clientWidth && one.scrollWidth > one.clientWidth + 1
    && !/visible|clip/.test(getComputedStyle(one).overflowX) && !one.closest(".psl-scroll, .psl-line"))
  .map((one) => `${one.className}: ${one.scrollWidth} > ${one.clientWidth}`)"""

CONTRAST = """(selector) => {
  const parsed = (text) => text.match(/[\\d.]+/g).map(Number);
  const one = document.querySelector(selector), [r, g, b, a = 1] = parsed(getComputedStyle(one).color);
  let under = one;
  while (parsed(getComputedStyle(under).backgroundColor)[3] === 0) under = under.parentElement;
  const back = parsed(getComputedStyle(under).backgroundColor);
  const light = (color) => color.slice(0, 3).map((part) => part / 255)
    .map((part) => (part <= 0.04 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
    .reduce((sum, part, at) => sum + part * [0.2126, 0.7152, 0.0722][at], 0);
  const [low, high] = [light([r, g, b].map((part, at) => a * part + (1 - a) * back[at])), light(back)].sort();
  return (high + 0.05) / (low + 0.05);
}"""


def cells_of(page):
    return page.evaluate("() => window.jupyterapp.shell.currentWidget.content.widgets.length")


def test_keys_stay_at_the_desk_and_do_what_clicks_do(lab, browser):
    for number in range(14):
        pixels = np.random.default_rng(100 + number).integers(0, 255, (24, 32, 3), np.uint8)
        (lab.folder / "strangers").mkdir(exist_ok=True)
        Image.fromarray(np.kron(pixels, np.ones((4, 4, 1), np.uint8))).save(
            lab.folder / f"strangers/{number % 3}-{number}.png"
        )
    notebook(lab, "keys.ipynb", folder=str(lab.folder / "strangers"), learning=QUICK, n=6)
    page = lab.open(browser, "keys.ipynb")
    says(page, "folder", "14 pictures may be asked about")
    cells = cells_of(page)
    page.locator(".psl-status-folder").click()  # between the widgets
    for key in "xdd":
        page.keyboard.press(key)

    # protected by keys, and by a click with ctrl
    page.locator(".psl-desk-classes input").fill("red, green, blue")
    grid = page.locator(".psl-desk-found .psl-gallery")
    grid.locator(".psl-tile[data-id]").nth(5).wait_for()
    grid.focus()
    for key in ("ArrowRight", "Enter", "ArrowRight", " "):
        page.keyboard.press(key)
    page.locator(".psl-desk-found .psl-note", has_text="To be protected: 2").wait_for()
    assert grid.get_attribute("role") == "listbox"
    current = page.locator(f"#{grid.get_attribute('aria-activedescendant')}")
    current.locator(".psl-badge", has_text="to be protected").wait_for()
    assert current.get_attribute("role") == "option"
    grid.locator(".psl-tile").nth(5).click(modifiers=["Control"])
    page.locator(".psl-desk-found .psl-note", has_text="To be protected: 3").wait_for()
    page.keyboard.press(" ")  # no longer
    page.locator(".psl-desk-found .psl-note", has_text="To be protected: 2").wait_for()
    page.locator(".psl-do-open").click()
    says(page, "folder", "press Apply before another folder is opened")
    page.locator(".psl-do-apply").click()
    says(page, "folder", "12 pictures may be asked about; 2 are protected")

    # a rule that fits nothing is told in red on the tab where the question would come
    page.locator(".psl-rule-folders input").fill("privat")
    page.locator(".psl-do-apply").click()
    says(page, "folder", "'privat' fits no picture")
    tab(page, 1)
    assert page.locator(".psl-status-label [role=alert]").count() == 1
    turn, _ = asked(page)
    page.locator(".psl-do-label").dblclick()
    says(page, "label", "or go on without")
    page.locator(".psl-do-without").click()

    # the picture has the keyboard: one key answers at once
    turn, _ = asked(page, turn)
    assert page.locator(".psl-status-label [role=status]").count() == 1
    question = page.locator(".psl-desk-question .psl-gallery")
    assert question.get_attribute("role") == "group"
    assert question.locator("img").get_attribute("alt").endswith(".png")
    page.keyboard.press("1")
    turn, _ = asked(page, turn)
    for selector in (".psl-do-label", ".psl-status-label", ".psl-do-train"):
        if selector.startswith(".psl-do"):
            page.locator(selector).focus()
        else:
            page.locator(selector).click()
        page.keyboard.press("x")
    assert cells_of(page) == cells
    for theme in ("Dark", "Light"):
        page.evaluate(
            f"() => window.jupyterapp.commands.execute('apputils:change-theme', {{theme: 'JupyterLab {theme}'}})"
        )
        page.wait_for_timeout(1500)
        for selector in (".psl-line", ".psl-key", ".psl-quiet span", ".psl-note"):
            assert page.evaluate(CONTRAST, f".psl-desk-question {selector}") >= 4.5, (theme, selector)
    question.focus()
    for key in "122s?":
        page.keyboard.press(key)
        turn, words = asked(page, turn)
    assert "Press Train" in words
    page.locator(".psl-do-train").click()
    says(page, "learned", "after round 1")

    # what was skipped is answered after the training
    page.locator(".psl-desk-said select").select_option("skipped")
    page.locator(".psl-desk-rest .psl-note", has_text="answer it anew").wait_for()
    page.locator(".psl-desk-rest .psl-tile[data-id]", has_text="says Ada").wait_for()
    page.locator(".psl-desk-rest .psl-gallery").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    turn, _ = asked(page, turn)
    page.keyboard.press("3")
    page.locator(".psl-desk-rest .psl-note", has_text="blue, says Ada").wait_for()

    # on a phone
    page.set_viewport_size({"width": 390, "height": 844})
    for number in range(3):
        tab(page, number)
        page.wait_for_timeout(1500)
        assert page.evaluate(CUT_OFF) == []
    tab(page, 1)
    page.locator(".psl-do-train").click()
    says(page, "learned", "after round 2")
    tab(page, 1)
    turn, _ = asked(page)
    page.locator(".psl-do-label").click()
    asked(page, turn)
    page.wait_for_timeout(1000)
    for shown in page.locator(".psl-desk-question .psl-button").all():
        box = shown.bounding_box()
        assert box["y"] + box["height"] < 844
    page.close()


@pytest.mark.skipif(not NICE, reason="for pictures")
def test_pictures(lab, browser, picture):
    from pslcore.data import load

    truth = load("digits").train.labels
    shutil.rmtree(albums(lab), ignore_errors=True)
    notebook(lab, "nice.ipynb", n=40)
    page = lab.open(browser, "nice.ipynb", height=1400)
    says(page, "folder", "are protected")
    picture(page, "album-folder", ".psl-desk")
    page.locator(".psl-desk select").first.select_option("held back: resemble protected ones")
    page.locator(".psl-do-release").wait_for()
    picture(page, "album-held-back", ".psl-desk")
    for number in (1, 2, 3):
        begin(page)
        for step in range(40):
            turn, name = asked(page)
            if (number, step) == (3, 12):
                picture(page, "album", ".psl-desk")
                asked(page)
            page.locator(".psl-desk-question .psl-gallery").focus()
            page.keyboard.press("0123456789"[truth[int(name.split("/")[1][:4])]])
            asked(page, turn)
        page.locator(".psl-do-train").click()
        says(page, "learned", f"after round {number}")
    picture(page, "album-learned", ".psl-desk")
    page.close()
