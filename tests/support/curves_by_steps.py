"""Laws of learning curves in the way of a script: one curve after the other, one step after the other.

Written from the words of the laws' documentation alone: between two rows the rate moves linearly, and all its drops
there count as one, at the mean of their places; where it falls once, between rows at which it stays, it falls at the
later row.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

Table = Mapping[str, np.ndarray[Any, Any]]


def some_curves(curves: int, rows: int, seed: int, steps: int = 20_000) -> dict[str, np.ndarray[Any, Any]]:
    """Rows of curves under cosines, sudden falls and linear ends, in any order; about so many rows of each."""
    random = np.random.default_rng(seed)
    parts = []
    for i in range(curves):
        n = int(rows * random.uniform(0.5, 1.5)) + 1
        step = np.sort(random.choice(np.arange(1, steps), n, replace=False)).astype(float)
        peak, done = random.uniform(1e-4, 1e-3), (step - step[0]) / max(1, step[-1] - step[0])
        shapes = (
            0.55 + 0.45 * np.cos(np.pi * done),
            np.where(done < 0.6, 1, 0.2),
            np.minimum(1, 0.1 + 4 * (1 - done)),
        )
        parts.append((np.full(n, float(i)), step, peak * shapes[i % 3]))
    names = ("curve", "step", "rate")
    order = random.permutation(sum(len(p[0]) for p in parts))
    return {name: np.concatenate(values)[order] for name, values in zip(names, zip(*parts, strict=True), strict=True)}


def each_curve(table: Table) -> Iterator[tuple[list[int], list[int], list[float], list[bool]]]:
    """For each curve its rows, their steps, their rates, and whether the rate has fallen at once since the last row."""
    members: dict[float, list[int]] = {}
    for i, name in enumerate(table["curve"].tolist()):
        members.setdefault(name, []).append(i)
    for rows in members.values():
        rows.sort(key=lambda i: float(table["step"][i]))
        steps, rates = [int(table["step"][i]) for i in rows], [float(table["rate"][i]) for i in rows]
        slopes = [abs(b - a) / (t - s) for s, t, a, b in zip(steps, steps[1:], rates, rates[1:], strict=False)]
        sudden = [False]
        for i in range(1, len(rows)):
            others = [slopes[j] for j in (i - 2, i) if 0 <= j < len(slopes)]
            flat = bool(others) and max(others) <= 0.1 * slopes[i - 1]
            sudden.append(flat and rates[i] < rates[i - 1])
        yield rows, steps, rates, sudden


def rates_between(steps: Sequence[int], rates: Sequence[float], sudden: Sequence[bool], i: int) -> list[float]:
    """The rates of the steps after row i - 1 up to row i."""
    gap, left, right = steps[i] - steps[i - 1], rates[i - 1], rates[i]
    if sudden[i]:
        return [left] * (gap - 1) + [right]
    return [left + (right - left) * j / gap for j in range(1, gap + 1)]


Drops = np.ndarray[Any, Any]
"""Drops of the rate before a row [k, 3]: of each its size, its place as a sum of rates, and the rate after it."""


def drops_before_rows(table: Table) -> list[tuple[float, Drops]]:
    """For each row of a table [n] the sum of rates up to it, and the drops before it."""
    found: list[Any] = [None] * len(table["step"])
    for rows, steps, rates, sudden in each_curve(table):
        total, fallen, drops = steps[0] * rates[0], False, []
        for i, row in enumerate(rows):
            if i:
                between = rates_between(steps, rates, sudden, i)
                fallen = fallen or rates[i] < rates[i - 1]
                if fallen and rates[i] != rates[i - 1]:
                    places = list(itertools.accumulate(between[:-1], initial=total))
                    falls, places = (between[-1:], places[-1:]) if sudden[i] else (between, places)
                    drops.append((rates[i - 1] - rates[i], sum(places) / len(falls), sum(falls) / len(falls)))
                total += sum(between)
            found[row] = total, np.array(drops).reshape(-1, 3)
    return found


def multi_power(theta: Sequence[float], rows: Sequence[tuple[float, Drops]]) -> list[float]:
    """Losses [n] by the law `multi_power` (arXiv 2503.12811) at one parameter vector [7], row by row."""
    floor, scale, alpha, gain, speed, beta, gamma = theta
    losses = []
    for total, drops in rows:
        size, place, rate = drops.T
        worth = (size * (1 - (1 + speed * rate**-gamma * (total - place)) ** -beta)).sum()
        losses.append(float(floor + scale * total**-alpha - gain * worth))
    return losses


def multi_power_with_derivatives(
    theta: Sequence[float], rows: Sequence[tuple[float, Drops]]
) -> tuple[list[float], list[list[float]]]:
    """Losses [n] and their derivatives [7, n] by differences, as optimizers without derivatives take them."""
    losses, derivatives = multi_power(theta, rows), []
    for i, value in enumerate(theta):
        near = [*theta[:i], value * (1 + 1e-7), *theta[i + 1 :]]
        derivatives.append([(b - a) / (value * 1e-7) for a, b in zip(losses, multi_power(near, rows), strict=True)])
    return losses, derivatives


def areas(table: Table, momentum: float = 0.999) -> tuple[list[float], list[float]]:
    """Forward and annealing areas [n] of the law `annealing` (arXiv 2408.11029), a warm-up at the first rate."""
    forward, annealed = ([math.nan] * len(table["step"]) for _ in range(2))
    for rows, steps, rates, sudden in each_curve(table):
        first, second, moment, rate = (steps[0] + 1) * rates[0], 0.0, 0.0, rates[0]
        for i, row in enumerate(rows):
            for now in rates_between(steps, rates, sudden, i) if i else ():
                moment = momentum * moment + rate - now
                first, second, rate = first + now, second + moment, now
            forward[row], annealed[row] = first, second
    return forward, annealed
