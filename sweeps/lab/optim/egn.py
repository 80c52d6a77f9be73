"""EGN: Gauss-Newton steps by a system of equations that is as large as the batch."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from landsweep.sweeps.lab.optim.base import Linearised, Method, Step, decay

__all__ = ["Egn"]


class Egn(Method):
    """Exact Gauss-Newton (arXiv 2405.14402, algorithm 1), without its line search and its adaptive damping.

    With the Jacobian J [b c, P] of the c outputs of all b samples, the slope r of each sample's loss by its outputs and
    the blocks Q of its second derivatives by them, the step of the damped Gauss-Newton matrix

    d = -(J^T Q J / b + damping)^(-1) J^T r / b = -J^T (Q J J^T + b damping)^(-1) r

    is found on the right, with b c unknowns instead of P (the identity of Duncan and Guttman). Then

    m <- a m + (1 - a) d        w <- (1 - lr wd) w + lr m / (1 - a^t)

    J is computed for one model after the other. The gradient of the batch is computed too, but not used.
    """

    per_model: ClassVar[tuple[str, ...]] = ("learning_rate", "weight_decay", "momentum", "damping")
    slots: ClassVar[tuple[str, ...]] = ("mean",)
    unruled: ClassVar[str] = "its step is that of the whole model's Gauss-Newton matrix"
    elementwise: ClassVar[bool] = False
    steps_alike: ClassVar[bool] = False
    decoupled: ClassVar[bool] = True
    linearises: ClassVar[bool] = True

    method: Literal["egn"]
    learning_rate: float = Field(0.1, gt=0, description="the highest of the schedule; 1 is the whole step")
    momentum: float = Field(0.0, ge=0, lt=1)
    damping: float = Field(1.0, gt=0, description="what is added to the eigenvalues of the Gauss-Newton matrix")

    def update(self, step: Step) -> None:
        dampings = step.c["damping"].double()[:, 0].tolist()
        along = torch.stack([_direction(step.linearised(k), damping) for k, damping in enumerate(dampings)])
        decay(step)  # after the model was looked at where it was
        mean = step.slots["mean"].mul_(step.c["momentum"]).addcmul_(along, 1 - step.c["momentum"])
        left = 1 - step.c["momentum"].double() ** step.t
        step.weights.addcmul_(mean, (step.c["learning_rate"].double() / left).to(mean.dtype))


def _direction(model: Linearised, damping: float) -> Tensor:
    """The damped Gauss-Newton step of a model, [P]; it is not finite where the system has no solution."""
    b, c = model.slopes.shape
    jacobian = model.jacobian.flatten(0, 1)
    kernel = (jacobian @ jacobian.T).double().view(b, c, b * c)
    system = torch.bmm(model.bends.double(), kernel).view(b * c, b * c)
    system.diagonal().add_(b * damping)
    weights, _ = torch.linalg.solve_ex(system, model.slopes.double().flatten())
    along: Tensor = -(jacobian.T @ weights.to(jacobian.dtype))
    return along
