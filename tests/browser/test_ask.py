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
