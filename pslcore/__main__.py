"""``python -m pslcore``: run experiments without Jupyter, take in records made elsewhere."""

import argparse
import sys

from pslcore import campaign


def main(arguments: list[str] | None = None) -> int:
    """The command line; the exit status: 0 done, 1 runs failed, 2 bad input, 3 stopped by the time limit."""
    parser = argparse.ArgumentParser(prog="python -m pslcore", description=__doc__.split(":")[1].strip())
    parser.add_argument("--traceback", action="store_true", help="show where an error comes from")
    commands = parser.add_subparsers(dest="command", required=True)

    run = commands.add_parser("grid", help="run an experiment, or go on with it")
    run.add_argument("experiment", help="a section of params.yaml, such as fig3a")
    run.add_argument("--scale", default="quick", help="quick, laptop or paper")
    run.add_argument("--minutes", type=float, help="begin no further cycle after so many minutes")
    run.add_argument("--out", default="outputs", help="records go to OUT/SCALE/runs")
    run.add_argument("--data", default="data", help="folder of the data sets")
    run.add_argument("--params", default="params.yaml")
    run.add_argument("--jobs", type=int, help="processes at a time (the number of cores)")
    run.add_argument("--device", default="auto", help="auto, cpu or cuda")
    run.add_argument("--keep-stale", action="store_true", help="do not run records of other code again")

    merge = commands.add_parser("merge", help="take in records that were made elsewhere")
    merge.add_argument("folder", help="what `grid --out` wrote there")
    merge.add_argument("--scale", required=True, help="the scale they were made at")
    merge.add_argument("--out", default="outputs")

    show = commands.add_parser("show", help="what the finished runs of an experiment amount to; runs nothing")
    show.add_argument("experiment")
    show.add_argument("--scale", default="quick")
    show.add_argument("--out", default="outputs")
    show.add_argument("--params", default="params.yaml")
    show.add_argument("--picture", help="write the budget curves to this PNG as well (needs Chrome or Chromium)")

    attest = commands.add_parser("attest", help="prove that a change of the code since a revision changed no record")
    attest.add_argument("revision", help="a commit, as git knows it, such as HEAD~1")
    attest.add_argument("--dry", action="store_true", help="write nothing down")

    claims = commands.add_parser("claims", help="the verdict on every claim of the paper; runs nothing")
    claims.add_argument("--scale", default="quick")
    claims.add_argument("--out", default="outputs", help="the table goes to OUT/SCALE/claims.json")
    claims.add_argument("--params", default="params.yaml")

    settle = commands.add_parser("settle", help="run what would decide most of the open claims for the least time")
    settle.add_argument("--scale", required=True)
    settle.add_argument("--minutes", type=float, required=True, help="begin no further cycle after so many minutes")
    settle.add_argument("--out", default="outputs", help="records go to OUT/SCALE/runs")
    settle.add_argument("--data", default="data", help="folder of the data sets")
    settle.add_argument("--params", default="params.yaml")
    settle.add_argument("--jobs", type=int, help="processes at a time (the number of cores)")
    settle.add_argument("--device", default="auto", help="auto, cpu or cuda")

    ask = commands.add_parser("ask", help="which pictures of a folder to label next: a CSV file and a page")
    tell = commands.add_parser("tell", help="take in the labels of a folder's pictures, learn from them")
    for command in (ask, tell):
        command.add_argument("folder", help="of pictures; nothing in it is changed")
        command.add_argument("--out", help="where the album's own files go: outputs/album/<hash of the folder>")
    ask.add_argument("--budget", type=int, default=20, help="pictures to ask about")
    ask.add_argument("--classes", help="a,b,c; needed the first time")
    ask.add_argument("--protect", help="YAML file of rules, see docs/album.md")
    ask.add_argument("--label-studio", metavar="FILE", help="write tasks for Label Studio as well")
    tell.add_argument("labels", help="CSV with file and label, or an export of Label Studio (JSON)")
    tell.add_argument("--by", default="", help="who says so, where the file does not")

    options = parser.parse_args(arguments)
    try:
        return _COMMANDS[options.command](options)
    except (ValueError, OSError, campaign.GridError) as error:
        if options.traceback:
            raise
        print(f"pslcore: {error}", file=sys.stderr)
        return 1 if isinstance(error, campaign.GridError) else 2


def _in_time(options: argparse.Namespace) -> None:
    if options.minutes is not None and not options.minutes >= 0:
        raise ValueError(f"--minutes {options.minutes} is no length of time: give a number from 0.")


def _grid(options: argparse.Namespace) -> int:
    _in_time(options)
    results = campaign.run(
        options.experiment,
        options.scale,
        params=options.params,
        root=options.data,
        out=options.out,
        jobs=options.jobs,
        minutes=options.minutes,
        keep_stale=options.keep_stale,
        device=options.device,
    )
    print(
        f"{options.experiment} at {options.scale}: {len(results.runs)} runs finished, {len(results.unfinished)} to go."
    )
    if results.stale:
        print(f"{len(results.stale)} of them were made by other code than today's.")
    return 3 if results.unfinished else 0


def _merge(options: argparse.Namespace) -> int:
    taken = campaign.take_in(options.folder, options.scale, options.out)
    print(f"{len(taken)} records taken into {options.out}/{options.scale}/runs.")
    return 0


def _show(options: argparse.Namespace) -> int:
    from pslcore.evidence import figures  # plotly is not there on a batch machine

    results = campaign.collect(options.experiment, options.scale, options.params, options.out)
    print(figures.summary(results).to_string(index=False))
    if results.runs and len({cell.label for cell, _ in results.runs}) > 1:
        print("\n" + figures.paired_tests(results).to_string(index=False))
    print("\n" + figures.provenance(results))
    if options.picture:
        figures.budget_curves(results).write_image(options.picture, width=900, height=520, scale=2)
    return 0


def _claims(options: argparse.Namespace) -> int:
    from pslcore.evidence import verdicts  # needs plotly, by way of figures

    rows = verdicts.judge(options.scale, options.params, options.out)
    verdicts.write(rows, options.scale, options.out)
    print(", ".join(f"{count} {verdict}" for verdict, count in verdicts.counts(rows).items()) + "\n")
    print(verdicts.markdown([row for row in rows if row["verdict"] != "not run"]), end="")
    ahead = [f"{row['id']}: {row['forecast']}" for row in rows if row["forecast"]]
    print("\nExpected to settle what is open:\n" + "\n".join(ahead) if ahead else "")
    return 0


def _settle(options: argparse.Namespace) -> int:
    from pslcore.evidence import forecast, settle

    _in_time(options)
    still = settle.run(
        options.scale, options.minutes, options.params, options.data, options.out, options.jobs, options.device
    )
    print(f"{len(still)} claims are open that more seeds could settle.\n" + forecast.told(still), end="")
    return 3 if any(each.runs for each in still) else 0


def _attest(options: argparse.Namespace) -> int:
    findings = campaign.attest(options.revision, attested=None if options.dry else campaign.ATTESTED)
    print("\n".join(map(str, findings)))
    return 1 if any(finding.differs for finding in findings) else 0


def _ask(options: argparse.Namespace) -> int:
    from pslcore.album import command

    return command.ask(options)


def _tell(options: argparse.Namespace) -> int:
    from pslcore.album import command

    return command.tell(options)


_COMMANDS = {
    "grid": _grid, "merge": _merge, "show": _show, "claims": _claims, "attest": _attest, "settle": _settle,
    "ask": _ask, "tell": _tell,
}  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
