"""Workers elsewhere leave the same records, whatever happens to them, and only those that fit are given runs."""

import os
import signal
import threading
import time
from contextlib import closing, suppress
from itertools import chain, repeat
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml

from pslcore.runs import load, records
from psllab import features, grid
from psllab.features import Backbone, backbones
from psllab.grid import Cell, config_of, executors, precision

distributed = pytest.importorskip("distributed")
from distributed import Client, LocalCluster, get_worker  # noqa: E402

from psllab.grid import cluster  # noqa: E402

BASE = {
    "dataset": "digits", "teacher": "resnet8", "initial": 20, "budget": 20, "final": 120,
    "recipe": {"epochs": 8, "batch_size": 32, "padding": 1, "flip": False, "precision": "auto"},
}  # fmt: skip
OTHERS = records.versions() | {"torch": "1.0"}


@pytest.fixture
def here(tmp_path):
    """``here(out, cluster)``: the records of two runs, by key."""
    section = {"methods": {"Random": {"method": "random"}, "PSL": {"method": "psl"}}, "seeds": 1}
    params = tmp_path / "params.yaml"
    params.write_text(yaml.safe_dump({"scales": {"quick": {"base": BASE, "fig": section}}}))

    def run(out, where=None, **more):
        found = grid.run("fig", "quick", params, out=tmp_path / out, jobs=1, cluster=where, **more)
        return {cell.config.key: records.content(record) for cell, record in found.runs}

    return run


@pytest.fixture
def scheduler():
    """A scheduler with two workers that are processes, as `dask worker` starts them."""
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50) as started:
        yield started


@pytest.mark.slow
def test_a_worker_that_dies_costs_one_cycle_and_no_record(here, scheduler, tmp_path):
    folder, killed = tmp_path / "there" / "quick" / "runs", []

    def kill():
        while not (parts := list(folder.glob("*.part.json"))):
            time.sleep(0.02)
        killed.append((parts[0].name, len(records.read(parts[0])["record"]["cycles"])))
        os.kill(scheduler.workers[0].pid, signal.SIGKILL)
        os.kill(scheduler.workers[1].pid, signal.SIGKILL)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    there = here("there", scheduler.scheduler_address)
    thread.join(10)
    assert killed
    assert killed[0][1] >= 1
    assert there == here("here")
    assert len(there) == 2
    assert {path.suffixes[-1] for path in folder.iterdir()} == {".json"}
    assert not list(folder.glob("*.part.json"))


def test_what_a_run_has_kept_comes_from_one_moment_and_is_put_down_whole(tmp_path):
    there, here = tmp_path / "there", tmp_path / "here"
    for folder, step in ((there, 2), (here, 1)):
        folder.mkdir()
        (folder / f"key.step{step}.pt").write_bytes(b"weights")
        (folder / "key.part.json").write_text(str(step))
        (folder / "other.part.json").write_text("of another run")
    cluster._put(here, "key", cluster._files(there, "key"))
    assert sorted(path.name for path in here.iterdir()) == ["key.part.json", "key.step2.pt", "other.part.json"]
    assert (here / "key.part.json").read_text() == "2"
    (there / "key.json").write_text("{}")
    (there / "key.part.json").unlink()
    (there / "key.step2.pt").unlink()
    cluster._put(here, "key", cluster._files(there, "key"))
    assert sorted(path.name for path in here.iterdir()) == ["key.json", "other.part.json"]


def test_a_deadline_can_be_brought_forward():
    until = cluster._Until(time.time() + 100)
    assert not time.time() > until
    assert time.time() + 200 > until
    until.past = True
    assert time.time() > until


@pytest.mark.parametrize(
    ("lacks", "value", "said"),
    [
        ("_code", lambda: "another", "its code is another one: install the same version"),
        ("records.versions", lambda: OTHERS, "it has torch 1.0: install the versions of"),
        ("load", lambda name, root: SimpleNamespace(fingerprint=""), "its digits under data is another data set"),
        ("load", lambda name, root: {}[name], "digits"),
        ("backbones.backbone", lambda name: SimpleNamespace(identity="b"), "its weights of tiny_net are others"),
    ],
)
def test_what_a_worker_lacks_is_told(monkeypatch, lacks, value, said):
    fitness = cluster.Fitness("data", "cpu", {"digits": load("digits", "data").fingerprint}, {"tiny_net": "a"})
    monkeypatch.setattr(backbones, "backbone", lambda name: SimpleNamespace(identity="a"))
    fitness._examine()
    monkeypatch.setattr(f"{cluster.__name__}.{lacks}", value)
    with pytest.raises((ValueError, KeyError), match=said):
        fitness._examine()


