"""Workers elsewhere leave the same records, whatever happens to them, and only those that fit are given runs."""

import os
import signal
import threading
import time
from types import SimpleNamespace

import pytest
import yaml

from pslcore.runs import load, records
from psllab import grid
from psllab.grid import Cell, config_of, executors, precision

distributed = pytest.importorskip("distributed")
from distributed import Client, LocalCluster  # noqa: E402

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
    ],
)
def test_what_a_worker_lacks_is_told(monkeypatch, lacks, value, said):
    fitness = cluster.Fitness("data", "cpu", {"digits": load("digits", "data").fingerprint})
    fitness._examine()
    monkeypatch.setattr(f"{cluster.__name__}.{lacks}", value)
    with pytest.raises(ValueError, match=said):
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
    with pytest.raises(ValueError, match=r"a cluster needs Dask .*: pip install 'pslcore\[cluster\]'"):
        executors.of("local", 1, "data", "cpu", [])


def test_mixed_workers_begin_in_the_precision_that_all_have():
    cell = Cell("Random", config_of(BASE | {"method": "random", "seed": 0}))
    (own,), _ = precision.fitting([cell], [], native=True)
    assert own.config.recipe.precision == "auto"
    (shared,), _ = precision.fitting([cell], [], native=True, mixed=True)
    assert shared.config.recipe.settled == "float32"
    assert shared.config.key == cell.config.key


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
