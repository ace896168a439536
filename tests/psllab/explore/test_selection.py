"""A finished cycle trained again and looked at: it is the record's; buckets, filters and places; the cache."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from pslcore.losses import discrepancy
from pslcore.runs import run
from psllab import retrain
from psllab.explore import plots, pool, selection
from psllab.explore.discrepancy import Explorer
from psllab.widgets.job import Job

LRASPP = "lraspp_mobilenet_v3_small"


@pytest.fixture(scope="module")
def record(root, tiny):
    return run(tiny(), root)


@pytest.fixture(scope="module")
def opened(root, record, tmp_path_factory):
    return pool.open_cycle(record, 1, tmp_path_factory.mktemp("explore"), root)


@pytest.mark.slow
@pytest.mark.parametrize("changes", [
    {}, {"warm_start": True}, {"options": {"peers": 3}}, {"options": {"peers": 1}}, {"method": "random"},
    {"method": "entropy"}, {"method": "ll4al"}, {"method": "entropy", "options": {"side": "client"}},
], ids=str)  # fmt: skip
def test_any_cycle_again_is_that_of_the_record(root, tiny, tmp_path, changes):
    config = tiny(**changes)
    record = run(config, root)
    for cycle in (0, 2):
        made = pool.open_cycle(record, cycle, tmp_path, root)
        entry = record["cycles"][cycle]
        assert made.predictions.metric == entry["metric"]
        assert len(made.predictions) == 120 - entry["labelled"]
        assert made.own == bool(config.strategy.students)
    assert "is exactly the record's" in made.summary()
    if config.method == "psl":
        made = pool.open_cycle(record, 1, tmp_path, root)
        assert sorted(made.predictions.place[made.picked]) == [1, 2, 3, 4]


def test_the_arrays_fit_each_other(root, record, opened):
    seen = opened.predictions
    assert seen.peers.shape == (2, len(seen), 4)
    np.testing.assert_allclose(seen.peers.sum(2), 1, rtol=1e-5)
    d = discrepancy(torch.tensor(np.log(seen.peers)))
    np.testing.assert_allclose(seen.score, d, rtol=1e-3, atol=1e-5)
    assert np.array_equal(seen.consensus, seen.peers[0].argmax(1) == seen.peers[1].argmax(1))
    assert np.array_equal(seen.right, seen.joint.argmax(1) == opened.truth)
    assert seen.protected.sum() == 90
    assert (seen.place[seen.protected] == 0).all()
    assert opened.picked.sum() == 4


def test_it_is_kept_and_a_damaged_file_is_not_trusted(root, record, tmp_path, monkeypatch):
    first = pool.open_cycle(record, 0, tmp_path, root)
    (file,) = tmp_path.iterdir()
    again = pool.open_cycle(record, 0, tmp_path, root)
    assert (first.fresh, again.fresh) == (True, False)
    assert np.array_equal(first.predictions.peers, again.predictions.peers)
    file.write_bytes(file.read_bytes()[:1000])
    assert pool.open_cycle(record, 0, tmp_path, root).fresh


def test_bad_questions_are_answered_in_a_sentence(root, record, tmp_path):
    for cycle in (-1, 3):
        with pytest.raises(ValueError, match=f"no cycle {cycle}: this run has 3"):
            pool.open_cycle(record, cycle, tmp_path, root)
    with pytest.raises(ValueError, match="no single client"):
        pool.open_cycle(record | {"config": record["config"] | {"clients": 3}}, 0, tmp_path, root)
    with pytest.raises(ValueError, match="not the data that this record was made on"):
        pool.open_cycle(record | {"data": {"fingerprint": "0"}}, 0, tmp_path, root)
    with pytest.raises(ValueError, match="there is no cycle 3"):
        retrain.once_more(retrain.Config.of(record["config"]), [[]] * 3, root)


def test_a_training_can_be_stopped(root, record, tmp_path):
    job = Job(lambda told: pool.open_cycle(record, 2, tmp_path, root, watch=told))
    job.stop()
    assert job.start().wait(60).stopped
    assert list(tmp_path.iterdir()) == []
    parts = []
    pool.open_cycle(record, 2, tmp_path, root, watch=parts.append)
    assert parts == sorted(parts)
    assert parts[-1] == 1


def test_buckets_share_the_pool_by_discrepancy(opened):
    chosen = selection.Chosen(opened, buckets=4)
    tops = []
    for number in range(1, 5):
        chosen.shown = number
        rows = chosen.rows()
        assert len(rows) in (27, 28)
        tops.append((opened.predictions.score[rows].min(), opened.predictions.score[rows].max()))
    assert all(low[1] <= high[0] for low, high in pairwise(tops))
    chosen.shown = 0
    assert len(chosen.rows()) == len(opened.predictions) == 108


def test_filters_and_orders(opened):
    seen = opened.predictions
    chosen = selection.Chosen(opened, shown=0)
    for name, has in (("consensus", seen.consensus), ("right", seen.right > 0.5), ("protected", seen.protected)):
        for value in (True, False):
            rows = selection.Chosen(opened, shown=0, **{name: value}).rows()
            assert set(rows) == set(np.flatnonzero(has == value)), name
    assert set(opened.truth[selection.Chosen(opened, shown=0, label=2).rows()]) == {2}
    keys = {"most discrepancy": -seen.score, "least discrepancy": seen.score, "most entropy": -seen.entropy,
            "least confident": seen.joint.max(1), "number": seen.index}  # fmt: skip
    for sort in selection.SORTS:
        chosen.sort = sort
        if sort in keys:
            assert (np.diff(keys[sort][chosen.rows()]) >= 0).all(), sort
    chosen.sort = "place in PSL's order"
    safe = (~seen.protected).sum()
    assert seen.place[chosen.rows()][:safe].tolist() == list(range(1, safe + 1))
    with pytest.raises(ValueError, match="unknown order 'x'"):
        selection.Chosen(opened, sort="x").rows()
    chosen.among, chosen.consensus = selection.lasso(len(seen), [3, 5, 9]), None
    assert set(chosen.rows()) == {3, 5, 9}
    assert "the lasso's 3 images" in chosen.summary()


def test_what_is_said_of_an_image(opened):
    chosen = selection.Chosen(opened)
    row = int(np.flatnonzero(opened.picked)[0])
    assert chosen.caption(row).startswith(opened.dataset.classes[opened.truth[row]] + "\n")
    assert ("picked", "pick") in chosen.marks(row)
    assert (f"#{opened.predictions.place[row]}", "quiet") in chosen.marks(row)
    figure = plots.answers(chosen, row)
    assert [bar.name for bar in figure.data] == ["student 1", "student 2", "teacher (local copy)"]
    np.testing.assert_allclose(figure.data[1].y, opened.predictions.peers[1, row])


def test_the_maps(opened):
    features = opened.predictions.features
    assert plots.pca(features).shape == (108, 2)
    done = list(plots.tsne(features[:40]))
    assert done[-1][0] == 1
    assert np.isfinite(done[-1][1]).all()


@pytest.mark.slow
def test_pixel_labels(tiny, tmp_path):
    config = tiny(dataset="digit_scenes", teacher=LRASPP, options={"student": LRASPP}, initial=6, budget=2, final=8,
                  protected_fraction=0.9, recipe={"epochs": 1, "batch_size": 3})  # fmt: skip
    record = run(config)
    made = pool.open_cycle(record, 0, tmp_path)
    seen = made.predictions
    assert seen.pixels
    assert seen.answers.shape == (2, 394, 32, 48)
    np.testing.assert_allclose(seen.heat.astype(np.float64).sum((1, 2)), seen.score, rtol=0.02)
    assert made.predictions.metric == record["cycles"][0]["metric"]
    assert sorted(seen.place[made.picked]) == [1, 2]
    images = plots.panels(made, 3)
    assert list(images) == ["image", "truth", "student 1", "student 2", "teacher (local copy)", "discrepancy"]
    assert {image.shape[1:] for image in images.values()} == {(32, 48)}
    explorer = Explorer({"fig4a": [("PSL", record)]}, tmp_path)
    explorer.cycle.value = 0
    explorer.open()
    plain = explorer.grid._thumb([0])[0]
    explorer.heat.value = True
    assert explorer.grid._thumb([0])[0] != plain


def test_the_local_copy_answers_as_the_teacher_does(root, tiny):
    made = retrain.first_cycle(tiny(), root)
    labelled = made.session.client.pools.labelled
    before = made.session.cloud.ledger.summary()
    copy = made.local_copy().eval()
    with torch.no_grad():
        logits = torch.cat([copy(batch) for batch in made.session.client.store.plain(labelled)])
    assert made.session.cloud.ledger.summary() == before
    assert np.array_equal(made.session.cloud.ask(("logits",), labelled)["logits"], logits.numpy())


@pytest.mark.slow
def test_the_widgets_without_a_browser(root, record, tmp_path):
    other = run(retrain.Config.of(record["config"]).but(seed=1), root)
    runs = {"a": [("PSL", record), ("PSL", other)], "b": [("P", record)], "empty": []}
    explorer = Explorer(runs, tmp_path, root)
    assert explorer.experiment.options == ("a", "b")
    assert explorer.seed.options == (0, 1)
    explorer.seed.value = 1
    explorer.open()
    assert "seed 1, cycle 1" in explorer.status.value
    before = explorer.grid.order
    explorer.shown.value = 1
    assert not set(before) & set(explorer.grid.order)
    explorer.buckets.value = 2
    assert len(explorer.grid.order) == 54
    explorer.protected.value = True
    assert explorer.chosen.opened.predictions.protected[explorer.grid.order].all()
    explorer.pick([4, 5])
    assert set(explorer.grid.order) <= {4, 5}
    explorer.shown.value = 0
    explorer.protected.value = None
    assert len(explorer.grid.order) == 108
    explorer.grid.hear({"kind": "select", "id": 9})
    assert f"Image {explorer.chosen.opened.predictions.index[9]}" in explorer.detail.layout.title.text
    explorer.grid.hear({"kind": "mark", "id": 9, "on": True})
    assert explorer.map.data[2].x[0] == explorer.map.data[0].x[9]
    explorer.kind.value = "t-SNE"
    explorer.mapping.job.wait(60)
    assert explorer.mapping.job.error is None
    explorer.experiment.value = "b"
    assert explorer.method.value == "P"
    with pytest.raises(ValueError, match="no run is finished"):
        Explorer({"a": []}, tmp_path)


@pytest.mark.slow
def test_the_notebook_runs_with_nobody_there(tmp_path, executed):
    top = Path(__file__).parents[3]
    (tmp_path / "params.yaml").write_text((top / "params.yaml").read_text().replace("epochs: 30", "epochs: 2"))
    for name in ("explore_discrepancy", "explore_peers"):
        made = executed(name)
        assert all(output.output_type != "error" for cell in made.cells for output in cell.get("outputs", []))
    assert len(list((tmp_path / "outputs/quick/runs").glob("*.json"))) == 2
    assert list((tmp_path / "outputs/quick/explore").glob("*.npz"))