def test_a_worker_is_not_to_make_features_that_it_lacks(tmp_path):
    fitness = cluster.Fitness(tmp_path, "cpu", {"cifar10+efficientnet_lite0@128": "a"}, {})
    with pytest.raises(
        ValueError, match=r"cifar10/features holds no features of .* make them, once, or copy them there"
    ):
        fitness._examine()


def test_a_worker_that_does_not_fit_is_given_no_run(here, monkeypatch, capsys):
    def examine(self):
        raise ValueError("it lacks something.")

    monkeypatch.setattr(cluster.Fitness, "_examine", examine)
    started = LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None)
    with started, pytest.raises(ValueError, match="none of its workers can run this"):
        here("there", started.scheduler_address)
    assert "gets no run: it lacks something." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("where", "error", "said"),
    [
        ("tcp://127.0.0.1:9", OSError, r"tcp://127.0.0.1:9: no Dask scheduler with a worker answers \("),
        ("slum", ValueError, "cluster 'slum' is no address .* give one, or local, slurm, pbs, kubernetes"),
        ("kubernetes", ValueError, "cluster 'kubernetes' needs dask-kubernetes: install it"),
    ],
)
def test_a_cluster_that_cannot_be_had_is_told_before_anything_runs(here, monkeypatch, tmp_path, where, error, said):
    monkeypatch.setattr(cluster, "_PATIENCE", 0.3)
    with pytest.raises(error, match=said):
        here("there", where)
    monkeypatch.setenv("PSL_CLUSTER", where)
    with pytest.raises(error, match=said):
        here("there")


def test_a_cluster_and_a_server_are_not_for_the_same_runs(here):
    with pytest.raises(ValueError, match="name one of the two"):
        here("there", "local", cloud=lambda *given: None)


def test_without_dask_the_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "psllab.grid.cluster", None)
    with pytest.raises(ValueError, match=r"a cluster needs Dask .*: install it with `pip install '\.\[cluster\]'`"):
        executors.of("local", 1, "data", "cpu", [])


def test_mixed_workers_begin_in_the_precision_that_all_have():
    cell = Cell("Random", config_of(BASE | {"method": "random", "seed": 0}))
    (own,), _ = precision.fitting([cell], [], native=True)
    assert own.config.recipe.precision == "auto"
    (shared,), _ = precision.fitting([cell], [], native=True, mixed=True)
    assert shared.config.recipe.settled == "float32"
    assert shared.config.key == cell.config.key


def _where(number, config, *given):
    """Where a run is, and how many are there at a time."""
    worker = get_worker()
    worker.going = getattr(worker, "going", 0) + 1
    time.sleep(0.02)
    worker.going -= 1
    return worker.address, worker.going


def _asked(threads, configs, tmp_path, workers=2, then=lambda started: None):
    """What ``_where`` says of runs on a cluster, and the cluster itself."""
    started = LocalCluster(
        n_workers=workers, threads_per_worker=threads, processes=False, dashboard_address=None, silence_logs=50
    )
    with started, closing(cluster.Cluster(started.scheduler_address, 1, "data", "cpu", {})) as asked:
        then(started)
        return list(asked.answers(_where, iter(enumerate(configs)), len(configs), tmp_path, None)), asked


def _configs(n, precision_=None):
    configs = [config_of(BASE | {"method": "random", "seed": seed}) for seed in range(n)]
    return [precision.settle(config, precision_) if precision_ else config for config in configs]


def test_a_worker_has_one_run_at_a_time_whatever_threads_it_has(tmp_path):
    answers, _ = _asked(4, _configs(8), tmp_path, workers=1)
    assert [going for _, going in answers] == [0] * 8


def test_a_seed_begun_in_bfloat16_goes_to_workers_that_compute_it(tmp_path, monkeypatch):
    able = iter([True, False])
    monkeypatch.setattr(cluster, "native_bfloat16", lambda device: next(able))
    answers, asked = _asked(1, _configs(6, "bfloat16"), tmp_path)
    assert (asked.native, asked.mixed) == (True, True)
    assert len({where for where, _ in answers}) == 1


