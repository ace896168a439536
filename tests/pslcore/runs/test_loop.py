"""One run: its config, its record, and that it is the same however often it was interrupted."""

import ast
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import pslcore
from pslcore import strategies
from pslcore.data import load
from pslcore.recipe import Recipe
from pslcore.runs import (
    METRICS,
    Config,
    OutOfTime,
    Protocol,
    fingerprint,
    loop,
    records,
    resolve,
    run,
    session,
    training,
)
from pslcore.streams import numpy_stream

NAN, INF = float("nan"), float("inf")


# Config


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"method": "bagde"}, "unknown method 'bagde': choose one of psl, random, entropy"),
        ({"teacher": "resnet9"}, "teacher: unknown network 'resnet9': choose one of resnet8"),
        ({"setting": "open"}, "setting = 'open' must be 'protected' or 'standard'"),
        ({"epochs": 3}, "unknown setting 'epochs': choose from dataset, method, seed"),
        ({"recipe": {"epoch": 3}}, "recipe: unknown setting 'epoch': choose from epochs"),
        ({"recipe": {"epochs": 0}}, "recipe.epochs = 0 must be greater than or equal to 1"),
        ({"options": {"peer": 3}}, "options of PSL: unknown setting 'peer': choose from student, peers"),
        ({"method": "random", "options": {"peers": 2}}, "options of Random: unknown setting 'peers': there is none"),
        ({"method": "random", "examine_peers": 5}, "examine_peers = 5: the method 'random' has no peer students"),
        ({"examine_peers": -5}, "examine_peers = -5 must be greater than or equal to 0"),
        *[({"options": {"peers": value}}, f"options of PSL: peers = {value} must be greater") for value in (0, -1)],
        ({"options": {"alpha": -0.1}}, "alpha = -0.1 must be greater than or equal to 0"),
        ({"options": {"alpha": 1.1}}, "alpha = 1.1 must be less than or equal to 1"),
        ({"options": {"temperature": 0}}, "temperature = 0 must be greater than 0"),
        *[({"options": {name: value}}, f"{name} = {value}")
          for name, value in (("peers", 1.5), ("peers", NAN), ("peers", INF), ("alpha", NAN), ("temperature", NAN))],
        ({"options": {"margin": NAN}}, "margin = nan must be a finite number"),
        ({"options": {"margin": -1}}, "margin = -1 must be greater than or equal to 0"),
        ({"options": {"ranking": "words"}}, "ranking = 'words' must be 'paper' or 'ordered'"),
        ({"options": {"student": "vgg"}}, "student: unknown network 'vgg': choose one of resnet8"),
        ({"initial": NAN}, "initial = nan"), ({"budget": INF}, "budget = inf"),
        ({"final": "many"}, "final = .?many"), ({"initial": None}, "initial = None"),
        ({"noise": 1}, "noise = 1 must be less than 1"), ({"noise": -0.1}, "noise = -0.1 must be greater"),
        ({"noise": NAN}, "noise = nan must be a finite number"), ({"noise": "much"}, "noise = 'much' must be a valid"),
        *[({"recipe": {"zoom": value}}, f"recipe.zoom = {value!r} must be {told}")
          for value, told in ((0.5, "greater"), (NAN, "a finite"), (INF, "a finite"), ("2x", "a valid"))],
        ({"seed": 0.5}, "seed = 0.5 must be a valid integer"),
        ({"recipe": None}, "recipe = None must be a valid dict"), ({"options": [1]}, r"options = .1. must be a valid"),
        ({"warm_start": 1}, "warm_start = 1 must be a valid boolean"),
        *[({"dataset": value}, "dataset = .* must be a valid string") for value in (3, None, [1], {})],
        *[({"dataset": value}, "dataset = .* is no name") for value in ("", "../up", "a/b", ".hidden")],
        *[({name: 10**30}, f"{name} = 10+ must be")
          for name in ("seed", "examine_peers", "initial", "budget", "final")],
        *[({"recipe": {name: 10**30}}, f"recipe.{name} = 10+ must be less than or equal to")
          for name in ("epochs", "batch_size", "padding", "zoom", "lr", "momentum", "weight_decay")],
        *[({"options": {name: 10**30}}, f"{name} = 10+ must be less than or equal to")
          for name in ("peers", "temperature", "margin")],
    ],
)  # fmt: skip
def test_an_impossible_config_is_refused_in_a_sentence(tiny, changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        tiny(**changes)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"dataset": "tinny"}, "unknown data set 'tinny': choose one of digits, .* or put pictures or arrays"),
        ({"initial": 3}, "initial = 3 labelled images are fewer than the 4 classes of tiny: raise `initial`"),
        ({"final": 31}, "final = 31 labelled images cannot be reached: of the 120 .* only 30 may leave the client"),
        ({"setting": "standard", "final": 121}, "only 120 may leave the client"),
        ({"final": 7}, "final = 7 is below initial = 8: nothing could be picked"),
        *[({"budget": value}, f"budget = {value} is no number of images: give a whole number, or a fraction")
          for value in (0, -4, 2.5, 0.001)],
        ({"initial": -8}, "initial = -8 is no number of images"),
        ({"final": 0}, "final = 0 is no number of images"),
        *[({"protected_fraction": value}, f"protected_fraction = {value} must be") for value in (NAN, 1.0, -0.5, 1.5)],
        ({"examine_peers": 41}, "examine_peers = 41, but tiny has only 40 test images"),
    ],
)  # fmt: skip
def test_what_does_not_fit_the_data_is_refused_before_anything_is_trained(root, tiny, monkeypatch, changes, sentence):
    monkeypatch.setattr(session, "train", lambda *given: pytest.fail("something was trained"))
    with pytest.raises(ValueError, match=sentence):
        run(tiny(**changes), root)


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({}, [8, 12, 16]),
        ({"final": 17}, [8, 12, 16, 17]),
        ({"final": 8}, [8]),
        ({"budget": 100}, [8, 16]),
        ({"setting": "standard", "initial": 0.1, "budget": 0.05, "final": 0.25}, [12, 18, 24, 30]),
        ({"initial": 8.0, "budget": 4.0, "final": 16.0}, [8, 12, 16]),
    ],
)
def test_counts(root, tiny, changes, wanted):
    assert Protocol.of(tiny(**changes), load("tiny", root)).counts == wanted


