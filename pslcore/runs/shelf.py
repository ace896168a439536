"""Where a run keeps its record and, after each step, what it needs to go on: plain runs, federated ones alike."""

import io
import zipfile
from pathlib import Path
from typing import Any

import torch

from pslcore.runs import records, schema
from pslcore.runs.protocol import Protocol, Record


class Shelf:
    """One run's files in a folder: ``<key>.json`` when it is finished, ``<key>.part.json`` and weights until then.

    Parameters
    ----------
    folder : path or None
        Without one nothing is kept.
    protocol : Protocol
    part : pydantic model
        The form of what is kept beside the unfinished record.
    """

    def __init__(self, folder: Path | None, protocol: Protocol, part: type[schema.Form] = schema.Part):
        self._folder, self._protocol, self._key, self._part = folder, protocol, protocol.config.key, part
        if folder is not None:
            records.prepare(folder)

    def _path(self, suffix: str) -> Path:
        assert self._folder is not None
        return self._folder / f"{self._key}{suffix}"

    def resume(self) -> tuple[Record, dict[str, Any] | None, dict[str, Any]]:
        """The record so far, what was kept beside it, and the weights; a new record where none can be gone on with."""
        fresh = self._protocol.head()
        if self._folder is not None and self._path(".part.json").exists():
            try:
                part = schema.read(self._path(".part.json"), self._part)
                record, number = part["record"], part["weights"]
                if all(record.get(name) == fresh[name] for name in ("config", "data", "pools", "source", "precision")):
                    return record, part["kept"], {} if number is None else unpacked(self._path(f".step{number}.pt"))
            except ValueError as error:  # damaged records are
                print(error)
        return fresh, None, {}

    def keep(self, record: Record, kept: dict[str, Any], weights: dict[str, Any], number: int) -> None:
        """After step ``number``. Weights go first: whenever the part record stands, its weights stand too."""
        if self._folder is None:
            return
        if weights:
            records.write_bytes(self._path(f".step{number}.pt"), packed(weights))
        part = {"record": record, "kept": kept, "weights": number if weights else None}
        records.write(self._path(".part.json"), part)
        self._path(f".step{number - 1}.pt").unlink(missing_ok=True)

    def finish(self, record: Record) -> None:
        """Write the record, remove what it was made from."""
        if self._folder is None:
            return
        records.write(self._path(".json"), record)
        for leftover in self._folder.glob(f"{self._key}.[pcs]*"):
            leftover.unlink(missing_ok=True)  # by another grid on this folder


def packed(state: dict[str, Any]) -> bytes:
    """What ``torch.load`` reads, as bytes."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def unpacked(path: Path) -> dict[str, Any]:
    """What was ``packed`` into a file; ``ValueError`` if it is not whole."""
    try:
        held = zipfile.ZipFile(path)  # torch passes over the check sums, and reads nothing from what is called a folder
        if held.testzip() or any(entry.external_attr for entry in held.infolist()):
            raise zipfile.BadZipFile
        return torch.load(path, weights_only=True)
    except Exception as error:  # cut short, gone, unreadable: torch raises whatever it meets
        raise ValueError(f"{path} cannot be read ({type(error).__name__}): the run begins anew.") from error
