"""``params.yaml``: whatever stands in it, an experiment comes out or one sentence."""

import pytest
import yaml

from pslcore.runs import Config
from psllab.grid import params

METHODS = {"PSL": {"method": "psl"}, "Random": {"method": "random"}}


@pytest.fixture
def here(tmp_path, settings_of_tiny):
    """A parameter file, ``here.params_file``; ``here.params(...)`` writes another."""

    class Here:
        params_file = tmp_path / "params.yaml"

        def params(self, methods=METHODS, seeds=2, **config):
            base = {name: value for name, value in settings_of_tiny.items() if name not in ("method", "final")}
            section = {"config": {"final": 12} | config, "methods": methods, "seeds": seeds}
            content = {"scale": "quick", "scales": {"quick": {"base": base, "fig": section, "other": section}}}
            self.params_file.write_text(yaml.safe_dump(content))

    here = Here()
    here.params()
    return here


def test_cells_come_seed_by_seed_with_settings_laid_over_each_other(here):
    here.params({"A": {"method": "random", "recipe": {"lr": 0.5}}, "B": {"method": "psl"}}, recipe={"epochs": 3})
    cells = params.cells("fig", "quick", here.params_file)
    assert [(cell.label, cell.config.seed) for cell in cells] == [("A", 0), ("B", 0), ("A", 1), ("B", 1)]
    recipe = cells[0].config.recipe
    assert (recipe.lr, recipe.epochs, recipe.batch_size, recipe.padding) == (0.5, 3, 8, 1)
    assert (cells[1].config.recipe.lr, cells[1].config.method, cells[1].config.final) == (0.05, "psl", 12)
    for cell in cells:  # checked once a curve, they are what settings with that seed give
        alone = Config.of(cell.config.changed() | {"seed": cell.config.seed})
        assert (cell.config, cell.config.key) == (alone, alone.key)


def test_all_is_every_experiment_once():
    """What two experiments share is one run; Table 2, which keeps no records, is none."""
    every = params.cells(params.ALL, "quick")
    assert [cell.config.seed for cell in every] == sorted(cell.config.seed for cell in every)
    keys = [cell.config.key for cell in every]
    assert len(set(keys)) == len(keys)
    names = set(params.experiments("quick")) - {"table2"}
    assert set(keys) == {cell.config.key for name in names for cell in params.cells(name, "quick")}
    assert "fig3f" not in {cell.label.split(": ")[0] for cell in every}  # the runs of fig3e


def test_merge_leaves_its_arguments_alone():
    one, two = {"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": 5}, "d": {"e": 6}}
    assert params.merge(one, two) == {"a": {"b": 5, "c": 2}, "d": {"e": 6}}
    assert params.merge(two, one) == {"a": {"b": 1, "c": 2}, "d": 3}
    assert one == {"a": {"b": 1, "c": 2}, "d": 3}


@pytest.mark.slow
def test_the_parameters_of_the_repository_are_all_good():
    """Every experiment at every scale, up to what needs the data."""
    for scale in params.scales():
        assert list(params.interim(scale)) == sorted(params.interim(scale))
        for experiment in params.experiments(scale):
            cells = params.cells(experiment, scale)
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
        params.cells(experiment, scale, here.params_file)


