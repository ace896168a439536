"""What the log of an album shows: what crossed, and that the task learner came from that and nothing else."""

import argparse
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pslcore.runs import METRICS, prepare_process
from psllab.remote.log import DamagedLog, Line, Log
from psllab.remote.messages import RECEIVED
from psllab.remote.training import Training

_SAID = {
    "open": "settings", "labelled": "labelled pictures", "test": "test pictures", "plan": "planned epochs",
    "unlabelled": "pictures to be scored", "order": "training orders",
}  # fmt: skip


def command(options: argparse.Namespace) -> int:
    """What ``pslcore replay`` does; 1 if something came out otherwise."""
    equal = True
    for told, same in replay(options.log, options.device):
        print(told, flush=True)
        equal = equal and same
    return 0 if equal else 1


def opened(folder: str | Path, head: str = "") -> Log:
    """The log in an album's folder, its chain whole.

    Raises
    ------
    DamagedLog
        If it is not what the server wrote, or ``head``, the last seal that the client was told, is not in it.
    FileNotFoundError
        If there is none.
    """
    folder = Path(folder)
    if not (folder / "log.jsonl").is_file():
        raise FileNotFoundError(f"{folder} holds no log.jsonl: name the folder of an album, STORE/clients/NAME/ALBUM.")
    log = Log(folder)
    if head and head not in (line["seal"] for line in log.lines):
        raise DamagedLog(f"{folder}: no line has the seal {head[:16]}... that the client was told: lines are missing.")
    return log


def replay(folder: str | Path, device: str = "auto") -> Iterator[tuple[str, bool]]:
    """Train every finished order again from the log alone: a sentence, and whether all came out as it was.

    Raises
    ------
    DamagedLog, FileNotFoundError
        As ``opened``; or if a payload was changed, or was forgotten.
    """
    log, where = opened(folder), prepare_process(device)
    done = {line["id"]: line["weights"] for line in log.of("trained")}
    if not done:
        raise ValueError(f"{folder}: no training was finished, so there is nothing to compare.")
    exams: dict[str, Line] = {line["id"]: line for line in log.of("gave") if "matrix" in line}
    for number, (order, signature) in enumerate(done.items()):
        training = Training(log, order, where)
        while training.done < training.epochs:
            training.epoch()
        found, told = training.signature(), ""
        same = found == signature
        if (exam := exams.get(order)) is not None:
            matrix, before = training.examine(exam["test"])["matrix"], np.array(exam["matrix"])
            name = "mean IoU" if training.pixels else "accuracy"
            same = same and np.array_equal(matrix, before)
            told = f"{name} {METRICS[name](matrix):.4f}, was {METRICS[name](before):.4f}; "
        compared = "the same" if found == signature else f"were {signature[:16]}"
        yield f"training {number}, {training.pictures} labelled pictures: {told}weights {found[:16]}, {compared}", same


def audit(folder: str | Path, head: str = "") -> str:
    """What crossed, in a sentence and a table; the payloads that are there are held against their names.

    Raises
    ------
    DamagedLog, FileNotFoundError
        As ``opened``; or if a payload was changed.
    """
    log = opened(folder, head)
    if not log.lines:
        return "The log is empty: nothing crossed."
    for name in log.held():
        log.message(name)
    crossed: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for line in log.of(*RECEIVED, "gave"):
        row = ("up", _SAID[line["kind"]]) if line["kind"] in RECEIVED else ("down", line["what"])
        crossed[row].update(messages=1, items=line["items"], bytes=line["bytes"])
    labelled, unlabelled = (crossed["up", _SAID[kind]]["items"] for kind in ("labelled", "unlabelled"))
    trained, lost = len({line["id"] for line in log.of("trained")}), log.of("forgotten")
    up, down = (sum(count["bytes"] for (way, _), count in crossed.items() if way == each) for each in ("up", "down"))
    told = [
        f"From {log.lines[0]['at']} to {log.lines[-1]['at']} the cloud was sent {labelled} pictures with their labels",
        f"and {unlabelled or 'none'} to be scored, trained {trained} times, received {up:,} bytes and gave {down:,}.",
    ]
    if lost:
        told.append(f"What it had received was forgotten at {lost[-1]['at']}.")
    told.append(f"All {len(log.lines)} lines and {len(log.held())} payloads are what was written.")
    rows = [f"{'':5}{'what':36}{'messages':>10}{'items':>12}{'bytes':>16}"]
    for (way, what), count in sorted(crossed.items(), reverse=True):
        if count:
            rows.append(f"{way:5}{what:36}{count['messages']:>10,}{count['items']:>12,}{count['bytes']:>16,}")
    return " ".join(told) + "\n\n" + "\n".join(rows) + f"\n\nlast seal: {log.head}"
