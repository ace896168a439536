"""``benchmark`` and ``verify`` end to end on a small published experiment, and every number of a standing by hand."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pslcore import strategies
from pslcore.__main__ import main
from pslcore.runs import Config, records, run
from psllab import grid as campaign
from psllab.analysis import decision, statistics
from psllab.benchmark import comparison, published, tryout, verify
from psllab.extend import contract, templates
from psllab.extend.method_file import of_file
from psllab.grid import Cell

TOP = Path(__file__).parents[3]

MARGIN = """
import numpy as np
from pslcore.strategies import Strategy, top


class Margin(Strategy):
    '''Likeliest two classes closest.'''

    requires = ("logits",)
    power: float = 1.0

    def pick(self, query):
        ranked = np.sort(query.answers["logits"], axis=1)
        return top(query, -((ranked[:, -1] - ranked[:, -2]) ** self.power))
"""


@pytest.fixture
def here(made, tmp_path, monkeypatch):
    """An empty folder to stand in; the package holds the small table."""
    monkeypatch.setattr(published, "FILE", made / "table.json.xz")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def collected(made):
    return campaign.collect("fig", "little", made / "params.yaml", made / "outputs")


# The table


@pytest.mark.slow
def test_the_table_says_what_the_records_say(made, here):
    found = published.load("fig", "little")
    results = collected(made)
    assert found.interim == (2, 4)
    assert found.seeds == [0, 1, 2, 3]
    assert found.results.stale == []
    by_key = {record["key"]: (cell, record) for cell, record in found.results.runs}
    assert len(by_key) == len(results.runs) == 12
    for cell, record in results.runs:
        other, brief = by_key[cell.config.key]
        assert brief == published.brief(record)
        assert (other.label, other.config.settings()) == (cell.label, cell.config.settings())
        assert other.config.key == cell.config.key
        assert campaign.config_of(found.shared | {"method": "random", "seed": cell.config.seed})
    assert published.index() == {"little": ["fig"]}
    bytes_before = (made / "table.json.xz").read_bytes()
    published.write(["little"], made / "params.yaml", made / "outputs", here / "again.xz")
    assert (here / "again.xz").read_bytes() == bytes_before
    with pytest.raises(ValueError, match="'bananas' is not published at 'little': choose one of fig"):
        published.load("bananas", "little")
    with pytest.raises(ValueError, match="nothing is published at scale 'none': choose one of little"):
        published.load("fig", "none")


@pytest.mark.slow
def test_the_table_of_the_package_is_that_of_the_records():
    top = published.FILE.parents[2]
    if not (top / "outputs").is_dir():
        pytest.skip("installed without its records")
    for scale, experiments in published.index().items():
        for experiment in experiments:
            found = published.load(experiment, scale)
            results = campaign.collect(experiment, scale, top / "params.yaml", top / "outputs")
            stale = {cell.config.key for cell in results.stale}
            wanted = {cell.config.key: published.brief(record) for cell, record in results.runs}
            there = {record["key"]: record for _, record in found.results.runs}
            assert set(wanted) - stale <= set(there), f"{experiment} at {scale}: make publish"
            assert {key: wanted.get(key) for key in there} == there, f"{experiment} at {scale}: make publish"
    assert published.index()
    assert published.FILE.stat().st_size < 1_000_000


# Where it stands


def as_own(made, label="Mine", method="Entropy", shift=0.0):
    """The records of a published method as if they were one's own, metrics shifted."""
    found = []
    for cell, record in collected(made).runs:
        if cell.label == method:
            record = json.loads(json.dumps(record))
            for number, entry in enumerate(record["cycles"]):
                entry["metric"] = min(1.0, entry["metric"] + shift * (number > 0) * (1 + 0.01 * cell.config.seed))
            found.append((Cell(label, Config.model_construct(**record["config"])), record))
    return found


