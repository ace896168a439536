"""Many runs: what is finished is never run again, what failed is told, what was made elsewhere is taken in."""

import os

import pytest
import yaml

from pslcore.campaign import GridError, grid
from pslcore.runs import OutOfTime, records

METHODS = {"PSL": {"method": "psl"}, "Random": {"method": "random"}}


@pytest.fixture
def here(tmp_path, root, settings_of_tiny, monkeypatch):
    """A grid in a temporary folder: ``here(experiment, **arguments)`` runs it, ``here.params(...)`` writes its file."""

    class Here:
        params_file = tmp_path / "params.yaml"
        runs = tmp_path / "outputs" / "quick" / "runs"

        def params(self, methods=METHODS, seeds=2, **config):
            base = {name: value for name, value in settings_of_tiny.items() if name not in ("method", "final")}
            section = {"config": {"final": 12} | config, "methods": methods, "seeds": seeds}
            content = {"scale": "quick", "scales": {"quick": {"base": base, "fig": section, "other": section}}}
            self.params_file.write_text(yaml.safe_dump(content))

        def __call__(self, experiment="fig", scale="quick", **arguments):
            where = {"params": self.params_file, "root": root, "out": tmp_path / "outputs", "jobs": 1, "device": "cpu"}
            return grid.run(experiment, scale, **where | arguments)

        def collect(self):
            return grid.collect("fig", "quick", self.params_file, tmp_path / "outputs")

        def files(self):
            return sorted(path.name for path in self.runs.iterdir())

    here = Here()
    here.params()
    return here


@pytest.fixture
def begun(monkeypatch):
    """The configs of all runs that were begun."""
    begun, original = [], grid.run_one

    def run_one(config, *given):
        begun.append(config)
        return original(config, *given)

    monkeypatch.setattr(grid, "run_one", run_one)
    return begun


def contents(results):
    return [(cell.label, cell.config.seed, records.content(record)) for cell, record in results.runs]


# What an experiment is


def test_cells_come_seed_by_seed_with_settings_laid_over_each_other(here):
    here.params({"A": {"method": "random", "recipe": {"lr": 0.5}}, "B": {"method": "psl"}}, recipe={"epochs": 3})
    cells = grid.cells("fig", "quick", here.params_file)
    assert [(cell.label, cell.config.seed) for cell in cells] == [("A", 0), ("B", 0), ("A", 1), ("B", 1)]
    recipe = cells[0].config.recipe
    assert (recipe.lr, recipe.epochs, recipe.batch_size, recipe.padding) == (0.5, 3, 8, 1)
    assert (cells[1].config.recipe.lr, cells[1].config.method, cells[1].config.final) == (0.05, "psl", 12)


def test_merge_leaves_its_arguments_alone():
    one, two = {"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": 5}, "d": {"e": 6}}
    assert grid.merge(one, two) == {"a": {"b": 5, "c": 2}, "d": {"e": 6}}
    assert grid.merge(two, one) == {"a": {"b": 1, "c": 2}, "d": 3}
    assert one == {"a": {"b": 1, "c": 2}, "d": 3}


def test_the_parameters_of_the_repository_are_all_good():
    """Every experiment at every scale, up to what needs the data."""
    for scale, sections in grid.scales().items():
        for experiment in set(sections) - {grid.BASE}:
            cells = grid.cells(experiment, scale)
            assert len({cell.config.key for cell in cells}) == len(cells) > 0


@pytest.mark.parametrize(
    ("experiment", "scale", "sentence"),
    [
        ("fig9", "quick", "unknown experiment 'fig9' at scale 'quick': choose one of fig, other"),
        ("base", "quick", "unknown experiment 'base'"),
        ("fig", "huge", "unknown scale 'huge': choose one of quick"),
    ],
)
def test_unknown_names(here, experiment, scale, sentence):
    with pytest.raises(ValueError, match=sentence):
        here(experiment, scale)


@pytest.mark.parametrize(
    ("text", "error", "sentence"),
    [
        (None, FileNotFoundError, r"params\.yaml is missing: run from the top of the repository"),
        ("scales: [", ValueError, r"params\.yaml cannot be read .*: it needs a mapping `scales`"),
        ("", ValueError, "cannot be read .* needs a mapping `scales`"),
        ("scale: quick", ValueError, "cannot be read .* needs a mapping `scales`"),
        ("scales: [quick]", ValueError, "params.*mapping"),
        ("scales: {quick: }", ValueError, "params.*(quick|scale)|unknown experiment 'fig'"),
        ("scales: {quick: {fig: }}", ValueError, "params.*fig"),
        ("scales: {quick: {fig: {seeds: 2}}}", ValueError, r"params\.yaml: quick\.fig has no `methods`"),
        ("scales: {quick: {fig: {methods: {}}}}", ValueError, r"params\.yaml: quick\.fig has no `seeds`"),
        ("scales: {quick: {fig: {methods: {A: }, seeds: 1}}}", ValueError, "params.*fig|A"),
        ("scales: {quick: {fig: {methods: {A: {method: psl}}, seeds: two}}}", ValueError, "params.*seeds"),
        ("scales: {quick: {fig: {methods: {A: {method: psl}}, seeds: 1}}}", ValueError, "dataset"),
    ],
)
def test_a_parameter_file_that_is_none(here, text, error, sentence):
    here.params_file.unlink()
    if text is not None:
        here.params_file.write_text(text)
    with pytest.raises(error, match=f"(?s){sentence}"):
        here()


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


def test_a_failed_run_is_reported_and_the_others_finish(here, begun):
    here.params(METHODS | {"Wild": {"method": "random", "recipe": {"lr": 1e30, "epochs": 5}}}, seeds=1)
    with pytest.raises(GridError) as caught:
        here()
    told = str(caught.value)
    assert told.startswith("1 of 3 runs of fig failed, the others are kept.")
    assert "Wild, {'dataset': 'tiny', 'method': 'random', 'seed': 0" in told
    assert "'lr': 1e+30" in told
    assert "Traceback" in told
    assert "FloatingPointError: the training of the task learner diverged" in told
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
    assert records.read(aged)["source"] == begun[0].source()
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
    original = grid.run_one

    def first_only(config, *given):
        if config.seed:
            raise OutOfTime
        return original(config, *given)

    monkeypatch.setattr(grid, "run_one", first_only)
    results = here()
    assert [cell.config.seed for cell in results.unfinished] == [1, 1]
    monkeypatch.undo()
    assert not here().unfinished


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
    return grid.take_in(source, "quick", tmp_path / "outputs")


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
        with pytest.raises(FileNotFoundError, match=r"holds no record \(\*\.json\): name the folder"):
            taken(here, tmp_path, source)


def test_a_record_cannot_choose_where_it_is_written(here, tmp_path):
    """Its key is a name, not a path; and it is that of its config."""
    records.write(tmp_path / "made" / "x.json", {"key": "../../x", "config": {}, "cycles": []})
    with pytest.raises(ValueError, match="key"):
        taken(here, tmp_path, tmp_path / "made")
    assert not (tmp_path / "outputs" / "x.json").exists()
