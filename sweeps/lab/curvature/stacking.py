"""Whether, and how many, models of one architecture are computed as one stacked program."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from landsweep.orchestrator.accelerators import of_the_machine
from landsweep.sweeps.lab.curvature.objective import Objective, differentiating

__all__ = ["graph_bytes", "models_at_once", "stands_for"]

_MODELS, _BYTES = 64, 2**29  # at most this many models and so much memory in one pack
_GRAPHS = 4  # what a forward pass keeps, times this: the graphs of the gradient and of its gradient
_BASIS = 64  # vectors of a basis
_SAMPLES, _ROUNDING = 32, 1e-3  # of the largest output; what is another function differs by more
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def models_at_once(objective: Objective) -> int:
    """How many models like the first of an objective are computed together: as many as pay, 1 to 64.

    It depends on the network and the samples alone. Convolutions of several models at once are slow on CPUs.
    """
    module = objective.module
    if objective.weights.device.type == "cpu" and any(isinstance(m, _CONVOLUTIONS) for m in module.modules()):
        return 1
    stored = _GRAPHS * graph_bytes(objective) + _BASIS * objective.layout.size * objective.weights.element_size()
    return max(1, min(_MODELS, _BYTES // max(1, stored)))


def graph_bytes(objective: Objective) -> int:
    """Memory that a forward pass of the first model on its first batch keeps for the backward pass."""
    sizes: dict[int, int] = {}

    def pack(t: Tensor) -> Tensor:
        sizes[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    one = objective.alone(0)
    inputs, targets = next(one.batches())
    with differentiating(), torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        one.each(one.outputs(one.weights.detach().requires_grad_(), inputs), targets)
    return sum(sizes.values())


@torch.no_grad()
def stands_for(objective: Objective, modules: Sequence[nn.Module]) -> bool:
    """Whether the stacked program computes what the modules do, each called by itself, and the loss of each.

    A module may hold numbers that are in no parameter or buffer, do what `vmap` can't, or be another architecture.

    Args:
        objective: of the modules, in the type of their weights.
        modules: of all its models.
    """
    few = objective.part(0, _SAMPLES)
    try:
        outputs = few.outputs(few.weights, few.inputs)
        losses = few.each(outputs, few.targets)
    except (RuntimeError, ValueError, TypeError) as e:  # vmap refuses what it can't do by errors of many kinds
        if of_the_machine(e):
            raise
        return False
    for k, module in enumerate(modules):
        own = module(few.inputs[k])
        own_losses = objective.loss(own, few.targets[k])
        for stacked, single in ((outputs[k], own), (losses[k], own_losses)):
            scale = single.nan_to_num(0.0, 0.0, 0.0).abs().max().item()
            if not torch.allclose(stacked, single, rtol=0.0, atol=_ROUNDING * scale, equal_nan=True):
                return False
    return True