def test_a_standing_is_paired_by_seed_and_judged_at_a_look(made, here):
    whole = published.load("fig", "little")
    own = as_own(made, shift=0.2)
    found = comparison.judge("Mine", whole, own)
    area = {(cell.label, cell.config.seed): np.trapezoid([e["metric"] for e in r["cycles"]], [20, 30, 40]) / 20
            for cell, r in collected(made).runs if len(r["cycles"]) == 3}  # fmt: skip
    mine = [np.trapezoid([e["metric"] for e in r["cycles"]], [20, 30, 40]) / 20 for _, r in own]
    assert found.analysis == 2
    for each in found.comparisons:
        wanted = [100 * (mine[seed] - area[each.other, seed]) for seed in range(4)]
        np.testing.assert_allclose(each.differences, wanted, atol=1e-9)
        assert each.half == pytest.approx(statistics.interval(wanted, 2))
        assert each.unpaired == {}
    assert [each.other for each in found.comparisons] == ["Random", "Entropy"]
    assert found.comparisons[1].verdict == "better"  # by the shift alone, nearly equal in all seeds
    three = comparison.judge("Mine", whole, own[:3])
    assert three.analysis == 1
    assert [len(each.differences) for each in three.comparisons] == [2, 2]
    one = comparison.judge("Mine", whole, own[:1])
    assert one.analysis == 0
    assert {each.verdict for each in one.comparisons} == {decision.INCONCLUSIVE}
    assert not one.settled
    worse = comparison.judge("Mine", whole, as_own(made, shift=-0.2))
    assert worse.comparisons[1].verdict == "worse"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda record: record.update(precision="bfloat16"), "in float32, yours in bfloat16"),
        (lambda record: record.update(pools="0" * 64), "from other pools"),
        (lambda record: record["data"].update(fingerprint="0" * 64), "of other data"),
    ],
)
def test_runs_that_make_no_pair_are_left_out_and_counted(made, here, change, said):
    own = as_own(made)
    change(own[1][1])
    found = comparison.judge("Mine", published.load("fig", "little"), own)
    assert [each.unpaired for each in found.comparisons] == [{said: 1}] * 2
    assert [len(each.differences) for each in found.comparisons] == [3, 3]
    assert {each.verdict for each in found.comparisons} == {decision.INCONCLUSIVE}  # three of four
    assert any(f"2 do not, {said}: `--with-rivals`" in note for note in comparison.notes(found))
    assert tryout.unpaired(published.load("fig", "little"), own) == ["Random", "Entropy"]


def test_stale_runs_make_no_pair(made, here):
    whole = published.load("fig", "little")
    whole.results.stale += [cell for cell, _ in whole.results.runs if cell.label == "Random"]
    found = comparison.judge("Mine", whole, as_own(made))
    assert [each.unpaired for each in found.comparisons] == [{"made by other code than today's": 4}, {}]
    assert len(found.comparisons[0].differences) == 0
    shown = comparison.table(found)
    assert shown.iloc[-1]["difference in area (points)"] == "–"


def test_the_page_holds_everything_and_nothing_else_is_overwritten(made, here):
    found = comparison.judge("Mine", published.load("fig", "little"), as_own(made))
    method = tryout.Method("mine.py", MARGIN.encode(), label="Mine", about="What <it> does.")
    tryout.write_page(found, method, here / "mine.html")
    page = (here / "mine.html").read_text()
    assert "What &lt;it&gt; does." in page
    assert "Plotly.newPlot" in page
    assert "http://" not in page.split("</script>", 1)[1]
    curves = json.loads(comparison.figure(found).to_json())["data"]
    assert [curve["name"] for curve in curves] == ["Random", "Entropy", "Mine", campaign.CEILING]
    tryout.write_page(found, method, here / "mine.html")
    (here / "other.html").write_text("<p>somebody's</p>")
    with pytest.raises(ValueError, match=r"other\.html is there and was not written by `pslcore benchmark`"):
        tryout.write_page(found, method, here / "other.html")


# The commands


