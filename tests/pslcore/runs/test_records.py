"""A run is a file: whole, sealed, or not there."""

import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from pslcore.recipe import processor
from pslcore.runs import DamagedRecord, records

RECORD = {"key": "k", "cycles": [{"labelled": 20, "metric": 0.25, "picked": [3, 1, 2], "seconds": {"train": 0.5}}],
          "note": "Größe → Maß", "hardware": {"device": "cpu"}, "source": "s", "versions": {}}  # fmt: skip


@pytest.fixture
def path(tmp_path):
    records.write(tmp_path / "k.json", RECORD)
    return tmp_path / "k.json"


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_what_is_written_is_read(path):
    assert records.read(path) == RECORD
    assert names(path.parent) == ["k.json"]
    assert path.stat().st_mode & 0o777 == 0o644
    assert json.loads(path.read_text())["format"] == records.FORMAT
    records.write(path, RECORD | {"key": "other"})
    assert records.read(path)["key"] == "other"


def test_folders_are_made(tmp_path):
    records.write(tmp_path / "a" / "b" / "k.json", RECORD)
    assert records.read(tmp_path / "a" / "b" / "k.json") == RECORD


# Damage


def test_a_record_cut_short_anywhere_is_damaged(path):
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(DamagedRecord, match=r"k\.json is damaged .*not trusted; run it again"):
            records.read(path)


def test_a_record_with_any_byte_altered_is_damaged(path):
    whole = path.read_bytes()
    draw = random.Random(0)
    for place, byte in enumerate(whole):
        others = draw.sample([other for other in range(256) if other != byte], 2)
        for other in others + ([9] if byte == 32 else []):  # a tab is as good as a space to JSON
            path.write_bytes(whole[:place] + bytes([other]) + whole[place + 1 :])
            with pytest.raises(DamagedRecord, match=r"k\.json is (damaged|of another format)"):
                records.read(path)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "[]\n", "null", "3\n", "3", "{}", '{"digest": "x"}', "[" * 100_000, '{"metric": NaN, "digest": "x"}',
     '{"metric": 1e999, "digest": "x"}', "\ufeff{}", '{"a": ' + "9" * 5000 + "}"],
)  # fmt: skip
def test_what_is_no_record_is_damaged(path, text):
    path.write_text(text)
    with pytest.raises(DamagedRecord, match=r"k\.json is damaged"):
        records.read(path)


def test_another_format_is_not_trusted(path, monkeypatch):
    monkeypatch.setattr(records, "FORMAT", 2)
    with pytest.raises(DamagedRecord, match="is of another format than 2: run it again"):
        records.read(path)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_what_is_no_number_is_not_recorded(path, number):
    with pytest.raises(ValueError, match="JSON compliant"):
        records.write(path, {"metric": number})
    assert records.read(path) == RECORD
    assert names(path.parent) == ["k.json"]


# Disks


@pytest.mark.parametrize("existing", [True, False])
@pytest.mark.parametrize("call", ["fsync", "replace", "fdopen", "chmod"])
def test_a_full_disk_leaves_the_old_record_and_nothing_else(tmp_path, monkeypatch, call, existing):
    if existing:
        records.write(tmp_path / "k.json", RECORD)

    def full(*given, **more):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, full)
    with pytest.raises(OSError, match=r"k\.json could not be written \(No space left on device\): free or choose"):
        records.write(tmp_path / "k.json", {"new": 1})
    monkeypatch.undo()
    assert names(tmp_path) == (["k.json"] if existing else [])
    if existing:
        assert records.read(tmp_path / "k.json") == RECORD


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_disk_that_is_full_indeed(tmp_path, monkeypatch):
    """The error comes from the kernel, when the buffer is flushed."""
    fdopen = os.fdopen

    def to_full(handle, mode):
        os.close(handle)
        return fdopen(os.open("/dev/full", os.O_WRONLY), mode)

    monkeypatch.setattr(os, "fdopen", to_full)
    with pytest.raises(OSError, match="No space left on device"):
        records.write(tmp_path / "k.json", RECORD)
    assert names(tmp_path) == []


