"""What this kind of machine has made, written into ``outputs/machines.json`` (``make machine``) or held against it.

``python tools/machine.py [--compare] [SCALE ...]``; without one ``quick``.
"""

import argparse
import sys


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scales", nargs="*", default=["quick"], metavar="SCALE")
    parser.add_argument("--compare", action="store_true", help="say how far the records are from those published")
    options = parser.parse_args(arguments)
    from psllab.analysis import machines  # takes seconds, which a fork need not wait for

    for scale in options.scales:
        if options.compare:
            print(machines.compare(scale))
            continue
        for kind, count in machines.publish(scale).items():
            print(f"{count} records of {scale}, {kind}: written into {machines.FILE}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
