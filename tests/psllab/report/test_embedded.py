"""The records inside a page: all that was promised, and no more than there is room for."""

import base64
import json
import zlib

import pytest

from psllab.report import embedded


def unpacked(packed):
    return json.loads(zlib.decompress(base64.b64decode(packed["data"])))


def test_every_run_is_found_by_experiment_label_and_seed(results):
    found = results(["PSL", "Random"])
    index = embedded.index([found])
    assert list(index) == ["fig3a"]
    assert list(index["fig3a"]) == ["PSL", "Random"]
    keys = {(cell.label, cell.config.seed): record["key"] for cell, record in found.runs}
    assert {(label, seed): key for label, runs in index["fig3a"].items() for seed, key in runs} == keys


def test_config_picks_and_seconds_come_back(results):
    found = results(["PSL"])
    packed = embedded.packed([found])
    assert packed["picks"]
    for _, record in found.runs:
        told = unpacked(packed)[record["key"]]
        assert told["config"] == record["config"]
        for cycle, entry in zip(told["cycles"], record["cycles"], strict=True):
            assert cycle == {name: entry[name] for name in embedded._CYCLE} | {"picks": len(entry["picked"])}


def test_what_has_no_room_stays_in_the_files(results):
    found = results([f"curve {number}" for number in range(5)])
    whole = len(embedded.packed([found])["data"])
    smaller = embedded.packed([found], most=whole - 1)
    assert not smaller["picks"]
    assert 0 < len(smaller["data"]) < whole
    assert all(
        "picked" not in cycle and "picks" in cycle for run in unpacked(smaller).values() for cycle in run["cycles"]
    )
    assert embedded.packed([found], most=10) == {"data": "", "picks": False}


def test_the_same_records_give_the_same_page(results):
    assert embedded.packed([results(["a", "b"])]) == embedded.packed([results(["a", "b"])])


def test_all_experiments_of_a_scale_are_collected(tmp_path):
    (tmp_path / "params.yaml").write_text(
        "scales: {quick: {base: {dataset: digits, teacher: resnet8, initial: 20, budget: 10, final: 40}, "
        "fig3a: {methods: {PSL: {method: psl}}, seeds: 2}}}"
    )
    (found,) = embedded.collected("quick", tmp_path / "params.yaml", tmp_path)
    assert (found.experiment, found.runs, len(found.unfinished)) == ("fig3a", [], 2)
    with pytest.raises(ValueError, match="unknown scale"):
        embedded.collected("huge", tmp_path / "params.yaml", tmp_path)
