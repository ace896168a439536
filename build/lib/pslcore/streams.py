"""Randomness by name: every random stream is derived from (seed, purpose, cycle).

A stream depends on nothing that was drawn before, so cycle k of a run depends on its labelled set alone
(a run can be resumed after any cycle), and methods that should share something (the protected set, the
initial pool, the teacher's first weights, the order of the batches) share it by asking for the same name.

Purposes in use: ``pools``, ``teacher-init``, ``student-init-<j>``, ``loader``, ``unlabelled``, ``pairs``,
``query``, ``noise``, and whatever a further strategy names for itself.
"""

import hashlib

import numpy as np
import torch


def derive(seed: int, purpose: str, cycle: int = 0) -> int:
    """A 63-bit seed for the stream (seed, purpose, cycle): the head of a SHA-256, so that neighbours are unrelated."""
    digest = hashlib.sha256(f"{int(seed)}/{purpose}/{int(cycle)}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def numpy_stream(seed: int, purpose: str, cycle: int = 0) -> np.random.Generator:
    """The stream as a NumPy generator."""
    return np.random.default_rng(derive(seed, purpose, cycle))


def torch_stream(seed: int, purpose: str, cycle: int = 0) -> torch.Generator:
    """The stream as a torch generator. It lives on the CPU, so that every device draws the same numbers."""
    return torch.Generator().manual_seed(derive(seed, purpose, cycle))
