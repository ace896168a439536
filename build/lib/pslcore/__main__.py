"""``python -m pslcore``: the command line, which is that of ``psllab``."""

import sys


def main(arguments: list[str] | None = None) -> int:
    """The exit status; see ``psllab.cli``."""
    from psllab.cli import main  # the one import upwards, named in pyproject.toml

    return main(arguments)


if __name__ == "__main__":
    sys.exit(main())
