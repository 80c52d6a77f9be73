"""Teacher and student: targets that a fixed random network gives to Gaussian inputs."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from landsweep.sweeps.lab.data.base import Data, Dimensions, DrawnData, Split
from landsweep.sweeps.lab.streams import generator

__all__ = ["TeacherStudent"]

_ACTIVATIONS = {"relu": torch.relu, "tanh": torch.tanh, "erf": torch.erf}


class TeacherStudent(DrawnData):
    """Inputs are standard normal [features]; targets come from a perceptron without biases.

    The teacher's weights are normal with variance gain / fan_in, gain being 2 for relu and 1 otherwise, and 1 in the
    last layer: so outputs are of order 1. Test targets are without noise: a perfect student has test loss 0.
    More samples, for the same seed, begin with the fewer ones.
    """

    source: Literal["teacher_student"]
    features: int = Field(20, ge=1, description="of one input")
    outputs: int = Field(1, ge=1, description="of the teacher; the number of classes, where it classifies")
    hidden: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (8,), description="the teacher's hidden widths; [] is linear"
    )
    activation: Literal["relu", "tanh", "erf"] = "relu"
    task: Literal["regression", "classification"] = Field(
        "regression", description="targets: the outputs [n, outputs], or the number [n] of the largest one"
    )
    noise: float = Field(0.0, ge=0, description="deviation of what is added to the teacher's outputs in training data")
    train: int = Field(1024, ge=1, description="training samples")
    test: int = Field(1024, ge=1, description="test samples")
    seed: int = Field(0, ge=0, description="of teacher, inputs and noise; recipes have a seed of their own")

    def teach(self, inputs: Tensor) -> Tensor:
        """The teacher's outputs [n, outputs], without noise, for inputs [n, features]."""
        source = generator(self.seed, "teacher")
        widths = [self.features, *self.hidden, self.outputs]
        x = inputs.double()
        for i in range(len(widths) - 1):
            gain = 1 if i == 0 or self.activation != "relu" else 2
            weight = torch.randn(widths[i + 1], widths[i], generator=source, dtype=torch.float64)
            x = x @ weight.T * math.sqrt(gain / widths[i])
            x = _ACTIVATIONS[self.activation](x) if i < len(self.hidden) else x
        return x.to(inputs.dtype)

    def dimensions(self) -> Dimensions:
        return Dimensions((self.features,), self.outputs, regression=self.task == "regression")

    def load(self, base: Path) -> Data:
        """Splits `train` and `test` on the CPU."""
        del base
        splits = {}
        for name, count in (("train", self.train), ("test", self.test)):
            inputs = self._normal(f"inputs of {name}", count, self.features)
            outputs = self.teach(inputs)
            if name == "train":
                outputs = outputs + self.noise * self._normal("noise", count, self.outputs)
            splits[name] = Split(inputs, outputs if self.task == "regression" else outputs.argmax(1))
        return Data.of(splits, 0 if self.task == "regression" else self.outputs)

    def _normal(self, name: str, rows: int, columns: int) -> Tensor:
        # torch draws normals in blocks of 16, and what is left over differently: only whole blocks start alike.
        drawn = torch.randn(math.ceil(rows / 16) * 16, columns, generator=generator(self.seed, name))
        return drawn[:rows].clone()
