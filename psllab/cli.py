"""The commands: ``pslcore`` or ``python -m pslcore``. Each says what it takes and what it does, here and nowhere else.

Imports are made by the command that needs them: torch alone takes seconds, and a batch machine has no plotly.
"""

import argparse
import importlib
import os
import sys
from collections.abc import Callable

from psllab import shell
from psllab.extend import templates
from psllab.shell import DEVICE, EXPERIMENT, FOLDER, SCALE, Completer

Body = Callable[[argparse.Namespace], int]
Declare = Callable[[argparse.ArgumentParser], Body]

_COMMANDS: dict[str, tuple[Declare, str, tuple[str, ...]]] = {}
_RENAMED = {"try": "benchmark", "settle": "schedule", "attest": "check-equivalence"}


def main(arguments: list[str] | None = None) -> int:
    """The command line; the exit status: 0 done, 1 runs failed, 2 bad input, 3 stopped by the time limit."""
    commands = parser()
    if "_ARGCOMPLETE" in os.environ:  # a shell asks
        shell.complete(commands)
    options = commands.parse_args(_renamed(sys.argv[1:] if arguments is None else arguments))
    try:
        return options.body(options)
    except KeyboardInterrupt:
        print("pslcore: stopped; what was finished is kept.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        bad_input = isinstance(error, (ValueError, OSError))
        if options.traceback or not (bad_input or _runs_failed(error)):
            raise
        print(f"pslcore: {error}", file=sys.stderr)
        return 2 if bad_input else 1


def _renamed(words: list[str]) -> list[str]:
    """The command line with today's name of a renamed command, which one line on stderr tells."""
    at = next((number for number, word in enumerate(words) if not word.startswith("-")), len(words))
    new = _RENAMED.get("".join(words[at : at + 1]))
    if new is None:
        return words
    print(f"pslcore: `{words[at]}` is now called `{new}`.", file=sys.stderr)
    return [*words[:at], new, *words[at + 1 :]]


def _runs_failed(error: Exception) -> bool:
    from psllab.grid import GridError

    return isinstance(error, GridError)


def parser() -> argparse.ArgumentParser:
    """All commands, as ``--help`` and completion show them."""
    top = argparse.ArgumentParser(
        "pslcore", description="Peer Study Learning, reproduced: experiments, evidence, albums.", epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    top.add_argument("--traceback", action="store_true", help="show where an error comes from")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, (declare, help, examples) in _COMMANDS.items():
        command = commands.add_parser(
            name, help=help, description=f"{help[0].upper()}{help[1:]}.", epilog=_shown(examples),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        command.set_defaults(body=declare(command))
    return top


def _shown(examples: tuple[str, ...]) -> str:
    return "examples:\n" + "\n".join(f"  pslcore {example}" for example in examples)


_EPILOG = _shown(("grid fig3a", "claims --scale laptop", "COMMAND --help"))


def _command(name: str, help: str, *examples: str) -> Callable[[Declare], Declare]:
    def take(declare: Declare) -> Declare:
        _COMMANDS[name] = declare, help, examples
        return declare

    return take


def _add(command: argparse.ArgumentParser, *names: str, complete: Completer | None = None, **options) -> None:
    action = command.add_argument(*names, **options)
    if complete:
        action.completer = complete  # type: ignore[attr-defined]


def _scale(command: argparse.ArgumentParser, required: bool = False) -> None:
    told = {"required": True} if required else {"default": "quick"}
    _add(command, "--scale", complete=SCALE, help="a scale of params.yaml: quick, digits, laptop, paper", **told)


def _out(command: argparse.ArgumentParser, help: str) -> None:
    _add(command, "--out", complete=FOLDER, default="outputs", help=help)


def _places(command: argparse.ArgumentParser, out: str) -> None:
    _out(command, out)
    _add(command, "--params", default="params.yaml", help="where experiments are written down")


def _machine(command: argparse.ArgumentParser) -> None:
    _add(command, "--data", complete=FOLDER, default="data", help="folder of the data sets")
    _add(command, "--jobs", type=int, help="processes at a time (the number of cores)")
    _add(command, "--device", complete=DEVICE, default="auto", help="auto, cpu, or cuda")


def _of(module: str, name: str) -> Body:
    """The body of that name, whose module is imported when it is run."""
    return lambda options: getattr(importlib.import_module(module), name)(options)


def _in_time(minutes: float | None) -> None:
    if minutes is not None and not minutes >= 0:
        raise ValueError(f"--minutes {minutes} is no length of time: give a number from 0.")


@_command("grid", "run an experiment, or go on with it", "grid fig3a", "grid fig3a --scale laptop --minutes 55")
def _grid(command: argparse.ArgumentParser) -> Body:
    _add(command, "experiment", complete=EXPERIMENT, help="a section of params.yaml, such as fig3a")
    _scale(command)
    _add(command, "--minutes", type=float, help="begin no further cycle after so many minutes")
    _places(command, "records go to OUT/SCALE/runs")
    _machine(command)
    _add(command, "--keep-stale", action="store_true", help="do not run records of other code again")

    def body(options: argparse.Namespace) -> int:
        from psllab import grid

        _in_time(options.minutes)
        results = grid.run(
            options.experiment, options.scale, params=options.params, root=options.data, out=options.out,
            jobs=options.jobs, minutes=options.minutes, keep_stale=options.keep_stale, device=options.device,
        )  # fmt: skip
        done, left = len(results.runs), len(results.unfinished)
        print(f"{options.experiment} at {options.scale}: {done} runs finished, {left} to go.")
        if results.stale:
            print(f"{len(results.stale)} of them were made by other code than today's.")
        return 3 if left else 0

    return body


@_command("merge", "take in records that were made elsewhere", "merge results --scale paper")
def _merge(command: argparse.ArgumentParser) -> Body:
    _add(command, "folder", complete=FOLDER, help="what `grid --out` wrote there")
    _scale(command, required=True)
    _out(command, "records go to OUT/SCALE/runs")

    def body(options: argparse.Namespace) -> int:
        from psllab import grid

        taken = grid.take_in(options.folder, options.scale, options.out)
        print(f"{len(taken)} records taken into {options.out}/{options.scale}/runs.")
        return 0

    return body


@_command("pack", "bring the finished records of a scale into one small file", "pack --scale digits")
def _pack(command: argparse.ArgumentParser) -> Body:
    _scale(command, required=True)
    _out(command, "where the records are")
    _add(command, "--seeds", type=int, metavar="N",
         help="keep what the first N seeds picked, and of the others a hash (default: keep all)")  # fmt: skip

    def body(options: argparse.Namespace) -> int:
        from psllab import grid

        count = grid.pack(options.scale, options.out, options.seeds)
        print(f"{options.out}/{options.scale}/runs.*.jsonl.xz hold {count} records.")
        return 0

    return body


@_command("show", "show what the finished runs of an experiment amount to; runs nothing",
          "show fig3a --scale laptop", "show fig3a --picture fig3a.png")  # fmt: skip
def _show(command: argparse.ArgumentParser) -> Body:
    _add(command, "experiment", complete=EXPERIMENT, help="a section of params.yaml, such as fig3a")
    _scale(command)
    _places(command, "where the records are")
    _add(command, "--picture", help="write the budget curves to this PNG too (needs Chrome or Chromium)")

    def body(options: argparse.Namespace) -> int:
        from psllab import grid
        from psllab.analysis import figures

        results = grid.collect(options.experiment, options.scale, options.params, options.out)
        print(figures.summary(results).to_string(index=False))
        if results.runs and len({cell.label for cell, _ in results.runs}) > 1:
            print("\n" + figures.paired_tests(results).to_string(index=False))
        print("\n" + figures.provenance(results))
        if options.picture:
            figures.budget_curves(results).write_image(options.picture, width=900, height=520, scale=2)
        return 0

    return body


@_command("claims", "pass the verdict on every claim of the paper; runs nothing", "claims --scale laptop")
def _claims(command: argparse.ArgumentParser) -> Body:
    _scale(command)
    _places(command, "the table goes to OUT/SCALE/claims.json")

    def body(options: argparse.Namespace) -> int:
        from psllab.analysis import decision
        from psllab.claims import verdicts

        rows = verdicts.judge(options.scale, options.params, options.out)
        verdicts.write(rows, options.scale, options.out)
        print(", ".join(f"{count} {verdict}" for verdict, count in verdicts.counts(rows).items()) + "\n")
        print(verdicts.markdown([row for row in rows if row["verdict"] != decision.NOT_RUN]), end="")
        ahead = [f"{row['id']}: {row['forecast']}" for row in rows if row["forecast"]]
        print("\nExpected to settle what is open:\n" + "\n".join(ahead) if ahead else "")
        return 0

    return body


@_command("schedule", "run what would decide most of the open claims for the least time",
          "schedule --scale laptop --minutes 60")  # fmt: skip
def _schedule(command: argparse.ArgumentParser) -> Body:
    _scale(command, required=True)
    _add(command, "--minutes", type=float, required=True, help="begin no further cycle after so many minutes")
    _places(command, "records go to OUT/SCALE/runs")
    _machine(command)

    def body(options: argparse.Namespace) -> int:
        from psllab.claims import forecast, scheduler

        _in_time(options.minutes)
        still = scheduler.run(
            options.scale, options.minutes, options.params, options.data, options.out, options.jobs, options.device
        )
        print(
            f"{len(still)} claims are open that more seeds could settle.\n" + forecast.format_forecasts(still), end=""
        )
        return 3 if any(each.runs for each in still) else 0

    return body


@_command("new", "begin a file of your own: a commented one that works as it is", "new method mine.py")
def _new(command: argparse.ArgumentParser) -> Body:
    _add(command, "kind", choices=templates.KINDS)
    _add(command, "file", help="a Python file that is not there yet")

    def body(options: argparse.Namespace) -> int:
        following = templates.write(options.kind, options.file)
        print(f"{options.file} works as it is; change it, then: {following}")
        return 0

    return body


@_command("benchmark", "benchmark a method of your own: its contract, its cost, its place among the published ones",
          "benchmark mine.py", "benchmark mine.py --until-settled",
          "benchmark mine.py:Second --set width=3 --looks 2")  # fmt: skip
def _benchmark(command: argparse.ArgumentParser) -> Body:
    _add(command, "file", help="a Python file with one Strategy, or FILE:NAME; it runs with your rights")
    _add(command, "--experiment", complete=EXPERIMENT, default="fig3a", help="a published experiment (fig3a)")
    _add(command, "--scale", complete=SCALE, default="digits", help="a published scale: digits or laptop")
    _add(command, "--looks", type=int, default=1, help="go on to this interim analysis (1, the first)")
    _add(command, "--until-settled", action="store_true", help="go on until all is decided, or to the last analysis")
    _add(command, "--set", action="append", default=[], metavar="NAME=VALUE", help="an option of the method")
    _add(command, "--with-rivals", nargs="?", const="", metavar="LABELS",
         help="run published methods here too: those that make no pair, or 'A;B'")  # fmt: skip
    _add(command, "--limit", type=float, default=120, help="seconds that a pick may take (120)")
    _add(command, "--page", help="where the figure goes (mine.html for mine.py, in this folder)")
    _out(command, "its records go to OUT/SCALE/tried/<file's hash>")
    _machine(command)

    return _of("psllab.benchmark.commands", "attempt")


@_command("verify", "make a published run again, and say what came of it",
          "verify --cheapest", "verify 02745424c0c51fb4", "verify 011f89108ce43560.json")  # fmt: skip
def _verify(command: argparse.ArgumentParser) -> Body:
    _add(command, "record", nargs="?", help="the key of a run, or its file")
    _add(command, "--cheapest", action="store_true", help="the published run that takes the least time")
    _out(command, "where the records are")
    _add(command, "--data", complete=FOLDER, default="data", help="folder of the data sets")
    _add(command, "--device", complete=DEVICE, default="auto", help="auto, cpu, or cuda")

    return _of("psllab.benchmark.commands", "check")


@_command("check-equivalence", "check that changes of the code since a revision changed no record",
          "check-equivalence HEAD~1")  # fmt: skip
def _check_equivalence(command: argparse.ArgumentParser) -> Body:
    _add(command, "revision", help="a commit, as git knows it")
    _add(command, "--dry", action="store_true", help="write nothing down")

    def body(options: argparse.Namespace) -> int:
        from psllab import grid

        findings = grid.attest(options.revision, attested=None if options.dry else grid.ATTESTED)
        print("\n".join(map(str, findings)))
        return 1 if any(finding.differs for finding in findings) else 0

    return body


@_command("look", "look at a data set: classes, counts, sizes, duplicates, what was left out and why",
          "look data/album", "look data/album@64x64", "look cifar10")  # fmt: skip
def _look(command: argparse.ArgumentParser) -> Body:
    _add(command, "dataset", complete=FOLDER, help="a folder of pictures or arrays, or a name; see data/README.md")
    _add(command, "--data", complete=FOLDER, default="data", help="folder of the data sets, for a name")

    def body(options: argparse.Namespace) -> int:
        from psllab.extend import dataset_summary

        print("\n".join(dataset_summary.look(options.dataset, options.data)))
        return 0

    return body


@_command("list", "list all methods, networks, data sets: where each comes from, what it needs", "list")
def _list(command: argparse.ArgumentParser) -> Body:
    _add(command, "--data", complete=FOLDER, default="data", help="folder of the data sets")

    def body(options: argparse.Namespace) -> int:
        from psllab.extend import listing

        print(listing.told(options.data))
        return 0

    return body


def _album(command: argparse.ArgumentParser) -> None:
    _add(command, "folder", complete=FOLDER, help="of pictures; nothing in it is changed")
    _add(command, "--out", complete=FOLDER, help="the album's own files; else where this system keeps programs' data")


@_command("ask", "ask which pictures of a folder to label next: a CSV file and a page of thumbnails",
          "ask Pictures --classes cat,dog --budget 20", "ask Pictures --protect rules.yaml",
          "ask Pictures --label-studio")  # fmt: skip
def _ask(command: argparse.ArgumentParser) -> Body:
    _album(command)
    _add(command, "--budget", type=int, default=20, help="pictures to ask about")
    _add(command, "--classes", help="a,b,c; needed the first time")
    _add(command, "--protect", help="YAML file of rules, see docs/album.md")
    _add(command, "--release", action="append", default=[], metavar="PICTURE",
         help="no longer protect one that no rule protects; held-back and earlier name all of these kinds")  # fmt: skip
    _add(command, "--new", action="store_true", help="begin another album, though one knows these pictures")
    _add(command, "--label-studio", nargs="?", const="", metavar="FOLDER",
         help="also write what Label Studio needs, to OUT/label-studio or FOLDER")  # fmt: skip

    return _of("psllab.album.commands", "ask")


@_command("tell", "take in the labels of a folder's pictures, learn from them", "tell Pictures answers.csv --by Ada")
def _tell(command: argparse.ArgumentParser) -> Body:
    _album(command)
    _add(command, "labels", help="CSV with file and label, or an export of Label Studio")
    _add(command, "--by", default="", help="who says so, where the file does not")

    return _of("psllab.album.commands", "tell")


@_command("completion", "print what makes a shell complete these commands",
          'completion bash >> ~/.bashrc', "completion zsh >> ~/.zshrc")  # fmt: skip
def _completion(command: argparse.ArgumentParser) -> Body:
    _add(command, "shell", choices=("bash", "zsh", "tcsh", "fish"))

    def body(options: argparse.Namespace) -> int:
        print(shell.script(options.shell))
        return 0

    return body


if __name__ == "__main__":
    sys.exit(main())
