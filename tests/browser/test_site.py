"""The site in a browser, opened from the disk: its search finds a word, and nothing is asked of a network."""

import shutil
from pathlib import Path

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.slow]
TOP = Path(__file__).parents[2]


def test_search_works_from_the_disk(browser, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(TOP / "tools"))
    import docs_site

    pages, site = tmp_path / "pages", tmp_path / "site"
    monkeypatch.setattr(docs_site, "PAGES", pages)
    monkeypatch.setattr(docs_site, "SITE", site)
    shutil.copytree(TOP / "tools/site", pages / "assets")
    (pages / "README.md").write_text("# Here\n\nA zebra.\n\n## There\n\nA quokka.\n")
    docs_site.built([{"Start": "README.md"}])
    page, asked = browser.new_page(), []
    page.on("request", lambda request: asked.append(request.url))
    page.goto((site / "index.html").as_uri())
    page.locator("input.md-search__input").click()
    page.keyboard.type("quokka")
    result = page.locator(".md-search-result__item")
    result.first.wait_for()
    assert "There" in result.first.inner_text()
    assert "README" not in result.first.inner_text()
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:", "about:"))] == []
    page.close()
