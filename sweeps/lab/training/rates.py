"""What the schedules of a pack say, for many steps at once."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from landsweep.sweeps.lab.recipe import Recipe

__all__ = ["AT_ONCE", "Rates"]

AT_ONCE = 64  # steps whose rates, and what follows from them, are computed and go to the device at once


class Rates:
    """What the schedules say: learning rates [K] and, where any sets it, momenta [K], of each step.

    Args:
        recipes: one per model.
        total: steps of the training.

    Attributes:
        given: columns [K, 1] of learning rates and momenta of every step, instead of what the schedules say; None: as
            they say.
    """

    def __init__(self, recipes: Sequence[Recipe], total: int) -> None:
        self._total = total
        self.given: tuple[Tensor, Tensor | None] | None = None
        self._table: tuple[int, tuple[Tensor, Tensor | None]] | None = None
        self._schedules = list(dict.fromkeys(r.schedule for r in recipes))  # mostly few
        self._which = [self._schedules.index(r.schedule) for r in recipes]
        self._peaks = [r.optimizer.learning_rate for r in recipes]
        self.sets_momentum = any(s.momentum(0, max(total, 1)) is not None for s in self._schedules)

    def learning_rates(self, step: int) -> list[float]:
        """Learning rate of each model in this step."""
        now = [s.multiplier(step, self._total) for s in self._schedules]
        return [peak * now[i] for i, peak in zip(self._which, self._peaks, strict=True)]

    def table(self, step: int, device: torch.device, many: int = AT_ONCE) -> tuple[Tensor, Tensor | None]:
        """Learning rates and momenta [steps, K] of this step and some that follow, each in one copy to the device.

        A momentum is nan where the optimizer's own stays; None: it does so everywhere.

        Args:
            step: the first.
            device: of the tables.
            many: steps, at most; at the end of the training there are fewer.
        """
        if self.given is not None:
            return self.given[0].T, None if self.given[1] is None else self.given[1].T
        steps = range(step, max(step + 1, min(step + many, self._total)))
        now = [[s.multiplier(i, self._total) for s in self._schedules] for i in steps]
        peaks = torch.tensor(self._peaks, dtype=torch.float64)
        rates = torch.tensor(now, dtype=torch.float64)[:, self._which] * peaks
        if not self.sets_momentum:
            return rates.to(device), None
        set_to = [[s.momentum(i, self._total) for s in self._schedules] for i in steps]
        momenta = [[math.nan if m is None else m for m in row] for row in set_to]
        return rates.to(device), torch.tensor(momenta, dtype=torch.float64)[:, self._which].to(device)

    def columns(self, step: int, device: torch.device) -> tuple[Tensor, Tensor | None]:
        """Learning rates and momenta [K, 1] of a step, as `table` has them."""
        if self.given is not None:
            return self.given
        if self._table is None or not self._table[0] <= step < self._table[0] + len(self._table[1][0]):
            self._table = (step, self.table(step, device))
        first, (learning, momenta) = self._table
        return learning[step - first].unsqueeze(1), None if momenta is None else momenta[step - first].unsqueeze(1)

    def momenta(self, step: int) -> list[float | None]:
        """Momentum of each model in this step; None where the optimizer's own stays."""
        now = [s.momentum(step, self._total) for s in self._schedules]
        return [now[i] for i in self._which]

    def take(self, keep: Sequence[int]) -> None:
        """Keep only these rows."""
        self._which = [self._which[k] for k in keep]
        self._peaks = [self._peaks[k] for k in keep]
        self._table = None
