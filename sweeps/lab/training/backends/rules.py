"""What layers do forward and backward, for those who write a network's step out by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias, cast

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from landsweep.sweeps.lab.losses import TrainingLoss, log_softmax
from landsweep.sweeps.lab.models.layers import NoNorm

__all__ = ["RULES", "Pullback", "Rule", "alone_with_inputs", "chain_of", "losses_through"]

_aten = torch.ops.aten

Pullback: TypeAlias = Callable[[Tensor], Tensor]
"""Gradient of the loss by a layer's outputs to that by its inputs."""

Rule: TypeAlias = Callable[[nn.Module, Tensor, bool], tuple[Tensor, Pullback]]
"""Of a layer, its inputs, and whether nobody else reads these: its outputs and its pullback."""


def _relu(layer: nn.Module, x: Tensor, alone: bool) -> tuple[Tensor, Pullback]:
    y = x.relu_() if alone else torch.relu(x)
    # Nobody else reads `d`, so its memory takes the result.
    return y, lambda d: _aten.threshold_backward.grad_input(d, y, 0, grad_input=d)


def _leaky_relu(layer: nn.Module, x: Tensor, alone: bool) -> tuple[Tensor, Pullback]:
    slope = cast(nn.LeakyReLU, layer).negative_slope
    return F.leaky_relu(x, slope), lambda d: _aten.leaky_relu_backward(d, x, slope, False)


def _elu(layer: nn.Module, x: Tensor, alone: bool) -> tuple[Tensor, Pullback]:
    alpha = cast(nn.ELU, layer).alpha
    return F.elu(x, alpha), lambda d: _aten.elu_backward(d, alpha, 1.0, 1.0, False, x)


def _tanh(layer: nn.Module, x: Tensor, alone: bool) -> tuple[Tensor, Pullback]:
    y = torch.tanh(x)
    return y, lambda d: _aten.tanh_backward(d, y)


def _sigmoid(layer: nn.Module, x: Tensor, alone: bool) -> tuple[Tensor, Pullback]:
    y = torch.sigmoid(x)
    return y, lambda d: _aten.sigmoid_backward(d, y)


def _silu(layer: nn.Module, x: Tensor, alone: bool) -> tuple[Tensor, Pullback]:
    return F.silu(x), lambda d: _aten.silu_backward(d, x)


def _gelu(layer: nn.Module, x: Tensor, alone: bool) -> tuple[Tensor, Pullback]:
    kind = cast(nn.GELU, layer).approximate
    return F.gelu(x, approximate=kind), lambda d: _aten.gelu_backward(d, x, approximate=kind)


Step: TypeAlias = Callable[[str, nn.Module, Tensor, bool], tuple[Tensor, Pullback | None]]
"""Of a name, a layer, its inputs, and whether nothing below wants a gradient: outputs and pullback, if it has one."""

RULES: dict[type[nn.Module], Rule] = {
    nn.ReLU: _relu,
    nn.LeakyReLU: _leaky_relu,
    nn.ELU: _elu,
    nn.Tanh: _tanh,
    nn.Sigmoid: _sigmoid,
    nn.SiLU: _silu,
    nn.GELU: _gelu,
}


def chain_of(module: nn.Module, name: str = "") -> list[tuple[str, nn.Module]]:
    """The layers of nested sequences, in order, by their full names."""
    if not isinstance(module, nn.Sequential):
        return [(name, module)]
    children = ((f"{name}.{n}" if name else n, child) for n, child in module.named_children())
    return [layer for n, child in children for layer in chain_of(child, n)]


def alone_with_inputs(chain: Sequence[tuple[str, nn.Module]]) -> frozenset[str]:
    """Names of the layers of a chain whose inputs nobody else reads: those that follow on products of weights."""
    alone, made = [], False
    for name, layer in chain:
        if made:
            alone.append(name)
        if not isinstance(layer, nn.Identity | NoNorm):
            made = isinstance(layer, nn.Linear | nn.Conv2d)
    return frozenset(alone)


def losses_through(
    layers: Sequence[tuple[str, nn.Module]], x: Tensor, step: Step, loss: TrainingLoss, targets: Tensor
) -> Tensor:
    """Losses [K] of K models, forward and backward once; the pullbacks of their layers write the gradients.

    Args:
        layers: of a chain, by name.
        x: inputs of all models, as the first layer takes them.
        step: computes a layer.
        loss: of the recipe.
        targets: [K, B, ...].
    """
    tape: list[Pullback] = []
    for name, layer in layers:
        x, pullback = step(name, layer, x, not tape)
        if pullback is not None:
            tape.append(pullback)
    losses, d = _loss_and_gradient(loss, x, targets)
    for pullback in reversed(tape):
        d = pullback(d)
    return losses


def _loss_and_gradient(loss: TrainingLoss, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Loss of each model, [K], the mean over its batch, and the gradient of their sum by the outputs [K, B, ...]."""
    k, b = outputs.shape[:2]
    if loss.name == "cross_entropy" and loss.plain:
        logs = log_softmax(outputs)
        chosen = targets.unsqueeze(1)
        losses = logs.gather(1, chosen)[:, 0].mean(1).neg_()
        minus_one = logs.new_full((1, 1, 1), -1.0)
        d = logs.exp_().scatter_add_(1, chosen, minus_one.expand(k, 1, b)).div_(b)
        return losses, d.transpose(1, 2)
    with torch.enable_grad():
        leaf = outputs.detach().requires_grad_()
        losses = loss(leaf, targets).mean(1)
        (d,) = torch.autograd.grad(losses.sum(), leaf)
    return losses.detach(), d
