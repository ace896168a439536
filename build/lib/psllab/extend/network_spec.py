"""How a network is named: ``WHAT``, then ``weights=FILE`` and ``frozen`` where they are wanted.

``WHAT`` is a network of ours; ``file.py:function``; ``timm:NAME``; or a name that an installed package gives. Files
stand with the head of the SHA-256 of their bytes, ``mine.py:net@0123456789abcdef``, which is added where it is left
out. So a changed file is another network, and the record of a run says which one it was.
"""

import re
import shlex
import time
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path

from psllab import userfile

_DIGEST = re.compile(r"@([0-9a-f]{16})$")
_known: dict[tuple[str, int, int], str] = {}


@dataclass(frozen=True)
class Spelled:
    """The parts of a name.

    Attributes
    ----------
    what : str
        Without its hash.
    digest : str
        16 hexadecimal digits of the SHA-256 of the Python file; empty where there is none.
    weights, weights_digest : str
        The safetensors file and its hash, or empty.
    frozen : bool
        Only the head is trained.
    """

    what: str
    digest: str = ""
    weights: str = ""
    weights_digest: str = ""
    frozen: bool = False

    @property
    def kind(self) -> str:
        """``file``, ``timm``, or ``name`` for one of ours or of a package."""
        return "timm" if self.what.startswith("timm:") else "file" if ".py:" in self.what else "name"

    @property
    def plain(self) -> bool:
        """Whether it is nothing but a name."""
        return self.kind == "name" and not self.weights and not self.frozen

    def __str__(self) -> str:
        words = [f"{self.what}@{self.digest}" if self.digest else self.what]
        if self.weights:
            words.append(f"weights={self.weights}" + (f"@{self.weights_digest}" if self.weights_digest else ""))
        return " ".join([*map(shlex.quote, words), *["frozen"] * self.frozen])

    def signed(self) -> "Spelled":
        """The same with the hashes of its files, those that are left out taken from the files as they are.

        Raises
        ------
        ValueError
            In one sentence, if a file cannot be read.
        """
        digest, weights_digest = self.digest, self.weights_digest
        if self.kind == "file" and not digest:
            digest = userfile.digest(userfile.split(self.what)[0])
        if self.weights and not weights_digest:
            weights_digest = digest_of(self.weights)
        return Spelled(self.what, digest, self.weights, weights_digest, self.frozen)


def parse(text: str) -> Spelled:
    """The parts of a name; ``ValueError`` in one sentence, if something stands in it that has no meaning."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ValueError(f"{text!r} names no network ({str(error).lower()}): close the quotation mark.") from None
    what, digest = _apart(words[0]) if words else ("", "")
    weights, weights_digest, frozen = "", "", False
    for word in words[1:]:
        if word == "frozen" and not frozen:
            frozen = True
        elif word.startswith("weights=") and len(word) > len("weights=") and not weights:
            weights, weights_digest = _apart(word.removeprefix("weights="))
        else:
            raise ValueError(
                f"{text!r} names no network ({word!r} has no meaning there): after the network may stand weights=FILE "
                "and frozen, each once and apart by a space."
            )
    return Spelled(what, digest, weights, weights_digest, frozen)


def _apart(word: str) -> tuple[str, str]:
    """A file, and its hash where it has one."""
    match = _DIGEST.search(word)
    return (word[: match.start()], match[1]) if match else (word, "")


def digest_of(path: str) -> str:
    """16 hexadecimal digits of the SHA-256 of a file of weights, read once as long as it stays the same.

    Raises
    ------
    ValueError
        In one sentence, if there is no such file or it cannot be read.
    """
    try:
        held = Path(path).stat()
        if not Path(path).is_file():
            raise ValueError(f"weights={path}: it is no file; give a safetensors file.")
        key = str(Path(path).absolute()), held.st_size, held.st_mtime_ns
        if key in _known:
            return _known[key]
        with open(path, "rb") as file:
            digest = file_digest(file, "sha256").hexdigest()[:16]
    except OSError as error:
        raise ValueError(
            f"weights={path}: it cannot be read ({error.strerror or error}); give the path of a safetensors file."
        ) from None
    if time.time_ns() - held.st_mtime_ns > 10**9:  # written again within a tick of the clock, it would look the same
        _known[key] = digest
    return digest
