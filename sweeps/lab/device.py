"""The device of a worker: how it is set up, so that its numbers are those of any other, and what it is called."""

from __future__ import annotations

import os
import platform

import torch

from landsweep.orchestrator.errors import DeviceFailed, SpecError
from landsweep.orchestrator.kind import Workbench

__all__ = ["check_device", "device_name", "settle"]

_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"


def settle(bench: Workbench) -> None:
    """Set up a worker's device and threads; each session begins with it, and nothing else in the lab does.

    Float32 is computed as such: by default torch lets convolutions on CUDA round to TF32, with 10 bits of mantissa.
    Matrix products and convolutions are computed by deterministic algorithms. Of a shared GPU no more than the worker's
    share of its memory is used, so that its neighbours have theirs.

    Raises:
        SpecError: there is no such device here.
        DeviceFailed: there is one, and it does not compute.
    """
    torch.set_num_threads(bench.threads)
    if torch.device(bench.device).type != "cuda":
        return
    os.environ.setdefault(_WORKSPACE, ":4096:8")  # read when cuBLAS is first used: then it sums in one order
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    check_device(bench.device)
    if 0 < bench.gpus < 1:
        torch.cuda.set_per_process_memory_fraction(bench.gpus, bench.device)


def check_device(device: str) -> None:
    """Compute something small, the answer to which is known.

    Raises:
        SpecError: there is no such device here.
        DeviceFailed: it does not compute, or computes something else.
    """
    if torch.device(device).type == "cuda" and not torch.cuda.is_available():
        raise SpecError(f"there is no device {device} in this process: torch sees no GPU; give the worker one, or cpu")
    try:
        ones = torch.ones(64, 64, device=device)
        total = float((ones @ ones).sum())
    except RuntimeError as e:
        raise DeviceFailed(f"{device} of {platform.node()} does not compute: {e}") from e
    if total != 64.0**3:
        raise DeviceFailed(f"{device} of {platform.node()} computes wrongly: a sum of ones gave {total:g}, not {64**3}")


def device_name(device: str) -> str:
    """What the device is called: `cpu`, or such as `NVIDIA H100 80GB HBM3`."""
    place = torch.device(device)
    return torch.cuda.get_device_name(place) if place.type == "cuda" else place.type
