"""Rank correlation of two columns, with an interval."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from landsweep.sweeps.lab.arrays import Floats

__all__ = ["RankCorrelation", "rank_correlation"]

_DRAWS = 2000
_FEWEST = 5  # models, for an interval to mean something


@dataclass(frozen=True, slots=True)
class RankCorrelation:
    """Spearman's rank correlation.

    Attributes:
        value: between -1 and 1.
        low: lower end of the 95 % interval; None with fewer than five points.
        high: upper end.
        n: points with both values.
    """

    value: float
    low: float | None
    high: float | None
    n: int

    def in_words(self) -> str:
        """With its interval.

        Example:
            >>> RankCorrelation(0.912, 0.5, 0.99, 12).in_words()
            '0.91 (95 % interval 0.50 to 0.99, n = 12)'
        """
        if self.low is None or self.high is None:
            return f"{self.value:.2f} (n = {self.n})"
        return f"{self.value:.2f} (95 % interval {self.low:.2f} to {self.high:.2f}, n = {self.n})"

    def short(self) -> str:
        """For the title of a panel.

        Example:
            >>> RankCorrelation(0.912, 0.5, 0.99, 12).short()
            '0.91 [0.50, 0.99]'
        """
        interval = "" if self.low is None or self.high is None else f" [{self.low:.2f}, {self.high:.2f}]"
        return f"{self.value:.2f}{interval}"


def rank_correlation(x: Floats, y: Floats, seed: int = 0) -> RankCorrelation | None:
    """Spearman's correlation of the pairs [n] with two finite values; None with fewer than three, or a constant side.

    The interval is the percentile bootstrap's: points are drawn again 2000 times, ranks taken anew.

    Example:
        >>> x = np.arange(6.0)
        >>> rank_correlation(x, x**3).in_words()
        '1.00 (95 % interval 1.00 to 1.00, n = 6)'
    """
    both = np.isfinite(x) & np.isfinite(y)
    x, y = x[both], y[both]
    n = len(x)
    value = _spearman(x[None], y[None])[0] if n >= 3 else np.nan
    if not np.isfinite(value):
        return None
    if n < _FEWEST:
        return RankCorrelation(float(value), None, None, n)
    drawn = np.random.default_rng(seed).integers(0, n, (_DRAWS, n))
    values = _spearman(x[drawn], y[drawn])
    low, high = np.nanquantile(values, [0.025, 0.975])
    return RankCorrelation(float(value), float(low), float(high), n)


def _spearman(x: Floats, y: Floats) -> Floats:
    """Correlations [m] of the ranks of [m, n]; nan where a side is constant."""
    a, b = (rankdata(v, axis=1) for v in (x, y))
    a, b = a - a.mean(1, keepdims=True), b - b.mean(1, keepdims=True)
    scale = np.sqrt((a * a).sum(1) * (b * b).sum(1))
    with np.errstate(invalid="ignore", divide="ignore"):
        values: Floats = np.where(scale > 0, (a * b).sum(1) / scale, np.nan)
    return np.clip(values, -1, 1)
