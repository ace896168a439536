"""What a shell is told: the words of the commands, the names in params.yaml of the current folder, what was renamed."""

import argparse
import re
import sys
from collections.abc import Callable
from pathlib import Path

Completer = Callable[..., list[str]]
RENAMED = {"try": "benchmark", "settle": "schedule", "attest": "check-equivalence"}


def _indented(spaces: int) -> Completer:
    """The names that stand so far in."""

    def names(**_: object) -> list[str]:
        path = Path("params.yaml")
        text = path.read_text("utf-8") if path.is_file() else ""
        return sorted({*re.findall(rf"^ {{{spaces}}}([\w.-]+):", text, re.M)} - {"base"})

    return names


SCALE, EXPERIMENT = _indented(2), _indented(4)


def DEVICE(**_: object) -> list[str]:
    return ["auto", "cpu", "cuda", "mps", "xpu"]


def FOLDER(**given: str) -> list[str]:
    from argcomplete.completers import DirectoriesCompleter

    return list(DirectoriesCompleter()(**given))


def within(low: int, high: int) -> Callable[[str], int]:
    """A whole number of the command line from ``low`` to ``high``."""

    def number(text: str) -> int:
        try:
            if low <= int(text) <= high:
                return int(text)
        except ValueError:
            pass
        raise argparse.ArgumentTypeError(f"{text!r} is none of the numbers from {low} to {high}")

    return number


def sentence(error: Exception) -> str:
    """What an error says; of one of the system itself, which file it is about."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename} cannot be used ({error.strerror}): mend it, or name another."
    return str(error)


def complete(parser: argparse.ArgumentParser) -> None:
    """Answer a shell that asks, if one does; an action's ``completer`` is one of those above, else it is a file."""
    from argcomplete import autocomplete

    autocomplete(parser)


def script(shell: str) -> str:
    """What makes a shell ask.

    Raises
    ------
    ValueError
        If argcomplete is not installed.
    """
    try:
        from argcomplete import shellcode
    except ImportError:
        raise ValueError("completion needs argcomplete: install it with `pip install argcomplete`.") from None
    return shellcode(["pslcore"], shell=shell)


def renamed(words: list[str]) -> list[str]:
    """The command line with today's name of a renamed command, which one line on stderr tells."""
    at = next((number for number, word in enumerate(words) if not word.startswith("-")), len(words))
    new = RENAMED.get("".join(words[at : at + 1]))
    if new is None:
        return words
    print(f"pslcore: `{words[at]}` is now called `{new}`.", file=sys.stderr)
    return [*words[:at], new, *words[at + 1 :]]
