"""Spikes: losses of a batch that are far above those before, and what a recipe says about them."""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from landsweep.sweeps.lab.recipe import Recipe

__all__ = ["Spikes"]


class Spikes:
    """The last losses of each model of a pack, and how often one of them was a spike.

    A spike is a loss of more than `times` the median of the last `window` losses that were none. There are none before
    a quarter of the window has been seen.

    Args:
        recipe: any of the pack.
        rows: how many models it has.
    """

    def __init__(self, recipe: Recipe, rows: int) -> None:
        self._times, self._window = recipe.spike.times, recipe.spike.window
        self.action = recipe.on_spike
        self._losses = [deque[float](maxlen=self._window) for _ in range(rows)]
        self.watches = recipe.on_spike != "go_on"

    def seen(self, losses: Sequence[float]) -> dict[int, str]:
        """Take in the losses of a batch, [K]; for each row with a spike how high it was, in words."""
        spikes = {}
        for row, loss in enumerate(losses):
            before = self._losses[row]
            if len(before) * 4 >= self._window and loss > self._times * (usual := statistics.median(before)):
                spikes[row] = f"{loss:.6g}, more than {self._times:g} times {usual:.6g}"
            else:
                before.append(loss)
        return spikes

    def take(self, rows: Sequence[int]) -> None:
        """Keep only these rows."""
        self._losses = [self._losses[row] for row in rows]

    def header(self) -> dict[str, Any]:
        """What a saved state holds of it, for JSON."""
        return {"spikes": [list(losses) for losses in self._losses]} if self.watches else {}

    def load(self, header: Mapping[str, Any]) -> None:
        """Become what `header` described."""
        if self.watches:
            self._losses = [deque(losses, maxlen=self._window) for losses in header["spikes"]]
