"""Initialisation: how weights are drawn, as data, from a generator alone."""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from landsweep.orchestrator.spec import Section
from landsweep.sweeps.lab.models.meta_init import MetaInit

__all__ = ["EMBEDDING_STD", "Init", "deviation", "initialise"]

EMBEDDING_STD = 0.02  # of GPT-2
_CUT_AT_2 = 0.8796256610342398  # deviation of a standard normal cut at 2


class Init(Section):
    """How the weights of linear and convolutional layers are drawn; normalisations start as the identity.

    Deviation of a weight, before `scale`: kaiming sqrt(2 / fan_in) (arXiv 1502.01852), xavier
    sqrt(2 / (fan_in + fan_out)), lecun sqrt(1 / fan_in); `_uniform` has the same deviation as `_normal`. orthogonal:
    a semi-orthogonal matrix (arXiv 1312.6120). normal: deviation 1; trunc_normal: the same, cut at 2; uniform:
    from -1 to 1; unit_uniform: from 0 to 1, as torch.nn.init.uniform_ draws in the model zoos of 2022
    (arXiv 2209.14764). Embeddings are normal with deviation 0.02 whatever the method.
    """

    method: Literal[
        "kaiming_normal",
        "kaiming_uniform",
        "xavier_normal",
        "xavier_uniform",
        "lecun_normal",
        "lecun_uniform",
        "orthogonal",
        "normal",
        "trunc_normal",
        "uniform",
        "unit_uniform",
    ] = "kaiming_normal"
    scale: float = Field(1.0, gt=0, description="multiplies every weight, but not embeddings and biases")
    bias: float = Field(0.0, description="mean of the biases")
    bias_std: float = Field(0.0, ge=0, description="deviation of the biases, which are normal")
    meta: MetaInit | None = Field(
        None, exclude_if=lambda v: v is None, description="then move the norms of weights so that gradients last longer"
    )


@torch.no_grad()
def initialise(module: nn.Module, init: Init, source: torch.Generator) -> None:
    """Draw the weights of every linear, convolutional and embedding layer, in the order of `modules()`.

    Args:
        module: on the CPU; changed in place.
        init: how.
        source: what is drawn from; nothing else is.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            _draw(layer.weight, init.method, source)
            layer.weight.mul_(init.scale)
            if layer.bias is not None:
                layer.bias.fill_(init.bias)
                if init.bias_std:
                    layer.bias.add_(torch.randn(layer.bias.shape, generator=source) * init.bias_std)
        elif isinstance(layer, nn.Embedding):
            layer.weight.copy_(torch.randn(layer.weight.shape, generator=source) * EMBEDDING_STD)


def deviation(method: str, fan_in: float, fan_out: float) -> float:
    """Deviation of a weight that a method of `Init` draws, before `scale`.

    Args:
        method: as in `Init`.
        fan_in: inputs of one output; those of another width may be no whole number.
        fan_out: outputs that one input reaches.
    """
    family, _, _ = method.partition("_")
    if method == "orthogonal":
        return 1 / math.sqrt(max(fan_in, fan_out))
    fixed = {"normal": 1.0, "trunc_normal": _CUT_AT_2, "uniform": 1 / math.sqrt(3), "unit_uniform": 1 / math.sqrt(12)}
    if method in fixed:
        return fixed[method]
    return math.sqrt({"kaiming": 2 / fan_in, "xavier": 2 / (fan_in + fan_out), "lecun": 1 / fan_in}[family])


def _draw(weight: Tensor, method: str, source: torch.Generator) -> None:
    fans = weight[0].numel(), weight.numel() // weight.shape[1]
    if method == "orthogonal":
        nn.init.orthogonal_(weight, generator=source)
    elif method == "trunc_normal":
        nn.init.trunc_normal_(weight, generator=source)
    elif method in ("uniform", "unit_uniform"):
        weight.copy_(torch.rand(weight.shape, generator=source))
        if method == "uniform":
            weight.mul_(2).sub_(1)
    elif method.endswith("_uniform"):
        weight.copy_((torch.rand(weight.shape, generator=source) * 2 - 1) * (math.sqrt(3) * deviation(method, *fans)))
    else:
        weight.copy_(torch.randn(weight.shape, generator=source) * deviation(method, *fans))
