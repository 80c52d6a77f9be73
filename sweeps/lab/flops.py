"""What a network holds and what its training costs: parameters by their place, and floating-point operations.

Operations are those of matrix products and convolutions, a multiplication and an addition counting two, as published
counts do. A backward pass forms two products for each one of the forward pass: the gradient of the weights and that of
the inputs, which the first layer does not need. Attention is counted as it is computed here: all pairs of positions,
the masked ones too. Element-wise operations and the optimizer are not counted. Searches and scaling studies both count
so, with every gradient that an optimizer takes: SAM's steps take two. Searches count samples, studies whole batches.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from sweeps.lab.data import Data
from sweeps.lab.models.base import Net, number_type, parameter_count
from sweeps.lab.models.gpt import Gpt
from sweeps.lab.models.mlp import Mlp
from sweeps.lab.models.own import OwnNet
from sweeps.lab.recipe import Recipe

__all__ = ["Count", "closed_form", "count", "counted", "measured", "training_flops"]


@dataclass(frozen=True, slots=True)
class Count:
    """Parameters of a network, and operations for one sample: for a sequence, of all its positions.

    Attributes:
        parameters: all of them; shared ones count once.
        embedding: of these, in tables that are looked up: tokens and positions.
        head: of these, in the last layer.
        forward: FLOPs of a forward pass.
        training: FLOPs of a forward and a backward pass.
    """

    parameters: int
    embedding: int
    head: int
    forward: int
    training: int

    @property
    def body(self) -> int:
        """Parameters without embedding and last layer: the N of arXiv 2001.08361."""
        return self.parameters - self.embedding - self.head


def count(net: Net, shape: tuple[int, ...], outputs: int) -> Count:
    """Count without computing anything: closed forms for mlp and gpt; of other networks torch counts a dry run.

    Args:
        net: the network.
        shape: of one input, as for `Net.build`.
        outputs: how many, as for `Net.build`; for tokens also the size of the vocabulary.

    Example:
        >>> count(Mlp(net="mlp", hidden=(8,)), (4,), 2)
        Count(parameters=58, embedding=0, head=18, forward=96, training=224)
    """
    if not closed_form(net):
        return measured(net, shape, outputs)
    return _mlp(net, shape, outputs) if isinstance(net, Mlp) else _gpt(net, shape[0], outputs)


def closed_form(net: Net) -> TypeGuard[Mlp | Gpt]:
    """Whether `count` knows a formula for this network; else it takes a dry run, some hundredths of a second."""
    return isinstance(net, Mlp) or (type(net) is Gpt and not _unknown(net))


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
    if not isinstance(net, OwnNet):
        return count(net, data.shape, data.outputs).training * gradients
    # An own network may take anything, and its function may need real memory, so it is run on a real sample.
    module = net.build(data.shape, data.outputs, recipe.seed, folder)
    sample = data.splits[recipe.split].cast(number_type(module)).inputs[:1].cpu()
    return counted(module, sample).training * gradients


def _mlp(net: Mlp, shape: tuple[int, ...], outputs: int) -> Count:
    widths = [math.prod(shape), *net.hidden, outputs]
    products = [a * b for a, b in itertools.pairwise(widths)]
    trained_norms = 0 if net.norm == "none" else 2 * sum(net.hidden)
    forward = 2 * sum(products)
    return Count(
        parameters=sum(products) + sum(widths[1:]) + trained_norms,
        embedding=0,
        head=products[-1] + outputs,
        forward=forward,
        training=3 * forward - 2 * products[0],
    )


def _gpt(net: Gpt, context: int, vocabulary: int) -> Count:
    w, hidden = net.width, net.ratio * net.width
    norm = {"layer": 2 * w, "rms": w, "none": 0}[net.norm]
    matrices = 4 * w * w + 2 * w * hidden
    block = matrices + 4 * w + hidden + w + 2 * norm
    embedding, head = (vocabulary + context) * w, vocabulary * w
    predicted = context if net.logits == "all" else 1
    attention = 4 * context * context * w
    forward = net.depth * (2 * context * matrices + attention) + 2 * predicted * head
    return Count(
        parameters=embedding + net.depth * block + norm + head,
        embedding=embedding,
        head=head,
        forward=forward,
        training=3 * forward,
    )


def _unknown(net: Gpt) -> bool:
    """Whether a setting that the closed form does not know is in use."""
    known = {"net", "init", "width", "depth", "heads", "ratio", "activation", "norm", "dropout", "logits"}
    return any(getattr(net, name) != info.default for name, info in type(net).model_fields.items() if name not in known)
