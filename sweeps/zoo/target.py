"""What a model of a workload has to reach; see `algoperf`."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from landsweep.orchestrator.spec import Section

__all__ = ["WorkloadTarget"]


class WorkloadTarget(Section):
    """What a model of a workload has to reach."""

    metric: str = Field(
        pattern=r"_(loss|accuracy)$", description="of the evaluations: a loss has to fall, an accuracy to rise"
    )
    value: float

    def met(self, values: ArrayLike) -> NDArray[np.bool_]:
        """Which of these values meet it; NaN does not."""
        numbers = np.asarray(values, dtype=float)
        return numbers <= self.value if self.metric.endswith("_loss") else numbers >= self.value
