"""The page of thumbnails that ``ask`` writes: choose in a real browser, save, take it in."""

import pytest

from psllab.album import ask_page, import_labels

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_what_is_chosen_on_the_page_comes_back(browser, opened, folder, painted, tmp_path):
    evil = ["=1+1.png", "'=1.png", "-1.png", "@x.png", "\tx.png", "\rx.png", "two\nlines.png", '"quoted", <b>&amp;.png']
    for number, name in enumerate(evil):
        painted(folder / name, 0, 100 + number)
    album = opened(classes=["=red", "-blue"])
    pictures = album.next(38)
    ask_page(album, pictures, tmp_path / "ask.html")
    page = browser.new_page()
    page.goto((tmp_path / "ask.html").as_uri())
    selects = page.locator("select")
    assert selects.count() == 38
    for number, choice in enumerate(["-", "?", *["-blue"] * 35]):  # nothing is said of the last
        selects.nth(number).select_option(choice)
    with page.expect_download() as download:
        page.locator("button").click()
    assert download.value.suggested_filename == "answers.csv"
    download.value.save_as(tmp_path / "answers.csv")
    page.close()
    cells = (tmp_path / "answers.csv").read_bytes().decode().replace('""', "").split('"')[1::2]
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in cells)
    taken = import_labels(album, tmp_path / "answers.csv")
    assert (taken.answers, taken.skipped, taken.unsure, taken.empty) == (35, 1, 1, 1)
    assert set(album.labels()) == {picture.path for picture in pictures[2:37]}


def test_choices_outlive_a_reload_and_whoever_leaves_is_warned(browser, opened, tmp_path):
    album = opened(classes=["red", "sky blue"])
    ask_page(album, album.next(6), tmp_path / "ask.html")
    page, asked = browser.new_page(), []
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.accept()))
    page.goto((tmp_path / "ask.html").as_uri())
    page.reload()
    assert asked == []  # nothing was chosen
    selects = page.locator("select")
    selects.nth(0).focus()
    for key in "12-?":
        page.keyboard.press(key)
    chosen = ["red", "sky blue", "-", "?", "", ""]
    assert [one.input_value() for one in selects.all()] == chosen
    page.keyboard.press("3")  # there are two classes
    selects.nth(4).select_option("sky blue")
    chosen[4] = "sky blue"
    assert [one.input_value() for one in selects.all()] == chosen
    assert "5 of 6 chosen, not saved yet" in page.locator("header").inner_text()
    page.reload()
    assert asked == ["beforeunload"]
    assert [one.input_value() for one in selects.all()] == chosen
    with page.expect_download():
        page.locator("button").click()
    page.reload()
    assert asked == ["beforeunload"]
    assert [one.input_value() for one in selects.all()] == chosen
    assert "not saved" not in page.locator("header").inner_text()
    page.close()
