"""A bound on the loss of the last iterate of SGD under any schedule, for convex functions (arXiv 2501.18965).

With learning rates c n_1, ..., c n_T, of base rate c and multipliers n_t, on a convex function whose stochastic
gradients have norms of at most G_t, from a distance D to a minimiser, w_T being where the T-th gradient is taken:

    E f(w_T) - f* <= A / c + c (B + C)
    A = D^2 / (2 S)     B = sum_t n_t^2 G_t^2 / (2 S)     S = sum_t n_t
    C = 1/2 sum_(k < T) n_k / sum_(t > k) n_t * (sum_(t >= k) n_t^2 G_t^2) / (sum_(t >= k) n_t)

The least of it over c is 2 sqrt(A (B + C)), at c = sqrt(A / (B + C)). Though networks are not convex, the order in
which it puts schedules and the way in which the best rate falls with the horizon are often theirs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.schedules import Schedule

__all__ = ["Bound", "bound", "bounds_along"]


@dataclass(frozen=True, slots=True)
class Bound:
    """The three terms of the bound.

    Attributes:
        start: A, of the distance to the minimiser.
        mean: B, of the gradients' norms on average.
        last: C, of taking the last iterate instead of an average.
    """

    start: float
    mean: float
    last: float

    def at(self, rate: float) -> float:
        """The bound for a base rate above 0."""
        return self.start / rate + rate * (self.mean + self.last)

    @property
    def best_rate(self) -> float:
        """The base rate at which the bound is least."""
        return math.sqrt(self.start / (self.mean + self.last))

    @property
    def least(self) -> float:
        """The bound at the best base rate."""
        return 2 * math.sqrt(self.start * (self.mean + self.last))


def bound(
    schedule: Schedule | Sequence[float], horizon: int, *, distance: float = 1.0, gradient: float | ArrayLike = 1.0
) -> Bound:
    """The bound after `horizon` steps.

    Args:
        schedule: the schedule of such a run; or its multipliers, at least `horizon` of them; the rest is ignored.
        horizon: T, from 1.
        distance: D, between the initial weights and a minimiser.
        gradient: G, or G_t of each step.

    Raises:
        SpecError: multipliers below 0, or 0 in the last step, where the bound is not defined.

    Example:
        >>> constant = bound([1.0] * 4, 4)
        >>> constant.last == (1 + 1 / 2 + 1 / 3) / 2
        True
    """
    if horizon < 1:
        raise SpecError(f"horizon: {horizon} steps; the bound needs at least 1")
    if isinstance(schedule, Schedule):
        values = [schedule.multiplier(step, horizon) for step in range(horizon)]
    else:
        values = list(schedule)[:horizon]
    n = np.asarray(values, dtype=float)
    if len(n) < horizon:
        raise SpecError(f"schedule: {len(n)} multipliers for {horizon} steps; give one for each")
    if not np.isfinite(n).all() or (n < 0).any() or n[-1] == 0:
        raise SpecError("schedule: multipliers must be finite, not negative, and above 0 in the last step")
    squares = np.square(n) * np.square(np.broadcast_to(np.asarray(gradient, dtype=float), n.shape))
    left, left_squares = _suffix(n), _suffix(squares)
    last = float((n[:-1] / left[1:] * left_squares[:-1] / left[:-1]).sum()) / 2
    return Bound(distance**2 / (2 * left[0]), float(left_squares[0] / left[0]) / 2, last)


def bounds_along(
    schedule: Schedule, horizon: int, rate: float, *, distance: float = 1.0, gradient: float = 1.0
) -> NDArray[np.float64]:
    """The bound after each step of one run, [horizon]: what to draw beside a measured loss curve.

    Steps after which it is not defined, since the multiplier was 0, are NaN. Takes horizon^2 operations.
    """
    values = [schedule.multiplier(step, horizon) for step in range(horizon)]
    bounds = (
        bound(values, t, distance=distance, gradient=gradient).at(rate) if values[t - 1] > 0 else math.nan
        for t in range(1, horizon + 1)
    )
    return np.fromiter(bounds, float, horizon)


def _suffix(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums from each place to the end."""
    return np.cumsum(values[::-1])[::-1]
