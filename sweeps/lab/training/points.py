"""Branch points of several models, joined into the arrays of one pack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from landsweep.orchestrator.errors import SpecError

__all__ = ["joined"]


def joined(points: Sequence[Mapping[str, Tensor]], shapes: Mapping[str, torch.Size]) -> dict[str, Tensor]:
    """Branch points of K models as arrays [K, ...] by name, `step` among them.

    Args:
        points: states of `BranchPoint`s, one for each model.
        shapes: of one model's arrays in this pack, by name; `step` is not among them.

    Raises:
        SpecError: they are of different steps, or do not have these shapes.
    """
    if len({int(point["step"]) for point in points}) > 1:
        raise SpecError("points: models of one pack start after the same step; group them first")
    for point in points:
        given = {name: t.shape for name, t in point.items() if name != "step"}
        if given != dict(shapes):
            wrong = sorted(n for n in {*given, *shapes} if given.get(n) != shapes.get(n))
            raise SpecError(
                f"points: the point is of another network, optimizer or average: {', '.join(wrong[:5])} differ; "
                "only schedule, length and evaluation of a branch may be others than its main run's"
            )
    return {name: torch.stack([point[name] for point in points]) for name in points[0]}
