"""A method on a data set of one's own: budgets by classes and safe images, rivals run here, a verdict in the end."""

import pytest

from psllab import cli
from psllab.benchmark import own_data


@pytest.mark.parametrize(("train", "budget"), [(3000, 20), (1600, 20), (800, 10)])
def test_five_labels_a_class_or_an_eighth_of_the_safe_images(tmp_path, new_set, train, budget):
    new_set(tmp_path / "vectors", (30, 1, 1), train=train)
    planned = own_data.plan("vectors", tmp_path)
    assert (planned.shared["initial"], planned.shared["budget"], planned.shared["final"]) == (
        budget,
        budget,
        6 * budget,
    )
    assert planned.shared["final"] <= train // 10


def test_what_cannot_be_planned_is_said(tmp_path, new_set):
    new_set(tmp_path / "few", (30, 1, 1), train=300)
    new_set(tmp_path / "images")
    with pytest.raises(ValueError, match=r"few holds 300 images to train, .* for each of 4 classes need 320\."):
        own_data.plan("few", tmp_path)
    with pytest.raises(ValueError, match=r"images holds images: name its features, such as images\+eff"):
        own_data.plan("images", tmp_path)


@pytest.mark.slow
def test_from_a_file_to_a_verdict(tmp_path, new_set, monkeypatch, capsys):
    monkeypatch.setattr(own_data, "LOOKS", (2, 3))
    monkeypatch.setattr(own_data, "_METHODS", {name: own_data._METHODS[name] for name in ("Random", "Entropy")})
    new_set(tmp_path / "data/vectors", (30, 1, 1), train=800)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["new", "method", "mine.py"]) == 0
    assert cli.main(["benchmark", "mine.py", "--dataset", "vectors", "--jobs", "1", "--until-settled"]) == 0
    text = capsys.readouterr().out
    assert "2 seeds of vectors at own" in text
    assert "Random" in text
    assert "Entropy" in text
    assert (tmp_path / "mine.html").exists()
    runs = len(list((tmp_path / "outputs/own/runs").glob("*.json")))
    assert runs in (4, 6)
    assert len(list((tmp_path / "outputs/own/tried").glob("*/runs/*.json"))) == runs // 2
