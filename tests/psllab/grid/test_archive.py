"""Many records in a few files: the same records, nothing lost on the way, nothing damaged taken for a record."""

import json
import lzma
import os
import threading

import pytest

from pslcore.runs import records
from psllab.grid import archive, runner


@pytest.fixture
def packed(here):
    """A finished grid, its records before they were packed, and the parts of the archive."""
    results = here()
    assert runner.pack("quick", here.runs.parents[1]) == 4
    return results, sorted(here.runs.parent.glob("runs.*"))


def held(parts):
    """All sealed records of some parts, by key."""
    return {key: record for path in parts for key, record in archive.sealed(path).items()}


def altered(path, change):
    """Write a part anew with its first record changed, as text."""
    lines = lzma.decompress(path.read_bytes()).decode().splitlines()
    path.write_bytes(lzma.compress("\n".join([change(lines[0]), *lines[1:]]).encode()))


def same(one, other):
    def shown(results):
        return [(cell.label, cell.config.seed, record) for cell, record in results.runs]

    return shown(one) == shown(other)


def test_packed_records_are_those_that_were_files(here, packed, begun):
    results, parts = packed
    assert here.files() == []
    assert same(here.collect(), results)
    assert here.collect().archived == {cell.config.key for cell, _ in results.runs}
    assert not results.archived
    assert same(here(), results)
    assert not begun  # nothing was run again
    assert list(held(parts)) == sorted(cell.config.key for cell, _ in results.runs)


def test_the_first_digit_of_a_key_says_its_part(packed, tmp_path):
    _, found = packed
    folder = tmp_path / "runs"
    places = [archive.part(folder, f"{digit:x}" + 15 * "0") for digit in range(16)]
    names = [f"runs.{digits}.jsonl.xz" for digits in ("0-3", "4-7", "8-b", "c-f") for _ in range(4)]
    assert places == [tmp_path / name for name in names]
    assert list(archive.parts(folder)) == sorted(set(places))
    assert all(archive.part(path.parent / "runs", key) == path for path in found for key in archive.sealed(path))


def test_packing_again_adds_what_is_new_and_gives_the_same_bytes(here, packed, begun):
    _, parts = packed
    before = [path.read_bytes() for path in parts]
    here.params(seeds=3)
    here()
    assert len(begun) == 2
    assert runner.pack("quick", here.runs.parents[1]) == 6
    assert len(here.collect().runs) == 6
    assert same(here(), here.collect())
    here.params(seeds=2)
    for config in begun:  # the two are taken out: the rest is what it was
        path = archive.part(here.runs, config.key)
        content = {key: record for key, record in archive.sealed(path).items() if key != config.key}
        archive.write(path, content)
    assert [path.read_bytes() for path in parts] == before
    assert runner.pack("quick", here.runs.parents[1]) == 4


def test_a_file_goes_before_the_archive_and_replaces_it_there(here, packed):
    results, _ = packed
    cell, record = results.runs[0]
    newer = record | {"source": "another"}
    records.write(here.runs / f"{cell.config.key}.json", newer)
    assert here.collect().runs[0][1] == newer
    assert cell.config.key not in here.collect().archived
    assert here.collect().stale == [cell]
    runner.pack("quick", here.runs.parents[1])
    assert runner.stored(cell.config.key, here.runs) == newer


def test_a_kill_after_the_archive_is_written_loses_nothing(here, packed):
    results, _ = packed
    cell, record = results.runs[0]
    file = here.runs / f"{cell.config.key}.json"
    records.write(file, record)  # as if it had been killed before this file was removed
    runner.pack("quick", here.runs.parents[1])
    assert here.files() == []
    assert same(here.collect(), results)


def test_no_file_is_removed_where_the_archive_cannot_be_written(here, monkeypatch):
    here()
    before = here.files()
    monkeypatch.setattr(records, "write_bytes", lambda *_: (_ for _ in ()).throw(OSError("the disk is full")))
    with pytest.raises(OSError, match="full"):
        runner.pack("quick", here.runs.parents[1])
    assert here.files() == before


def test_no_record_is_lost_where_the_disk_fills_up_between_two_parts(here, monkeypatch):
    results, written, original = here(), [], records.write_bytes

    def write_bytes(path, content):
        if written:
            raise OSError("the disk is full")
        written.append(path)
        original(path, content)

    monkeypatch.setattr(records, "write_bytes", write_bytes)
    with pytest.raises(OSError, match="full"):
        runner.pack("quick", here.runs.parents[1])
    assert 0 < len(here.files()) < 4
    assert same(here.collect(), results)


def test_two_that_pack_at_once_lose_nothing(here, monkeypatch):
    """The second begins when the first has read the archive, and the first finds one more file after that."""
    results, begun, parts = here(), [], archive.parts
    file = here.runs / f"{results.runs[0][0].config.key}.json"
    file.rename(here.runs / "later")

    def read(folder):
        found = list(parts(folder))
        if not begun:
            begun.append(threading.Thread(target=runner.pack, args=("quick", here.runs.parents[1])))
            yield from (part for part in found if archive.sealed(part) or True)
            begun[0].start()
            begun[0].join(0.5)
            (here.runs / "later").rename(file)
        else:
            yield from found

    monkeypatch.setattr(archive, "parts", read)
    assert runner.pack("quick", here.runs.parents[1]) in (3, 4)
    begun[0].join()
    assert same(here.collect(), results)


