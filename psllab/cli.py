"""The commands: ``pslcore`` or ``python -m pslcore``. Each says what it takes and what it does, here and nowhere else.

Imports are made by the command that needs them: torch alone takes seconds, and a batch machine has no plotly.
"""

import argparse
import os
import sys
from collections import defaultdict
from collections.abc import Callable
from functools import reduce
from typing import Any

from psllab import shell
from psllab.extend import templates
from psllab.shell import DEVICE, EXPERIMENT, FOLDER, SCALE, Completer

Body = Callable[[argparse.Namespace], int | None]
Mark = Callable[[Body], Body]

_COMMANDS: dict[str, tuple[Body, str, tuple[str, ...]]] = {}
_ARGUMENTS: defaultdict[Body, list[tuple[tuple[str, ...], Completer | None, dict[str, Any]]]] = defaultdict(list)


def main(arguments: list[str] | None = None) -> int:
    """The command line; the exit status: 0 done, 1 runs failed, 2 bad input, 3 stopped by the time limit."""
    commands = parser()
    if "_ARGCOMPLETE" in os.environ:  # a shell asks
        shell.complete(commands)
    options = commands.parse_args(shell.renamed(sys.argv[1:] if arguments is None else arguments))
    try:
        return options.body(options) or 0
    except KeyboardInterrupt:
        print("pslcore: stopped; what was finished is kept.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        from psllab.grid import GridError

        bad_input = isinstance(error, (ValueError, OSError))
        if options.traceback or not (bad_input or isinstance(error, GridError)):
            raise
        print(f"pslcore: {shell.sentence(error)}", file=sys.stderr)
        return 2 if bad_input else 1


def parser() -> argparse.ArgumentParser:
    """All commands, as ``--help`` and completion show them."""
    top = argparse.ArgumentParser(
        "pslcore", description="Peer Study Learning, reproduced: experiments, evidence, albums.", epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    top.add_argument("--traceback", action="store_true", help="show where an error comes from")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, (body, help, examples) in _COMMANDS.items():
        command = commands.add_parser(
            name, help=help, description=f"{help[0].upper()}{help[1:]}.", epilog=_shown(examples),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        command.set_defaults(body=body)
        for names, completer, given in _ARGUMENTS[body]:
            command.add_argument(*names, **given).completer = completer  # type: ignore[attr-defined]
    return top


def _shown(examples: tuple[str, ...]) -> str:
    return "examples:\n" + "\n".join(f"  pslcore {example}" for example in examples)


_EPILOG = _shown(("grid fig3a", "claims --scale laptop", "COMMAND --help"))


def _command(name: str, help: str, *examples: str) -> Mark:
    """The function that it stands on is the body of a command; the arguments follow below it."""

    def mark(body: Body) -> Body:
        _COMMANDS[name] = body, help, examples
        return body

    return mark


def _takes(*names: str, complete: Completer | None = None, **options) -> Mark:
    """An argument, as ``add_argument`` takes it."""

    def mark(body: Body) -> Body:
        _ARGUMENTS[body].insert(0, (names, complete, options))
        return body

    return mark


def _all(*marks: Mark) -> Mark:
    return lambda body: reduce(lambda marked, mark: mark(marked), reversed(marks), body)


def _scale(**options) -> Mark:
    return _takes("--scale", complete=SCALE, help="a scale of params.yaml, such as quick, digits, features", **options)


def _out(help: str) -> Mark:
    return _takes("--out", complete=FOLDER, default="outputs", help=help)


def _places(out: str) -> Mark:
    return _all(_out(out), _takes("--params", default="params.yaml", help="where experiments are written down"))


_EXPERIMENT = _takes("experiment", complete=EXPERIMENT, help="a section of params.yaml, such as fig3a, or all")
_SCALE, _WHICH_SCALE = _scale(default="quick"), _scale(required=True)
_DATA = _takes("--data", complete=FOLDER, default="data", help="folder of the data sets")
_JOBS = _takes("--jobs", type=int, help="processes at a time (the number of cores)")
_DEVICE = _takes("--device", complete=DEVICE, default="auto", help="auto, cpu, cuda, mps, or xpu")
_MACHINE = _all(_DATA, _JOBS, _DEVICE)
_CLUSTER = _takes("--cluster", help="run on workers: a Dask scheduler (tcp://HOST:PORT), local, slurm, pbs, kubernetes")
_RUNS = _all(_places("records go to OUT/SCALE/runs"), _MACHINE, _CLUSTER)
_CLOUD = _takes("--cloud", default="", metavar="URL", help="train task learners on a server, see docs/remote.md")
_ALBUM = _all(
    _CLOUD,
    _takes("folder", complete=FOLDER, help="of pictures; nothing in it is changed"),
    _takes("--out", complete=FOLDER, help="the album's own files; else where this system keeps programs' data"),
)
_BEGINS = _all(
    _takes("--budget", type=int, default=20, help="pictures to ask about"),
    _takes("--classes", help="a,b,c; needed the first time"),
    _takes("--protect", help="YAML file of rules, see docs/album.md"),
)
_LISTENS = _all(
    _takes("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)"),
    _takes("--port", type=shell.within(1, 65535), default=8443, help="port to listen on (8443)"),
    _takes("--cert", help="certificate, a PEM file; without it on the loopback alone"),
    _takes("--key", help="its private key, a PEM file"),
)


def _in_time(minutes: float | None) -> None:
    if minutes is not None and not minutes >= 0:
        raise ValueError(f"--minutes {minutes} is no length of time: give a number from 0.")


@_command("grid", "run an experiment, or go on with it", "grid fig3a", "grid fig3a --scale laptop --minutes 55")
@_EXPERIMENT
@_SCALE
@_takes("--minutes", type=float, help="begin no further cycle after so many minutes")
@_RUNS
@_takes("--keep-stale", action="store_true", help="do not run records of other code again")
@_CLOUD
def _grid(options: argparse.Namespace) -> int:
    from psllab import grid

    _in_time(options.minutes)
    if options.cloud:
        from psllab.remote import stub

        options.cloud = stub.Remote.at(options.cloud, grid.runs_folder(options.out, options.scale))
    results = grid.run(
        options.experiment, options.scale, params=options.params, root=options.data, out=options.out,
        jobs=options.jobs, minutes=options.minutes, keep_stale=options.keep_stale, device=options.device,
        cluster=options.cluster, cloud=options.cloud or None,
    )  # fmt: skip
    done, left = len(results.runs), len(results.unfinished)
    print(f"{options.experiment} at {options.scale}: {done} runs finished, {left} to go.")
    if results.stale:
        print(f"{len(results.stale)} of them were made by other code than today's.")
    return 3 if left else 0


@_command("cloud", "serve task learners to clients on other machines, or say who may come",
          "cloud --store STORE --admit ada", "cloud --store STORE --cert c.pem --key k.pem --host 0.0.0.0")  # fmt: skip
@_takes("--store", complete=FOLDER, required=True, help="folder of all that is received, and of its logs")
@_LISTENS
@_DEVICE
@_takes("--admit", metavar="NAME", help="print a new token for a client; one that it had is worth nothing then")
@_takes("--forget", metavar="NAME", help="remove all that a client sent; the logs stay whole")
def _cloud(options: argparse.Namespace) -> None:
    from psllab.remote import service

    service.command(options)


@_command("replay", "train again what a server trained, from its log alone", "replay STORE/clients/ada/ALBUM")
@_takes("log", complete=FOLDER, help="folder of an album on the server, or a copy of it")
@_DEVICE
def _replay(options: argparse.Namespace) -> int:
    from psllab.remote import replay

    return replay.command(options)


@_command("audit", "say what crossed, by the log of a server", "audit STORE/clients/ada/ALBUM")
@_takes("log", complete=FOLDER, help="folder of an album on the server, or a copy of it")
@_takes("--head", default="", metavar="SEAL", help="a seal that the client was told: no line up to it may be missing")
def _audit(options: argparse.Namespace) -> None:
    from psllab.remote import replay

    print(replay.audit(options.log, options.head))


@_command("merge", "take in records that were made elsewhere", "merge results --scale paper")
@_takes("folder", complete=FOLDER, help="what `grid --out` wrote there")
@_WHICH_SCALE
@_places("records go to OUT/SCALE/runs")
def _merge(options: argparse.Namespace) -> None:
    from psllab import grid

    grid.experiments(options.scale, options.params)  # which there are
    taken = grid.take_in(options.folder, options.scale, options.out)
    print(f"{len(taken)} records taken into {options.out}/{options.scale}/runs.")


@_command("pack", "bring the finished records of a scale into one small file", "pack --scale digits")
@_WHICH_SCALE
@_out("where the records are")
@_takes("--seeds", type=shell.within(1, 10**6), metavar="N",
        help="keep what the first N seeds picked, and of the others a hash (default: keep all)")  # fmt: skip
def _pack(options: argparse.Namespace) -> None:
    from psllab import grid

    count = grid.pack(options.scale, options.out, options.seeds)
    print(f"{options.out}/{options.scale}/runs.*.jsonl.xz hold {count} records.")


@_command("show", "show what the finished runs of an experiment amount to; runs nothing",
          "show fig3a --scale laptop", "show fig3a --picture fig3a.png")  # fmt: skip
@_EXPERIMENT
@_SCALE
@_places("where the records are")
@_takes("--picture", help="write the budget curves to this PNG too (needs Chrome or Chromium)")
def _show(options: argparse.Namespace) -> None:
    from psllab import grid
    from psllab.analysis import figures

    results = grid.collect(options.experiment, options.scale, options.params, options.out)
    print(figures.summary(results).to_string(index=False))
    if results.runs and len({cell.label for cell, _ in results.runs}) > 1:
        print("\n" + figures.paired_tests(results).to_string(index=False))
    print("\n" + figures.provenance(results))
    if options.picture:
        figures.budget_curves(results).write_image(options.picture, width=900, height=520, scale=2)


@_command("claims", "pass the verdict on every claim of the paper; runs nothing", "claims --scale laptop")
@_SCALE
@_places("the table goes to OUT/SCALE/claims.json")
def _claims(options: argparse.Namespace) -> None:
    from psllab.analysis import decision
    from psllab.claims import verdicts

    rows = verdicts.judge(options.scale, options.params, options.out)
    verdicts.write(rows, options.scale, options.out)
    print(", ".join(f"{count} {verdict}" for verdict, count in verdicts.counts(rows).items()) + "\n")
    print(verdicts.markdown([row for row in rows if row["verdict"] != decision.NOT_RUN]), end="")
    ahead = [f"{row['id']}: {row['forecast']}" for row in rows if row["forecast"]]
    print("\nExpected to settle what is open:\n" + "\n".join(ahead) if ahead else "")


@_command("schedule", "run what would decide most of the open claims for the least time",
          "schedule --scale laptop --minutes 60")  # fmt: skip
@_WHICH_SCALE
@_takes("--minutes", type=float, required=True, help="begin no further cycle after so many minutes")
@_RUNS
def _schedule(options: argparse.Namespace) -> int:
    from psllab.claims import forecast, scheduler

    _in_time(options.minutes)
    still = scheduler.run(
        options.scale, options.minutes, options.params, options.data, options.out, options.jobs, options.device,
        cluster=options.cluster,
    )  # fmt: skip
    print(f"{len(still)} claims are open that more seeds could settle.\n" + forecast.format_forecasts(still), end="")
    return 3 if any(each.runs for each in still) else 0


@_command("new", "begin a file of your own: a commented one that works as it is", "new method mine.py")
@_takes("kind", choices=templates.KINDS)
@_takes("file", help="a Python file that is not there yet")
def _new(options: argparse.Namespace) -> None:
    following = templates.write(options.kind, options.file)
    print(f"{options.file} works as it is; change it, then: {following}")


@_command("benchmark", "benchmark a method of your own: its contract, its cost, its place among the published ones",
          "benchmark mine.py", "benchmark mine.py --until-settled",
          "benchmark mine.py:Second --set width=3 --looks 2",
          "benchmark mine.py --dataset pets+efficientnet_lite0@128")  # fmt: skip
@_takes("file", help="a Python file with one Strategy, or FILE:NAME; it runs with your rights")
@_takes("--experiment", complete=EXPERIMENT, default="fig3a", help="a published experiment (fig3a)")
@_takes("--scale", complete=SCALE, default="digits", help="a published scale, such as digits or features")
@_takes("--dataset", help="features of your own instead, FOLDER+BACKBONE@PIXELS; the other methods run here too")
@_takes("--looks", type=int, default=1, help="go on to this interim analysis (1, the first)")
@_takes("--until-settled", action="store_true", help="go on until all is decided, or to the last analysis")
@_takes("--set", action="append", default=[], metavar="NAME=VALUE", help="an option of the method")
@_takes("--with-rivals", nargs="?", const="", metavar="LABELS",
        help="run published methods here too: those that make no pair, or 'A;B'")  # fmt: skip
@_takes("--limit", type=float, default=120, help="seconds that a pick may take (120)")
@_takes("--page", help="where the figure goes (mine.html for mine.py, in this folder)")
@_out("its records go to OUT/SCALE/tried/<file's hash>")
@_MACHINE
def _benchmark(options: argparse.Namespace) -> int:
    from psllab.benchmark import commands

    return commands.attempt(options)


@_command("verify", "make a published run again, and say what came of it",
          "verify --cheapest", "verify 02745424c0c51fb4", "verify 011f89108ce43560.json")  # fmt: skip
@_takes("record", nargs="?", help="the key of a run, or its file")
@_takes("--cheapest", action="store_true", help="the published run that takes the least time")
@_out("where the records are")
@_DATA
@_DEVICE
def _verify(options: argparse.Namespace) -> int:
    from psllab.benchmark import commands

    return commands.check(options)


@_command("check-equivalence", "check that changes of the code since a revision changed no record",
          "check-equivalence HEAD~1")  # fmt: skip
@_takes("revision", help="a commit, as git knows it")
@_takes("--dry", action="store_true", help="write nothing down")
def _check_equivalence(options: argparse.Namespace) -> int:
    from psllab import grid

    findings = grid.attest(options.revision, attested=None if options.dry else grid.ATTESTED)
    print("\n".join(map(str, findings)))
    return 1 if any(finding.differs for finding in findings) else 0


@_command("look", "look at a data set: classes, counts, sizes, duplicates, what was left out and why",
          "look data/album", "look data/album@64x64", "look cifar10")  # fmt: skip
@_takes("dataset", complete=FOLDER, help="a folder of pictures or arrays, or a name; see data/README.md")
@_takes("--data", complete=FOLDER, default="data", help="folder of the data sets, for a name")
@_CLUSTER
def _look(options: argparse.Namespace) -> None:
    from psllab.extend import dataset_summary
    from psllab.grid import executors

    executors.extract(options.dataset, options.data, options.cluster)
    print("\n".join(dataset_summary.summarise(options.dataset, options.data)))


@_command("list", "list all methods, networks, data sets: where each comes from, what it needs", "list")
@_DATA
def _list(options: argparse.Namespace) -> None:
    from psllab.extend import listing

    print(listing.as_text(options.data))


@_command("ask", "ask which pictures of a folder to label next: a CSV file and a page of thumbnails",
          "ask Pictures --classes cat,dog --budget 20", "ask Pictures --protect rules.yaml",
          "ask Pictures --label-studio")  # fmt: skip
@_ALBUM
@_BEGINS
@_takes("--release", action="append", default=[], metavar="PICTURE",
        help="no longer protect one that no rule protects; held-back and earlier name all of these kinds")  # fmt: skip
@_takes("--new", action="store_true", help="begin another album, though one knows these pictures")
@_takes("--label-studio", nargs="?", const="", metavar="FOLDER",
        help="also write what Label Studio needs, to OUT/label-studio or FOLDER")  # fmt: skip
def _ask(options: argparse.Namespace) -> int:
    from psllab.album import commands

    return commands.ask(options)


@_command("label", "serve a page on which several people label a folder's pictures, on this machine",
          "label Pictures --classes cat,dog", "label Pictures --host 0.0.0.0 --cert c.pem --key k.pem")  # fmt: skip
@_ALBUM
@_BEGINS
@_LISTENS
def _label(options: argparse.Namespace) -> None:
    from psllab.remote import service

    encrypted = service.encrypted(options.host, options.cert, options.key)
    from psllab.desk import page  # needs what the room above says how to install

    page.command(options, encrypted)


@_command("tell", "take in the labels of a folder's pictures, learn from them", "tell Pictures answers.csv --by Ada")
@_ALBUM
@_takes("labels", help="CSV with file and label, or an export of Label Studio")
@_takes("--by", default="", help="who says so, where the file does not")
def _tell(options: argparse.Namespace) -> int:
    from psllab.album import commands

    return commands.tell(options)


@_command("completion", "print what makes a shell complete these commands", "completion bash >> ~/.bashrc")
@_takes("shell", choices=("bash", "zsh", "tcsh", "fish"))
def _completion(options: argparse.Namespace) -> None:
    print(shell.script(options.shell))


if __name__ == "__main__":
    sys.exit(main())
