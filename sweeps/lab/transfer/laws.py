"""Laws of the optimum: the best rate as a power of size and horizon, and the critical batch size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["CriticalBatch", "RateLaw", "critical_batch", "rate_law"]

DRAWS = 1000  # of a bootstrap


@dataclass(frozen=True, slots=True)
class RateLaw:
    """rate = c * prod x_i^p_i.

    Attributes:
        coefficient: c.
        exponents: p_i.
        intervals: 95 % of each p_i, by a bootstrap over the points; nan below two points more than parameters.
        residual: root mean square of log2 rate.
    """

    coefficient: float
    exponents: tuple[float, ...]
    intervals: tuple[tuple[float, float], ...]
    residual: float


def rate_law(rates: Sequence[float], *factors: Sequence[float], seed: int = 0) -> RateLaw | None:
    """Least squares in logarithms, as arXiv 2409.19913 and 2503.04715 fit the best rate over size and horizon.

    Args:
        rates: best learning rates [n]; points that are not finite are left out.
        factors: for each x_i its values [n]: parameters, samples or tokens, steps.
        seed: of the bootstrap.

    Returns:
        The law; None where points are fewer than parameters, or where a factor does not vary on its own.
    """
    y = np.log(np.asarray(rates, dtype=float))
    x = np.column_stack([np.ones_like(y), *(np.log(np.asarray(f, dtype=float)) for f in factors)])
    there = np.isfinite(y) & np.isfinite(x).all(1)
    x, y = x[there], y[there]
    n, p = x.shape
    if n < p or np.linalg.matrix_rank(x) < p:
        return None
    found = np.linalg.lstsq(x, y, rcond=None)[0]
    intervals = np.full((p, 2), np.nan)
    if n >= p + 2:
        source = np.random.default_rng(seed)
        draws = [d for _ in range(DRAWS) if np.linalg.matrix_rank(x[d := source.integers(0, n, n)]) == p]
        fits = np.array([np.linalg.lstsq(x[d], y[d], rcond=None)[0] for d in draws])
        intervals = np.percentile(fits, [2.5, 97.5], axis=0).T
    residual = float(np.sqrt(np.mean((y - x @ found) ** 2)) / np.log(2))
    bounds = tuple((float(low), float(high)) for low, high in intervals[1:])
    return RateLaw(float(np.exp(found[0])), tuple(map(float, found[1:])), bounds, residual)


@dataclass(frozen=True, slots=True)
class CriticalBatch:
    """steps to the target = least_steps (1 + critical / batch).

    Attributes:
        critical: batch size at which twice the least steps, and twice the least samples, are needed.
        least_steps: at infinite batch size.
        least_samples: at batch size 0: critical * least_steps.
    """

    critical: float
    least_steps: float

    @property
    def least_samples(self) -> float:
        """Samples that are needed where each step is worth most."""
        return self.critical * self.least_steps


def critical_batch(batches: Sequence[float], steps: Sequence[float]) -> CriticalBatch | None:
    """Fit (S / Smin - 1)(E / Emin - 1) = 1 (arXiv 1812.06162, equation 2.7), with E = S B: a line in 1 / B.

    Weighted by 1 / steps^2, so that errors count by their ratio.

    Args:
        batches: batch sizes [n].
        steps: to the target at the best rate of each [n]; where it was not reached, nan.

    Returns:
        The fit; None below two points, or where steps do not fall with the batch size.
    """
    b, s = (np.asarray(v, dtype=float) for v in (batches, steps))
    there: NDArray[np.bool_] = np.isfinite(s) & np.isfinite(b)
    b, s = b[there], s[there]
    if len(b) < 2:
        return None
    design = np.column_stack([1 / s, 1 / (b * s)])
    least, samples = np.linalg.lstsq(design, np.ones_like(s), rcond=None)[0]
    return CriticalBatch(float(samples / least), float(least)) if least > 0 and samples > 0 else None