def test_a_record_that_is_made_anew_while_it_is_packed_stays_a_file(here, monkeypatch):
    (_, record), *others = here().runs
    newer, write = here.runs / f"{record['key']}.json", archive.write

    def meanwhile(part, content):
        write(part, content)
        records.write(newer, record | {"source": "0" * 16})

    monkeypatch.setattr(archive, "write", meanwhile)
    assert runner.pack("quick", here.runs.parents[1]) == 4
    assert [path.name for path in here.runs.iterdir()] == [newer.name]
    assert runner.read(newer)["source"] == "0" * 16
    assert len(here.collect().runs) == len(others) + 1


def test_a_record_that_is_packed_while_it_is_looked_for_is_found(here, monkeypatch, capsys):
    results, read = here(), runner.read

    def late(path):
        monkeypatch.setattr(runner, "read", read)
        runner.pack("quick", here.runs.parents[1])
        return read(path)

    monkeypatch.setattr(runner, "read", late)
    assert same(here.collect(), results)
    assert not capsys.readouterr().out


def test_a_damaged_archive_is_told_and_nothing_runs_again(here, packed, begun):
    _, (path, *_) = packed
    whole = path.read_bytes()
    for damage in (whole[:-20], b"", b"no archive", lzma.compress(b"{}\n"), lzma.compress(b"[1]\n")):
        path.write_bytes(damage)
        with pytest.raises(records.DamagedRecord, match=r"runs\.\S+\.jsonl\.xz is damaged .* bring it back from git"):
            here()
    assert not begun


def test_one_that_took_its_place_at_the_same_moment_is_read(packed):
    _, (target, *_) = packed
    before, state = dict(archive.sealed(target)), target.stat()
    other = target.with_name("other")
    other.write_bytes(target.read_bytes()[:-1] + b"!")
    os.utime(other, ns=(state.st_atime_ns, state.st_mtime_ns))
    other.replace(target)
    assert before
    with pytest.raises(records.DamagedRecord):
        archive.sealed(target)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda line: line.replace('"metric":0.', '"metric":0.0', 1), "its digest does not fit"),
        (lambda line: line.replace('"digest"', '"digestive"'), "its digest does not fit"),
    ],
)
def test_a_damaged_record_in_it_is_one_that_is_not_there(here, packed, capsys, change, sentence):
    results, (path, *_) = packed
    altered(path, change)
    assert len(here.collect().unfinished) == 1
    assert sentence in capsys.readouterr().out
    assert len(here().runs) == len(results.runs)  # it is run again


def test_a_record_under_another_name(here, packed, capsys):
    _, parts = packed
    (first, _), (_, second), *_ = held(parts).items()
    path = archive.part(here.runs, first)
    content = dict(archive.sealed(path)) | {first: dict(second)}
    lines = [json.dumps(record | {"key": key}) for key, record in content.items()]
    path.write_bytes(lzma.compress("\n".join(lines).encode()))
    assert first in {cell.config.key for cell in here.collect().unfinished}
    assert "its digest does not fit" in capsys.readouterr().out


def test_nothing_to_pack(here, tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no record"):
        runner.pack("quick", tmp_path)


def test_an_archive_is_merged_like_files(here, packed, tmp_path):
    results, parts = packed
    elsewhere = tmp_path / "elsewhere" / "quick"
    elsewhere.mkdir(parents=True)
    for path in parts:
        path.rename(elsewhere / path.name)
    assert len(here.collect().unfinished) == 4
    assert len(runner.take_in(tmp_path / "elsewhere", "quick", here.runs.parents[1])) == 4
    assert same(here.collect(), results)
    assert runner.take_in(tmp_path / "elsewhere", "quick", here.runs.parents[1]) == []


def test_an_archive_of_one_file_is_merged_too(here, packed, tmp_path):
    results, parts = packed
    archive.write(tmp_path / "elsewhere" / "runs.jsonl.xz", held(parts))
    for path in parts:
        path.unlink()
    assert len(runner.take_in(tmp_path / "elsewhere", "quick", here.runs.parents[1])) == 4
    assert same(here.collect(), results)


def test_brief_records_say_the_same_but_for_their_picks(here, packed, begun):
    results, _ = packed
    before = {record["key"]: record for _, record in results.runs}
    for key, record in before.items():
        records.write(here.runs / f"{key}.json", record)
    assert runner.pack("quick", here.runs.parents[1], seeds=1) == 4
    for cell, record in here.collect().runs:
        whole = before[record["key"]]
        assert archive.digest(record) == archive.digest(whole)
        if cell.config.seed == 0:
            assert record == whole
            continue
        assert archive.brief(record) == record == archive.brief(whole)
        assert [entry["metric"] for entry in record["cycles"]] == [entry["metric"] for entry in whole["cycles"]]
        with pytest.raises(ValueError, match="keeps a hash of its picks only"):
            archive.picks(record)
    assert same(here(), here.collect())
    assert not begun


def test_a_brief_record_and_the_whole_one_are_merged_as_one(here, packed, tmp_path):
    results, _ = packed
    _, record = results.runs[-1]
    records.write(tmp_path / f"{record['key']}.json", archive.brief(record))
    assert runner.take_in(tmp_path, "quick", here.runs.parents[1]) == []
    cycles = [entry | {"metric": 0.5} for entry in record["cycles"]]
    records.write(tmp_path / f"{record['key']}.json", archive.brief(record | {"cycles": cycles}))
    with pytest.raises(ValueError, match="differ"):
        runner.take_in(tmp_path, "quick", here.runs.parents[1])
