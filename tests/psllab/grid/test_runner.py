"""Many runs: what is finished is never run again, what failed is told, what was made elsewhere is taken in."""

import os
import re
from collections import Counter

import pytest

from pslcore import recipe
from pslcore.runs import Config, OutOfTime, fingerprint, records
from psllab.grid import CEILING, Cell, GridError, executors, runner


def contents(results):
    return [(cell.label, cell.config.seed, records.content(record)) for cell, record in results.runs]


# Running


def test_what_is_finished_is_not_run_again(here, begun):
    first = here()
    assert len(begun) == 4
    assert len(first.runs) == 4
    assert not first.stale
    assert not first.unfinished
    again = here()
    assert len(begun) == 4
    assert contents(again) == contents(first)
    assert contents(here("other")) == contents(first)  # another experiment of the same configs
    assert len(begun) == 4
    here.params(seeds=3)
    here()
    assert [config.seed for config in begun[4:]] == [2, 2]
    assert here.files() == sorted(f"{config.key}.json" for config in begun)


def test_what_a_run_left_that_was_killed_while_it_cleared_up_goes_away(here, begun):
    here()
    mine, other = begun[0].key, "0" * 16
    for key in (mine, other):
        for ending in ("part.json", "step2.pt", "client0.step3.pt"):
            (here.runs / f"{key}.{ending}").write_bytes(b"kept")
    here()
    assert {name for name in here.files() if name.count(".") > 1 or name.endswith(".pt")} == {
        f"{other}.{ending}" for ending in ("part.json", "step2.pt", "client0.step3.pt")
    }
    assert len(begun) == 4


def test_a_failed_run_is_reported_and_the_others_finish(here, begun):
    here.params(here.methods | {"Wild": {"method": "random", "recipe": {"lr": 1000, "epochs": 40}}}, seeds=1)
    with pytest.raises(GridError) as caught:
        here()
    told = str(caught.value)
    assert told.startswith("1 of 3 runs of fig failed, the others are kept.")
    assert "Wild, seed 0: FloatingPointError: the training of the task learner diverged" in told
    log = here.runs.parent / "fig.log"
    assert told.endswith(f"What happened stands in {log}.")
    assert "\n" not in told
    assert "Wild, {'dataset': 'tiny', 'method': 'random', 'seed': 0" in log.read_text()
    assert "Traceback" in log.read_text()
    assert [cell.label for cell, _ in here.collect().runs] == ["PSL", "Random"]
    with pytest.raises(GridError, match="1 of 1 runs of fig failed"):
        here()
    assert len(begun) == 4


@pytest.mark.parametrize("wrong", [{"dataset": "none"}, {"final": 31}, {"initial": 3}])
def test_bad_input_is_found_before_anything_runs(here, begun, wrong):
    """As `run` promises; a data set that is not there, or pools that it does not have."""
    here.params({"Random": {"method": "random"}, "Wrong": {"method": "random"} | wrong}, seeds=1)
    with pytest.raises((ValueError, OSError), match=r"unknown data set 'none'|cannot be reached|fewer than the 4"):
        here()
    assert not begun


def test_a_damaged_record_is_run_again(here, begun, capsys):
    first = here()
    path = here.runs / f"{begun[1].key}.json"
    path.write_bytes(path.read_bytes()[:-100])
    found = here.collect()
    assert len(found.runs) == 3
    assert [cell.config.key for cell in found.unfinished] == [begun[1].key]
    assert contents(here()) == contents(first)
    assert begun[4:] == [begun[1]]
    assert f"{path} is damaged" in capsys.readouterr().out


@pytest.fixture
def aged(here, begun):
    """A finished grid, one of whose records was made by other code than today's."""
    here()
    path = here.runs / f"{begun[2].key}.json"
    records.write(path, records.read(path) | {"source": "other"})
    begun.clear()
    return path


def test_stale_records_are_run_again(here, begun, aged, capsys):
    assert [cell.config.key for cell in here.collect().stale] == [aged.stem]
    results = here()
    assert [config.key for config in begun] == [aged.stem]
    assert not results.stale
    assert records.read(aged)["source"] == fingerprint(begun[0])
    assert "1 of 4 records were made by other code than today's: they are run again." in capsys.readouterr().out


def test_stale_records_are_kept_on_demand_and_reported(here, begun, aged):
    results = here(keep_stale=True)
    assert not begun
    assert len(results.runs) == 4
    assert [cell.config.key for cell in results.stale] == [aged.stem]


