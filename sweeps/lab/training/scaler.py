"""Loss scales of fp16: gradients too small for its 5 bits of exponent are lifted, each model by a factor of its own."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

__all__ = ["LossScales"]

_START = 2.0**16
_SMALLEST = 2.0**-14
_PATIENCE = 2000  # steps without an overflow until the factor is doubled, as in torch's GradScaler


class LossScales:
    """One factor per model: halved when its gradient overflows, doubled when it has not for a long time.

    Args:
        models: how many.
        device: of the gradients.
    """

    def __init__(self, models: int, device: torch.device) -> None:
        self.scales = torch.full((models,), _START, device=device)
        self._good = torch.zeros(models, dtype=torch.int64, device=device)

    def unscale(self, grads: Tensor) -> list[int]:
        """Divide the gradients [K, P] by their factors; gives the rows that have overflowed, which must not step."""
        grads.div_(self.scales[:, None])
        finite = grads.isfinite().all(1)
        self._good = torch.where(finite, self._good + 1, 0)
        grown = self._good >= _PATIENCE
        self.scales = torch.where(finite, self.scales, (self.scales / 2).clamp(min=_SMALLEST))
        self.scales = torch.where(grown, self.scales * 2, self.scales)
        self._good = torch.where(grown, 0, self._good)
        overflowed = [row for row, fine in enumerate(finite.tolist()) if not fine]
        grads.masked_fill_(~finite[:, None], 0.0)
        return overflowed

    def take(self, keep: Tensor) -> None:
        """Keep only these rows."""
        self.scales, self._good = self.scales[keep], self._good[keep]

    def state(self) -> dict[str, Tensor]:
        """What changes from step to step, [K] each."""
        return {"scales": self.scales, "good": self._good}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what `state` gave."""
        self.scales = state["scales"].to(self.scales.device)
        self._good = state["good"].to(self._good.device)
