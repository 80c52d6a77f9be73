"""MetaInit: the norms of drawn weights are moved to where a gradient step changes the gradient least."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from pydantic import Field
from torch import Tensor, nn

from landsweep.orchestrator.spec import Section

__all__ = ["MetaInit", "gradient_quotient", "tune_norms"]

_SMALL = 1e-5  # added to the size of each element of the gradient


class MetaInit(Section):
    """MetaInit (Dauphin and Schoenholz, NeurIPS 2019): norms of weights that make the gradient quotient small.

    In each step the network, in evaluation mode, gets normal inputs and random classes. The norm of each tensor with
    two axes or more goes by a step of one size against the sign of the quotient's slope, with momentum. No data are
    looked at. Cross entropy is what it is made for; the classes are as many as the network has outputs.
    """

    steps: int = Field(100, ge=0, description="of the norms; the paper takes 500")
    learning_rate: float = Field(0.1, gt=0, description="by how much a norm moves in a first step")
    momentum: float = Field(0.9, ge=0, lt=1)
    batch_size: int = Field(64, ge=1, description="random inputs in each step")


def gradient_quotient(loss: Tensor, parameters: Sequence[Tensor]) -> Tensor:
    """Mean over all parameters of |(g - H g) / g - 1|, g and H being gradient and Hessian of the loss.

    It is how much a gradient step of rate 1 changes each element of the gradient, relative to it. Of a loss that is
    quadratic with a diagonal Hessian it is the mean of that diagonal's sizes.

    Args:
        loss: a scalar.
        parameters: that it is a function of.

    Returns:
        A scalar that can be differentiated once more.
    """
    slopes = torch.autograd.grad(loss, parameters, create_graph=True)
    half = sum(((g * g).sum() / 2 for g in slopes), torch.zeros((), dtype=loss.dtype))
    products = torch.autograd.grad(half, parameters, create_graph=True)
    changes = (
        ((g - p) / (g + _SMALL * torch.where(g >= 0, 1.0, -1.0)) - 1).abs().sum()
        for g, p in zip(slopes, products, strict=True)
    )
    return sum(changes, torch.zeros((), dtype=loss.dtype)) / sum(p.numel() for p in parameters)


def tune_norms(module: nn.Module, shape: tuple[int, ...], spec: MetaInit, source: torch.Generator) -> None:
    """Move the norms of a module's weights, in place; its mode stays as it was.

    Args:
        module: on the CPU.
        shape: of one input.
        spec: how.
        source: what inputs and classes are drawn from.
    """
    training = module.training
    module.eval()
    with torch.enable_grad():
        _descend(module, shape, spec, source)
    module.train(training)


def _descend(module: nn.Module, shape: tuple[int, ...], spec: MetaInit, source: torch.Generator) -> None:
    parameters = [p for p in module.parameters() if p.requires_grad]
    tuned = [p for p in parameters if p.ndim > 1]
    speeds = [0.0] * len(tuned)
    for _ in range(spec.steps):
        outputs = module(torch.randn((spec.batch_size, *shape), generator=source))
        classes = torch.randint(outputs.shape[-1], (spec.batch_size,), generator=source)
        quotient = gradient_quotient(F.cross_entropy(outputs, classes), parameters)
        slopes = torch.autograd.grad(quotient, tuned)
        with torch.no_grad():
            for i, (p, slope) in enumerate(zip(tuned, slopes, strict=True)):
                norm = float(p.norm())
                if norm == 0:
                    continue
                speeds[i] = spec.momentum * speeds[i] - spec.learning_rate * float(torch.sign((p * slope).sum()))
                p.mul_((norm + speeds[i]) / norm)