def test_without_time_nothing_is_begun_and_later_all_is_done(here, begun):
    results = here(minutes=0)
    assert (len(results.runs), len(results.unfinished)) == (0, 4)
    assert here.files() == []
    results = here()
    assert (len(results.runs), len(results.unfinished)) == (4, 0)
    assert len(here(minutes=0).runs) == 4  # what is finished needs no time


def test_runs_that_ran_out_of_time_go_on(here, monkeypatch):
    original = runner.run_one

    def first_only(config, *given):
        if config.seed:
            raise OutOfTime
        return original(config, *given)

    monkeypatch.setattr(runner, "run_one", first_only)
    results = here()
    assert [cell.config.seed for cell in results.unfinished] == [1, 1]
    monkeypatch.undo()
    assert not here().unfinished


@pytest.mark.slow
def test_two_processes_give_what_one_gives(here, tmp_path):
    alone = here(jobs=1)
    together = here(jobs=2, out=tmp_path / "parallel")
    assert contents(together) == contents(alone)


def test_writers_in_one_folder_do_not_disturb_each_other(here, monkeypatch):
    """A run that begins prepares the folder; another process may be writing its record just then."""
    original = os.fsync

    def meanwhile(handle):
        records.prepare(here.runs)
        original(handle)

    monkeypatch.setattr(os, "fsync", meanwhile)
    assert len(here().runs) == 4


def test_an_output_folder_that_cannot_be_written_to(here, begun, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"the output folder .* cannot be written to"):
        here(out=tmp_path / "file")
    assert not begun


# Taking in


@pytest.fixture
def elsewhere(here, tmp_path):
    """A folder with the four records, made by `grid --out elsewhere`."""
    here(out=tmp_path / "elsewhere")
    return tmp_path / "elsewhere"


def taken(here, tmp_path, source):
    return runner.take_in(source, "quick", tmp_path / "outputs")


def test_records_made_elsewhere_are_taken_in_once(here, elsewhere, tmp_path, begun):
    (elsewhere / "quick" / "runs" / "x.part.json").write_text("of a run that is not finished")
    keys = taken(here, tmp_path, elsewhere)
    assert sorted(f"{key}.json" for key in keys) == here.files()
    assert len(keys) == 4
    assert taken(here, tmp_path, elsewhere) == []
    begun.clear()
    assert len(here().runs) == 4
    assert not begun


def test_records_that_say_the_same_are_passed_over(here, elsewhere, tmp_path):
    here()  # other timings, so other files
    before = {name: (here.runs / name).read_bytes() for name in here.files()}
    assert taken(here, tmp_path, elsewhere) == []
    assert {name: (here.runs / name).read_bytes() for name in here.files()} == before


@pytest.mark.parametrize("against", ["what is here", "each other"])
def test_records_that_contradict_are_refused(here, elsewhere, tmp_path, against):
    first, *others = sorted((elsewhere / "quick" / "runs").glob("*.json"))
    record = records.read(first)
    if against == "what is here":
        taken(here, tmp_path, first.parent)
        (here.runs / others[0].name).unlink()  # this one could be taken
        contradicting = first
    else:
        contradicting = elsewhere / "again" / first.name
    record["cycles"][0]["metric"] += 0.5
    records.write(contradicting, record)
    before = here.files() if here.runs.exists() else []
    with pytest.raises(ValueError, match="have the same config but differ: keep one of them and merge again"):
        taken(here, tmp_path, elsewhere)
    assert (here.files() if here.runs.exists() else []) == before


def test_a_damaged_record_is_not_taken_in(here, elsewhere, tmp_path):
    last = max((elsewhere / "quick" / "runs").glob("*.json"))
    last.write_bytes(last.read_bytes()[:-9])
    with pytest.raises(ValueError, match=f"{last.name} is damaged"):
        taken(here, tmp_path, elsewhere)
    assert not here.runs.exists() or here.files() == []


def test_a_damaged_record_here_is_replaced_or_named(here, elsewhere, tmp_path):
    taken(here, tmp_path, elsewhere)
    path = here.runs / here.files()[0]
    path.write_bytes(b"{")
    with pytest.raises(ValueError, match=f"outputs/quick/runs/{path.name} is damaged"):
        taken(here, tmp_path, elsewhere)