@pytest.mark.parametrize(
    ("text", "error", "sentence"),
    [
        (None, FileNotFoundError, r"params\.yaml is missing: run from the top of the repository"),
        ("scales: [", ValueError, r"params\.yaml cannot be read .*: mend that line"),
        ("", ValueError, r"params\.yaml: None must be a mapping of settings"),
        ("scales: {q: {f: {seeds: 1, seeds: 2}}}", ValueError, r"'seeds' is written twice.* line 1.*: mend that line"),
        ("[1]", ValueError, r"params\.yaml: \[1\] must be a mapping of settings"),
        ("scale: quick", ValueError, r"params\.yaml: `scales` is missing"),
        ("scales: [quick]", ValueError, r"params\.yaml: scales = \['quick'\] must be a valid dictionary"),
        (
            "{scales: {quick: {fig: {}}}, more: 3}",
            ValueError,
            "unknown setting 'more': choose from scale, seeds, scales",
        ),
        ("scales: {../x: {fig: {}}}", ValueError, "is no name"),
        ("scales: {quick: {a/b: {}}}", ValueError, "is no name"),
        ("scales: {quick: }", ValueError, r"params\.yaml: scales.quick = None must be a valid dictionary"),
        ("scales: {quick: {fig: }}", ValueError, r"params\.yaml: quick\.fig: None must be a mapping of settings"),
        ("scales: {quick: {fig: {seeds: 2}}}", ValueError, r"params\.yaml: quick\.fig: `methods` is missing"),
        ("scales: {quick: {fig: {methods: {A: {}}}}}", ValueError, r"params\.yaml: quick\.fig: `seeds` is missing"),
        ("scales: {quick: {fig: {methods: {}, seeds: 1}}}", ValueError, "methods = {}: dictionary should have at"),
        (
            "scales: {quick: {fig: {methods: {A: }, seeds: 1}}}",
            ValueError,
            "fig: methods.A = None must be a valid dictionary",
        ),
        (
            "scales: {quick: {fig: {methods: {A: {method: psl}}, seeds: two}}}",
            ValueError,
            "seeds = 'two' must be a valid integer",
        ),
        (
            "scales: {quick: {fig: {methods: {A: {method: psl}}, seeds: 0}}}",
            ValueError,
            "seeds = 0 must be greater than or equal to 1",
        ),
        (
            "scales: {quick: {fig: {methods: {A: {method: psl}}, seeds: 1, sees: 2}}}",
            ValueError,
            "unknown setting 'sees'",
        ),
        ("scales: {quick: {fig: {methods: {A: {method: psl}}, seeds: 1}}}", ValueError, "A: `dataset` is missing"),
        *[
            (
                f"scales: {{quick: {{base: {base}, fig: {{methods: {{A: {{method: psl}}}}, seeds: 1}}}}}}",
                ValueError,
                told,
            )
            for base, told in (
                ("[1]", r"quick\.base: \[1\] must be a valid dictionary"),
                ("", r"quick\.base: None must be"),
                ("{seed: 3}", r"quick\.base: seed = 3 does not belong here"),
            )
        ],
        *[
            (
                f"scales: {{quick: {{fig: {{config: {config}, methods: {{A: {{method: psl}}}}, seeds: 1}}}}}}",
                ValueError,
                told,
            )
            for config, told in (
                ("[1]", r"fig: config = \[1\] must be a valid dictionary"),
                ("", "config = None must be a valid dictionary"),
                ("{seed: 3}", "config.seed = 3 does not belong here: it follows from `seeds`"),
                ("{method: psl}", "config.method = 'psl' does not belong here: it follows from `methods`"),
            )
        ],
        ("scales: {quick: {fig: {methods: {A: {method: psl, seed: 4}}, seeds: 1}}}", ValueError, "A.seed = 4 does not"),
    ],
)
def test_a_parameter_file_that_is_none(here, text, error, sentence):
    here.params_file.unlink()
    if text is not None:
        here.params_file.write_text(text)
    with pytest.raises(error, match=f"(?s){sentence}"):
        params.cells("fig", "quick", here.params_file)


# Looks and the ceiling


def test_every_experiment_stops_at_the_seeds_of_the_file(here):
    content = yaml.safe_load(here.params_file.read_text())
    for most, kept in ((1, [0, 0]), (2, [0, 0, 1, 1]), (3, [0, 0, 1, 1])):
        here.params_file.write_text(yaml.safe_dump(content | {"seeds": most}))
        assert [cell.config.seed for cell in params.cells("fig", "quick", here.params_file)] == kept
    for wrong in (0, -1, "two", 1.5, True):
        here.params_file.write_text(yaml.safe_dump(content | {"seeds": wrong}))
        with pytest.raises(ValueError, match=rf"params\.yaml: seeds = {wrong!r} "):
            params.cells("fig", "quick", here.params_file)


def test_looks_are_of_a_scale_and_no_experiment(here):
    content = yaml.safe_load(here.params_file.read_text())
    assert params.interim("quick", here.params_file) == ()
    content["scales"]["quick"]["looks"] = [5, 10]
    here.params_file.write_text(yaml.safe_dump(content))
    assert params.interim("quick", here.params_file) == (5, 10)
    assert params.experiments("quick", here.params_file) == ["fig", "other"]
    with pytest.raises(ValueError, match=r"unknown experiment 'looks' .* choose one of fig, other"):
        params.cells("looks", "quick", here.params_file)
    for wrong, told in (
        ([10, 5], "must rise"),
        ([5, 5], "must rise"),
        ([1], "greater than or equal to 2"),
        ([], "at least 1 item"),
        (5, "list"),
    ):
        content["scales"]["quick"]["looks"] = wrong
        here.params_file.write_text(yaml.safe_dump(content))
        with pytest.raises(ValueError, match=rf"params\.yaml: quick: .*{told}"):
            params.interim("quick", here.params_file)


def test_the_ceiling_is_one_more_run_a_seed_on_all_safe_images(here):
    here.params()
    content = yaml.safe_load(here.params_file.read_text())
    section = content["scales"]["quick"]["fig"]
    section["ceiling"] = True
    here.params_file.write_text(yaml.safe_dump(content))
    cells = params.cells("fig", "quick", here.params_file)
    assert [cell.label for cell in cells] == ["PSL", "Random", params.CEILING] * 2
    ceiling, random = cells[5].config, cells[4].config
    assert (ceiling.initial, ceiling.final, ceiling.seed) == (pytest.approx(1 - random.fraction),) * 2 + (1,)
    assert ceiling.but(initial=random.initial, final=random.final) == random
    section["config"]["setting"] = "standard"
    here.params_file.write_text(yaml.safe_dump(content))
    with pytest.raises(ValueError, match=f"{params.CEILING}: it needs the protected setting"):
        params.cells("fig", "quick", here.params_file)
