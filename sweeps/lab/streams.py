"""Named random streams of a seed: runs that share a seed share the streams, whatever else differs."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from landsweep.orchestrator.unit import Unit, stream_seed

__all__ = ["counted", "generator", "restart", "seeded", "settings_kept", "stream"]

_MASK = (1 << 63) - 1


def stream(seed: int, name: str) -> int:
    """Seed of the named stream (`init`, `order`, `dropout`, `noise`, `subset`, ...) of a recipe's seed."""
    return stream_seed(Unit("", {"seed": seed}), name)


def generator(seed: int, name: str) -> torch.Generator:
    """A generator on the CPU at the start of the named stream."""
    return torch.Generator().manual_seed(stream(seed, name))


def counted(root: int, counter: int) -> int:
    """A seed for each value of a counter: splitmix64's output function of root and counter.

    Args:
        root: seed of the stream.
        counter: step or epoch, from 0.
    """
    # Constants of splitmix64 (Steele, Lea and Flood 2014): seeds of neighbouring counters have nothing in common.
    z = (root + (counter + 1) * 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    return (z ^ (z >> 31)) & _MASK


@contextmanager
def seeded(root: int, device: torch.device | str = "cpu") -> Iterator[None]:
    """The global random states of torch (CPU and `device`), NumPy and Python start from `root`; all are given back.

    For code that takes no generator: the user's functions, and torch's own dropout.
    """
    place = torch.device(device)
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - it is what users' code draws from
    try:
        with torch.random.fork_rng(devices=[place] if place.type == "cuda" else []):
            restart(root, place)
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002


@contextmanager
def settings_kept() -> Iterator[None]:
    """At the end torch's settings are what they were: they count for the whole process, so for all other models too.

    For the user's functions: default dtype and device, threads, whether gradients are computed.
    """
    dtype, device, threads = torch.get_default_dtype(), torch.get_default_device(), torch.get_num_threads()
    gradients, precision = torch.is_grad_enabled(), torch.get_float32_matmul_precision()
    try:
        yield
    finally:
        if torch.get_default_device() != device:
            torch.set_default_device(None if device.type == "cpu" else device)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        torch.set_default_dtype(dtype)
        torch.set_grad_enabled(gradients)
        torch.set_float32_matmul_precision(precision)


def restart(root: int, device: torch.device) -> None:
    """Set those global random states; inside `seeded`, which gives them back."""
    # Not torch.manual_seed, which also seeds all GPUs, whose state nobody gives back, and is ten times slower.
    torch.default_generator.manual_seed(root)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(root)
    random.seed(root)
    np.random.seed(root % 2**32)  # noqa: NPY002