def test_a_folder_without_records(here, tmp_path):
    for source in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(FileNotFoundError, match=r"holds no record \(<key>\.json\): name the folder"):
            taken(here, tmp_path, source)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"key": "../../x"}, "key = '../../x' is no"),
        ({"config": {}}, "its config cannot be run"),
        ({"config": None}, "config = None must be a valid dictionary"),
        ({"cycles": []}, "cycles = .* list should have at least 1 item"),
        ({"cycles": None}, "cycles = None must be a valid list"),
        ({"metric": "fun"}, "metric = 'fun' must be 'accuracy' or 'mean IoU'"),
        ({"source": None}, "source = None must be a valid string"),
        ({"hardware": "cpu"}, "hardware = 'cpu' must be a valid dictionary"),
        ({"data": {}}, "`data.name` is missing"),
    ],
)
def test_a_sealed_record_must_be_of_a_records_form(here, elsewhere, tmp_path, capsys, change, sentence):
    """Neither taken in nor taken for finished; whatever it says, it is written nowhere."""
    path = min((elsewhere / "quick" / "runs").glob("*.json"))
    records.write(path, records.read(path) | change)
    with pytest.raises(ValueError, match=sentence):
        taken(here, tmp_path, elsewhere)
    assert not here.runs.exists() or here.files() == []
    here()
    records.write(here.runs / path.name, records.read(here.runs / path.name) | change)
    assert [cell.config.key for cell in here.collect().unfinished] == [path.stem]
    assert re.search(sentence, capsys.readouterr().out)


@pytest.mark.slow
@pytest.mark.parametrize("change", [{"labelled": -1}, {"metric": "high"}, {"picked": [-1]}, {"unlabelled_seen": None}])
def test_so_must_its_cycles(here, change):
    first = here()
    path = here.runs / here.files()[0]
    record = records.read(path)
    record["cycles"][0] |= change
    records.write(path, record)
    assert len(here.collect().runs) == 3
    assert contents(here()) == contents(first)


def test_a_record_under_the_name_of_another_is_not_taken_for_it(here, begun, capsys):
    first = here()
    one, other = (here.runs / f"{config.key}.json" for config in begun[:2])
    other.write_bytes(one.read_bytes())
    assert [cell.config.key for cell in here.collect().unfinished] == [other.stem]
    assert "stands under another name than that of its config" in capsys.readouterr().out
    assert contents(here()) == contents(first)


def test_a_record_that_is_no_file_does_not_hang(here, capsys):
    here()
    path = here.runs / here.files()[0]
    path.unlink()
    os.mkfifo(path)
    assert len(here.collect().unfinished) == 1
    assert "is no file" in capsys.readouterr().out


def test_other_json_files_are_left_alone(here, elsewhere, tmp_path):
    (elsewhere / "quick" / "claims.json").write_text("[]")
    assert len(taken(here, tmp_path, elsewhere)) == 4


@pytest.mark.parametrize("scale", ["../../x", "", "a/b", "..", ".x", "x" * 101])
def test_names_of_scales_must_be_names(tmp_path, scale):
    with pytest.raises(ValueError, match=r"scale .* is no name"):
        runner.take_in(tmp_path, scale, tmp_path / "outputs")


@pytest.mark.parametrize("jobs", [0, -3])
def test_no_process_at_all(here, begun, jobs):
    with pytest.raises(ValueError, match=f"jobs = {jobs} processes cannot run anything"):
        here(jobs=jobs)
    assert not begun


def test_no_folder_at_all(here, begun):
    with pytest.raises(ValueError, match="out = '' is no folder"):
        here(out="")
    assert not begun


def test_a_disk_that_fills_in_the_middle_of_a_run(here, monkeypatch):
    """The run says so in a sentence, and goes on when there is space again."""
    original, calls = records.write_bytes, []

    def full(path, payload):
        calls.append(path)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        original(path, payload)

    monkeypatch.setattr(records, "write_bytes", full)
    with pytest.raises(GridError, match=r"1 of 4 runs of fig failed, .*No space left on device"):
        here()
    monkeypatch.undo()
    assert len(here().runs) == 4


# Precision: a seed goes on as it was begun


@pytest.fixture
def half_done(here, monkeypatch):
    """``half_done(precision)``: seed 0 has a finished run in that precision, its other run is to come."""

    def build(precision):
        here.params(seeds=2, recipe={"precision": "auto"})
        monkeypatch.setattr(recipe, "native_bfloat16", lambda device: precision == "bfloat16")
        here(only={("PSL", 0)})
        (path,) = here.runs.glob("*.json")
        assert records.read(path)["precision"] == precision

    return build


