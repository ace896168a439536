"""A user's file: Python, loaded as a module named by the hash of its bytes, or YAML; or refused in one sentence.

A Python file that is loaded is run, with all rights of its user.
"""

import hashlib
import sys
import traceback
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

_PREFIX = "pslcore_file_"


class Once(yaml.SafeLoader):
    """YAML in which no name stands twice: the second one would silently replace the first."""

    def compose_mapping_node(self, anchor: Any) -> Any:
        node = super().compose_mapping_node(anchor)  # before anything is merged into it
        seen = set[str]()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    why = f"{key.value!r} is written twice; write all of it in one place, numbers with a point (0.5)"
                    raise yaml.constructor.ConstructorError(problem=why, problem_mark=key.start_mark)
                seen.add(key.value)
        return node


def split(name: str) -> tuple[Path, str]:
    """``folder/mine.py:Mine`` as path and name in it, ``folder/mine.py`` as path and an empty name."""
    path, colon, what = name.rpartition(".py:")
    return (Path(f"{path}.py"), what) if colon else (Path(name), "")


def digest(path: str | Path) -> str:
    """16 hexadecimal digits of the SHA-256 of a file's bytes.

    Raises
    ------
    ValueError
        In one sentence, if it is no Python file that can be read.
    """
    return hashlib.sha256(_bytes(path)).hexdigest()[:16]


def load(path: str | Path) -> ModuleType:
    """The module that a file makes; the same object as long as the file's bytes are the same.

    Raises
    ------
    ValueError
        In one sentence, if there is no such Python file or running it fails, with the line at fault.
    """
    path = Path(path)
    name = _PREFIX + digest(path)
    if name in sys.modules:
        return sys.modules[name]
    loader = SourceFileLoader(name, str(path.absolute()))
    spec = spec_from_loader(name, loader)
    assert spec is not None
    module = module_from_spec(spec)
    sys.modules[name] = module  # pydantic looks a class's module up while it is being made
    try:
        content = _bytes(path)
        if b"\0" in content:
            raise SyntaxError("source code cannot contain null bytes")  # which Python before 3.11.4 calls a ValueError
        code = compile(content, str(path.absolute()), "exec", dont_inherit=True)  # leaves no bytecode beside it
        exec(code, module.__dict__)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise ValueError(f"{path} cannot be loaded ({describe_error(error, path)}): mend the file.") from error
    return module


def attribute(name: str) -> Any:
    """What ``file.py:name`` stands for.

    Raises
    ------
    ValueError
        In one sentence, as ``load``; or if the file has no such name.
    """
    path, what = split(name)
    module = load(path)
    if not what or not hasattr(module, what):
        own = [each for each, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__]
        known = f"choose from {', '.join(own)}" if own else "it defines nothing"
        raise ValueError(f"{name!r}: {path} has no {what or 'name after a colon'!r}: {known}.")
    return getattr(module, what)


def describe_error(error: BaseException, path: str | Path) -> str:
    """An error in half a sentence: its kind, what it says, and the last line of the file that it passed through."""
    place = str(Path(path).absolute())
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == place]
    if isinstance(error, SyntaxError) and error.filename == place:
        lines.append(error.lineno)
    message = " ".join(str(error.msg if isinstance(error, SyntaxError) else error).split()).rstrip(".")
    message = message if len(message) <= 200 else f"{message[:197]}..."
    kind = type(error).__name__
    return (f"line {lines[-1]}: " if lines and lines[-1] else "") + (f"{kind}: {message}" if message else kind)


def _bytes(path: str | Path) -> bytes:
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"there is no file {path}: give the path of a Python file.")
    if path.suffix != ".py":
        raise ValueError(f"{path} is no Python file: its name must end in .py.")
    try:
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror or error}): make it readable.") from None
