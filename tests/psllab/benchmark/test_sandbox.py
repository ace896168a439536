"""Files that hang, flood, die or crash, in a process of their own: told in a sentence, and nothing outlives them."""

import os
import time

import pytest

from pslcore.runs import schema
from psllab.benchmark import sandbox
from psllab.extend.method_file import of_file

pytestmark = pytest.mark.slow

HEAD = "import os, sys, time\nimport numpy as np\nfrom pslcore.strategies import Strategy\n"
PICK = "class Mine(Strategy):\n    '''Draws lots.'''\n    def pick(self, query):\n"
LOTS = "        return query.stream.choice(query.safe, query.budget, replace=False)\n"


@pytest.fixture
def look(tmp_path):
    """``look(source, limit)``: all events, the guest, the seconds that it took once it was ready."""

    def look(source, limit=60.0, **order):
        path = tmp_path / "mine.py"
        path.write_text(HEAD + source)
        events, guest, ready = [], None, time.monotonic()
        orders = [{"task": "look", "file": str(path), "root": "data", "device": "cpu"} | order]
        for speaker, event in sandbox.listen(orders, limit):
            guest = speaker
            events.append(event)
            ready = time.monotonic() if event["say"] == "ready" else ready
        return events, guest, time.monotonic() - ready

    return look


def test_a_good_file_is_told_of_and_timed(look):
    events, guest, _ = look(PICK + LOTS + "print('hello')\n")
    told = {event["say"]: event for event in events}
    assert told["method"]["label"] == "Mine"
    assert told["method"]["name"].startswith("Mine-")
    assert told["method"]["about"] == "Draws lots."
    assert told["method"]["uploads"] is False
    timed = [event for event in events if event["say"] == "timed"]
    assert [(event["n"], event["budget"]) for event in timed] == [(4500, 500), (50_000, 2500)]
    assert all(event["seconds"] > 0 and event["memory"] >= 0 for event in timed)
    assert events[-1]["say"] == "end"
    assert guest.printed == b"hello\n"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (PICK + "        time.sleep(600)\n", "an ordinary pool took more than 2 seconds"),
        ("time.sleep(600)\n", "loading the file took more than 2 seconds"),
        (PICK + "        while True: print('x' * 999)\n", "an ordinary pool took more than 2 seconds"),
    ],
)
def test_a_file_that_hangs_is_ended(look, source, said):
    events, guest, seconds = look(source, limit=2.0)
    assert events[-1]["say"] == "late"
    assert said in events[-1]["sentence"]
    assert seconds < 60
    assert guest._process.poll() is not None
    assert len(guest.printed) <= sandbox.KEPT
    if "print" in source:
        assert guest.written > 10 * sandbox.KEPT  # all of it was taken off its hands, none kept beyond its beginning


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (PICK + "        os._exit(3)\n", "the process ended in an ordinary pool (exit status 3)"),
        (PICK + "        os.kill(os.getpid(), 11)\n", "the process ended in an ordinary pool (signal SIGSEGV)"),
    ],
)
def test_a_file_that_ends_its_process(look, source, said):
    events, _, _ = look(source)
    assert events[-1]["say"] == "gone"
    assert said in events[-1]["sentence"]


def test_what_the_contract_refuses_and_a_slow_pick_of_many(look):
    events, _, _ = look(PICK + "        return query.safe[:1]\n")
    assert [event["sentence"] for event in events if event["say"] == "refused"] == [
        "pick returned 1 images where 10 were asked for from an ordinary pool: return exactly `query.budget` of them."
    ]
    slow = "        time.sleep(600 * (len(query.safe) > 9999))\n"
    events, _, _ = look(PICK + slow + LOTS, limit=3.0)
    assert [event.get("n") for event in events if event["say"] == "timed"] == [4500]
    assert events[-1]["say"] == "late"
    assert events[-1]["soft"]  # no reason to refuse it


def test_whatever_it_started_ends_with_it(look, tmp_path):
    child = f"import subprocess\nsubprocess.Popen(['sh', '-c', 'sleep 4; touch {tmp_path}/alive'])\ntime.sleep(600)\n"
    events, _, _ = look(child, limit=1.0)
    assert events[-1]["say"] == "late"
    time.sleep(6)
    assert not (tmp_path / "alive").exists()


def test_a_learner_that_is_not_the_same_twice(look, digits):
    own = (
        "import torch\nfrom pslcore.strategies import ClientLearner, top\n"
        "class Learner(ClientLearner):\n"
        "    def study(self, plan, logits): pass\n"
        "    def check(self): pass\n"
        "    def score(self, batches):\n        return np.concatenate([SCORE(len(images)) for images in batches])\n"
        "class Mine(Strategy):\n"
        "    def learner(self, client, setup): return Learner()\n"
        "    def pick(self, query): return top(query, query.scores)\n"
    )
    shared = {name: value for name, value in digits().settings().items() if name not in ("method", "options", "seed")}
    events, _, _ = look(own.replace("SCORE", "torch.rand"), shared=shared)
    said = [event["sentence"] for event in events if event["say"] == "refused"]
    assert len(said) == 1
    assert "two runs of one seed that differ" in said[0]
    events, _, _ = look(own.replace("SCORE", "np.arange"), shared=shared)
    assert events[-1]["say"] == "end"
    events, _, _ = look(own.replace("SCORE", "torch.bananas"), shared=shared)
    assert next(event for event in events if event["say"] == "refused")["sentence"].startswith(
        "a short run failed (line 10: AttributeError: module 'torch' has no attribute 'bananas'"
    )


def test_a_crash_in_the_third_cycle_keeps_the_seeds_before(tmp_path, digits):
    path = tmp_path / "mine.py"
    crash = f"        assert len(query.labelled) < 40 or not os.path.exists({str(tmp_path / 'x')!r})\n"
    path.write_text(HEAD + PICK + crash + LOTS)
    name = f"Mine-{of_file(str(path)).__module__.rpartition('_')[2]}"
    configs = [digits(method="random", seed=seed, final=50).settings() | {"method": name} for seed in range(3)]
    order = {"task": "run", "file": str(path), "configs": configs, "precisions": [None] * 3,
             "folder": str(tmp_path / "runs"), "root": str(tmp_path), "device": "cpu"}  # fmt: skip
    events = []
    for _, event in sandbox.listen([order]):
        events.append(event)
        if event["say"] == "done" and event["seed"] == 1:
            (tmp_path / "x").touch()
    assert [event["seed"] for event in events if event["say"] == "done"] == [0, 1]
    failed = next(event for event in events if event["say"] == "failed")
    assert failed["seed"] == 2
    assert failed["sentence"].startswith("pick failed at 40 labels (line 7: AssertionError)")
    finished = sorted(path for path in (tmp_path / "runs").glob("*.json") if ".part" not in path.name)
    assert {schema.read(path)["config"]["seed"] for path in finished} == {0, 1}
    stamps = [os.stat(path).st_mtime_ns for path in finished]
    (tmp_path / "x").unlink()
    again = [event for _, event in sandbox.listen([order]) if event["say"] == "done"]
    assert [event["seed"] for event in again] == [0, 1, 2]
    assert [os.stat(path).st_mtime_ns for path in finished] == stamps  # those were not run again
