"""Which part each tensor of a network plays: what a parametrization needs to know of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias

import torch
from torch import nn

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.models.base import Net
from landsweep.sweeps.lab.models.resize import lacking, resized

__all__ = ["NetTensor", "Role", "anatomy"]

Role: TypeAlias = Literal["input", "hidden", "output", "embedding", "bias", "norm"]


@dataclass(frozen=True, slots=True)
class NetTensor:
    """One tensor of a network.

    Attributes:
        name: name in `named_parameters`.
        shape: shape of the tensor.
        role: input, hidden or output by which sides grow with the width: only the outputs, both, or only the inputs;
            where neither does, output. embedding: rows looked up by number. norm: gain and shift of a normalisation.
        fan_in: inputs of one output; 1 for embeddings, biases and normalisations.
        fan_out: outputs that one input reaches; for biases and normalisations their length.
        grows_in: whether the inputs grow with the width.
        grows_out: whether the outputs do.
        in_block: whether it lies in a residual block.
        ends_branch: True for the last tensors of a residual branch: multiplying all of one kind in a block by c
            multiplies the branch by c.
        query: True for the query projection: attention scores are proportional to it.
    """

    name: str
    shape: torch.Size
    role: Role
    fan_in: int
    fan_out: int
    grows_in: bool
    grows_out: bool
    in_block: bool
    ends_branch: bool
    query: bool


def anatomy(net: Net, shape: tuple[int, ...], classes: int) -> tuple[NetTensor, ...]:
    """The parts of a network, in the order of `named_parameters`.

    Which sides grow is read off a copy of twice the width, so that no family needs a list of names.

    Args:
        net: a network of a family that has a width.
        shape: shape of one input, without the batch dimension.
        classes: how many outputs.

    Raises:
        SpecError: the network has no width.
    """
    width = net.current_width()
    if width is None:  # asked before the cache is, which an own network's `args` could not be looked up in
        raise SpecError(f"parametrization: there is no width to compare: {lacking(net, 'width')}")
    return _anatomy(net, width, shape, classes)


@lru_cache(maxsize=1024)
def _anatomy(net: Net, width: int, shape: tuple[int, ...], classes: int) -> tuple[NetTensor, ...]:
    module, wider = (n.skeleton(shape, classes) for n in (net, resized(net, width=2 * width)))
    ends, queries = net.branch_ends(), net.queries()
    parts = []
    for (name, p), (_, q) in zip(module.named_parameters(), wider.named_parameters(), strict=True):
        owner = module.get_submodule(name.rpartition(".")[0])
        grows = [a != b for a, b in zip(p.shape, q.shape, strict=True)]
        role, grows_in, grows_out = _role(owner, p, grows)
        flat = p.ndim < 2 or role == "embedding"
        parts.append(
            NetTensor(
                name=name,
                shape=p.shape,
                role=role,
                fan_in=1 if flat else p[0].numel(),
                fan_out=p.shape[-1] if flat else p.numel() // p.shape[1],
                grows_in=grows_in,
                grows_out=grows_out,
                in_block=name.startswith("blocks."),
                ends_branch=name.startswith("blocks.") and name.split(".", 2)[2] in ends,
                query=name.startswith("blocks.") and name.split(".", 2)[2] in queries,
            )
        )
    return tuple(parts)


def _role(owner: nn.Module, p: nn.Parameter, grows: list[bool]) -> tuple[Role, bool, bool]:
    if isinstance(owner, nn.Embedding):
        return "embedding", False, grows[1]
    if p.ndim < 2:
        # What holds running statistics, or divides by a root, is a normalisation; its bias shifts normalised values.
        layers = (nn.Linear, nn.Conv2d)
        plain = isinstance(owner, layers) or "weight" not in owner._parameters
        return "bias" if plain else "norm", False, grows[0]
    grows_out, grows_in = grows[:2]
    if grows_in and grows_out:
        return "hidden", True, True
    return "input" if grows_out else "output", grows_in, grows_out
