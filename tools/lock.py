"""Write ``requirements.lock``: the exact version of all that the pins of ``pyproject.toml`` pull in (``make lock``).

pip resolves for the interpreter that runs this, in an environment that is thrown away, and installs nothing. The oldest
Python that we take is the one to use: it needs most. No release is taken that its makers withdrew. pip takes such a one
only where a pin names it, but an index can fail to say so, and ``WITHDRAWN`` names those that we know.
"""

import json
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

TOP = Path(__file__).parents[1]
LOCK = TOP / "requirements.lock"
OLDEST = (3, 11)
WITHDRAWN = {"soupsieve": {"3.0.1"}}  # broken on Python 3.11.0 to 3.11.4


def locked(report: dict) -> list[str]:
    """The lines of the lock from a report of pip; ValueError where it holds a withdrawn release."""
    lines = []
    for row in report["install"]:
        name, version = row["metadata"]["name"].lower(), row["metadata"]["version"].partition("+")[0]
        if name == "pslcore":
            continue
        if row.get("is_yanked") or version in WITHDRAWN.get(name, ()):
            raise ValueError(f"{name} {version} was withdrawn by its makers: give {name} a bound in pyproject.toml.")
        lines.append(f"{name}=={version}")
    return sorted(lines)


def resolved() -> dict:
    """What pip would install into an empty environment, as pip reports it."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python, report = Path(folder) / "bin/python", Path(folder) / "report.json"
        command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--dry-run"]
        subprocess.run([*command, "--report", report, "--editable", f"{TOP}[dev]"], check=True)
        return json.loads(report.read_text())


def main() -> int:
    if sys.version_info[:2] != OLDEST:
        wanted, given = (".".join(map(str, version)) for version in (OLDEST, sys.version_info[:2]))
        print(
            f"Python {given} needs fewer packages than {wanted}: call `make lock PYTHON=python{wanted}`.",
            file=sys.stderr,
        )
        return 2
    try:
        lines = locked(resolved())
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        return error.returncode  # pip has said why
    LOCK.write_text("\n".join(lines) + "\n")
    print(f"{len(lines)} packages in {LOCK.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
