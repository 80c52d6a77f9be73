"""Curves of loss over learning rate: the optimum, how it drifts with the size, and what carrying it over costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from landsweep.sweeps.lab.arrays import Floats

__all__ = ["Drift", "Optimum", "RateCurve", "drift", "notes", "penalty", "sensitivity"]

DRAWS = 1000  # of a bootstrap


@dataclass(frozen=True, slots=True)
class Optimum:
    """The best learning rate of one curve.

    Attributes:
        rate: log2 of the best rate: vertex of the parabola through the lowest point and its neighbours; nan where the
            lowest point is at an end, since the best rate may then lie beyond.
        point: log2 of the rate of the lowest point.
        loss: of the lowest point.
    """

    rate: float
    point: float
    loss: float

    @property
    def bracketed(self) -> bool:
        """Whether there are higher points on both sides."""
        return bool(np.isfinite(self.rate))


@dataclass(frozen=True, slots=True)
class RateCurve:
    """Loss over learning rate in one size.

    Attributes:
        rates: [R], log2, rising.
        losses: [R, S] of the seeds; nan where a model was not trained.
    """

    rates: Floats
    losses: Floats

    def means(self) -> Floats:
        """Means [R] over the seeds that there are."""
        finite = np.isfinite(self.losses)
        sums = np.where(finite, self.losses, 0.0).sum(1)
        return np.where(finite.any(1), sums / np.maximum(finite.sum(1), 1), np.nan)

    def judged(self) -> RateCurve:
        """The rates that all seeds have judged: an adaptive sweep tries most rates with one seed only."""
        counts = np.isfinite(self.losses).sum(1)
        return self.at(counts == counts.max(initial=0))

    def at(self, chosen: NDArray[np.bool_]) -> RateCurve:
        """Some of the rates."""
        return RateCurve(self.rates[chosen], self.losses[chosen])

    def optimum(self) -> Optimum:
        """The best rate by the mean over seeds."""
        judged = self.judged()
        return _optimum(judged.rates, judged.means())

    def resampled(self, seeds: NDArray[np.int64]) -> Optimum:
        """The best rate where these seeds, positions with repetition, were the ones that were drawn."""
        judged = self.judged()
        drawn = RateCurve(judged.rates, judged.losses[:, seeds])
        return _optimum(drawn.rates, drawn.means())

    def loss_at(self, rate: float) -> float:
        """Mean loss at log2 of a rate, on straight lines between the points; nan outside them."""
        means = self.means()
        finite = np.isfinite(means)
        if not finite.any():
            return np.nan
        return float(np.interp(rate, self.rates[finite], means[finite], left=np.nan, right=np.nan))


def _optimum(rates: Floats, losses: Floats) -> Optimum:
    finite = np.isfinite(losses)
    x, y = rates[finite], losses[finite]
    if not len(x):
        return Optimum(np.nan, np.nan, np.nan)
    j = int(np.argmin(y))
    if not 0 < j < len(x) - 1:
        return Optimum(np.nan, float(x[j]), float(y[j]))
    left, right = (y[j] - y[j - 1]) / (x[j] - x[j - 1]), (y[j + 1] - y[j]) / (x[j + 1] - x[j])
    bend = (right - left) / (x[j + 1] - x[j - 1])
    vertex = (x[j - 1] + x[j]) / 2 - left / (2 * bend) if bend > 0 else x[j]
    return Optimum(float(np.clip(vertex, x[j - 1], x[j + 1])), float(x[j]), float(y[j]))


@dataclass(frozen=True, slots=True)
class Drift:
    """How the best rate moves with the size: slope of log2 rate over log2 size, which is a power law's exponent.

    Attributes:
        slope: per doubling; nan where fewer than two sizes have a bracketed optimum.
        intercept: of the line, at log2 size 0.
        interval: 95 % of the slope by a bootstrap over seeds; nan for a single seed.
        spread: largest minus smallest log2 rate.
        sizes: how many the slope is of.
    """

    slope: float
    intercept: float
    interval: tuple[float, float]
    spread: float
    sizes: int


def drift(curves: Mapping[int, RateCurve], seed: int = 0) -> Drift:
    """Slope of the best rates of several sizes.

    The bootstrap draws seeds, the same in all sizes: models of one seed share their data order. Draws in which fewer
    than two optima are bracketed do not count.
    """
    sizes = np.log2(np.array(list(curves), dtype=float))
    rates = np.array([c.optimum().rate for c in curves.values()])
    slope, intercept = _line(sizes, rates)
    bracketed = rates[np.isfinite(rates)]
    spread = float(np.ptp(bracketed)) if len(bracketed) else np.nan
    seeds = max((c.losses.shape[1] for c in curves.values()), default=0)
    interval = (np.nan, np.nan)
    if seeds > 1 and np.isfinite(slope):
        generator = np.random.default_rng(seed)
        draws = [generator.integers(0, seeds, seeds) for _ in range(DRAWS)]
        slopes = np.array([_line(sizes, np.array([c.resampled(d).rate for c in curves.values()]))[0] for d in draws])
        if np.isfinite(slopes).sum() > DRAWS // 2:
            low, high = np.nanpercentile(slopes, [2.5, 97.5])
            interval = (float(low), float(high))
    return Drift(slope, intercept, interval, spread, len(bracketed))


def _line(x: Floats, y: Floats) -> tuple[float, float]:
    finite = np.isfinite(y)
    if finite.sum() < 2:
        return np.nan, np.nan
    slope, intercept = np.polyfit(x[finite], y[finite], 1)
    return float(slope), float(intercept)


def penalty(curves: Mapping[int, RateCurve]) -> dict[int, float]:
    """For each size, how much higher its loss is at the first size's best rate than at its own best point.

    Both on straight lines between the points, its own at its best rate, or at its lowest point where that is not
    bracketed. nan where the first size's optimum is not bracketed, or where that rate lies outside of what was tried.
    """
    base = next(iter(curves.values())).optimum().rate
    if not np.isfinite(base):
        return dict.fromkeys(curves, np.nan)
    lowest = {
        size: c.loss_at(c.optimum().rate) if c.optimum().bracketed else c.optimum().loss for size, c in curves.items()
    }
    return {size: float(np.maximum(c.loss_at(base) - lowest[size], 0)) for size, c in curves.items()}


def notes(curves: Mapping[int, RateCurve]) -> dict[int, str]:
    """For each size, why its best rate or its penalty is not known; empty where both are."""
    penalties, base = penalty(curves), next(iter(curves.values())).optimum().rate
    return {size: "; ".join(_reasons(curve, base, penalties[size])) for size, curve in curves.items()}


def _reasons(curve: RateCurve, base: float, cost: float) -> Iterator[str]:
    """See `notes`; `base` is log2 of the first size's best rate, `cost` the penalty."""
    best, tried = curve.optimum(), curve.rates[np.isfinite(curve.means())]
    if not len(tried):
        yield "no run has a loss"
        return
    if not best.bracketed:
        yield f"not bracketed: the loss is lowest at an end of the rates that were tried, {2**best.point:.3g}"
    if np.isfinite(cost):
        return
    if np.isfinite(base):
        yield (
            f"no penalty: the first size's best rate {2**base:.3g} lies outside {2 ** tried[0]:.3g} to "
            f"{2 ** tried[-1]:.3g}, where this size has losses"
        )
    else:
        yield "no penalty: the first size's best rate is not bracketed"


def sensitivity(curve: RateCurve, initial: float) -> float:
    """Learning-rate sensitivity (arXiv 2309.14322, section 2.2): mean of min(loss, initial) - lowest, over log rate.

    By the trapezoidal rule over the rates that were tried; nan below two of them.
    """
    means = curve.means()
    finite = np.isfinite(means)
    x, y = curve.rates[finite], np.minimum(means[finite], initial)
    if len(x) < 2:
        return np.nan
    return float(np.trapezoid(y - y.min(), x) / (x[-1] - x[0]))
