"""Workers that are forks of a warm process."""

import os
import sys

import pytest

from pslcore import warm
from pslcore.campaign import crew

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="forks are safe and made on Linux alone"),
]


@pytest.fixture
def server(monkeypatch):
    monkeypatch.delenv("PSL_WARM", raising=False)
    with warm.serving(["json"]):
        yield


def test_a_crew_does_all_and_ends(server):
    tasks = [(pow, (number, 2)) for number in range(20)]
    assert sorted(crew.answers(iter(tasks), 3)) == [number**2 for number in range(20)]
    assert list(crew.answers(iter(tasks[:1]), 3)) == [0]
    assert list(crew.answers(iter([]), 2)) == []


def test_a_crew_takes_the_next_task_when_one_is_free(server):
    asked = []

    def tasks():
        for number in range(6):
            asked.append(number)
            yield pow, (number, 2)

    answers = crew.answers(tasks(), 2)
    next(answers)
    assert len(asked) <= 3
    answers.close()


def test_a_worker_that_is_killed_is_told(server):
    with pytest.raises(RuntimeError, match="a worker ended in the middle of a run"):
        list(crew.answers(iter([(os._exit, (1,))]), 2))