def test_a_folder_that_cannot_be_written_to(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"k\.json could not be written \(.*\): free or choose another place"):
        records.write(tmp_path / "file" / "runs" / "k.json", RECORD)
    with pytest.raises(OSError, match=r"the output folder .*runs cannot be written to \(.*\): choose another"):
        records.prepare(tmp_path / "file" / "runs")


def test_a_full_disk_is_noticed_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setattr(records.shutil, "disk_usage", lambda folder: SimpleNamespace(free=3 << 20))
    with pytest.raises(OSError, match=r"the disk of .* is full \(3 MiB left\): free some space first"):
        records.prepare(tmp_path)


WRITER = """
import os, sys, time
from pslcore.runs import records
def hang(handle):
    print("writing", flush=True)
    time.sleep(60)
os.fsync = hang
records.write(sys.argv[1], {"a": list(range(1000))})
"""


@pytest.mark.slow
def test_what_a_killed_writer_left_is_swept(path):
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE) as writer:
        assert writer.stdout.readline() == b"writing\n"
        os.kill(writer.pid, signal.SIGKILL)
    (left,) = (name for name in names(path.parent) if name != "k.json")
    assert records.read(path) == RECORD
    hours_ago = time.time() - 100 * 3600
    os.utime(path.parent / left, (hours_ago, hours_ago))
    records.prepare(path.parent)
    assert names(path.parent) == ["k.json"]


@pytest.mark.slow
def test_preparing_a_folder_leaves_other_writers_alone(path):
    """In a grid, a run begins (and prepares the folder) while another one is writing."""
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE) as writer:
        assert writer.stdout.readline() == b"writing\n"
        before = names(path.parent)
        records.prepare(path.parent)
        after = names(path.parent)
        os.kill(writer.pid, signal.SIGKILL)
    assert len(before) == 2
    assert after == before


@pytest.mark.parametrize(
    ("writer", "age", "left"),
    [
        ("here-{gone}", 0, False), ("here-{alive}", 10**6, True),
        ("elsewhere-{gone}", 3600, True), ("elsewhere-{alive}", 3600, True), ("elsewhere-{gone}", 10**6, False),
        ("{gone}", 10**6, False), ("here-x", 0, False),
    ],
)  # fmt: skip
def test_a_process_id_of_another_machine_says_nothing(tmp_path, writer, age, left):
    """On a folder that machines share; their clocks may differ by hours."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    name = (
        writer.format(gone=gone.pid, alive=os.getpid())
        .replace("elsewhere", "0" * 12)
        .replace("here", records._machine())
    )
    temporary = tmp_path / f".writing-{name}-ab_c1"
    temporary.write_bytes(b"{")
    os.utime(temporary, (time.time() - age,) * 2)
    records.prepare(tmp_path)
    assert temporary.exists() == left


def test_the_age_of_a_temporary_file_is_told_by_the_disk(tmp_path, monkeypatch):
    """This machine's clock may jump by days while another machine writes."""
    temporary = tmp_path / f".writing-{'0' * 12}-1-ab_c1"
    temporary.write_bytes(b"{")
    monkeypatch.setattr(time, "time", lambda: 4e9)
    records.prepare(tmp_path)
    assert temporary.exists()


# Names and contents


def test_the_key_is_blind_to_order_and_to_nothing_else():
    assert records.key({"a": 1, "b": {"c": 2, "d": 3}}) == records.key({"b": {"d": 3, "c": 2}, "a": 1})
    different = [{}, {"a": 1}, {"a": 2}, {"b": 1}, {"a": "1"}, {"a": [1]}, {"a": {"b": 1}}, {"a": None}, {"a": 1.5}]
    keys = {records.key(config) for config in different}
    assert len(keys) == len(different)
    assert all(len(key) == 16 and set(key) <= set("0123456789abcdef") for key in keys)


def test_content_leaves_out_what_two_equal_runs_may_differ_in():
    again = json.loads(json.dumps(RECORD)) | {"hardware": 1, "versions": 2, "source": 3}
    again["cycles"][0]["seconds"] = {"train": 9}
    again["cycles"][0]["memory"] = 9
    assert records.content(again) == records.content(RECORD)
    assert records.content(RECORD)["cycles"] == [{"labelled": 20, "metric": 0.25, "picked": [3, 1, 2]}]
    again["cycles"][0]["picked"] = [1, 3, 2]
    assert records.content(again) != records.content(RECORD)


