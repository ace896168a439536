"""``report.html`` of a scale from whatever records are there; runs nothing (``make report``).

``python tools/page.py [SCALE]``; without one the scale that ``params.yaml`` names.
"""

import sys

import yaml

from pslcore.runs import records
from psllab import grid
from psllab.analysis import machines
from psllab.claims import verdicts
from psllab.report import embedded, page
from psllab.report import exhibits as views


def main(arguments: list[str]) -> int:
    with open("params.yaml") as file:
        scale = next(iter(arguments), yaml.safe_load(file)["scale"])
    try:
        exhibits = views.collected(scale)
    except (ValueError, FileNotFoundError) as error:
        raise SystemExit(str(error)) from None
    rows = verdicts.judge(scale)
    deviations = page.section("docs/deviations.md", "Deviations and limits")
    html = page.page(
        exhibits, scale, rows, verdicts.counts(rows), verdicts.__doc__ or "", page.stages(), deviations,
        embedded.collected(scale), page.code(),
    )  # fmt: skip
    path = grid.runs_folder("outputs", scale).parent / "report.html"
    records.write_bytes(path, html.encode())
    print(f"{machines.compare(scale)}\nThe page: {path}, {len(exhibits)} exhibits, {len(rows)} claims")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
