"""Records held against the published ones."""

import json

import numpy as np
import pytest

from psllab.analysis import machines

CURVES = {
    "fig3a": {"PSL": [[40.0, 50.0], [42.0, 54.0]], "Random": [[40.0, 44.0], [42.0, 46.0]]},
    "fig5b": {"2 peers": [[40.0, 50.0], [40.0, 50.0]]},
}
ABACUS = "Abacus, ?, ?, bfloat16 ?"


@pytest.fixture
def files(world, tmp_path):
    """Published are these curves, made on an Abacus; the paths, and a function that makes other ones."""

    def again(curves=CURVES, **options):
        world(curves, **options)
        return paths

    paths = {"file": tmp_path / "machines.json", "params": tmp_path / "params.yaml", "out": tmp_path / "outputs"}
    again()
    assert machines.publish("quick", **paths) == {ABACUS: 6}
    return paths, again


def on_an_engine(experiment, cell, record):
    record["hardware"] = {
        "device": "cpu",
        "processor": "Engine",
        "model": "2",
        "capability": "AMX",
        "bfloat16": "native",
    }
    for entry in record["cycles"]:
        entry["seconds"] = {"train": 0.01}


def test_the_same_records_are_the_same(files):
    paths, _ = files
    found = machines.compare("quick", **paths)
    assert (found.same, found.new, found.far, found.own) == (6, 0, {}, True)
    assert str(found) == (
        f"All 6 records at quick are the same, bit for bit, as those published for this kind of machine ({ABACUS})."
    )


def test_another_kind_with_the_same_bits(files):
    paths, again = files
    again(change=on_an_engine)
    found = machines.compare("quick", **paths)
    assert (found.same, found.own, found.other) == (6, False, ABACUS)
    assert "For this kind (Engine, 2, AMX, bfloat16 native) none are published" in str(found)


HELD = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
AMD = ("AMD EPYC", "family 26 model 2")
OLD_AMD = ("AMD EPYC", "family 25 model 1")
INTEL = ("Intel(R) Xeon(R) Processor", "family 6 model 207")


@pytest.fixture
def on(monkeypatch):
    """A function that makes this machine one of that processor, model and instructions."""

    def set_(processor, capability="AVX512"):
        cpu, _, model = processor[1].removeprefix("family ").partition(" model ")
        named = {"model name": processor[0], "cpu family": cpu, "model": model}
        monkeypatch.setattr("pslcore.runs.records.processor", lambda: named)
        monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: capability)

    for name in HELD:
        monkeypatch.delenv(name, raising=False)
    return set_


def kind(processor, capability="AVX2"):
    return ", ".join((*processor, capability, "bfloat16 emulated"))


@pytest.mark.parametrize("there", ["AVX512", "AVX2", "DEFAULT"])
@pytest.mark.parametrize("wanted", ["AVX512", "AVX2", "None"])
def test_instructions_that_a_newer_processor_can_be_held_to(on, there, wanted):
    on(AMD, there)
    assert machines.limits(kind(OLD_AMD, wanted)) == (HELD if (there, wanted) == ("AVX512", "AVX2") else {})


@pytest.mark.parametrize(("here", "made_on", "gives"), [
    (AMD, OLD_AMD, True), (AMD, INTEL, False), (INTEL, OLD_AMD, False), (INTEL, INTEL, True),
    (INTEL, ("Intel(R) Xeon(R) Processor", "family 6 model 85"), False),
])  # fmt: skip
def test_the_bits_of_another_maker_are_not_promised(on, here, made_on, gives):
    on(here)
    assert machines.limits(kind(made_on)) == (HELD if gives else {})


def test_what_was_set_in_vain_is_not_tried_again(on, monkeypatch):
    on(AMD)
    for name, value in machines.limits(kind(OLD_AMD)).items():
        monkeypatch.setenv(name, value)
    assert machines.limits(kind(OLD_AMD)) == {}


@pytest.mark.parametrize(("here", "told"), [(AMD, True), (INTEL, False)])
def test_it_is_told_where_bits_differ(files, on, here, told):
    on(here)
    paths, again = files
    text = paths["file"].read_text()
    sentence = "ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 make repro gives those bits."
    paths["file"].write_text(text.replace(ABACUS, kind(OLD_AMD)))
    again(change=on_an_engine)
    assert sentence not in str(machines.compare("quick", **paths))
    again(CURVES | {"fig5b": {"2 peers": [[40.0, 50.0], [40.0, 51.0]]}}, change=on_an_engine)
    assert (sentence in str(machines.compare("quick", **paths))) == told
    paths["file"].write_text(text)
    assert sentence not in str(machines.compare("quick", **paths))


def test_how_far_others_are(files):
    paths, again = files
    curves = json.loads(json.dumps(CURVES))
    curves["fig3a"]["PSL"][0] = [40.0, 53.0]  # area 46.5 in place of 45
    curves["fig5b"]["2 peers"][1] = [40.0, 51.0]
    again(curves)
    found = machines.compare("quick", **paths)
    spread = np.sqrt((np.var([45, 48], ddof=1) + np.var([42, 44], ddof=1)) / 2)
    assert found.same == 4
    assert found.far["fig3a", "PSL", 0] == pytest.approx((1.5, 1.5 / spread))
    points, spreads = found.far["fig5b", "2 peers", 1]
    assert points == pytest.approx(0.5)
    assert np.isnan(spreads)  # the published seeds do not spread
    assert "4 of 6 records" in str(found)
    assert f"at most 1.5 (fig3a, PSL, seed 0: {1.5 / spread:.1f} spreads)." in str(found)


def test_what_was_never_published_is_counted(files):
    paths, again = files
    again(CURVES | {"fig3b": {"PSL": [[1.0, 2.0]]}})
    found = machines.compare("quick", **paths)
    assert (found.same, found.new) == (6, 1)
    assert str(found).endswith("1 more were never published.")
    paths["file"].unlink()
    assert (
        str(machines.compare("quick", **paths))
        == "No record at quick stands in outputs/machines.json: there is nothing to compare with."
    )


def test_publishing_keeps_other_machines(files):
    paths, again = files
    before = json.loads(paths["file"].read_text())
    again(change=on_an_engine)
    machines.publish("quick", **paths)
    after = json.loads(paths["file"].read_text())
    assert set(after["quick"]) == {ABACUS, "Engine, 2, AMX, bfloat16 native"}
    assert after["quick"][ABACUS] == before["quick"][ABACUS]
    text = paths["file"].read_bytes()
    machines.publish("quick", **paths)
    assert paths["file"].read_bytes() == text
