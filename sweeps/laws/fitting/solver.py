"""A batch of Levenberg-Marquardt descents with Huber's weights, all starts at once.

Each descent minimises sum_i w_i rho(r_i), see `Objective`. With the residuals r [n], their derivatives J [n, P] by the
internal coordinates, and W = diag(w_i rho'(r_i) / r_i), a step delta solves the damped normal equations

    (J'WJ + lambda diag(J'WJ)) delta = -J'W r,

all descents together. The step is stretched, clipped to the bounds, and accepted where the objective falls; lambda then
shrinks tenfold. A step that is refused is tried again: unstretched if it was stretched, else with tenfold lambda. A
coordinate at a bound from which the objective rises inwards stays there.

Why stretched: Huber's weights overestimate the curvature, so that plain steps contract slowly near the minimum. While
steps succeed with next to no damping they grow by 1.4 each, up to fourfold.

Descents that have converged leave the batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from landsweep.sweeps.laws.base import Floats
from landsweep.sweeps.laws.fitting.problem import Problem

__all__ = ["Batch", "descend", "multi_start"]

_DAMPING, _RAISE, _LOWER, _LEAST, _MOST = 1e-2, 10.0, 0.1, 1e-8, 1e12
_STRETCH, _LONGEST = 1.4, 4.0
_DECREMENT = 1e-13  # of the objective: what one more Newton step could still gain
_ELIMINATION_ROUNDS = ((4, 1024), (6, 256), (8, 128))  # steps of each round, and how many of the best survive it

Flags = NDArray[np.bool_]


@dataclass(slots=True)
class Batch:
    """The state of S descents.

    Attributes:
        phi: internal coordinates [S, P].
        value: objective [S].
        gradient: [S, P].
        curvature: [S, P, P].
        rows: index of the fit that each descent belongs to [S].
        free: which coordinates may move [S, P].
        damping: of the next step [S].
        stretch: of the next step [S].
        done: whether it has converged [S].
    """

    phi: Floats
    value: Floats
    gradient: Floats
    curvature: Floats
    rows: NDArray[np.int64]
    free: Flags
    damping: Floats
    stretch: Floats
    done: Flags

    @classmethod
    def at(cls, problem: Problem, phi: Floats, free: Flags | None = None) -> Batch:
        """Descents from `phi` [S, P]; descent i belongs to fit i of the problem."""
        count = len(phi)
        rows = np.arange(count)
        free = np.ones(phi.shape, bool) if free is None else free
        damping, stretch, done = np.full(count, _DAMPING), np.ones(count), np.zeros(count, bool)
        return cls(phi.copy(), *problem.terms(phi, rows), rows, free, damping, stretch, done)

    def take(self, chosen: NDArray[np.int64]) -> Batch:
        """A batch of these descents only."""
        return Batch(*(getattr(self, name)[chosen] for name in self.__slots__))

    def put(self, chosen: NDArray[np.int64], other: Batch) -> None:
        """Write descents back to their places."""
        for name in self.__slots__:
            getattr(self, name)[chosen] = getattr(other, name)

    def step(self, problem: Problem) -> None:
        """Try one step of each descent; where the objective does not fall, stay, and try a shorter one next time."""
        low, high = problem.coordinates.low, problem.coordinates.high
        outward = ((self.phi <= low) & (self.gradient > 0)) | ((self.phi >= high) & (self.gradient < 0))
        moves = self.free & ~outward
        move, gain = self._newton(moves)
        trial = np.clip(self.phi + move * self.stretch[:, None], low, high)
        value, gradient, curvature = problem.terms(trial, self.rows)
        better = value < self.value
        plain = self.stretch <= 1
        self.done |= (gain <= _DECREMENT * self.value) & (better | plain) & np.isfinite(self.value)
        self.phi[better], self.value[better] = trial[better], value[better]
        self.gradient[better], self.curvature[better] = gradient[better], curvature[better]
        raised = np.where(plain, self.damping * _RAISE, self.damping)
        self.damping = np.where(better, np.maximum(self.damping * _LOWER, _LEAST), raised)
        fast = better & (self.damping < 1e-4)
        self.stretch = np.where(fast, np.minimum(self.stretch * _STRETCH, _LONGEST), 1.0)
        self.done |= self.damping > _MOST

    def _newton(self, moves: Flags) -> tuple[Floats, Floats]:
        """Damped Newton steps [S, P], and the decrease of the objective that they predict [S]."""
        diagonal = np.einsum("sii->si", self.curvature)
        floor = 1e-12 * diagonal.max(1, keepdims=True) + 1e-300
        matrix = self.curvature * (moves[:, :, None] & moves[:, None, :])
        places = np.arange(matrix.shape[1])
        matrix[:, places, places] += np.where(moves, self.damping[:, None] * diagonal + floor, 1.0)
        usable = np.isfinite(self.value)
        matrix[~usable] = np.eye(matrix.shape[1])
        gradient = np.where(moves & usable[:, None], self.gradient, 0.0)
        move = np.asarray(-np.linalg.solve(matrix, gradient[:, :, None])[:, :, 0], np.float64)
        return move, np.asarray(-(gradient * move).sum(1), np.float64)


def descend(problem: Problem, batch: Batch, steps: int) -> Batch:
    """Up to `steps` steps of each descent; those that converge stop earlier."""
    active = np.flatnonzero(~batch.done)
    work = batch.take(active)
    for _ in range(steps):
        if not len(active):
            break
        work.step(problem)
        if work.done.mean() > 0.2 or work.done.all():
            batch.put(active, work)
            active = active[~work.done]
            work = batch.take(active)
    batch.put(active, work)
    return batch


def multi_start(problem: Problem, phi: Floats, free: Flags, steps: int) -> tuple[Batch, int]:
    """Descend from many starts with early elimination: after a few steps only the best go on.

    Args:
        problem: with common measurements and weights.
        phi: starts [S, P]; all of them take the steps of the first round.
        free: which coordinates may move [P].
        steps: the most steps of those that survive all rounds.

    Returns:
        The survivors, best first, and how many starts had a finite objective.
    """
    batch = Batch.at(problem, phi, np.tile(free, (len(phi), 1)))
    usable = int(np.isfinite(batch.value).sum())
    for round_steps, survivors in _ELIMINATION_ROUNDS:
        if len(batch.phi) > survivors:
            batch = _best(descend(problem, batch, round_steps), survivors)
    batch = descend(problem, batch, steps)
    return _best(batch, len(batch.phi)), usable


def _best(batch: Batch, count: int) -> Batch:
    """The `count` descents with the lowest objective, best first."""
    return batch.take(np.argsort(batch.value, kind="stable")[:count])
