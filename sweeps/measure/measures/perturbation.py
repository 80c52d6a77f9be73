"""What measures of sharpness share: the ball in which weights move, and its scale."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from landsweep.sweeps.lab.curvature import Norm, Objective
from landsweep.sweeps.measure.measures.curvature import ModelCurvature

__all__ = ["Ball"]


class Ball(ModelCurvature):
    """A measure of the loss within a ball around the weights w: of moves c u with u in the ball, weight by weight.

    The scale c is |w| where it is adaptive, and else 1; weights that are 0 then stay where they are.
    """

    norm: Norm = Field("l2", description="of the ball: l2 or linf")
    adaptive: bool = Field(False, description="whether each weight moves in proportion to its size (arXiv 2102.11600)")
    radius: float = Field(0.05, gt=0, description="of the ball; where adaptive, relative to the weights")

    def scale(self, objective: Objective) -> Tensor:
        """c, [K, P]."""
        return objective.weights.abs() if self.adaptive else torch.ones_like(objective.weights)
