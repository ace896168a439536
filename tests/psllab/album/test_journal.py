"""Every answer is on the disk before anybody goes on: killed, full, held by another process."""

import errno
import json
import os
import signal
import subprocess
import sys

import pytest

from psllab.album.journal import Journal

CHILD = """
import sys, time
from psllab.album import Album
folder, out, n = sys.argv[1], sys.argv[2], int(sys.argv[3])
album = Album(folder, ["red", "green", "blue"], out=out, learning={"size": 8, "recipe": {"epochs": 1}})
for picture in album.next(n):
    album.answer(picture, "red", by="child")
    print(picture.path, flush=True)
print("done", flush=True)
time.sleep(60)
"""


@pytest.fixture
def child(folder, tmp_path):
    """A process that labels ``n`` pictures and then waits to be killed."""
    processes = []

    def start(n):
        command = [sys.executable, "-c", CHILD, str(folder), str(tmp_path / "out"), str(n)]
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.slow
def test_all_answers_are_there_after_a_kill_and_a_second_process_is_told(child, opened):
    process = child(5)
    named = [process.stdout.readline().strip() for _ in range(6)]
    with pytest.raises(ValueError, match=f"open in process {process.pid}") as caught:
        opened()
    assert "\n" not in str(caught.value)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    album = opened(classes=None, learning=None)  # the lock went with its process
    assert named[-1] == "done"
    assert album.labels() == dict.fromkeys(named[:-1], "red")
    assert album.report().people == {"child": 5}


def test_a_torn_line_is_no_event(opened, tmp_path):
    album = opened()
    asked = album.next(3)
    album.answer(asked[0], "red")
    album.close()
    path = tmp_path / "out" / "journal.jsonl"
    whole = path.read_bytes()
    for cut in (1, 20):
        path.write_bytes(whole + whole.splitlines()[-1][:-cut])
        album = opened()
        assert album.labels() == {asked[0].path: "red"}
        album.close()
        assert path.read_bytes() == whole


def test_a_damaged_line_is_told(opened, tmp_path):
    album = opened()
    album.answer(album.next(3)[0], "red")
    album.close()
    path = tmp_path / "out" / "journal.jsonl"
    path.write_text(path.read_text().replace('"label": "red"', '"label": "blue"'))
    with pytest.raises(ValueError, match="line 3 is damaged"):
        opened()


@pytest.mark.parametrize("part", [0, 10])
def test_a_full_disk_in_the_middle_of_an_answer(opened, tmp_path, monkeypatch, part):
    album = opened()
    one, two, *_ = album.next(5)
    album.answer(one, "red")
    before = (tmp_path / "out" / "journal.jsonl").read_bytes()
    write = os.write

    def full(file, payload):
        if 0 < part < len(payload):
            return write(file, payload[:part])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        for act in (lambda: album.answer(two, "blue"), lambda: album.skip(two), album.undo):
            with pytest.raises(OSError, match="free some space") as caught:
                act()
            assert "\n" not in str(caught.value)
    assert (tmp_path / "out" / "journal.jsonl").read_bytes() == before
    assert album.labels() == {one.path: "red"}
    album.answer(two, "blue")
    album.close()
    assert opened().labels() == {one.path: "red", two.path: "blue"}


def test_it_is_synced_before_it_returns(tmp_path, monkeypatch):
    journal, synced = Journal(tmp_path / "j"), []
    monkeypatch.setattr(os, "fsync", lambda file: synced.append((tmp_path / "j").stat().st_size))
    journal.add("answer", label="ä")
    journal.close()
    assert synced == [(tmp_path / "j").stat().st_size]
    (event,) = [json.loads(line) for line in (tmp_path / "j").read_text().splitlines()]
    assert event["label"] == "ä"


def test_several_events_are_there_together_or_not_at_all(tmp_path):
    path = tmp_path / "j"
    journal = Journal(path)
    journal.add("one")
    before = path.read_bytes()
    journal.add_all([{"what": "answer", "label": str(number)} for number in range(5)])
    journal.close()
    after = path.read_bytes()
    for cut in range(len(before), len(after)):
        path.write_bytes(after[:cut])
        journal = Journal(path)
        assert [event["what"] for event in journal.events] == ["one"]
        journal.add("two")  # and on it goes
        journal.close()
        journal = Journal(path)
        assert [event["what"] for event in journal.events] == ["one", "two"]
        journal.close()
    path.write_bytes(after)
    journal = Journal(path)
    assert len(journal.events) == 6
    journal.close()
