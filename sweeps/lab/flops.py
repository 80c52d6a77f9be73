"""What a network holds and what its training costs: parameters by their place, and floating-point operations.

Operations are those of matrix products and convolutions, a multiplication and an addition counting two, as published
counts do. A backward pass forms two products for each one of the forward pass: the gradient of the weights and that of
the inputs, which the first layer does not need. Attention is counted as it is computed here: all pairs of positions,
the masked ones too. Element-wise operations and the optimizer are not counted. Searches and scaling studies both count
so, with every gradient that an optimizer takes: SAM's steps take two. Searches count samples, studies whole batches.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from landsweep.sweeps.lab.data import Data
from landsweep.sweeps.lab.models.base import Net, number_type, parameter_count
from landsweep.sweeps.lab.models.count import Count
from landsweep.sweeps.lab.recipe import Recipe

__all__ = ["Count", "closed_form", "count", "counted", "measured", "training_flops"]


def count(net: Net, shape: tuple[int, ...], outputs: int) -> Count:
    """Count without computing anything: by the network's closed form, else in a dry run, some hundredths of a second.

    Args:
        net: the network.
        shape: shape of one input, as for `Net.build`.
        outputs: how many, as for `Net.build`; for tokens also the size of the vocabulary.

    Example:
        >>> from landsweep.sweeps.lab.models.mlp import Mlp
        >>> count(Mlp(net="mlp", hidden=(8,)), (4,), 2)
        Count(parameters=58, embedding=0, head=18, forward=96, training=224)
    """
    return closed_form(net, shape, outputs) or measured(net, shape, outputs)


def closed_form(net: Net, shape: tuple[int, ...], outputs: int) -> Count | None:
    """The same by a formula of this very class, since a subclass may have other layers; None where it has none."""
    return net.closed_form(shape, outputs) if "closed_form" in vars(type(net)) else None


def measured(net: Net, shape: tuple[int, ...], outputs: int) -> Count:
    """The same as torch's own counter sees it in a dry run on its `meta` device, where no weights are made."""
    tokens = "tokens" in net.takes and len(net.takes) == 1
    inputs = torch.zeros((1, *shape), dtype=torch.long if tokens else torch.float32, device="meta")
    return counted(net.skeleton(shape, outputs), inputs)


def counted(module: nn.Module, sample: Tensor) -> Count:
    """The same for any module, by a pass of one sample [1, ...] through it. The head is the last linear layer."""
    with FlopCounterMode(display=False) as counter:
        result = module.eval()(sample)
        forward = counter.get_total_flops()
        result.sum().backward()
    linear = [m for m in module.modules() if isinstance(m, nn.Linear)]
    tables = [m for m in module.modules() if isinstance(m, nn.Embedding)]
    return Count(
        parameters=parameter_count(module),
        embedding=sum(parameter_count(m) for m in tables),
        head=parameter_count(linear[-1]) if linear else 0,
        forward=int(forward),
        training=int(counter.get_total_flops()),
    )


def training_flops(recipe: Recipe, data: Data, folder: Path = Path()) -> int:
    """FLOPs of training on one sample: of as many forward and backward passes as the optimizer takes gradients.

    Args:
        recipe: what is trained.
        data: that its `data` loads.
        folder: that relative paths start from.
    """
    net, gradients = recipe.net, recipe.optimizer.gradients
    if not net.own_code:
        return count(net, data.shape, data.outputs).training * gradients
    # An own network may take anything, and its function may need real memory, so it is run on a real sample.
    module = net.build(data.shape, data.outputs, recipe.seed, folder)
    sample = data.splits[recipe.split].head(1).cast(number_type(module)).inputs.cpu()
    return counted(module, sample).training * gradients
