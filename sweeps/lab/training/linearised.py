"""A model near its weights: the Jacobian of its outputs on a batch, and derivatives of the losses by the outputs."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, jacrev, vmap

from landsweep.sweeps.lab.losses import TrainingLoss
from landsweep.sweeps.lab.optim import Linearised
from landsweep.sweeps.lab.training.micro_batches import cannot_split
from landsweep.sweeps.lab.training.stack import Stack

__all__ = ["cannot_linearise", "linearise", "not_convex"]

_CONVEX = ("cross_entropy", "mse", "squentropy", "hinge")


def cannot_linearise(module: nn.Module) -> str | None:
    """Why outputs of this network have no Jacobian sample by sample; None where they do, as far as its layers tell."""
    if any(isinstance(m, nn.RNNBase) for m in module.modules()):
        return "its recurrent layers can't be differentiated sample by sample"
    return cannot_split(module)


def not_convex(loss: TrainingLoss) -> str | None:
    """Why this loss has no Gauss-Newton matrix; None where it is a convex function of the outputs."""
    return None if loss.name in _CONVEX else f"loss: {loss.name} is no convex function of the outputs"


def linearise(
    module: nn.Module,
    stack: Stack,
    row: int,
    loss: TrainingLoss,
    inputs: Tensor,
    targets: Tensor,
    masks: Mapping[str, Tensor],
) -> Linearised:
    """One model of a stack on its batch, in training mode.

    Args:
        module: of all models of the stack.
        stack: whose weights are read.
        row: of the model.
        loss: that training lowers.
        inputs: [b, ...], of this model.
        targets: [b, ...].
        masks: of dropout, [b, ...] by name of the buffer.
    """
    module.train()
    weights = {name: w[row].detach() for name, w in stack.layout.split(stack.weights).items()}
    others = {name: b[row] for name, b in stack.buffers.items()}

    def one(state: Mapping[str, Tensor], x: Tensor, own: Mapping[str, Tensor]) -> Tensor:
        mine = {name: m.unsqueeze(0) for name, m in own.items()}
        outputs: Tensor = functional_call(module, {**state, **others, **mine}, (x.unsqueeze(0),))
        return outputs[0]

    parts = vmap(jacrev(one), in_dims=(None, 0, 0))(weights, inputs, dict(masks))
    outputs = vmap(one, in_dims=(None, 0, 0))(weights, inputs, dict(masks))
    b, c = len(outputs), outputs[0].numel()
    jacobian = torch.cat([parts[name].reshape(b, c, -1) for name in weights], 2)

    def lost(flat: Tensor, target: Tensor) -> Tensor:
        return loss(flat.view(1, 1, *outputs.shape[1:]), target[None, None])[0, 0]

    flat = outputs.reshape(b, c)
    return Linearised(jacobian, vmap(grad(lost))(flat, targets), vmap(jacrev(grad(lost)))(flat, targets))
