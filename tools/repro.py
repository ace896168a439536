"""``dvc repro``, with the imports of all its processes done once, and a word at the end (``make repro``).

``python tools/repro.py [SCALE] [-- arguments of dvc repro]``. The stages are those of ``dvc repro`` and leave the same.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import machine  # beside this file, as is the next
import stage

from pslcore import warm

PARAMS = Path("params.yaml")
SCALE = re.compile(r"^scale: *(\S+) *$", re.M)


def chosen(scale: str | None) -> str:
    """The scale of ``params.yaml``, after it has been set there if one is named."""
    text = PARAMS.read_text()
    now = SCALE.search(text)
    if now is None:
        raise SystemExit(f"{PARAMS} names no scale: give it a line such as `scale: quick`.")
    if scale and scale != now[1]:
        if not re.search(rf"^  {re.escape(scale)}:$", text, re.M):
            raise SystemExit(f"{PARAMS} has no scale {scale!r}: name one of its sections.")
        PARAMS.write_text(SCALE.sub(f"scale: {scale}", text, count=1))
        print(f"{PARAMS} names the scale {scale} now.")
    return scale or now[1]


def main(arguments: list[str]) -> int:
    split = arguments.index("--") if "--" in arguments else len(arguments)
    scale = chosen(next(iter(arguments[:split]), None))
    folder = Path("outputs", scale)
    os.environ["PSL_LAST"] = "here"  # where the page is, is said at the end, not by its stage
    with warm.serving(stage.IMPORTS):
        status = subprocess.call(["dvc", "repro", *arguments[split + 1 :]])
        if status == 0 and not (folder / "report.html").exists():  # the page is no output: dvc does not miss it
            status = subprocess.call(["dvc", "repro", "--force", "--single-item", "report"])
        if status == 0:
            print(flush=True)
            status = (
                warm.call(machine.__file__, "--compare", scale) if warm.there() else machine.main(["--compare", scale])
            )
    if status == 0:
        print(f"The page: {folder / 'report.html'}")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
