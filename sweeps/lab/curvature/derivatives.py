"""Whether the derivatives that autograd gives of a network are right: against differences, in double precision."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.curvature.objective import Objective
from landsweep.sweeps.lab.curvature.products import product_with
from landsweep.sweeps.lab.streams import generator

__all__ = ["check_derivatives"]

_SAMPLES = 32
_STEPS = (1e-5, 1e-6, 1e-4)  # several: an activation with a kink may have it between two points
_RELATIVE, _ABSOLUTE = 1e-3, 1e-8
_MOVES, _MOVED = 2, 0.1  # other weights that are tried, and how far they lie, beside the typical weight


def check_derivatives(objective: Objective) -> None:
    """Refuse a network whose gradient or Hessian by autograd is not that of its loss.

    It looks at the first model of the objective, on its first samples, along one direction; and where that fails, at
    weights near by, for it is an operation that is looked for, and a model may happen to lie on a kink. A hook that
    changes gradients, or an operation that is a constant to the second derivative, is known by this alone.

    Raises:
        SpecError: they are not; or the network can't be computed in double precision.
    """
    with torch.no_grad():
        if not bool(objective.part(0, _SAMPLES).alone(0).losses().isfinite().all()):
            return  # nothing of it is known
    few = objective.part(0, _SAMPLES).alone(0).to(torch.float64)
    at = few.weights
    try:
        loss, gradient = few.gradient()
    except RuntimeError as e:
        if "dtype" not in str(e) and "Double" not in str(e) and "double" not in str(e):
            raise
        raise SpecError(
            f"the network can't be computed in double precision, in which its second derivatives are checked: {e}; "
            "register its constants as buffers, so that they change their type with it"
        ) from e
    if not (wrong := _wrong(few, loss, gradient)):
        return
    for move in range(_MOVES):  # units that weight decay has all but erased have their kinks at these very weights
        noise = torch.randn(at.shape, generator=generator(move, "moved"), dtype=torch.float64).to(at.device)
        moved = replace(few, weights=at + _MOVED * at.square().mean().sqrt() * noise)
        if not _wrong(moved, *moved.gradient()):
            return
    raise SpecError(
        f"the {min(wrong)} of this network by autograd is not that of its loss: an operation in it has a derivative "
        "that is not its own, or none of its gradient (a hook that changes gradients, an autograd.Function whose "
        "backward is a constant, randomness in evaluation mode); leave this measure out"
    )


def _wrong(few: Objective, loss: Tensor, gradient: Tensor) -> set[str]:
    """Which derivatives of one model differ from differences of what they are the derivative of."""
    at = few.weights
    draw = torch.randn(at.shape, generator=generator(0, "derivatives"), dtype=torch.float64).to(at.device)
    v = draw / draw.norm() + (gradient / gradient.norm() if bool(gradient.any()) else 0)
    slope, curve = (gradient * v).sum(), product_with("hessian", few)(v)
    with torch.no_grad():
        largest = few.outputs(at, few.inputs).abs().max()
    rounding = torch.finfo(at.dtype).eps * math.sqrt(at.shape[1]) * (1 + largest)
    floor = _ABSOLUTE * (loss.abs().max() + gradient.norm())
    wrong = {"gradient", "second derivative"}
    for step in _STEPS:
        (above, g_above), (below, g_below) = few.gradient(at + step * v), few.gradient(at - step * v)
        noise = floor + rounding / step
        flat = noise + 0.01 * step * curve.norm() * v.norm()  # at a minimum the slope is next to nothing
        if _near(slope, (above - below).sum() / (2 * step), flat):
            wrong.discard("gradient")
        if _near(curve, (g_above - g_below) / (2 * step), noise):
            wrong.discard("second derivative")
        if not wrong:
            break
    return wrong


def _near(given: Tensor, difference: Tensor, floor: Tensor) -> bool:
    return bool((given - difference).norm() <= _RELATIVE * difference.norm() + floor)
