"""Named random streams of a seed: runs that share a seed share the streams, whatever else differs."""

from __future__ import annotations

import torch

from orchestrator.unit import Unit, stream_seed

__all__ = ["generator", "stream"]


def stream(seed: int, name: str) -> int:
    """Seed of the named stream (`init`, `order`, `dropout`, `noise`, `subset`, ...) of a recipe's seed."""
    return stream_seed(Unit("", {"seed": seed}), name)


def generator(seed: int, name: str) -> torch.Generator:
    """A generator on the CPU at the start of the named stream."""
    return torch.Generator().manual_seed(stream(seed, name))
