"""``report.html`` of a scale from whatever records are there; runs nothing (``make report``).

``python tools/page.py [SCALE]``; without one the scale that ``params.yaml`` names.
"""

import sys

import yaml

from psllab.analysis import machines
from psllab.claims import verdicts
from psllab.report import exhibits as views
from psllab.report import page


def main(arguments: list[str]) -> int:
    with open("params.yaml") as file:
        scale = next(iter(arguments), yaml.safe_load(file)["scale"])
    try:
        exhibits = views.collected(scale)
    except (ValueError, FileNotFoundError) as error:
        raise SystemExit(str(error)) from None
    rows = verdicts.judge(scale)
    path = page.write(scale, exhibits, rows)
    print(f"{machines.compare(scale)}\nThe page: {path}, {len(exhibits)} exhibits, {len(rows)} claims")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
