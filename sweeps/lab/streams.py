"""Named random streams of a seed: runs that share a seed share the streams, whatever else differs."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from landsweep.orchestrator.unit import Unit, stream_seed

__all__ = ["counted", "generator", "restart", "seeded", "stream"]

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


def restart(root: int, device: torch.device) -> None:
    """Set those global random states; inside `seeded`, which gives them back."""
    # Not torch.manual_seed, which also seeds all GPUs, whose state nobody gives back, and is ten times slower.
    torch.default_generator.manual_seed(root)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(root)
    random.seed(root)
    np.random.seed(root % 2**32)  # noqa: NPY002
