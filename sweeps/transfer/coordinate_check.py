"""The coordinate check: how the size of activations depends on the width or depth, layer by layer, step by step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["FAIL", "PASS", "CoordinateCheck", "coordinate_check"]

PASS, FAIL = 0.10, 0.25  # largest absolute slope


@dataclass(frozen=True, slots=True)
class CoordinateCheck:
    """Slopes of log2 mean |activation| over log2 width, or log2 of another size.

    Attributes:
        layers: names, in the order of the network.
        steps: how many steps had been made.
        slopes: [layers, steps]; nan where an activation was 0 in some size; infinite where in some model it was not
            finite, or missing, as after the end of one that diverged.
    """

    layers: tuple[str, ...]
    steps: tuple[int, ...]
    slopes: NDArray[np.float64]

    @property
    def largest(self) -> float:
        """Largest of `sizes`; infinite where there is none."""
        sizes = self.sizes()
        return float(np.nanmax(sizes)) if np.isfinite(sizes).any() else float("inf")

    def sizes(self) -> NDArray[np.float64]:
        """Absolute slopes after at least one step; nan elsewhere.

        Of attention scores only what grows: in the first steps they shrink as the root of the width, since queries and
        keys are not yet aligned (arXiv 2203.03466).
        """
        shrinks = np.array([layer.endswith(".scores") for layer in self.layers], dtype=bool)[:, None]
        judged = np.where(shrinks, np.maximum(self.slopes, 0), np.abs(self.slopes))
        return np.where(np.array(self.steps) > 0, judged, np.nan)

    @property
    def verdict(self) -> Literal["pass", "fail", "unclear"]:
        """Pass: at most 0.10; fail: above 0.25."""
        return "pass" if self.largest <= PASS else "fail" if self.largest > FAIL else "unclear"


def coordinate_check(means: Mapping[int, Sequence[Mapping[tuple[str, int], float]]]) -> CoordinateCheck:
    """Fit the slopes.

    Args:
        means: size to models of several seeds, each from (layer, step) to the mean absolute activation. The layers of
            the first model count, in their order; logarithms are averaged over seeds.

    Returns:
        The check; all slopes are nan below two sizes.
    """
    all_models = [m for models in means.values() for m in models]
    layers = tuple(dict.fromkeys(layer for layer, _ in all_models[0])) if all_models else ()
    steps = tuple(sorted({step for m in all_models for _, step in m}))
    widths = np.log2(np.array(list(means), dtype=float))
    slopes = np.full((len(layers), len(steps)), np.nan)
    for i, layer in enumerate(layers):
        for j, step in enumerate(steps):
            levels = np.array([_level([m.get((layer, step), np.nan) for m in models]) for models in means.values()])
            if np.isinf(levels).any():
                slopes[i, j] = np.inf
            elif len(widths) > 1 and np.isfinite(levels).all():
                slopes[i, j] = np.polyfit(widths, levels, 1)[0]
    return CoordinateCheck(layers, steps, slopes)


def _level(values: Sequence[float]) -> float:
    """Mean log2; inf where a value is not finite or missing, nan where one is 0 (an output layer that starts at 0)."""
    array = np.array(values, dtype=float)
    if not np.isfinite(array).all():
        return np.inf
    if not len(array) or (array <= 0).any():
        return np.nan
    return float(np.log2(array).mean())
