"""GradInit: a factor for each drawn tensor, learnt so that the first step of training lowers the loss most."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.func import functional_call

from landsweep.orchestrator.spec import Section
from landsweep.sweeps.lab.losses import TrainingLoss

__all__ = ["GradInit", "learn_factors"]

_BETAS, _EPS, _LONGEST = (0.9, 0.999), 1e-8, 1.0  # Adam's, and the largest slope by a factor, as in the authors' code

Batches = Callable[[int], tuple[Tensor, Tensor]]


class GradInit(Section):
    """GradInit (arXiv 2102.08098, algorithm 1): a factor for each tensor, so that the first step lowers the loss most.

    In each step the network, without dropout, gets the next batch of its training data. Where the norm of its gradient
    is above `bound`, the factors lower that norm; else they lower the loss after a step of length `size` along the
    gradient, on half of that batch and half of the next one, the gradient being held fixed as in the authors' code.
    Tensors that are 0 stay so. Norms are Euclidean of `sgd`, and sums of sizes of `sign`, which stands for Adam.
    """

    steps: int = Field(200, ge=0, description="of the factors")
    step: Literal["sgd", "sign"] = Field("sgd", description="sgd: along the gradient; sign: along its signs, as Adam")
    size: float = Field(0.1, gt=0, description="learning rate of the step that is looked at")
    bound: float = Field(1.0, gt=0, description="largest norm of the gradient")
    learning_rate: float = Field(1e-2, gt=0, description="of the factors, which begin at 1, with Adam")
    least: float = Field(0.01, ge=0, description="smallest factor of tensors with two axes or more")


def learn_factors(module: nn.Module, batches: Batches, loss: TrainingLoss, spec: GradInit) -> None:
    """Multiply the tensors of a module by factors that are learnt, in place; buffers and its mode stay as they were.

    Args:
        module: on the CPU.
        batches: gives inputs [b, ...] and targets [b, ...] of the batch of a number.
        loss: that training lowers.
        spec: how.
    """
    tuned = {name: p for name, p in module.named_parameters() if p.requires_grad and bool(p.detach().any())}
    factors = [_Factor(p, spec.least if p.ndim > 1 else 0.0, spec.learning_rate) for p in tuned.values()]
    with _as_in_training(module), torch.enable_grad():
        for step in range(spec.steps):
            bounded, slopes = _slopes(module, tuned, batches, step, loss, spec)
            for factor, slope in zip(factors, slopes, strict=True):
                factor.move(slope, bounded=bounded)


def _slopes(
    module: nn.Module, tuned: dict[str, nn.Parameter], batches: Batches, step: int, loss: TrainingLoss, spec: GradInit
) -> tuple[bool, Sequence[Tensor]]:
    """Whether the gradient is too large, and slopes by the tensors: then of its norm, else of the loss after a step."""
    x, y = batches(2 * step)
    leaves = list(tuned.values())
    grads = torch.autograd.grad(_lost(module, {}, x, y, loss), leaves, create_graph=True)
    norm = sum(((g.abs() if spec.step == "sign" else g.square()).sum() for g in grads), torch.zeros((), dtype=x.dtype))
    norm = norm if spec.step == "sign" else norm.sqrt()
    if float(norm.detach()) > spec.bound:
        return True, torch.autograd.grad(norm, leaves)
    along = [g.detach().sign() if spec.step == "sign" else g.detach() for g in grads]
    moved = {n: p - spec.size * d for (n, p), d in zip(tuned.items(), along, strict=True)}
    next_x, next_y = batches(2 * step + 1)
    half = len(x) // 2
    x, y = torch.cat([x[:half], next_x[half:]]), torch.cat([y[:half], next_y[half:]])
    return False, torch.autograd.grad(_lost(module, moved, x, y, loss) / spec.size, leaves)


def _lost(module: nn.Module, state: dict[str, Tensor], x: Tensor, y: Tensor, loss: TrainingLoss) -> Tensor:
    return loss(functional_call(module, state, (x,))[None], y[None]).mean()


class _Factor:
    """A factor of one tensor, which follows it. Adam has separate averages for slopes of the norm and of the loss.

    Args:
        tensor: as it was drawn.
        least: below which the factor does not go.
        rate: of Adam.
    """

    def __init__(self, tensor: nn.Parameter, least: float, rate: float) -> None:
        self._tensor, self._drawn, self._least, self._rate = tensor, tensor.detach().clone(), least, rate
        self._factor = 1.0
        self._averages = dict.fromkeys((False, True), (0, 0.0, 0.0))

    @torch.no_grad()
    def move(self, slope: Tensor, *, bounded: bool) -> None:
        """One step against the slope by the tensor."""
        g = max(-_LONGEST, min(_LONGEST, float((slope * self._drawn).sum())))
        t, mean, square = self._averages[bounded]
        t, mean, square = t + 1, _BETAS[0] * mean + (1 - _BETAS[0]) * g, _BETAS[1] * square + (1 - _BETAS[1]) * g * g
        self._averages[bounded] = t, mean, square
        along = mean / (1 - _BETAS[0] ** t) / (math.sqrt(square / (1 - _BETAS[1] ** t)) + _EPS)
        self._factor = max(self._least, self._factor - self._rate * along)
        self._tensor.copy_(self._drawn * self._factor)


@contextmanager
def _as_in_training(module: nn.Module) -> Iterator[None]:
    """Batch normalisation by the batch, but no dropout; afterwards mode and buffers are as before."""
    modes = [(m, m.training) for m in module.modules()]
    buffers = {name: b.clone() for name, b in module.named_buffers()}
    module.eval()
    for m in module.modules():
        if isinstance(m, nn.modules.batchnorm._BatchNorm):
            m.train()
    try:
        yield
    finally:
        for m, training in modes:
            m.training = training
        with torch.no_grad():
            for name, b in module.named_buffers():
                b.copy_(buffers[name])
