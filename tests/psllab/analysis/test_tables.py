"""Tables 1 and 2."""

import pytest

from pslcore import strategies
from pslcore.runs import Session
from psllab.analysis import tables

METHODS = strategies.names()


def test_table_1_has_the_exact_integers():
    sizes = tables.model_sizes().set_index("model")
    one = {"Entropy", "BADGE", "ALFA-Mix", "Core-set"}
    assert dict(sizes["image labels"]) == {name: "11,173,962" for name in one} | {
        "LL4AL": "11,297,867", "VAAL": "23,115,204", "PSL (two peers)": "156,084",
    }  # fmt: skip
    assert dict(sizes["pixel labels"]) == {"Entropy": "–", "BADGE": "–", "ALFA-Mix": "–"} | {
        "Core-set": "15,895,363", "LL4AL": "16,019,268", "VAAL": "23,115,204", "PSL (two peers)": "2,137,942",
    }  # fmt: skip


def test_table_1_stands_beside_what_the_paper_prints():
    """Which rounds some rows, truncates others, and counts something else for PSL on pixel labels."""
    sizes = tables.model_sizes()
    for ours, paper in (("image labels", "paper"), ("pixel labels", "paper (pixel labels)")):
        for model, exact, printed in zip(sizes["model"], sizes[ours], sizes[paper], strict=True):
            if printed == "–":
                assert exact == "–"
            elif (model, ours) != ("PSL (two peers)", "pixel labels"):
                assert int(exact.replace(",", "")) / 1e6 == pytest.approx(float(printed.removesuffix(" M")), abs=0.01)
    assert dict(zip(sizes["model"], sizes["paper"], strict=True))["VAAL"] == "23.11 M"


@pytest.mark.slow
def test_table_2_times_every_method(digits):
    options = {"vaal": {"width": 4}}
    configs = {
        name.upper(): digits(method=name, options=options.get(name, {}), final=30, recipe={"epochs": 1})
        for name in METHODS
    }
    seconds = tables.sampling_seconds(configs, repetitions=1)
    assert seconds["method"].tolist() == [name.upper() for name in METHODS]
    assert (seconds[["forward", "selection"]] >= 0).all().all()
    timed = seconds.set_index("method")["scoring"].dropna()
    assert list(timed.index) == ["PSL"]
    assert timed["PSL"] >= 0
    assert set(seconds["pool"]) == {130 - 20}  # a tenth of 1,297 may leave the client
    assert set(seconds["budget"]) == {10}
    assert (seconds["hardware"].str.len() > len(" (cpu)")).all()
    paper = seconds.set_index("method")["paper"]
    assert paper.drop(["RANDOM", "SKACTIVEML"]).to_dict() == {
        "ENTROPY": 0.9, "BADGE": 17.2, "ALFA_MIX": 9.1, "CORE_SET": 1.2, "LL4AL": 8.9, "VAAL": 2.5, "PSL": 0.001,
    }  # fmt: skip
    assert paper.isna()[["RANDOM", "SKACTIVEML"]].all()


def test_the_timed_parts_do_what_the_loop_does(digits, monkeypatch):
    """The pool is scored after a training on the initial labels; each part runs once to warm up, then as asked."""
    calls = []

    def watch(owner, name):
        original = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda *given: calls.append(name) or original(*given))

    config = digits(method="entropy")
    watch(Session, "train")
    watch(Session, "query")
    watch(type(config.strategy), "pick")
    tables.sampling_seconds({"Entropy": config}, repetitions=3)
    assert calls == ["train", *["query"] * (1 + 4), *["pick"] * 4]


@pytest.mark.parametrize(
    ("value", "shown"),
    [(1.23456, "1.23"), (0.0125, "0.0125"), (0.000123, "1.2e-04"), (float("nan"), "–"), ("Entropy", "Entropy"),
     (17.2, "17.2"), (0.001, "0.001")],
)  # fmt: skip
def test_seconds_for_people(value, shown):
    assert tables.seconds(value) == shown


def test_the_seconds_of_this_machine_go_before_the_published_ones(tmp_path):
    published, here = tmp_path / "laptop" / "table2.json", tmp_path / "laptop" / "figures" / "table2.json"
    assert tables.clocked("laptop", tmp_path) == published
    here.parent.mkdir(parents=True)
    here.touch()
    assert tables.clocked("laptop", tmp_path) == here
