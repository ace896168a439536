"""What people look at, from made-up records whose every number is known."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from pslcore.runs import Config
from pslcore.sides import protected_setting
from psllab.analysis import consensus, figures, noise, statistics
from psllab.grid import Cell, Results

N = 200
BUDGETS = [10, 14, 18]
# per method: metrics [seeds, budgets]; all leave from one point
CURVES = {
    "PSL": [[0.30, 0.50, 0.70], [0.40, 0.56, 0.78]],
    "Random": [[0.30, 0.40, 0.50], [0.40, 0.46, 0.62]],
}
METHODS = {"PSL": "psl", "Random": "random", "Entropy": "entropy"}


def run(label, seed=0, metrics=(0.3, 0.5, 0.7), picks=None, seen=0, source="now", **settings):
    """A cell and the record that its run would leave."""
    config = Config.of(
        {"dataset": "made-up", "method": METHODS.get(label, "psl"), "seed": seed, "teacher": "resnet8"}
        | {"protected_fraction": 0.75, "initial": 10, "budget": 4, "final": 10 + 4 * (len(metrics) - 1)} | settings
    )  # fmt: skip
    fraction = config.protected_fraction if config.setting == "protected" else 0.0
    pools = protected_setting(N, 10, fraction, seed)
    record = {
        "config": config.settings(),
        "key": config.key,
        "data": {"name": "made-up", "note": "Drawn by hand.", "train": N, "test": 1500},
        "pools": pools.fingerprint(),
        "metric": "accuracy",
        "source": source,
        "versions": {"torch": "9.9"},
        "hardware": {"device": "cpu", "processor": "Abacus", "cores": 2},
        "cycles": [],
    }
    safe = pools.safe.tolist()
    picks = picks or [safe[4 * number : 4 * number + 4] for number in range(len(metrics) - 1)]
    for number, (metric, picked) in enumerate(zip(metrics, [*picks, []], strict=True)):
        record["cycles"].append(
            {"labelled": 10 + 4 * number, "metric": metric, "picked": picked, "unlabelled_seen": seen * (number + 1)}
            | {"seconds": {"train": 20.0, "test": 3.0, "pick": 1.0}}
        )
    return Cell(label, config), record


def made(*runs, **more):
    return Results("fig0", "quick", list(runs), **more)


def both(curves=CURVES):
    """Seed by seed, as a grid gives them."""
    return made(*(
        run(label, seed, metrics[seed], seen=4 if label == "Random" else 0)
        for seed in range(2) for label, metrics in curves.items()
    ))  # fmt: skip


# Curves and tables


def test_frame_has_a_row_a_cycle():
    table = figures.frame(both())
    assert list(table.columns) == ["method", "seed", "labelled", "metric", "unlabelled_seen"]
    assert len(table) == 2 * 2 * 3
    one = table[(table["method"] == "Random") & (table["seed"] == 1)]
    assert one["labelled"].tolist() == BUDGETS
    assert one["metric"].tolist() == CURVES["Random"][1]
    assert one["unlabelled_seen"].tolist() == [4, 8, 12]


def test_budget_curves_show_means_and_deviations():
    figure = figures.budget_curves(both())
    assert [trace.name for trace in figure.data] == ["PSL", "Random"]
    for trace in figure.data:
        metrics = 100 * np.array(CURVES[trace.name])
        assert list(trace.customdata) == BUDGETS
        np.testing.assert_allclose(trace.x, BUDGETS, atol=0.1)  # beside each other, so that no bar hides another
        np.testing.assert_allclose(trace.y, metrics.mean(0))
        np.testing.assert_allclose(trace.error_y.array, metrics.std(0, ddof=1))
    assert "PSL from 35.0 to 74.0 %; Random from 35.0 to 56.0 %." in figure.layout.meta["alt"]
    assert [list(trace["y"]) for trace in figure.layout.meta["difference"]["data"]][1] == [0, 0, 0]
    assert figure.data[0].y[0] == figure.data[1].y[0]
    assert figure.layout.xaxis.title.text == "labelled images (of 200 training images)"
    assert figure.layout.yaxis.title.text == "accuracy on the test set (%)"
    title = figure.layout.title.text
    assert all(words in title for words in ("fig0", "made-up", "scale quick", "standard deviation of 2 seeds"))


def test_budget_curves_of_few_and_of_uneven_seeds():
    figure = figures.budget_curves(made(run("PSL", 0, [0.1, 0.2]), run("PSL", 1, [0.3, 0.4]), run("Random", 0)))
    assert "1 to 2 seeds" in figure.layout.title.text
    assert list(figure.data[1].error_y.array) == [0, 0, 0]


def test_eight_methods_can_be_told_apart():
    figure = figures.budget_curves(made(*(run(f"method {number}") for number in range(8))))
    assert len({trace.line.color for trace in figure.data}) == 8
    assert len({trace.marker.symbol for trace in figure.data}) == 8


def test_summary_has_a_row_a_method():
    table = figures.summary(both()).set_index("method")
    assert table["seeds"].to_dict() == {"PSL": 2, "Random": 2}
    assert table["accuracy at 10 labels (%)"].tolist() == ["35.0 ± 63.5", "35.0 ± 63.5"]
    assert table["accuracy at 18 labels (%)"].tolist() == ["74.0 ± 50.8", "56.0 ± 76.2"]
    under = 100 * statistics.areas(figures.frame(both()))["PSL"]
    assert under.tolist() == pytest.approx([50, 57.5])
    assert table["area under the curve (%, 95 % interval)"]["PSL"] == f"53.8 ± {statistics.interval(under):.1f}"
    assert table["unlabelled images seen by the cloud"].to_dict() == {"PSL": "0", "Random": "12"}


def test_what_the_cloud_saw_is_told_by_the_mark_and_the_best_stands_above():
    runs = [
        run(label, seed, [level + 0.01 * seed] * 3, seen=seen)
        for seed in range(3) for label, level, seen in (("PSL", 0.5, 0), ("Entropy", 0.6, 400), ("Random", 0.4, 0))
    ]  # fmt: skip
    figure = figures.privacy(made(*runs))
    none, all_of_it = figure.data
    assert (none.name, all_of_it.name) == ("0 unlabelled images seen", "1,200 unlabelled images seen")
    assert (list(none.y), list(all_of_it.y)) == (["Random", "PSL"], ["Entropy"])
    assert list(none.x) == pytest.approx([41, 51])
    assert list(none.error_x.array) == pytest.approx([4.302653 / np.sqrt(3)] * 2)  # t of 2 degrees of freedom; sd 1
    assert none.marker.symbol != all_of_it.marker.symbol
    assert list(figure.layout.yaxis.categoryarray) == ["Random", "PSL", "Entropy"]
    assert "Entropy 61.0 % with 1,200 images seen" in figure.layout.meta["alt"]
    assert list(figures.privacy(made(run("PSL"))).data[0].error_x.array) == [0]  # one seed has no interval
    none, all_of_it = figures.privacy(made(*runs), "Random").data  # of paired seeds nothing is left of their spread
    assert [*none.x, *all_of_it.x] == pytest.approx([0, 10, 20])
    assert [*none.error_x.array, *all_of_it.error_x.array] == pytest.approx([0, 0, 0], abs=1e-6)


def test_nothing_has_no_minus():
    assert figures.format_interval(-0.04, 0.7, "+") == "+0.0 ± 0.7"
    assert figures.format_interval(-0.06, float("nan"), "+") == "-0.1"


def test_summary_of_a_single_budget():
    table = figures.summary(made(run("PSL", 0, [0.25])))
    assert table["accuracy at 10 labels (%)"].tolist() == ["25.0"]
    assert sum("labels" in name for name in table.columns) == 1


def test_paired_tests_are_in_points():
    table = figures.paired_tests(both())
    difference = 100 * (
        statistics.areas(figures.frame(both()))["PSL"] - statistics.areas(figures.frame(both()))["Random"]
    )
    assert difference.mean() == pytest.approx(9.5)
    assert table["PSL against"].tolist() == ["Random"]
    assert table.iloc[0, 1] == f"+9.5 ± {statistics.interval(difference):.1f}"
    assert table["seeds"].tolist() == [2]
    assert figures.paired_tests(both(), "Random").iloc[0, 1].startswith("-9.5")


def test_an_ablation_is_held_against_psl_as_it_is_by_whatever_name():
    results = both()
    assert figures.reference(results) == "PSL"
    peers = [(replace(cell, label=f"{2 - n // 2} peers"), record) for n, (cell, record) in enumerate(results.runs)]
    assert figures.reference(replace(made(*peers), experiment="fig5b")) == "2 peers"
    assert figures.reference(replace(made(*peers), experiment="fig5c")) == figures.finished(made(*peers))[0][0].label


# Matrices


def test_the_win_matrix_says_who_wins():
    steady = {"PSL": [[0.2, 0.6, 0.7]] * 2, "Random": [[0.2, 0.5, 0.7]] * 2}
    figure = figures.win_matrix(both(steady))
    assert list(figure.data[0].y) == list(figure.data[0].x) == ["PSL", "Random"]
    shown = json.loads(figure.to_json())["data"][0]["z"]  # as the page gets it
    assert shown == [[None, 50], [0, None]]  # the row PSL beats the column Random
    assert [list(row) for row in figure.data[0].text] == [["", "50"], ["0", ""]]
    assert (figure.layout.yaxis.title.text, figure.layout.xaxis.title.text) == ("winner", "beaten")
    assert figure.layout.yaxis.autorange == "reversed"
    assert "the row beats the column" in figure.layout.title.text


def test_final_labels_are_the_initial_ones_and_the_picks():
    results = both()
    labelled = figures.final_labels(results)
    assert {method: set(seeds) for method, seeds in labelled.items()} == {"PSL": {0, 1}, "Random": {0, 1}}
    for seed in (0, 1):
        pools = protected_setting(N, 10, 0.75, seed)
        first, second, _ = results.runs[2 * seed][1]["cycles"]
        assert labelled["PSL"][seed] == {*pools.labelled.tolist(), *first["picked"], *second["picked"]}
        assert len(labelled["PSL"][seed]) == 18


def test_what_two_methods_share_is_told_of_the_seeds_that_keep_their_picks():
    """Of records packed without them it is not known: they are no runs that picked nothing."""
    results = both()
    for cell, record in results.runs:
        if cell.config.seed == 1:
            record["content"] = "0" * 16
            for entry in record["cycles"]:
                entry["picked"] = []
    assert {method: set(seeds) for method, seeds in figures.final_labels(results).items()} == {
        "PSL": {0},
        "Random": {0},
    }
    assert "; 1 seed whose picks are kept)" in figures.overlap_matrix(results).layout.title.text
    assert "picks are kept" not in figures.overlap_matrix(both()).layout.title.text


def test_final_labels_in_the_standard_setting():
    labelled = figures.final_labels(made(run("PSL", 3, setting="standard")))["PSL"][3]
    pools = protected_setting(N, 10, 0.0, 3)
    assert labelled == set(pools.labelled.tolist()) | set(pools.safe[:8].tolist())


@pytest.mark.parametrize("show", [figures.final_labels, figures.overlap_matrix])
def test_a_record_of_other_pools_is_refused(show):
    cell, record = run("PSL")
    other = made((cell, record | {"pools": "0" * 64}))
    with pytest.raises(ValueError, match=f"record {record['key']} began with other pools .*: run it again"):
        show(other)


def test_the_overlap_matrix_shows_shared_labels_and_chance():
    safe = protected_setting(N, 10, 0.75, 0).safe.tolist()
    assert len(safe) == 40
    one, other = run("PSL", picks=[safe[:4], safe[4:8]]), run("Random", picks=[safe[6:10], safe[10:14]])
    figure = figures.overlap_matrix(made(one, other))
    shared = 100 * (10 + 2) / 18
    np.testing.assert_allclose(np.array(figure.data[0].z, dtype=float), [[100, shared], [shared, 100]])
    assert f"by chance {100 * (10 + 8 * 8 / 40) / 18:.0f} %" in figure.layout.title.text


# What stands under a figure


def test_provenance_says_where_the_numbers_are_from():
    results = both()
    note = figures.provenance(results)
    facts = ("Scale quick", "made-up", "200 training", "1,500 test", "resnet8", "350 epochs", "2 seeds", "4 runs")
    for fact in (*facts, "Abacus (cpu)", "torch 9.9", "Drawn by hand."):
        assert fact in note
    assert "not finished" not in note
    assert "other code" not in note
    assert "width" not in note
    narrow = made(*((replace(cell, config=cell.config.but(method="vaal", options={"width": 8})), record)
                    for cell, record in results.runs))  # fmt: skip
    assert "VAAL's autoencoder: `width` 8 (its authors: 128)." in figures.provenance(narrow)
    cells = [cell for cell, _ in results.runs]
    note = figures.provenance(made(*results.runs[:3], unfinished=cells[3:], stale=cells[:2]))
    assert "not finished: 1 of 4 runs." in note
    assert "2 runs were made by other code than today's" in note
    gone = made(*results.runs[::2], stale=cells[:2])  # one is of a curve that waits for its interim analysis
    assert "1 run was made by other code than today's" in figures.provenance(gone)


def test_what_repeats_is_told_apart_from_where_it_was_made():
    results = both()
    about, where = figures.about(results), figures.made(results)
    assert where == "4 runs on Abacus (cpu); torch 9.9."
    assert not {"Abacus", "torch"} & set(about.replace("(", " ").split())
    assert "Scale quick" in about
    assert "Drawn by hand." in about
    cells = [cell for cell, _ in results.runs]
    assert "not finished: 1 of 4 runs." in figures.about(made(*results.runs[:3], unfinished=cells[3:]))


def test_a_seed_that_no_method_has_is_not_missing():
    results = both()
    (*three, (cell, _)), later = results.runs, run("Random", seed=7)[0]
    assert "not finished" not in figures.about(made(*results.runs, unfinished=[later]))
    assert "not finished: 1 of 4 runs." in figures.about(made(*three, unfinished=[cell, later]))


def test_provenance_names_every_machine():
    cell, record = run("Random")
    other = cell, record | {"hardware": {"device": "Big GPU", "processor": "Engine", "cores": 16}}
    assert "Abacus (cpu); Engine (Big GPU)" in figures.provenance(made(run("PSL"), other))


def test_cost_is_in_processor_minutes():
    assert figures.cost(both()) == pytest.approx(4 * 3 * 24 / 60)


@pytest.mark.parametrize(
    "show",
    [
        figures.frame,
        figures.budget_curves,
        figures.summary,
        figures.paired_tests,
        figures.win_matrix,
        figures.overlap_matrix,
        consensus.table,
        consensus.bars,
        figures.provenance,
    ],
)
def test_nothing_finished_is_said_so(show):
    with pytest.raises(ValueError, match="no run of fig0 at quick is finished: run the experiment first"):
        show(made(unfinished=[run("PSL")[0]]))


# Ablations, noise, scenes


def test_price_per_curve():
    runs = [run("two", seed=s, options={"peers": 2}) for s in (0, 1)] + [run("three", options={"peers": 3})]
    for number, (_, record) in enumerate(runs):
        for entry in record["cycles"]:
            entry["memory"] = (100.5 + 0.5 * number) * 2**20
            entry["seconds"] |= {"forward": 0.5 + number}
        record["cycles"][-1]["seconds"] = {"train": 900.0}  # after the last pick there are no students
        record["cycles"][0]["memory"] += 10 * 2**20
    table = figures.price(made(*runs)).set_index("students")
    assert list(table.index) == ["two", "three"]
    assert table["peers' parameters"].tolist() == ["156,084", "234,126"]  # two and three ResNet-8
    assert table["training (s a cycle)"].tolist() == ["20.0", "20.0"]
    assert table["scoring pass (s a pick)"].tolist() == ["1.00", "2.50"]
    assert table["peak memory (MiB)"].tolist() == ["111", "112"]


def test_heads_are_counted_for_the_vectors_and_classes_of_their_runs():
    cell, record = run("two", options={"peers": 2, "student": "mlp32"})
    record["cycles"][0]["crossed"] = {"up: labelled images": {"items": 10, "bytes": 12_800}}
    record["data"]["classes"] = 7
    (count,) = figures.price(made((cell, record)))["peers' parameters"]
    assert count == f"{2 * (1280 * 32 + 32 + 32 * 7 + 7):,}"


def test_price_of_records_without_memory_or_students():
    table = figures.price(made(run("two"), run("Random")))
    assert table["peak memory (MiB)"].tolist() == ["–", "–"]
    assert table["peers' parameters"].tolist() == ["156,084", "0"]


def test_noise_against_the_last_budget():
    def at(noise, *ends):
        return made(*(run("PSL", seed=s, metrics=(0.3, end), noise=noise) for s, end in enumerate(ends)))

    clean = at(0.0, 0.5, 0.7)
    clean.runs.append(run("Random", metrics=(0.3, 0.9)))  # not run with noise: not shown
    both = [clean, at(0.2, 0.4, 0.4)]
    figure = noise.curves(both)
    (line,) = figure.data
    assert list(line.x) == [0, 20]
    np.testing.assert_allclose(line.y, [60, 40])
    np.testing.assert_allclose(line.error_y.array, [100 * np.std([0.5, 0.7], ddof=1), 0], atol=1e-9)
    assert "mean ± standard deviation" in figure.layout.title.text
    half = stats.t.interval(0.95, 1, scale=10 / np.sqrt(1))[1]  # two seeds 20 points apart: a standard error of 10
    assert noise.table(both).to_dict("records") == [
        {"method": "PSL", "0 % wrong": f"60.0 ± {half:.1f}", "20 % wrong": "40.0 ± 0.0"}
    ]
    assert "3 runs on" in figures.provenance(clean)
    assert "5 runs on" in figures.provenance(both[1], clean)
    assert " 5 runs." in figures.about(both[1], clean)


def test_a_scene():
    truth = np.array([[0, 1], [2, 255]])
    answers = {"teacher": truth.clip(0, 2), "student 1": np.zeros((2, 2), dtype=int)}
    image = np.arange(12, dtype=np.uint8).reshape(3, 2, 2)
    figure = figures.scene(image, truth, answers, np.eye(2), ["road", "sky", "car"])
    panels = [text.text for text in figure.layout.annotations]
    assert panels == ["image", "truth", "teacher", "student 1", "discrepancy"]
    picture, shown, teacher, student, heat = figure.data
    assert np.array_equal(picture.z, image.transpose(1, 2, 0))
    assert np.array_equal(shown.z, [[0.5, 1.5], [2.5, np.nan]], equal_nan=True)
    assert np.array_equal(teacher.z, [[0.5, 1.5], [2.5, 2.5]])
    assert (np.array(student.z) == 0.5).all()
    assert np.array_equal(heat.z, np.eye(2))
    assert list(shown.colorbar.ticktext) == ["road", "sky", "car"]
    colours = [colour for _, colour in shown.colorscale]
    assert colours[::2] == colours[1::2] == figures.pixel_colours(3)  # a step a class, no mixtures
    assert len(set(figures.pixel_colours(19))) == 19


def test_one_seed_has_no_interval_and_no_p():
    one = made(run("PSL"), run("Random", metrics=(0.3, 0.4, 0.5)))
    assert figures.summary(one)["area under the curve (%, 95 % interval)"].tolist() == ["50.0", "40.0"]
    tests = figures.paired_tests(one)
    assert tests.iloc[0].tolist() == ["Random", "+10.0", 1, "–", "–"]