def test_the_key_is_that_of_what_differs_from_the_defaults(tiny):
    key = tiny().key
    same = [
        {"seed": 0}, {"options": {}}, {"options": {"peers": 2, "alpha": 0.1}}, {"warm_start": False},
        {"initial": 8.0, "final": 16.0}, {"setting": "protected"}, {"recipe": {"momentum": 0.9}},
    ]  # fmt: skip
    assert [tiny(**changes).key for changes in same] == [key] * len(same)
    others = [
        {"seed": 1}, {"method": "random"}, {"options": {"peers": 3}}, {"warm_start": True}, {"initial": 9},
        {"setting": "standard"}, {"recipe": {"momentum": 0.8}}, {"dataset": "digits"}, {"examine_peers": 5},
        {"teacher": "resnet14"}, {"protected_fraction": 0.8}, {"options": {"student": "resnet14"}}, {"budget": 5},
    ]  # fmt: skip
    keys = {tiny(**changes).key for changes in others}
    assert len(keys | {key}) == len(others) + 1


def test_whole_numbers_written_with_a_point_are_whole_numbers(root, tiny):
    """One config, one key: so it must be one run as well."""
    pointed = tiny(seed=1.0, examine_peers=3.0, recipe={"epochs": 1.0, "batch_size": 8.0}, options={"peers": 2.0})
    plain = tiny(seed=1, examine_peers=3)
    assert pointed.key == plain.key
    assert records.canonical(records.content(run(pointed, root))) == records.canonical(
        records.content(run(plain, root))
    )


