"""Robustness: what random noise on the weights does to the loss."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from landsweep.orchestrator.row import Column
from landsweep.sweeps.lab.weight_space.directions import RandomDirections
from landsweep.sweeps.measure.measures.alone import AloneMeasure
from landsweep.sweeps.measure.measures.base import Measured
from landsweep.sweeps.measure.subject import Subject
from landsweep.sweeps.measure.surroundings import Surroundings

__all__ = ["Robustness"]


class Robustness(AloneMeasure):
    """`robustness`: loss under Gaussian noise on the weights, mean and spread over draws.

    With the filter-normalised directions of arXiv 1712.09913 a scale of 0.1 is noise of a tenth of each filter's norm;
    with `normalise: none` it is a Gaussian whose standard deviation is the scale.
    """

    measure: Literal["robustness"] = "robustness"
    scale: float = Field(0.1, gt=0, description="of the noise, in units of the direction")
    draws: int = Field(20, ge=2, description="of the noise")
    directions: RandomDirections = RandomDirections(kind="random")
    batch_norm: Literal["fixed", "reestimate"] = Field("fixed", description="or estimated anew at each draw")

    def columns(self) -> tuple[Column, ...]:
        return (
            Column("robustness_loss", "loss under noise on the weights, mean over the draws"),
            Column("robustness_rise", "robustness_loss less the loss without noise"),
            Column("robustness_spread", "standard deviation of the loss over the draws of the noise"),
            Column("robustness_worst", "highest loss over the draws of the noise"),
        )

    def check(self, subject: Subject) -> None:
        Surroundings(subject, self.samples(subject), self.directions, self.batch_norm)

    def of_one(self, subject: Subject) -> Measured:
        around = Surroundings(subject, self.samples(subject), self.directions, self.batch_norm)
        losses = np.array([around.losses(draw, [self.scale]) for draw in range(self.draws)])
        (without,) = around.losses(0, [0.0])
        values = {
            "robustness_loss": float(losses.mean()),
            "robustness_rise": float(losses.mean()) - without,
            "robustness_spread": float(losses.std(ddof=1)),
            "robustness_worst": float(losses.max()),
        }
        return Measured(values, {"robustness_losses": losses[:, 0].tolist()})
