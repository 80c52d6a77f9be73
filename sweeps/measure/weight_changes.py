"""What a given change of the weights does to the loss: measured, and predicted by derivatives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from landsweep.sweeps.lab.curvature import Objective, Product, product_with
from landsweep.sweeps.lab.layout import Layout
from landsweep.sweeps.lab.losses import right_answers
from landsweep.sweeps.measure.subject import Samples, Subject

__all__ = ["Perturbed"]


@dataclass(frozen=True, slots=True, eq=False)
class Perturbed:
    """The loss of one model in float64, its gradient, and what changes of its weights do.

    Attributes:
        objective: of one model, in float64.
        samples: that the loss is taken on.
        loss: of the model itself.
        gradient: [1, P].
    """

    objective: Objective
    samples: Samples
    loss: float
    gradient: Tensor

    @classmethod
    def of(cls, subject: Subject, samples: Samples) -> Self:
        """The first model of a subject."""
        module, loss, n = subject.models[0].build(), samples.loss, samples.batch_size
        objective = Objective.of([module], samples.inputs, samples.targets, loss, n, dtype=torch.float64)
        losses, gradient = objective.gradient()
        return cls(objective, samples, float(losses[0]), gradient)

    @property
    def layout(self) -> Layout:
        """Where in a row each parameter that trains lies."""
        return self.objective.layout

    @property
    def weights(self) -> Tensor:
        """[1, P]."""
        return self.objective.weights

    def measured(self, change: Tensor) -> float:
        """Loss at weights plus change [1, P], less the model's own."""
        return float(self.objective.losses(self.weights + change)[0]) - self.loss

    def hessian(self) -> Product:
        """Changes [1, P] to Hessian times change, [1, P]."""
        return product_with("hessian", self.objective)

    def gradient_at(self, change: Tensor) -> Tensor:
        """Gradient at weights plus change, [1, P]."""
        return self.objective.gradient(self.weights + change)[1]

    @torch.no_grad()
    def accuracy(self, change: Tensor) -> float | None:
        """Share of right answers at weights plus change; None where targets are no classes."""
        if self.samples.targets.is_floating_point():
            return None
        at = self.weights + change
        right = [right_answers(self.objective.outputs(at, x)[0], y[0]) for x, y in self.objective.batches()]
        return float(torch.cat(right).mean())
