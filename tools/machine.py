"""Adds what this kind of machine has made to ``outputs/machines.json`` (``make machine``).

``python tools/machine.py [SCALE ...]``; without one ``quick``.
"""

import sys

from pslcore.evidence import machines


def main(scales: list[str]) -> int:
    for scale in scales or ["quick"]:
        for machine, count in machines.publish(scale).items():
            print(f"{count} records of {scale}, {machine}: written into {machines.FILE}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