def tree(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_from_a_file_to_a_verdict(made, here, capsys, monkeypatch):
    (here / "mine.py").write_text(MARGIN)
    before = tree(made)
    line = ["benchmark", "mine.py", "--experiment", "fig", "--scale", "little", "--jobs", "2", "--device", "cpu"]
    assert main([*line, "--until-settled"]) == 0
    said = capsys.readouterr().out
    assert "It keeps the contract of a method, uploads the safe images." in said
    assert "Interim analysis 1 of 2: 2 seeds of fig at little" in said
    assert "Interim analysis 2 of 2: 4 seeds" in said
    assert "Margin against" in said
    assert "4 of 4 of your runs give the very number of the published ones" in said
    assert (here / "mine.html").exists()
    (folder,) = (here / "outputs" / "little" / "tried").iterdir()
    assert (folder / "method.py").read_text() == MARGIN
    runs = sorted((folder / "runs").iterdir())
    assert len(runs) == 4
    stamps = [path.stat().st_mtime_ns for path in runs]
    line += ["--jobs", "1"]  # two have been at work; each is seconds to start
    assert main([*line, "--looks", "2"]) == 0  # all of it is there already
    assert [path.stat().st_mtime_ns for path in runs] == stamps
    with monkeypatch.context() as patched:
        load = published.load
        patched.setattr(published, "load", lambda *given: replace(load(*given), interim=(2, 4, 9)))
        capsys.readouterr()
        assert main([*line, "--until-settled"]) == 0
        said = capsys.readouterr().out
        assert "Interim analysis 3, at 9 seeds, waits for published runs: there are 4 so far." in said
        assert "goes on" not in said
    assert main([*line, "--set", "power=2.0"]) == 0
    assert len(list((folder / "runs").iterdir())) == 6
    assert main([*line, "--with-rivals", "Random"]) == 0
    rivals = [records.read(path) for path in (folder.parent / "rivals" / "runs").iterdir()]
    there = {record["key"]: record for _, record in collected(made).runs}
    assert len(rivals) == 2
    assert all(records.content(record) == records.content(there[record["key"]]) for record in rivals)
    assert tree(made) == before
    capsys.readouterr()
    with pytest.raises(FileNotFoundError):  # what was tried is no record of an experiment
        campaign.take_in(here / "outputs", "little", here / "elsewhere")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "arguments", "said"),
    [
        ("x = 1", [], r"mine.py defines no Strategy"),
        (
            MARGIN.replace("top(query", "list(query"),
            [],
            "mine.py: pick failed from an ordinary pool (line 14: TypeError",
        ),
        (MARGIN, ["--set", "bananas=1"], "unknown setting 'bananas': choose from power."),
        (MARGIN.replace("return", "import time; time.sleep(99); return"), ["--limit", "1"], "took more than 1 seconds"),
        (MARGIN, ["--set", "bananas"], "--set bananas: write it as name=value."),
        (MARGIN, ["--experiment", "no"], "'no' is not published at 'little': choose one of fig."),
        (MARGIN, ["--with-rivals", "BADGE"], "'BADGE' is no published method of fig: choose from Random; Entropy."),
        ("x = 1", ["--with-rivals", "Random;no"], "'no' is no published method of fig"),
        ("x = 1", ["--looks", "0"], "--looks 0 is no interim analysis"),
        ("x = 1", ["--looks", "9"], "--looks 9 is no interim analysis: give 1 to 2."),
        ("x = 1", ["--jobs", "0"], "jobs = 0 processes cannot run anything"),
        ("x = 1", ["--device", "tpu"], "unknown device 'tpu'"),
        ("x = 1", ["--page", "none/x.html"], "none is no folder: make it, or name another place with --page."),
    ],
)
def test_what_cannot_be_tried_is_refused_and_touches_nothing(made, here, capsys, text, arguments, said):
    (here / "mine.py").write_text(text)
    before = tree(made)
    line = ["benchmark", "mine.py", "--experiment", "fig", "--scale", "little", "--jobs", "1", "--device", "cpu"]
    assert main([*line, *arguments]) == 2
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert said in told
    assert told.startswith("pslcore: ")
    assert "method.py" not in told
    assert tree(made) == before
    assert not (here / "mine.html").exists()


@pytest.fixture
def one(made, here):
    """A record of Entropy, copied to outputs/ here: its path and content."""
    cell, record = next((cell, record) for cell, record in collected(made).runs if cell.label == "Entropy")
    path = here / "outputs" / "little" / "runs" / f"{cell.config.key}.json"
    path.parent.mkdir(parents=True)
    shutil.copy(made / "outputs" / "little" / "runs" / path.name, path)
    return path, record


def test_verify_the_same_bits(one, capsys):
    path, record = one
    assert main(["verify", path.stem, "--device", "cpu"]) == 0
    said = capsys.readouterr().out
    assert f"Entropy on digits, seed 0: outputs/little/runs/{path.name}. It took " in said
    assert f"({record['key']}) stands: run again on the same kind of machine, every bit is the same." in said
    path.unlink()
    assert main(["verify", path.stem, "--device", "cpu"]) == 0
    assert "seed 0: the table of the package." in capsys.readouterr().out
    assert main(["verify", "--cheapest", "--device", "cpu"]) == 0
    assert "stands" in capsys.readouterr().out


def test_verify_catches_a_changed_digit(one, capsys):
    path, record = one
    text = path.read_text()
    path.write_text(text.replace('"metric": 0.', '"metric": 0.9', 1))
    assert main(["verify", str(path)]) == 2  # its seal is broken
    assert "its digest does not fit its contents" in capsys.readouterr().err
    changed = json.loads(json.dumps(record))
    changed["cycles"][1]["metric"] = round(changed["cycles"][1]["metric"] + 0.002, 4)
    records.write(path, changed)  # sealed anew
    assert main(["verify", str(path), "--device", "cpu"]) == 1
    then, now = changed["cycles"][1]["metric"], record["cycles"][1]["metric"]
    said = capsys.readouterr().out
    assert "does not stand: run again on the same kind of machine, it differs in " in said
    assert f"cycles[1].metric: {then} then, {now} now." in said


