"""Third derivatives of mean losses: how the curvature along a vector changes with the weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor
from torch.overrides import TorchFunctionMode

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.curvature.objective import Objective, differentiating
from landsweep.sweeps.lab.curvature.products import product_with

__all__ = ["third_derivative"]

_STEPS = (1e-4, 1e-5, 1e-3)  # several: an activation with a kink may have it between two points
_RELATIVE, _ROUNDING = 1e-3, 1e-12
_LAYER_NORMS = (F.layer_norm, torch.layer_norm)


def third_derivative(objective: Objective, vectors: Tensor) -> Tensor:
    """The gradient [K, P] in the weights of v'Hv, for vectors v [K, P] that stay as they are and Hessians H.

    Checked against differences of v'Hv in double precision, at the first model: operations may have a right second
    derivative and a wrong third one.

    Raises:
        SpecError: an operation of the network has no third derivative, or a wrong one.
    """
    one = objective.alone(0).to(torch.float64)
    if bool(one.weights.isfinite().all()) and bool(vectors[0].isfinite().all()):
        _check(one, vectors[:1].double())
    return _third(objective, vectors)


def _third(objective: Objective, vectors: Tensor) -> Tensor:
    leaves = objective.weights.detach().requires_grad_()
    total = torch.zeros_like(leaves)
    for x, y in objective.batches():
        with differentiating(), _PlainLayerNorm():
            losses = objective.each(objective.outputs(leaves, x), y)
            (gradients,) = torch.autograd.grad(losses.sum(), leaves, create_graph=True)
            if not gradients.requires_grad:
                continue
            (products,) = torch.autograd.grad(gradients, leaves, vectors, create_graph=True, materialize_grads=True)
            if products.requires_grad:
                total += torch.autograd.grad((products * vectors).sum(), leaves, materialize_grads=True)[0]
    return total.detach() / objective.samples


class _PlainLayerNorm(TorchFunctionMode):
    """Layer normalisation by plain operations: the third derivative of torch's own (2.13) is wrong."""

    def __torch_function__(
        self,
        func: Any,  # noqa: ANN401 - the signature is torch's
        types: object,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        result: Any = (_layer_norm if func in _LAYER_NORMS else func)(*args, **(kwargs or {}))
        return result


def _layer_norm(
    x: Tensor,
    shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> Tensor:
    del cudnn_enable
    dims = tuple(range(-len(shape), 0))
    centred = x - x.mean(dims, keepdim=True)
    scaled = centred / (centred.square().mean(dims, keepdim=True) + eps).sqrt()
    scaled = scaled if weight is None else scaled * weight
    return scaled if bias is None else scaled + bias


def _check(one: Objective, v: Tensor) -> None:
    third = _third(one, v)
    length = third.norm()
    along = third / length if bool(length > 0) else v / v.norm()
    analytic = (third * along).sum()

    def curvature(step: float) -> Tensor:
        return (v * product_with("hessian", one.at(one.weights + step * along))(v)).sum()

    scale = curvature(0.0).abs() + 1
    differences = [(curvature(step) - curvature(-step)) / (2 * step) for step in _STEPS]
    floors = [_RELATIVE * analytic.abs() + _ROUNDING * scale / step for step in _STEPS]
    if not any(bool((d - analytic).abs() <= floor) for d, floor in zip(differences, floors, strict=True)):
        raise SpecError(
            f"the third derivative of this network by autograd ({analytic.item():.4g}) is not that of its loss "
            f"({differences[0].item():.4g} by differences): an operation in it has a wrong one; write it with plain "
            "torch functions, or leave this measure out"
        )
