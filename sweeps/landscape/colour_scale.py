"""One colour and value scale for several surfaces, so that they can be compared by eye."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from landsweep.sweeps.lab.arrays import Floats

__all__ = ["Scale"]

_SHOWN = 0.98  # share of all values that the scale spans; a few huge ones would leave no colours for the rest


@dataclass(frozen=True, slots=True)
class Scale:
    """A range of values, logarithmic where no value is negative.

    Attributes:
        low: lowest value shown; lower ones (zeros, on a logarithmic scale) are drawn as this one.
        high: highest value shown; higher ones are drawn as this one.
        log: whether the scale is logarithmic.
        cut: whether there are values above `high`.
        contours: how many contour lines, those of both ends included.
    """

    low: float
    high: float
    log: bool
    cut: bool
    contours: int = 26

    @classmethod
    def of(cls, fields: Sequence[Floats], *, linear: bool = False) -> Scale:
        """The scale that spans 98 % of all finite values of all fields; `linear` though no value be negative."""
        values = np.concatenate([f[np.isfinite(f)].ravel() for f in fields])
        if not len(values):
            return cls(1.0, 10.0, log=True, cut=False)
        log = not linear and bool((values >= 0).all() and (values > 0).any())
        low = float(values[values > 0].min() if log else values.min())
        high = float(np.quantile(values, _SHOWN))
        high = float(values.max()) if high <= low else high
        if high <= low:
            high = low * 1.1 if log else low + 1.0
        return cls(low, high, log, cut=bool(values.max() > high))

    def clip(self, values: Floats) -> Floats:
        """Values within the range; NaN stays NaN."""
        clipped: Floats = np.clip(values, self.low, self.high)
        return clipped

    def height(self, values: Floats) -> Floats:
        """Clipped values, as log10 on a logarithmic scale: what a surface plot draws."""
        clipped = self.clip(values)
        return np.log10(clipped) if self.log else clipped

    def levels(self) -> Floats:
        """Values for contour lines."""
        make = np.geomspace if self.log else np.linspace
        levels: Floats = make(self.low, self.high, self.contours)
        return levels

    def remark(self) -> str:
        """What a caption must say of this scale."""
        kind = "logarithmic" if self.log else "linear"
        return f"one {kind} scale for all, {self.low:.3g} to {self.high:.3g}" + (
            " (98 % of all values; higher ones look like the highest)" if self.cut else ""
        )
