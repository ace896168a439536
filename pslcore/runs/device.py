"""The machine: settings under which a run repeats bit for bit, and a clock that waits for it."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def prepare_process(device: str) -> torch.device:
    """Settings under which the same run gives the same bits: one thread on the CPU, deterministic kernels on a GPU.

    ``auto`` takes CUDA where it is; ``mps`` and ``xpu`` have to be named.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    kind = device.split(":")[0]
    if kind not in ("cpu", "cuda", "mps", "xpu"):
        raise ValueError(f"unknown device {device!r}: choose auto, cpu, cuda, mps or xpu.")
    if kind != "cpu" and not torch.get_device_module(kind).is_available():
        raise ValueError(f"device {device!r} is not to be had here: choose cpu, or auto.")
    torch.set_num_threads(1)
    if kind != "cpu":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.backends.cudnn.benchmark = False
        torch.use_deterministic_algorithms(True, warn_only=True)
    return torch.device(device)


@contextmanager
def clock(seconds: dict[str, float], what: str, device: torch.device) -> Iterator[None]:
    """Wall-clock seconds of a phase, the device's queue included."""
    synchronise = torch.get_device_module(device).synchronize
    synchronise()
    start = time.perf_counter()
    yield
    synchronise()
    seconds[what] = round(time.perf_counter() - start, 4)
