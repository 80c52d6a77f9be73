"""The largest value of K functions within a ball, each in its own, by projected gradient ascent with momentum."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

import torch
from torch import Tensor

__all__ = ["Norm", "ascend", "into_ball"]

Norm: TypeAlias = Literal["l2", "linf"]

_MOMENTUM, _RISING = 0.75, 0.75


@torch.no_grad()
def ascend(
    climb: Callable[[Tensor], tuple[Tensor, Tensor]], start: Tensor, norm: Norm, radius: float, steps: int
) -> tuple[Tensor, Tensor]:
    """Where K functions were largest, [K, P], and their values there, [K]; the first of these points is the start.

    Auto-PGD (Croce and Hein 2020): the step starts at twice the radius, and is halved, and the best point taken up
    again, at checkpoints where too few steps have risen, or where neither the step nor the best value has changed.

    Args:
        climb: points [K, P] to values [K] and gradients [K, P].
        start: [K, P], within the ball.
        norm: of the ball around 0.
        radius: of the ball.
        steps: gradients after the first one.
    """
    here, (value, slope) = start, climb(start)
    before, best, best_value, best_slope = start, start, value, slope
    size = torch.full_like(value, 2 * radius)
    rises = torch.zeros_like(value)
    last, size_then, best_then = 0, size.clone(), best_value.clone()
    checkpoints = _checkpoints(steps)
    for i in range(1, steps + 1):
        aim = into_ball(here + size[:, None] * _steepest(slope, norm), norm, radius)
        share = _MOMENTUM if i > 1 else 1.0
        there = into_ball(here + share * (aim - here) + (1 - share) * (here - before), norm, radius)
        before, here = here, there
        value_before = value
        value, slope = climb(here)
        rises += value > value_before
        better = value > best_value
        best, best_slope = (torch.where(better[:, None], a, b) for a, b in ((here, best), (slope, best_slope)))
        best_value = torch.where(better, value, best_value)
        if i in checkpoints:
            stuck = (size == size_then) & (best_value == best_then)
            halve = (rises < _RISING * (i - last)) | stuck
            last, size_then, best_then = i, size, best_value
            size = torch.where(halve, size / 2, size)
            here, before = (torch.where(halve[:, None], best, point) for point in (here, before))
            slope, value = torch.where(halve[:, None], best_slope, slope), torch.where(halve, best_value, value)
            rises = torch.zeros_like(rises)
    return best, best_value


def into_ball(points: Tensor, norm: Norm, radius: float) -> Tensor:
    """The nearest points [K, P] of the ball around 0."""
    if norm == "linf":
        return points.clamp(-radius, radius)
    lengths: Tensor = points.norm(dim=1, keepdim=True)
    return points * (radius / lengths.clamp(min=radius))


def _steepest(slopes: Tensor, norm: Norm) -> Tensor:
    """Directions [K, P] of length 1 in the norm, along which values rise fastest."""
    if norm == "linf":
        return slopes.sign()
    lengths: Tensor = slopes.norm(dim=1, keepdim=True)
    return slopes / lengths.clamp(min=torch.finfo(slopes.dtype).tiny)


def _checkpoints(steps: int) -> set[int]:
    shares = [0.0, 0.22]
    while shares[-1] < 1:
        shares.append(shares[-1] + max(shares[-1] - shares[-2] - 0.03, 0.06))
    return {-int(-share * steps // 1) for share in shares[1:]}