SOURCE = '''
"""Docstring."""
import math

def area(r, power=2):
    """Docstring."""
    return math.pi * r**power  # comment

class Circle:
    """Docstring."""

    r: float = 1.0
    """Of the attribute."""
'''


def fingerprint(tmp_path, text, name="a.py"):
    (tmp_path / name).write_text(text)
    return records.source_fingerprint([tmp_path / name])


@pytest.mark.parametrize(
    ("old", "new", "blind"),
    [
        ("# comment", "# another", True),
        ('"""Docstring."""', '"""Another\n\n    of two lines."""', True),
        ('    """Docstring."""\n', "", True),
        ('"""Of the attribute."""', "", True),
        ("r, power=2", "r,\n    power = 2", True),
        ("import math", "\n\nimport math", True),
        ("power=2", "power=3", False),
        ("r**power", "r*power", False),
        ("= 1.0", "= 2.0", False),
        ("def area", "def surface", False),
        ("import math", "import cmath as math", False),
    ],
)
def test_the_source_fingerprint_sees_code_and_no_comments(tmp_path, old, new, blind):
    assert old in SOURCE
    before = fingerprint(tmp_path, SOURCE)
    assert (fingerprint(tmp_path, SOURCE.replace(old, new)) == before) == blind


MODERN = """
def told(rows, width=3, *, sign=True, **rest):
    wide = f"{len(rows):>{width}}{', '.join(f'{row!r}' for row in rows)}{{}}{rest['a'] or '?'}" f"{width}"
    match rows:
        case [1, *_] | {"a": 2}:
            return lambda: wide, None, ..., b"x", 1e30, -0.0, 1j
    with open(wide) as one, open(f"{one}") as other:
        return {**rest, "other": [*other]}
"""


def test_the_source_fingerprint_is_the_same_in_every_version_of_python(tmp_path):
    """As Python 3.11.2 and 3.11.7 give it; the tree in lists is that of 3.12.1 and 3.13.0 too."""
    assert fingerprint(tmp_path, MODERN) == "25374ac53bce6fd2"


def test_peak_memory_is_that_since_the_reset():
    records.reset_peak()
    before = records.peak_memory()
    held = np.ones(25 << 20)  # 200 MiB
    high = records.peak_memory()
    assert 190 << 20 < high - before < 300 << 20
    del held
    assert abs(records.peak_memory() - high) < 4 << 20  # the kernel counts in steps
    records.reset_peak()
    if Path("/proc/self/clear_refs").exists():
        assert records.peak_memory() < high - (150 << 20)


def test_versions_and_hardware():
    assert {"python", "torch", "torchvision", "numpy", "scikit-learn"} == set(records.versions())
    machine = records.hardware(torch.device("cpu"))
    assert machine["device"] == "cpu"
    assert machine["cores"] == os.cpu_count()
    assert machine["bfloat16"] in ("native", "emulated", "unknown")
    assert machine["capability"] == torch.backends.cpu.get_cpu_capability()
    assert os.uname().nodename not in machine.values()


@pytest.mark.parametrize(
    ("flags", "told"), [("sse avx2", "emulated"), ("avx512_bf16", "native"), ("amx_bf16 avx2", "native")]
)
def test_two_processors_of_one_name_are_told_apart(monkeypatch, flags, told):
    lines = (
        f"processor: 0\nmodel name\t: AMD EPYC\ncpu family\t: 25\nmodel\t\t: 17\nflags\t\t: {flags}\n\nprocessor: 1\n"
    )
    monkeypatch.setattr(records.Path, "read_text", lambda path: lines)
    processor.cache_clear()
    machine = records.hardware(torch.device("cpu"))
    assert (machine["processor"], machine["model"]) == ("AMD EPYC", "family 25 model 17")
    assert machine["bfloat16"] == told
    processor.cache_clear()
