"""Writes the published runs into the package as one compact table, from the records in outputs/ (``make publish``).

Table 2, where it was clocked here, goes to where git has it. Scales that name interim analyses are published;
``--scales`` names others, ``--out`` another folder of records.
"""

import argparse
import sys
from pathlib import Path

from psllab import grid
from psllab.analysis import exhibit, tables
from psllab.benchmark import published

TOP = Path(__file__).parents[1]


def main() -> int:
    params = TOP / "params.yaml"
    judged = [scale for scale in grid.scales(params) if grid.interim(scale, params)]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scales", nargs="+", default=judged)
    parser.add_argument("--out", type=Path, default=TOP / "outputs")
    options = parser.parse_args()
    told = published.write(options.scales, params, options.out)
    print("\n".join(f"{name}: {runs} runs" for name, runs in told.items()) or "no finished record")
    for scale in options.scales:
        if (seconds := tables.clocked(scale, options.out)).parent.name == "figures":
            exhibit.read(seconds).write(options.out / scale)
            print(f"{scale}: Table 2")
    print(f"{published.FILE.relative_to(TOP)}: {published.FILE.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