def test_settings_hold_everything_and_give_the_config_back(tiny):
    config = tiny(seed=3, options={"peers": 3}, recipe={"schedule": "step"}, warm_start=True)
    settings = json.loads(json.dumps(config.settings()))
    assert settings["options"] == {
        "student": "resnet8", "peers": 3, "alpha": 0.1, "temperature": 4.0, "margin": 0.01, "ranking": "paper",
        "in_class": True, "out_of_class": True, "study_protected": True,
    }  # fmt: skip
    assert settings["recipe"]["weight_decay"] == 5e-4
    assert Config.of(settings).key == config.key
    assert Config.of(settings).settings() == settings
    assert Config(dataset="tiny", method="psl").recipe == Recipe()


def test_methods_of_a_seed_share_their_pools(root, tiny):
    dataset = load("tiny", root)
    prints = {Protocol.of(tiny(method=method), dataset).pools().fingerprint() for method in strategies.names()}
    assert len(prints) == 1
    assert Protocol.of(tiny(seed=1), dataset).pools().fingerprint() not in prints
    assert Protocol.of(tiny(setting="standard"), dataset).pools().protected.size == 0


def test_the_source_is_that_of_the_code_that_decides(tiny):
    assert fingerprint(tiny()) == fingerprint(tiny(seed=1, dataset="digits", options={"peers": 3}))
    assert fingerprint(tiny(method="random")) != fingerprint(tiny())  # another strategy's file


@pytest.mark.parametrize("method", strategies.names())
def test_the_source_covers_what_the_method_imports(tiny, monkeypatch, method):
    covered = []
    monkeypatch.setattr(records, "source_fingerprint", lambda files: covered.extend(files) or "")
    fingerprint(tiny(method=method))
    assert strategies.source(method) in covered
    for node in ast.walk(ast.parse(strategies.source(method).read_text())):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("pslcore.strategies."):
            assert Path(strategies.__file__).with_name(f"{node.module.split('.')[-1]}.py") in covered


EDITED = """
import sys
from pathlib import Path
from pslcore.runs import Config, fingerprint
with open(Path("pslcore") / "losses.py", "a") as file:
    file.write("VOID = 3\\n")
print(fingerprint(Config.of(eval(sys.argv[1]))))
"""


