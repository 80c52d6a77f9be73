"""The random-feature family: linear regression on random features of data with power-law spectrum and target."""

from __future__ import annotations

from pydantic import Field

from landsweep.orchestrator.spec import Section
from landsweep.sweeps.lab.streams import stream
from landsweep.sweeps.laws.random_features_model import Model as RandomFeatures
from landsweep.sweeps.laws.random_features_model import draw_model

__all__ = ["Features"]


class Features(Section):
    """One-pass SGD on the solvable model of arXiv 2405.15074; its expected risk is computed exactly, no data is drawn.

    Inputs have `ambient` independent normal coordinates of deviation j^-alpha; the target is their sum with weights
    j^-beta; the features are d random projections of the inputs. The risk is the squared error on new data.
    """

    alpha: float = Field(1.0, gt=0.25, description="exponent of the data: coordinate j has deviation j^-alpha")
    beta: float = Field(0.3, ge=0, description="exponent of the target: coordinate j has weight j^-beta")
    ambient: int = Field(2048, ge=2, description="coordinates of the data; some times as many as the largest width")
    batch: int = Field(1, ge=1, description="samples in a step, whose gradients are summed")
    rate: float = Field(0.5, gt=0, lt=2, description="learning rate, in units of 1 / trace of the features' covariance")

    def model(self, width: int, seed: int) -> RandomFeatures:
        """The problem with so many features; the seed's stream `features` draws the projection."""
        return draw_model(self.alpha, self.beta, width, self.ambient, stream(seed, "features"))
