"""The page of ``pslcore label``: two people label one album at once, each in a browser of their own."""

import os

import pytest

from psllab.album import Album

pytest.importorskip("uvicorn", reason="uvicorn is not installed: pip install '.[cloud]'")

import wire

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture
def served(folder, tmp_path, opened):
    """The link of a page on ``folder``, served by a process that is killed at the end."""
    opened(protect={"patterns": ["2-*"]}).close()
    process = wire.page(folder, "--out", tmp_path / "out", "--budget", "12")
    link = wire.link_of(process)
    yield link, process
    process.kill()
    process.wait()


def sit(browser, link, name, width):
    """A page of somebody's own, with a picture on it."""
    page = browser.new_context(viewport={"width": width, "height": 844}, color_scheme="light").new_page()
    page.set_default_timeout(120_000)
    for _ in range(300):  # until it listens
        try:
            page.goto(link)
            break
        except Exception:
            page.wait_for_timeout(200)
    page.fill("#by", name)
    page.keyboard.press("Enter")
    page.wait_for_function("() => !document.querySelector('#picture').hidden")
    return page


def take(page, name):
    if folder := os.environ.get("PSL_PICTURES"):
        page.screenshot(path=f"{folder}/label-{name}-{page.viewport_size['width']}.png")


def answer(page):
    """What the picture's name tells, by its key; waits until it was taken in."""
    name = page.inner_text("#name")
    page.keyboard.press(str(int(name[0]) + 1))
    page.wait_for_function("name => document.querySelector('#told').textContent.startsWith(name)", arg=name)
    page.wait_for_function("() => !asking")
    return name


def test_two_people_label_at_once(browser, served, folder, tmp_path):
    link, process = served
    ada, bob = sit(browser, link, "Ada", 1280), sit(browser, link, "Bob", 390)
    assert "#" not in ada.url
    assert ada.inner_text("#name") != bob.inner_text("#name")
    take(ada, "first"), take(bob, "first")
    assert bob.evaluate("document.documentElement.scrollWidth") <= 390
    said = {"Ada": [answer(ada) for _ in range(3)], "Bob": [answer(bob) for _ in range(3)]}
    assert not set(said["Ada"]) & set(said["Bob"])
    ada.keyboard.press("u")
    ada.wait_for_function("name => document.querySelector('#name').textContent === name", arg=said["Ada"][-1])
    ada.wait_for_function("() => !asking")
    assert answer(ada) == said["Ada"][-1]
    while ada.is_visible("#picture") or bob.is_visible("#picture"):
        for page, name in ((ada, "Ada"), (bob, "Bob")):
            if page.is_visible("#picture"):
                said[name].append(answer(page))
    take(ada, "done"), take(bob, "done")
    ada.get_by_role("button", name="Train").click()
    take(ada, "training")
    for page in (ada, bob):
        page.wait_for_function("() => !document.querySelector('#picture').hidden && !asking")
        assert "ccuracy" in page.inner_text("#note")
    said["Bob"].append(answer(bob))
    take(ada, "second"), take(bob, "second")
    process.kill()
    process.wait()
    ada.keyboard.press("1")
    ada.wait_for_function("() => document.querySelector('#told').className === 'bad'")
    take(ada, "away")
    with Album(folder, out=tmp_path / "out", warn=False) as album:
        assert {name: len(files) for name, files in said.items()} == album.report().people
        given = {path: album.annotations(path)[-1].by for path in album.labels()}
        assert given == {path: name for name, paths in said.items() for path in paths}
        assert all(album.classes[int(path[0])] == label for path, label in album.labels().items())
        assert not any(path.startswith("2") for path in given)
