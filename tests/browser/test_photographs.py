"""The explorers on features of small pictures, in place of CIFAR-10: photographs are shown, the slider trains heads."""

import contextlib

import pytest
import torch
import yaml
from safetensors.torch import save_file

from pslcore import data, models

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module", autouse=True)
def ready(lab, new_set):
    """A set of pictures, a backbone with its weights, the features, and scales of few epochs and labels."""
    torch.manual_seed(0)
    save_file(models.build("resnet8", 7).state_dict(), lab.folder / "resnet8.safetensors")
    new_set(lab.folder / "data/small")
    with contextlib.chdir(lab.folder):
        name = data.known("small+resnet8 weights=resnet8.safetensors@16")
        data.load(name)
    params = yaml.safe_load((lab.folder / "params.yaml").read_text())
    scales = params["scales"]
    few = {"initial": 8, "budget": 4, "final": 16, "protected_fraction": 0.5, "recipe": {"epochs": 2, "batch_size": 8}}
    methods = {"PSL": {"method": "psl", "options": {"student": "mlp16"}}}
    scales["features_few"] = {
        "base": {"dataset": name, "teacher": "mlp32"}, "fig3a": {"config": few, "methods": methods, "seeds": 1}
    }  # fmt: skip
    quick = {"initial": 20, "budget": 10, "final": 40, "recipe": {"epochs": 1, "batch_size": 64}}
    scales["quick"] = {
        "base": {"dataset": "digits", "teacher": "resnet8"},
        **{fig: {"config": quick, "methods": {"PSL": {"method": "psl"}}, "seeds": 1} for fig in ("fig3a", "fig5b")},
    }
    (lab.folder / "params.yaml").write_text(yaml.safe_dump(params))
    notebook = lab.folder / "notebooks/explore_peers.ipynb"
    given = r"photo_changes = {\"budget\": 100, \"final\": 250}"
    assert given in notebook.read_text()
    notebook.write_text(notebook.read_text().replace(given, "photo_changes = {}"))


COLOURFUL = """name => {
  const image = document.querySelector(`.psl-${name} .psl-tile[data-id] .psl-picture`);
  if (!image?.complete || !image.naturalWidth) return false;
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
  const pen = canvas.getContext("2d");
  pen.drawImage(image, 0, 0);
  const pixels = pen.getImageData(0, 0, canvas.width, canvas.height).data;
  let most = 0;
  for (let at = 0; at < pixels.length; at += 4) most = Math.max(most, Math.abs(pixels[at] - pixels[at + 2]));
  return [canvas.width, canvas.height, most > 0];
}"""
"""Width and height of the first picture that is shown, and whether it has colours, as vectors and digits have not."""


def test_discrepancy(lab, browser, picture):
    page = lab.open(browser, "explore_discrepancy.ipynb")
    page.wait_for_selector(".psl-detail .bars")
    assert page.locator(".psl-experiment option").all_text_contents()[0].startswith("photographs:")
    assert "is exactly the record's" in page.locator(".psl-status").first.inner_text()
    assert page.wait_for_function(COLOURFUL, arg="grid").json_value() == [16, 16, True]
    picture(page, "explore-photographs", ".psl-explorer")
    page.close()


def test_peers(lab, browser, picture):
    page = lab.open(browser, "explore_peers.ipynb")
    started = "([first, what]) => document.querySelectorAll('.psl-tried')[first]?.innerText.startsWith(what)"
    page.wait_for_function(started, arg=[0, "2 peers: "])
    page.wait_for_function(started, arg=[1, "2 peers: "])  # the digits below
    assert page.wait_for_function(COLOURFUL, arg="picked").json_value() == [16, 16, True]
    handle = page.locator(".psl-peers .noUi-handle").first
    handle.focus()
    handle.press("ArrowRight")
    page.wait_for_function(started, arg=[0, "3 peers: "])
    page.wait_for_function("() => document.querySelectorAll('.psl-curves .scatterlayer')[0].children.length === 2")
    assert page.locator(".psl-table").first.locator("tbody tr").count() == 2
    picture(page, "explore-peers-photographs", ".psl-trainer")
    page.close()
