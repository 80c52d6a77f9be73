"""Measures: quantities of stored models, one file each.

Each gives its columns and curves; what it needs of a model, a pair or a group is in `Subject`.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from landsweep.sweeps.measure.measures.base import Measure, Measured, Of
from landsweep.sweeps.measure.measures.distance import Distance
from landsweep.sweeps.measure.measures.losses import Losses

__all__ = ["Measure", "MeasureSpec", "Measured", "Of"]

MeasureSpec = Annotated[
    Distance | Losses,
    Field(discriminator="measure"),
]
"""A measure; told apart by `measure`: distance, losses."""