@pytest.mark.slow
def test_verify_on_another_kind_of_machine(one, capsys):
    path, record = one
    other = json.loads(json.dumps(record))
    other["hardware"]["capability"] = "none of ours"
    other["cycles"][1]["metric"] += 0.002
    records.write(path, other)
    assert main(["verify", str(path), "--device", "cpu"]) == 0
    assert "points by which two runs of this method differ (95 %, from 3 seeds)." in capsys.readouterr().out
    other["cycles"][1]["metric"] = other["cycles"][2]["metric"] = 1.0
    records.write(path, other)
    assert main(["verify", str(path), "--device", "cpu"]) == 1
    assert "the difference is beyond the" in capsys.readouterr().out
    other = json.loads(json.dumps(record))
    other["hardware"]["capability"] = "none of ours"
    other["cycles"][1]["crossed"]["up: unlabelled images"]["items"] += 1
    records.write(path, other)
    assert main(["verify", str(path), "--device", "cpu"]) == 1
    assert "items: " in (said := capsys.readouterr().out)
    assert "in which rounding has no part" in said


@pytest.mark.slow
def test_verify_with_the_instructions_of_an_older_processor(made, here, capfd):
    """What was made with AVX2 comes again bit for bit on this machine, whatever more it has."""
    held = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
    grid = [sys.executable, "-m", "pslcore", "grid", "fig", "--scale", "little", "--params", str(made / "params.yaml")]
    subprocess.run([*grid, "--device", "cpu"], env=os.environ | held, check=True)
    path = next(Path("outputs/little/runs").glob("*.json"))
    capfd.readouterr()
    assert main(["verify", path.stem, "--device", "cpu"]) == 0
    said = capfd.readouterr().out
    assert "stands: run again on the same kind of machine, every bit is the same." in said
    assert said.startswith("Held to AVX2") == (torch.backends.cpu.get_cpu_capability() == "AVX512")


def test_verify_what_is_not_there(here, capsys):
    for line, said in [
        (["verify", "0" * 16], "is neither a record's file nor the key of one"),
        (["verify", "no.json"], "there is no record no.json"),
        (["verify", "nokey"], "'nokey' is no run: give a record's file, or a key of 16 hexadecimal digits."),
        (["verify"], "say which run"),
        (["verify", "x", "--cheapest"], "say which run"),
    ]:
        assert main(line) == 2
        assert said in capsys.readouterr().err


# The files of the docs


EXAMPLES = [
    block for block in re.findall(r"```python\n(.*?)```", (TOP / "docs" / "your_method.md").read_text(), re.S)
    if "(Strategy)" in block or "(Sided)" in block
]  # fmt: skip


@pytest.mark.parametrize("number", range(3))
def test_the_examples_of_the_docs_run(number, tmp_path, digits):
    assert len(EXAMPLES) == 3
    (tmp_path / "mine.py").write_text(EXAMPLES[number])
    cls = of_file(str(tmp_path / "mine.py"))
    contract.check(cls())
    strategies.register(f"example-{number}", cls)
    try:
        record = run(digits(method=f"example-{number}", final=30, recipe={"epochs": 1}), device="cpu")
    finally:
        del strategies._STRATEGIES[f"example-{number}"]
    assert [len(set(cycle["picked"])) for cycle in record["cycles"]] == [10, 0]
    assert (record["cycles"][-1]["unlabelled_seen"] > 0) == (number != 1)  # a student at home uploads nothing


def test_the_docs_say_what_is_so():
    page = (TOP / "docs" / "your_method.md").read_text()
    lines = len(templates.text("method", "mine.py").splitlines())
    assert f"a commented file of {lines} lines" in page
    assert len(contract.POOLS) == 8
    assert "from eight synthetic pools" in page
    for name in contract.ANSWERS[:3]:
        assert f'"{name}"' in page


def test_verify_of_other_code_says_so(one, capsys):
    path, record = one
    records.write(path, record | {"source": "0" * 16})
    chosen = verify.choose(str(path))
    chosen.record["cycles"][1]["picked"] = chosen.record["cycles"][1]["picked"][::-1]
    outcome = verify.again(chosen, device="cpu")
    assert outcome.stands
    assert "made by other code than today's" in outcome.sentence
