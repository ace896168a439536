"""A run is a file: one JSON object, written whole or not at all, named by the hash of its config.

Knows nothing of what a run is; ``experiment`` fills the record, ``figures`` read it.
"""

import ast
import hashlib
import json
import os
import platform
import resource
import shutil
import sys
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeGuard

import torch

from pslcore.recipe import native_bfloat16, processor

FORMAT = 1
_VOLATILE = ("seconds", "memory", "hardware", "versions", "source")
_TEMPORARY = ".writing-"
_MIN_FREE = 16 << 20
_OWN = ("pslcore", "psllab")


# The code that runs, not what somebody makes of its files while it does.
_IMPORTED = {file: file.read_text("utf-8") for file in Path(__file__).parents[1].rglob("*.py")}


class DamagedRecord(ValueError):
    """A record file that is cut short, altered or of another format."""


def canonical(value: object) -> str:
    """The one JSON text of a value: sorted keys, no spaces; NaN is refused."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def key(config: dict) -> str:
    """Name of the record of a config: 16 hexadecimal digits of its hash."""
    return digest(config)[:16]


def content(record: Any) -> Any:
    """What a record, or a part of one, says, without what may differ between two identical runs: timings, machine,
    versions."""
    if isinstance(record, dict):
        return {name: content(inner) for name, inner in record.items() if name not in _VOLATILE}
    return [content(inner) for inner in record] if isinstance(record, list) else record


def write(path: Path, record: dict) -> None:
    """Write a record atomically, sealed with its digest.

    Raises
    ------
    OSError
        If it cannot be written (a full disk, say); whatever was at ``path`` before is still there, whole.
    """
    write_bytes(path, _text(sealed(record)))


def sealed(record: dict) -> dict:
    """A record with its format and its digest."""
    record = record | {"format": FORMAT}
    return record | {"digest": digest(record)}


def digest(value: object) -> str:
    """The SHA-256 of the canonical text."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def _text(sealed: dict) -> bytes:
    """The one text of a sealed record."""
    return (json.dumps(sealed, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()


def write_bytes(path: Path, payload: bytes) -> None:
    """Write a file whole or not at all: temporary file in the same folder, fsync, rename."""
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f"{_TEMPORARY}{_machine()}-{os.getpid()}-")
        with os.fdopen(handle, "wb") as file:
            file.write(payload)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        why = error.strerror or error
        raise OSError(f"{path} could not be written ({why}): free or choose another place.") from error


def read(path: Path) -> dict:
    """Read a record and check its seal.

    Raises
    ------
    DamagedRecord
        If the file is not exactly what ``write`` left.
    """
    if not Path(path).is_file():  # reading a pipe would hang
        raise DamagedRecord(f"{path} is no file: remove it; run it again.")
    payload = Path(path).read_bytes()
    try:
        record = json.loads(payload)
        if _text(record) != payload:
            raise ValueError("its digest does not fit its contents")
        return opened(record, str(path))
    except DamagedRecord:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise DamagedRecord(f"{path} is damaged ({error}): it is not trusted; run it again.") from error


def opened(sealed: dict, place: str) -> dict:
    """A sealed record without its seal, which must fit.

    Raises
    ------
    DamagedRecord
        If the digest is not that of the contents, or the format is another one.
    """
    record = {name: value for name, value in sealed.items() if name != "digest"}
    if "format" not in record or sealed.get("digest") != digest(record):
        why = "its digest does not fit its contents"
        raise DamagedRecord(f"{place} is damaged ({why}): it is not trusted; run it again.")
    if record.pop("format") != FORMAT:
        raise DamagedRecord(f"{place} is of another format than {FORMAT}: run it again.")
    return record


def prepare(folder: Path) -> None:
    """Make sure that records can be written here, before any work is done; sweep what a killed writer left.

    Raises
    ------
    OSError
        If the folder cannot be made or written to, or the disk is full.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            now = os.fstat(probe.fileno()).st_mtime  # by the clock of the disk, whatever this machine's says
    except OSError as error:
        raise OSError(f"the output folder {folder} cannot be written to ({error.strerror}): choose another.") from error
    free = shutil.disk_usage(folder).free
    if free < _MIN_FREE:
        raise OSError(f"the disk of {folder} is full ({free >> 20} MiB left): free some space first.")
    for leftover in folder.glob(f"{_TEMPORARY}*"):
        if _abandoned(leftover, now):
            leftover.unlink(missing_ok=True)


@cache
def _machine() -> str:
    """Where a process id means the same process: host, boot and namespace of processes, as a hash."""
    parts = [platform.node()]
    with suppress(OSError):
        parts += [Path("/proc/sys/kernel/random/boot_id").read_text(), os.readlink("/proc/self/ns/pid")]
    return hashlib.sha256("".join(parts).encode()).hexdigest()[:12]


def _abandoned(temporary: Path, now: float) -> bool:
    """Whether its writer is gone: asked of the system if it is of this machine; if not, of a day without a change."""
    machine, _, process = temporary.name.removeprefix(_TEMPORARY).rpartition("-")[0].partition("-")
    try:
        if machine != _machine():
            return now - temporary.stat().st_mtime > 86_400
        os.kill(int(process), 0)
    except (ValueError, OSError) as error:
        return not isinstance(error, PermissionError)
    return False


def source_fingerprint(files: Iterable[Path]) -> str:
    """Hash of Python sources, blind to comments, docstrings, layout, and to where a file stands and what it is called.

    What can change a number, and no more: of imports from our own packages the names count, not the modules.
    """
    texts = (_IMPORTED.get(file) or file.read_text("utf-8") for file in map(Path, files))
    digests = sorted(hashlib.sha256(_bare(text).encode()).hexdigest() for text in texts)
    return hashlib.sha256("".join(digests).encode()).hexdigest()[:16]


@cache
def _bare(source: str) -> str:
    """The tree of a source as text, without docstrings; every run of a grid asks for the same few."""
    tree, own = ast.parse(source), list[tuple[str, str]]()
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            own += [(name.name, name.asname or "") for part in body if _is_own(part) for name in part.names]
            body[:] = [part for part in body if not _is_docstring(part) and not _is_own(part)]
        if isinstance(node, ast.JoinedStr):  # the first releases of 3.12 put empty texts into some
            node.values = [part for part in node.values if getattr(part, "value", None) != ""]
    return repr([sorted(own), _plain(tree)])


def _plain(node: object) -> object:
    """A tree in lists, the same in every version of Python: of later fields, empty in older code, there is nothing.

    Neither ``ast.dump`` (3.12 and 3.13 changed it) nor ``ast.unparse`` (3.12 quotes f-strings otherwise) is.
    """
    if isinstance(node, list):
        return [_plain(part) for part in node]
    if not isinstance(node, ast.AST):
        return node
    fields = ([name, _plain(part)] for name, part in ast.iter_fields(node) if part not in (None, []))
    return [type(node).__name__, *fields]


def _is_own(node: ast.AST) -> TypeGuard[ast.ImportFrom]:
    return isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in _OWN


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def reset_peak() -> None:
    """Look for the peak of this process's memory anew; where the system cannot, it stays that of its whole life."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory() -> int:
    """The most memory that this process held since ``reset_peak``, in bytes (resident, mapped files included)."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) << 10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak << 10


def versions() -> dict[str, str]:
    """Versions of what the numbers rest on."""
    found = {"python": platform.python_version()}
    for package in ("torch", "torchvision", "numpy", "scikit-learn"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "absent"
    return found


def hardware(device: torch.device) -> dict[str, str | int]:
    """The machine, as far as it decides speed and bits; no host name.

    Two processors of one name may differ in what torch computes on them: ``model`` is family and model as the
    processor gives them, ``capability`` the vector instructions that torch uses, ``bfloat16`` whether the processor
    computes it (``native``) or float32 stands in for it (``emulated``).
    """
    cpu = processor()
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "processor": cpu.get("model name") or platform.processor() or platform.machine(),
        "model": f"family {cpu.get('cpu family', '?')} model {cpu.get('model', '?')}",
        "capability": torch.backends.cpu.get_cpu_capability(),
        "bfloat16": ("native" if native_bfloat16(torch.device("cpu")) else "emulated") if cpu else "unknown",
        "cores": os.cpu_count() or 1,
    }