def test_one_that_joins_later_and_does_not_fit_gets_no_run(tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "_code", chain(["ours", "ours"], repeat("another")).__next__)

    def another_joins(started):
        started.scale(2)
        started.wait_for_workers(2)

    answers, _ = _asked(1, _configs(6), tmp_path, workers=1, then=another_joins)
    assert len({where for where, _ in answers}) == 1


def test_a_network_that_is_away_is_waited_for(tmp_path, monkeypatch):
    came, failing = [], iter([True, False, True, True, False])

    class Away(SimpleNamespace):
        """A variable or queue of Dask that is out of reach at times."""

        def get(self, timeout):
            return self.set({"k.part.json": b"earlier"})

        def set(self, files):
            if next(failing, False):
                raise OSError("Timed out trying to connect")
            return files

        def put(self, item):
            came.append(item)

    task = SimpleNamespace(state="executing")
    worker = SimpleNamespace(get_current_task=lambda: "t", state=SimpleNamespace(tasks={"t": task}))
    away = lambda *args, **more: Away()  # noqa: E731
    given = {
        "get_worker": lambda: worker,
        "get_client": lambda: None,
        "_SECONDS": 0.01,
        "Variable": away,
        "Queue": away,
    }
    for name, value in given.items():
        monkeypatch.setattr(cluster, name, value)

    def attempt(number, config, root, folder, device, until):
        (folder / "k.part.json").write_text("a cycle more")
        end = time.monotonic() + 30
        while not came and time.monotonic() < end:
            time.sleep(0.01)
        task.state = "cancelled"
        while not time.time() > until and time.monotonic() < end:
            time.sleep(0.01)
        return until.past

    told = cluster._there(attempt, 0, SimpleNamespace(key="k"), "data", "cpu", None, "session")
    assert told == (True, {"k.part.json": b"a cycle more"})
    assert came == [("k", {"k.part.json": b"a cycle more"})]


def test_workers_extract_features_to_the_same_bytes(tmp_path, new_set, monkeypatch):
    weight, places = torch.randn(30, 192, generator=torch.Generator().manual_seed(0)), set()

    def embed(pixels):
        with suppress(ValueError):  # no worker
            places.add(get_worker().address)
        return (pixels.flatten(1) / 255 @ weight.T).relu()

    monkeypatch.setitem(backbones._BACKBONES, "tiny_net", lambda: Backbone(embed, 30, "a" * 64, 20.0))
    backbones.backbone.cache_clear()
    for folder in ("here", "there"):
        new_set(tmp_path / folder / "small", train=300)
    started = LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None, silence_logs=50)
    with started:
        executors.extract("small+tiny_net@8", tmp_path / "there", started.scheduler_address)
    assert len(places) == 2
    there = features.load("small+tiny_net@8", tmp_path / "there")
    here_ = features.load("small+tiny_net@8", tmp_path / "here")
    for split in ("train", "test"):
        assert np.array_equal(getattr(here_, split).images, getattr(there, split).images)
    backbones.backbone.cache_clear()
    with pytest.raises(ValueError, match="'small' names no features: write DATASET"):
        executors.extract("small", tmp_path, "local")


@pytest.mark.slow
def test_stopped_it_leaves_what_its_workers_had_and_goes_on_from_there(here, scheduler, tmp_path, monkeypatch):
    original = cluster._put

    def put(folder, key, files):
        original(folder, key, files)
        if f"{key}.part.json" in files:
            raise KeyboardInterrupt

    monkeypatch.setattr(cluster, "_put", put)
    with pytest.raises(KeyboardInterrupt):
        here("there", scheduler.scheduler_address)
    assert len(list((tmp_path / "there" / "quick" / "runs").glob("*.part.json"))) == 1
    with Client(scheduler, set_as_default=False) as client:
        end = time.monotonic() + 30
        while any(client.run(lambda dask_worker: dask_worker.state.executing_count).values()):
            assert time.monotonic() < end  # a cycle, not the rest of the run
            time.sleep(0.1)
    monkeypatch.setattr(cluster, "_put", original)
    assert here("there", scheduler.scheduler_address) == here("here")
