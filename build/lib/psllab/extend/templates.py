"""``pslcore new``: a commented file to begin with, which works as it is."""

from pathlib import Path

KINDS = ("method", "network", "dataset")

_NEXT = {
    "method": "pslcore benchmark {file}",
    "network": "name it in params.yaml, `teacher: {file}:network`",
    "dataset": "python {file}",
}


def text(kind: str, file: str) -> str:
    """The file of a kind, which is to be called so."""
    template = Path(__file__).with_name("beginnings") / f"{kind}.py.txt"
    return template.read_text(encoding="utf-8").replace("THIS_FILE", file)


def write(kind: str, file: str) -> str:
    """Write it; what to do next.

    Raises
    ------
    ValueError
        If the kind is unknown, the file is there already, or its name does not end in ``.py``.
    OSError
        If it cannot be written.
    """
    if kind not in KINDS:
        raise ValueError(f"there is no beginning of a {kind!r}: choose one of {', '.join(KINDS)}.")
    path = Path(file)
    if path.suffix != ".py":
        raise ValueError(f"{file} is no Python file: let its name end in .py.")
    begun = text(kind, file)
    try:
        with open(path, "x", encoding="utf-8") as new:
            new.write(begun)
    except FileExistsError:
        raise ValueError(f"{file} is there already and is left alone: name another.") from None
    return _NEXT[kind].format(file=file)
