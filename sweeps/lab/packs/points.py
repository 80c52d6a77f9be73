"""Points that other runs can branch off from: all that going on needs, of one model after some step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from orchestrator.errors import SpecError

__all__ = ["joined"]


def joined(points: Sequence[Mapping[str, Tensor]], shapes: Mapping[str, torch.Size]) -> dict[str, Tensor]:
    """Points of K models as arrays [K, ...] by name, `step` among them.

    Args:
        points: one for each model.
        shapes: of what a model of this pack has, by name.

    Raises:
        SpecError: they are of different steps, or do not have these shapes.
    """
    if len({int(point["step"]) for point in points}) > 1:
        raise SpecError("points: models of one pack start after the same step; group them first")
    for point in points:
        found = {name: t.shape for name, t in point.items() if name != "step"}
        if found != dict(shapes):
            wrong = sorted(n for n in {*found, *shapes} if found.get(n) != shapes.get(n))
            raise SpecError(
                f"points: the point is of another network, optimizer or average: {', '.join(wrong[:5])} differ; "
                "only schedule, length and evaluation of a branch may be others than its main run's"
            )
    return {name: torch.stack([point[name] for point in points]) for name in points[0]}