@pytest.mark.slow
def test_the_source_is_that_of_the_code_that_runs(tiny, tmp_path):
    """Not of the files as they are by now: else a grid that runs while somebody edits signs with the wrong name."""
    shutil.copytree(Path(pslcore.__file__).parent, tmp_path / "pslcore")
    told = subprocess.run(
        [sys.executable, "-c", EDITED, repr(tiny().settings())],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.strip() == fingerprint(tiny())


# The record


@pytest.fixture(scope="module")
def recorded(root, tiny):
    """A finished run of every method."""
    return {method: run(tiny(method=method), root) for method in strategies.names()}


def test_a_record_holds_what_is_documented(recorded, root, tiny):
    record, config, dataset = recorded["psl"], tiny(), load("tiny", root)
    assert set(record) == {
        "config", "key", "data", "pools", "metric", "precision", "cycles", "source", "versions", "hardware",
    }  # fmt: skip
    assert record["config"] == config.settings()
    assert (record["key"], record["source"]) == (config.key, fingerprint(config))
    assert record["data"] == {
        "name": "tiny", "fingerprint": dataset.fingerprint, "note": "", "train": 120, "test": 40, "classes": 4,
    }  # fmt: skip
    assert record["pools"] == Protocol.of(config, dataset).pools().fingerprint()
    assert (record["metric"], record["precision"]) == ("accuracy", "float32")
    assert record["versions"] == records.versions()
    assert record["hardware"] == records.hardware(torch.device("cpu"))
    assert [cycle["labelled"] for cycle in record["cycles"]] == [8, 12, 16]
    for number, cycle in enumerate(record["cycles"]):
        assert set(cycle) == {"labelled", "metric", "picked", "unlabelled_seen", "crossed", "seconds", "memory"}
        timed = {"train", "test", "forward", "pick"} if number < 2 else {"train", "test"}
        assert set(cycle["seconds"]) == timed
        assert all(seconds >= 0 for seconds in cycle["seconds"].values())
        assert 1 << 26 < cycle["memory"] < 1 << 36
        assert 0 <= cycle["metric"] <= 1
        assert (cycle["metric"] * 40).is_integer() or abs(cycle["metric"] * 40 % 1) < 1e-9
    assert record["cycles"][-1]["picked"] == []
    json.dumps(record, allow_nan=False)


def test_a_learnable_set_is_learned(root, tiny):
    record = run(tiny(method="random", recipe={"epochs": 15}, initial=16, final=24, budget=8), root)
    assert record["cycles"][-1]["metric"] > 0.8


@pytest.mark.slow
@pytest.mark.parametrize("method", strategies.names())
def test_methods_of_a_seed_start_from_the_very_same_point(recorded, method):
    record = recorded[method]
    assert record["pools"] == recorded["random"]["pools"]
    if not strategies.get(method).has_auxiliary:  # an auxiliary module trains the task learner too
        assert record["cycles"][0]["metric"] == recorded["random"]["cycles"][0]["metric"]


@pytest.mark.parametrize("method", strategies.names())
def test_how_many_unlabelled_images_the_cloud_has_seen(recorded, method):
    seen = [cycle["unlabelled_seen"] for cycle in recorded[method]["cycles"]]
    uploads = bool(strategies.get(method).requires)
    assert seen == ([22, 22, 22] if uploads else [0, 0, 0])  # 30 may leave, 8 are labelled at the start
    assert uploads == (method not in ("psl", "random", "vaal"))
    for cycle in recorded[method]["cycles"]:
        crossed = cycle["crossed"]
        assert ("up: unlabelled images" in crossed) == uploads
        assert crossed["up: labelled images"] == {"items": cycle["labelled"], "bytes": cycle["labelled"] * 192}


@pytest.mark.parametrize("method", strategies.names())
def test_picks_are_distinct_safe_and_as_many_as_the_budget(recorded, root, tiny, method):
    pools = Protocol.of(tiny(method=method), load("tiny", root)).pools()
    for cycle, count in zip(recorded[method]["cycles"], (4, 4, 0), strict=True):
        assert len(set(cycle["picked"])) == len(cycle["picked"]) == count
        assert set(cycle["picked"]) <= set(pools.safe.tolist())
        assert not set(cycle["picked"]) & set(pools.protected.tolist())
        pools.label(cycle["picked"])


def test_random_picks_are_those_of_the_stream_of_their_cycle(recorded, root, tiny):
    pools = Protocol.of(tiny(method="random"), load("tiny", root)).pools()
    for number, cycle in enumerate(recorded["random"]["cycles"][:-1]):
        wanted = numpy_stream(0, "query", number).choice(pools.safe, 4, replace=False)
        assert cycle["picked"] == wanted.tolist()
        pools.label(wanted)


@pytest.mark.parametrize("setting", ["protected", "standard"])
def test_twice_is_the_same_bit_for_bit(root, digits, setting):
    config = digits(setting=setting, seed=2, final=30)
    one, two = run(config, root), run(config, root)
    assert records.content(one) == records.content(two)
    assert records.content(run(digits(setting=setting, seed=3, final=30), root)) != records.content(one)


def test_nothing_outside_the_config_decides(root, tiny, recorded):
    """Not what ran before in this process, nor the global generators."""
    run(tiny(seed=5, options={"peers": 3}, final=8), root)
    np.random.seed(3)  # noqa: NPY002
    torch.manual_seed(3)
    assert records.content(run(tiny(), root)) == records.content(recorded["psl"])


# Interrupted


@pytest.fixture(scope="module")
def whole(root, tiny):
    """The contents of uninterrupted runs, cold and warm."""
    return {warm: records.content(run(tiny(warm_start=warm), root)) for warm in (False, True)}


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def test_warm_and_cold_are_two_things(whole):
    assert whole[True]["cycles"] != whole[False]["cycles"]


def test_a_run_without_a_folder_keeps_nothing(root, tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(tiny(warm_start=True), root)
    assert files(tmp_path) == []


class Stop(Exception):
    pass


@pytest.mark.slow
@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize(("warm", "write"), [(warm, n) for warm in (False, True) for n in range(5 if warm else 3)])
def test_interrupted_at_any_write_and_resumed(root, tiny, tmp_path, monkeypatch, whole, warm, write, before):
    """Writes: per cycle the weights (warm) and the part record, at the end the record."""
    config, calls, original = tiny(warm_start=warm), [], records.write_bytes

    def interrupted(path, payload):
        calls.append(path.name)
        stop = len(calls) == write + 1
        if stop and before:
            raise Stop
        original(path, payload)
        if stop:
            raise Stop

    monkeypatch.setattr(records, "write_bytes", interrupted)
    with pytest.raises(Stop):
        run(config, root, tmp_path)
    monkeypatch.undo()
    done = sum(name.endswith(".part.json") for name in calls[: write if before else write + 1])
    trained = counted(monkeypatch)
    record = run(config, root, tmp_path)
    assert len(trained) == 3 - done  # finished cycles are not trained again
    assert records.content(record) == whole[warm]
    assert records.content(records.read(tmp_path / f"{config.key}.json")) == whole[warm]
    assert files(tmp_path) == [f"{config.key}.json"]


def counted(monkeypatch):
    """A list that grows by one whenever a cycle is trained."""
    trained, original = [], training.train
    monkeypatch.setattr(session, "train", lambda *given: trained.append(1) or original(*given))
    return trained


@pytest.mark.parametrize("cycle", [0, 1, 2])
def test_an_exception_within_any_cycle_and_resumed(root, tiny, tmp_path, monkeypatch, whole, cycle):
    original, begun = training.train, []

    def broken(*given):
        begun.append(1)
        if len(begun) == cycle + 1:
            raise MemoryError
        original(*given)

    monkeypatch.setattr(session, "train", broken)
    with pytest.raises(MemoryError):
        run(tiny(), root, tmp_path)
    monkeypatch.undo()
    assert records.content(run(tiny(), root, tmp_path)) == whole[False]


CHILD = """
from pslcore.runs import Config, run
run(Config.of(settings), root, folder)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("warm", "hang_at"), [(False, 2), (True, 4)])
def test_killed_in_the_middle_of_a_write_and_resumed(root, tiny, tmp_path, whole, hanging, warm, hang_at):
    """With -9, from outside, while the second part record is being written."""
    config, folder, mark = tiny(warm_start=warm), tmp_path / "runs", tmp_path / "mark"
    what = repr((config.settings(), str(root), str(folder), hang_at, str(mark)))
    with subprocess.Popen(
        [sys.executable, "-c", hanging + CHILD, what], env=os.environ | {"OMP_NUM_THREADS": "1"}
    ) as child:
        while not mark.exists() and child.poll() is None:
            time.sleep(0.02)
        os.kill(child.pid, signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL
    (temporary,) = (name for name in files(folder) if name.startswith(".writing-"))
    long_ago = time.time() - 100 * 3600
    os.utime(folder / temporary, (long_ago, long_ago))
    assert f"{config.key}.part.json" in files(folder)
    assert records.content(run(config, root, folder)) == whole[warm]
    assert files(folder) == [f"{config.key}.json"]


def interrupt(config, root, folder, cycles=2):
    """Leave the folder as a run that was stopped after so many cycles does."""
    original = records.write

    def stop(path, record):
        original(path, record)
        if len(record.get("record", record)["cycles"]) == cycles:
            raise Stop

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "write", stop)
        with pytest.raises(Stop):
            run(config, root, folder)
    return folder / f"{config.key}.part.json"


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["cut", "altered", "empty", "other code", "other data"])
def test_a_part_record_that_does_not_fit_is_not_trusted(root, tiny, tmp_path, monkeypatch, whole, damage):
    part = interrupt(tiny(), root, tmp_path)
    text = part.read_bytes()
    if damage.startswith("other"):
        content = records.read(part)
        content["record"] |= {"source": "x"} if damage == "other code" else {"data": {}}
        records.write(part, content)
    else:
        altered = text.replace(b'"unlabelled_seen": 0', b'"unlabelled_seen": 1')
        part.write_bytes({"cut": text[: len(text) // 2], "altered": altered, "empty": b""}[damage])
        assert part.read_bytes() != text
    trained = counted(monkeypatch)
    assert records.content(run(tiny(), root, tmp_path)) == whole[False]
    assert len(trained) == 3
    assert files(tmp_path) == [f"{tiny().key}.json"]


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_kept_weights_that_are_damaged_are_not_trusted(root, tiny, tmp_path, whole, damage):
    interrupt(tiny(warm_start=True), root, tmp_path)
    weights = max(tmp_path.glob("*.pt"))  # of the last cycle; those before have not been removed yet
    if damage == "gone":
        weights.unlink()
    else:
        weights.write_bytes(weights.read_bytes()[:1000])
    assert records.content(run(tiny(warm_start=True), root, tmp_path)) == whole[True]


def test_when_time_is_up_the_run_stops_cleanly_and_goes_on_later(root, tiny, tmp_path, monkeypatch, whole):
    with pytest.raises(OutOfTime):
        run(tiny(), root, tmp_path, deadline=time.time() - 1)
    assert files(tmp_path) == []
    clock = time.time()
    monkeypatch.setattr(loop.time, "time", lambda: clock)
    original = training.train

    def slow(*given):
        nonlocal clock
        clock += 50
        original(*given)

    monkeypatch.setattr(session, "train", slow)
    with pytest.raises(OutOfTime):
        run(tiny(), root, tmp_path, deadline=clock + 60)
    assert len(records.read(tmp_path / f"{tiny().key}.part.json")["record"]["cycles"]) == 2
    assert records.content(run(tiny(), root, tmp_path, deadline=clock + 60)) == whole[False]
    assert files(tmp_path) == [f"{tiny().key}.json"]


def test_runs_in_one_folder_leave_each_other_alone(root, tiny, tmp_path, whole):
    part = interrupt(tiny(warm_start=True), root, tmp_path)
    run(tiny(), root, tmp_path)
    assert part.exists()
    assert records.content(run(tiny(warm_start=True), root, tmp_path)) == whole[True]
    assert files(tmp_path) == sorted(f"{tiny(warm_start=warm).key}.json" for warm in (False, True))


def test_a_folder_that_cannot_be_written_to_is_noticed_first(root, tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(session, "train", lambda *given: pytest.fail("something was trained"))
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"the output folder .* cannot be written to"):
        run(tiny(), root, tmp_path / "file" / "runs")


# Fig. 7


def test_examined_peers(root, tiny):
    record = run(tiny(final=8, examine_peers=30, recipe={"epochs": 10}), root)
    peers = record["peers"]
    assert set(peers) == {"discrepancy", "consensus", "correct", "correct_each"}
    assert [len(peers[name]) for name in ("discrepancy", "consensus", "correct")] == [30] * 3
    assert np.shape(peers["correct_each"]) == (2, 30)
    discrepancy, consensus, each = (np.array(peers[name]) for name in ("discrepancy", "consensus", "correct_each"))
    assert (discrepancy >= 0).all()
    assert consensus[each[0] & each[1]].all()  # both right: then they agree
    assert not consensus[each[0] != each[1]].any()  # one right: then they do not
    correct = np.array(peers["correct"])
    assert correct[each.all(0)].all()
    assert not correct[consensus & ~each.any(0)].any()
    json.dumps(record)


def test_examining_changes_nothing_else(root, tiny):
    plain, examined = run(tiny(), root), run(tiny(examine_peers=5), root)
    assert [cycle["picked"] for cycle in examined["cycles"]] == [cycle["picked"] for cycle in plain["cycles"]]
    assert [cycle["metric"] for cycle in examined["cycles"]] == [cycle["metric"] for cycle in plain["cycles"]]


# Noise


def test_noisy_labels_are_what_both_sides_learn_from(root, tiny):
    config, dataset = tiny(noise=0.4), load("tiny", root)
    told = Protocol.of(config, dataset).labels
    asked = []

    class Watched(session.Oracle):
        def ask(self, indices):
            asked.append((indices, super().ask(indices)))
            return asked[-1][1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "Oracle", Watched)
        record = run(config, root)
    for indices, labels in asked:  # the initial pool first, then every pick
        assert np.array_equal(labels, told[indices])
    assert [len(indices) for indices, _ in asked] == [8, 4, 4]
    wrong = told != dataset.train.labels
    assert record["noise"] == {"measured": wrong.mean(), "within": "all classes"}
    assert 0.25 < wrong.mean() < 0.55
    assert np.array_equal(Protocol.of(tiny(noise=0.4, method="random", budget=2), dataset).labels, told)
    assert not np.array_equal(Protocol.of(tiny(noise=0.4, seed=1), dataset).labels, told)
    plain = run(tiny(), root)
    assert "noise" not in plain
    assert plain["pools"] == record["pools"]


def test_noise_within_the_superclass(tiny):
    dataset = load("numbers")
    told = Protocol.of(tiny(dataset="numbers", noise=0.3, initial=100, final=100), dataset).labels
    assert 0.27 < (told != dataset.train.labels).mean() < 0.33
    assert np.array_equal(told // 10, dataset.train.labels // 10)


# Pixel labels


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"teacher": "resnet8", "method": "random"}, "teacher 'resnet8' cannot learn the pixel labels of digit_scenes: "
         "choose one of drn_d_22, lraspp_mobilenet_v3_small"),
        ({"method": "psl"}, "student 'resnet8' cannot learn the pixel labels of digit_scenes"),
        ({"method": "badge"}, "the method 'badge' has no form for pixel labels, which digit_scenes has: leave it out"),
        ({"method": "alfa_mix"}, "the method 'alfa_mix' has no form for pixel labels"),
        ({"method": "random", "noise": 0.1}, "noise has no form for pixel labels"),
        ({"dataset": "digits", "method": "random", "initial": 20, "final": 20},
         "teacher 'drn_d_22' cannot learn the image labels of digits: choose one of resnet8, resnet14, resnet18"),
    ],
)  # fmt: skip
def test_networks_and_methods_that_do_not_fit_the_labels(tiny, changes, sentence):
    made = tiny(**{"dataset": "digit_scenes", "teacher": "drn_d_22"} | changes)
    with pytest.raises(ValueError, match=sentence):
        resolve(made)


# Metrics


def test_metrics_from_a_confusion_matrix():
    matrix = np.array([[3, 1, 0, 0], [0, 2, 2, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    assert METRICS["accuracy"](matrix) == pytest.approx(5 / 8)
    # class 2 was never true but given, class 3 is in neither
    assert METRICS["mean IoU"](matrix) == pytest.approx((3 / 4 + 2 / 5 + 0) / 3)