def precisions(results):
    return [record["precision"] for _, record in results.runs]


def this_machine(monkeypatch, native):
    for module in (recipe, executors):
        monkeypatch.setattr(module, "native_bfloat16", lambda device: native)


def test_a_seed_begun_in_float32_is_finished_in_it_on_any_machine(here, half_done, monkeypatch):
    half_done("float32")
    this_machine(monkeypatch, native=True)
    results = here()
    assert precisions(results) == ["float32", "float32", "bfloat16", "bfloat16"]
    assert [record["key"] for _, record in results.runs] == [cell.config.key for cell, _ in results.runs]
    this_machine(monkeypatch, native=False)
    assert precisions(here()) == precisions(results)


def test_a_seed_begun_in_bfloat16_waits_for_a_machine_that_computes_it(here, half_done, monkeypatch, capsys):
    half_done("bfloat16")
    this_machine(monkeypatch, native=False)
    results = here()
    assert precisions(results) == ["bfloat16", "float32", "float32"]
    assert [(cell.label, cell.config.seed) for cell in results.unfinished] == [("Random", 0)]
    assert "fig at quick: seed 0 was begun in bfloat16, which this processor does not" in capsys.readouterr().out
    this_machine(monkeypatch, native=True)
    assert precisions(here()) == ["bfloat16", "bfloat16", "float32", "float32"]


def test_a_stale_run_binds_nobody(here, half_done, monkeypatch):
    half_done("bfloat16")
    (path,) = here.runs.glob("*.json")
    records.write(path, records.read(path) | {"source": "other"})
    this_machine(monkeypatch, native=False)
    assert precisions(here()) == ["float32"] * 4


def test_only_what_is_asked_for(here, begun):
    results = here(only={("PSL", 1), ("Random", 0), ("None", 0)})
    assert {(config.method, config.seed) for config in begun} == {("psl", 1), ("random", 0)}
    assert len(results.unfinished) == 2


# Looks


def of_seeds(seeds):
    """Results whose curves have these seeds finished, of five that are planned."""
    cells = {label: [Cell(label, Config.model_construct(seed=seed)) for seed in range(5)] for label in seeds}
    results = runner.Results("fig", "scale")
    for cell in (cell for those in cells.values() for cell in those):
        if cell.config.seed in seeds[cell.label]:
            results.runs.append((cell, {}))
        else:
            results.unfinished.append(cell)
    return results


@pytest.mark.parametrize(
    ("seeds", "interim", "shown", "later"),
    [
        ({"A": [0, 1, 2, 3], "B": [0, 1, 2]}, (2, 4), 2, 3),
        ({"A": [0, 1, 2, 3], "B": [0, 1, 2, 3, 4]}, (2, 4), 4, 1),
        ({"A": [0, 1, 2], "B": [0, 2, 3]}, (2, 4), None, 0),  # before the first look: whatever there is
        ({"A": [0, 1, 2], "B": []}, (2, 4), None, 0),
        ({"A": [0, 1, 2], "B": [0, 1, 2]}, (), None, 0),
        ({"A": [0, 1, 2], CEILING: []}, (2, 4), 2, 1),
    ],
)
def test_between_two_looks_nobody_looks(seeds, interim, shown, later):
    results = of_seeds(seeds)
    seen = results.up_to_interim(interim)
    assert len(seen.later) == later
    if shown is None:
        assert seen is results
        return
    assert {cell.config.seed for cell, _ in seen.runs} == set(range(shown))
    assert len(seen.runs) + later == len(results.runs)
    assert seen.unfinished == results.unfinished


@pytest.mark.parametrize(
    ("seeds", "interim", "shown"),
    [
        ({"A": [0, 1, 2, 3], "B": [0, 1, 2], "C": [0]}, (2, 4), {"A": 2, "B": 2}),
        ({"A": [0, 1, 2, 3], "B": [0, 2, 3, 4], CEILING: [0, 4]}, (2, 4), {"A": 4, CEILING: 1}),
        ({"A": [0], "B": [0, 2]}, (2, 4), None),
        ({"A": [0, 1, 2]}, (), None),
    ],
)
def test_of_an_unfinished_experiment_the_curves_that_were_analysed_are_shown(seeds, interim, shown):
    results = of_seeds(seeds)
    seen = results.analysed(interim)
    if shown is None:
        assert seen is results
        return
    assert Counter(cell.label for cell, _ in seen.runs) == shown
    assert seen.unfinished == []
