"""Settings tried one after the other: real records, the same curve for the same settings, stopped and gone on with."""

import threading
import time

import pytest
import yaml

from pslcore.runs import records, run
from psllab import grid
from psllab.explore.peers import Trainer
from psllab.explore.tuning import Tries


@pytest.fixture
def tries(tiny, root, tmp_path):
    return Tries(tiny(), tmp_path / "runs", root)


def never():
    return False


@pytest.mark.slow
def test_a_try_is_a_run_and_its_record(tries, root):
    lengths = []
    config = tries.config(peers=3, seed=2)
    record = tries.train(config, lambda so_far: lengths.append(len(so_far["cycles"])), never)
    assert lengths == [1, 2, 3]
    assert records.content(record) == records.content(run(config, root))
    assert records.read(tries.folder / f"{config.key}.json")["key"] == config.key
    assert list(tries.records) == [config.key]


def test_the_same_settings_are_run_once(tries, tiny, root, monkeypatch):
    config = tries.config(peers=1)
    first = tries.train(config, lambda _: None, never)
    later = Tries(tiny(), tries.folder, root)
    monkeypatch.setattr("psllab.explore.tuning.run", lambda *_, **__: pytest.fail("it was run again"))
    assert later.train(config, lambda _: None, never) == first


def test_stopped_it_goes_on_to_the_same_record(tries, root):
    config = tries.config()
    seen = []
    record = tries.train(config, seen.append, lambda: len(tries.records) == 1)
    assert [entry["labelled"] for entry in record["cycles"]] == [8]
    assert tries.unfinished(config.key)
    assert not (tries.folder / f"{config.key}.json").exists()
    whole = tries.train(config, seen.append, never)
    assert records.content(whole) == records.content(run(config, root))
    assert not tries.unfinished(config.key)


def test_stopped_at_once_nothing_is_kept(tries):
    record = tries.train(tries.config(), lambda _: None, lambda: True)
    assert record["cycles"] == []
    assert tries.records == {}


@pytest.mark.slow
def test_the_table_and_what_is_particular(tries):
    for options in ({}, {"peers": 1}, {"in_class": False, "alpha": 0.3, "study_protected": False, "seed": 1}):
        tries.train(tries.config(**options), lambda _: None, never)
    table = tries.table()
    assert table["settings"].tolist() == [
        "2 peers", "1 peer", "2 peers, α 0.3, no in-class, no protected images, seed 1"
    ]  # fmt: skip
    assert table["parameters"][0] == 2 * table["parameters"][1]
    assert table["disagreement (%)"][1] == "–"
    assert (table["unlabelled seen"] == 0).all()
    assert (table["bytes crossed"] > 16 * 3 * 64).all()


@pytest.mark.slow
def test_what_is_kept_is_an_experiment(tries, tmp_path):
    configs = [tries.config(peers=2), tries.config(peers=3, ranking="ordered", seed=1)]
    for config in configs:
        tries.train(config, lambda _: None, never)
    file = tmp_path / "kept.yaml"
    text = tries.keep([config.key for config in configs], "mine", "quick", file)
    assert file.read_text() == text
    cells = grid.cells("mine", "quick", file)
    assert {config.key for config in configs} <= {cell.config.key for cell in cells}
    assert len(cells) == 4
    # in the real file, under a base that says other things
    whole = yaml.safe_load((grid.top() / "params.yaml").read_text())
    whole["scales"]["laptop"]["mine"] = yaml.safe_load(text)["scales"]["quick"]["mine"]
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(whole))
    assert grid.cells("mine", "laptop", tmp_path / "params.yaml") == cells
    for bad in ("", "a/b", "x y"):
        with pytest.raises(ValueError, match="is no name"):
            tries.keep([configs[0].key], bad, "quick", file)
    with pytest.raises(ValueError, match="train some settings first"):
        tries.keep([], "mine", "quick", file)
    other = tries.config(budget=8)
    tries.train(other, lambda _: None, never)
    with pytest.raises(ValueError, match="different budgets"):
        tries.keep([configs[0].key, other.key], "mine", "quick", file)


@pytest.mark.slow
def test_the_widgets_without_a_browser(tiny, root, tmp_path):
    trainer = Trainer(tiny(), tmp_path / "runs", "quick", tmp_path / "kept.yaml", root)
    trainer.at_once.value = False
    trainer.train()
    trainer.peers.value = 4
    trainer.out_of_class.value = False
    trainer.train()
    assert [len(curve.x) for curve in trainer.figure.data] == [3, 3]
    assert trainer.figure.data[1].name == "4 peers, no out-of-class"
    assert "4 peers, no out-of-class" in trainer.table.value
    trainer.save.click()
    assert "python -m pslcore grid my_peers" in trainer.text.value
    (cell,) = grid.cells("my_peers", "quick", tmp_path / "kept.yaml")
    assert cell.config == trainer.config()
    trainer.budget.value = 1000
    trainer.seed.value = 1
    trainer.save.click()
    assert "train these settings first" in trainer.text.value
    trainer.at_once.value = True
    trainer.peers.value = 1
    trainer.progress.job.wait(60)
    assert len(trainer.figure.data) == 3


@pytest.mark.slow
def test_what_is_turned_while_something_is_trained_comes_next(tiny, root, tmp_path, monkeypatch):
    trainer = Trainer(tiny(), tmp_path / "runs", "quick", tmp_path / "kept.yaml", root)
    train, go_on, peers = trainer.tries.train, threading.Event(), []

    def held(config, *rest):
        peers.append(config.strategy.peers)
        assert go_on.wait(60)
        return train(config, *rest)

    monkeypatch.setattr(trainer.tries, "train", held)
    trainer.peers.value = 1
    for turned in (3, 4):
        trainer.peers.value = turned
        assert "what is set now comes next" in trainer.status.value
    go_on.set()
    end = time.monotonic() + 60
    while (len(trainer.tries.records) < 2 or trainer.progress.job.running) and time.monotonic() < end:
        time.sleep(0.02)
    assert peers == [1, 4]
    assert [curve.name for curve in trainer.figure.data] == ["1 peer", "4 peers"]
    assert "4 peers: " in trainer.status.value
