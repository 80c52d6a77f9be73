"""What a figure spans: the range in which values lie, without the few that would flatten all others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

__all__ = ["Range", "nearly_geometric"]

Floats: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"

_WIDE = 1e3  # a range of more than three decades is drawn on a logarithmic scale
_FAR = 3.0  # interquartile ranges outside of the quartiles: Tukey's outer fences
_FEWEST = 5  # values, for quartiles to mean something


@dataclass(frozen=True, slots=True)
class Range:
    """Lowest and highest value shown, on a logarithmic scale or not.

    Attributes:
        low: lowest value shown.
        high: highest value shown.
        log: whether the scale is logarithmic: values above 0 that span more than three decades.
        beyond: how many finite values lie outside.
    """

    low: float
    high: float
    log: bool
    beyond: int

    @classmethod
    def of(cls, *fields: Floats) -> Range:
        """The range of all finite values of all fields but those that lie far from the rest.

        Far is more than three interquartile ranges outside of the quartiles (Tukey's outer fences), of logarithms
        where all values are above 0. So one diverged unit of 1e37 does not hide the others.

        Example:
            >>> r = Range.of(np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 1e37]))
            >>> r.low, r.high, r.log, r.beyond
            (0.1, 0.6, False, 1)
        """
        values = np.concatenate([np.asarray(field, float).ravel() for field in fields])
        finite = values[np.isfinite(values)]
        if not len(finite):
            return cls(0.0, 1.0, log=False, beyond=0)
        inside = finite[_near(finite)]
        low, high = float(inside.min()), float(inside.max())
        log = low > 0 and high / low > _WIDE
        return cls(low, high, log, beyond=len(finite) - len(inside))

    def limits(self, margin: float = 0.05) -> tuple[float, float]:
        """Ends of an axis with some room at both sides, so that they always differ."""
        if self.log:
            room = (self.high / self.low) ** margin
            return self.low / room, self.high * room
        room = margin * (self.high - self.low) or abs(self.high) * margin or margin
        return self.low - room, self.high + room

    def remark(self) -> str:
        """What a caption must say of values outside; empty where there are none."""
        if not self.beyond:
            return ""
        many = "1 value lies" if self.beyond == 1 else f"{self.beyond:,} values lie"
        return f" {many} far beyond the scale and would have flattened it."


def _near(finite: Floats) -> np.ndarray[Any, np.dtype[np.bool_]]:
    if len(finite) < _FEWEST:
        return np.ones(len(finite), dtype=bool)
    scaled = np.log10(finite) if finite.min() > 0 else finite
    first, third = np.quantile(scaled, [0.25, 0.75])
    reach = _FAR * (third - first)
    if reach == 0:
        return np.ones(len(finite), dtype=bool)
    near: np.ndarray[Any, np.dtype[np.bool_]] = (scaled >= first - reach) & (scaled <= third + reach)
    return near


def nearly_geometric(values: Floats) -> bool:
    """Whether the points of an axis are closer to equal ratios than to equal steps."""
    points = np.unique(values[np.isfinite(values)])
    if len(points) < 3 or points[0] <= 0:
        return False
    ratios, steps = np.diff(np.log(points)), np.diff(points)
    return bool(ratios.std() / ratios.mean() < steps.std() / steps.mean())
