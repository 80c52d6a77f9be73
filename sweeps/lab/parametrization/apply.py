"""Putting a parametrization into practice: weights drawn by it, and factors for the optimizer's coefficients.

Networks are trained in the weights that act, W = multiplier * tensor, so that no module, back-end or reader of weights
needs to know of multipliers. A step on the tensor with rate r is then a step on W with

    SGD-like: r * multiplier^2        Adam-like: r * multiplier, and eps / multiplier

and a weight decay d becomes d / multiplier where it is decoupled, d / multiplier^2 where it is part of the gradient.
Clipping sees the gradient by W.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import nn

from orchestrator.errors import SpecError
from sweeps.lab.models.base import Net
from sweeps.lab.models.initialisation import EMBEDDING_STD, deviation
from sweeps.lab.models.transformer import Transformer
from sweeps.lab.optim.base import Family, Method
from sweeps.lab.parametrization.anatomy import Part, anatomy
from sweeps.lab.parametrization.base import Growth, Parametrization, Rule

__all__ = ["Factors", "TensorLine", "factors", "family_of", "rescale", "tensor_lines"]

Factors: TypeAlias = Mapping[str, Mapping[str, float]]
"""Name of a tensor to name of a coefficient to what it is multiplied by."""


@dataclass(frozen=True, slots=True)
class TensorLine:
    """What `landsweep plan --tensors` says of one tensor. `eps` is None where the optimizer has none."""

    name: str
    shape: tuple[int, ...]
    role: str
    init_std: float
    multiplier: float
    learning_rate: float
    weight_decay: float
    eps: float | None


def family_of(method: Method) -> Family:
    """How the optimizer's step depends on the gradient.

    Raises:
        SpecError: no parametrization knows this optimizer.
    """
    if method.family is None:
        raise SpecError(
            f"parametrization: there are no rules for the optimizer {method.method}; they are known for methods whose "
            "step on each weight is in proportion to its gradient (sgd) or independent of its scale (adam, adamw, ...)"
        )
    return method.family


def factors(scheme: Parametrization, net: Net, method: Method, shape: tuple[int, ...], classes: int) -> Factors:
    """For each tensor, what the optimizer's coefficients are multiplied by when it steps on the weights that act.

    Args:
        scheme: the parametrization.
        net: the network.
        method: the optimizer.
        shape: of one input.
        classes: how many outputs.
    """
    family, growth = family_of(method), scheme.growth(net)
    return {p.name: _acting(scheme.rules(p, growth, family), method) for p in anatomy(net, shape, classes)}


def _acting(rule: Rule, method: Method) -> dict[str, float]:
    a, decay = rule.multiplier, rule.decay or 0.0
    found = {
        "learning_rate": rule.rate * (a * a if method.family == "sgd" else a),
        "weight_decay": decay / (a if method.decoupled else a * a),
        "eps": rule.eps / a,
    }
    return {name: factor for name, factor in found.items() if name in method.coefficients()}


@torch.no_grad()
def rescale(
    module: nn.Module, scheme: Parametrization, net: Net, method: Method, shape: tuple[int, ...], classes: int
) -> None:
    """Give the initial weights of a module, drawn by the network's own initialisation, the scheme's size, in place."""
    family, growth = family_of(method), scheme.growth(net)
    tensors = dict(module.named_parameters())
    for part in anatomy(net, shape, classes):
        rule = scheme.rules(part, growth, family)
        drawn, wanted = _own_std(net, part), _std(net, part, growth, rule)
        factor = rule.multiplier * (wanted / drawn if drawn else 1.0)
        if factor != 1:
            tensors[part.name].mul_(factor)


def tensor_lines(
    scheme: Parametrization, net: Net, method: Method, shape: tuple[int, ...], classes: int
) -> list[TensorLine]:
    """One line per tensor, of the tensors as the scheme stores them, before the multiplier."""
    family, growth = family_of(method), scheme.growth(net)
    lines = []
    for part in anatomy(net, shape, classes):
        rule = scheme.rules(part, growth, family)
        lines.append(
            TensorLine(
                name=part.name,
                shape=tuple(part.shape),
                role=part.role,
                init_std=_std(net, part, growth, rule),
                multiplier=rule.multiplier,
                learning_rate=method.learning_rate * rule.rate,
                weight_decay=method.weight_decay * (rule.decay or 0.0),
                eps=getattr(method, "eps", None) and vars(method)["eps"] * rule.eps,
            )
        )
    return lines


def _own_std(net: Net, part: Part, growth: Growth | None = None) -> float:
    """Deviation with which the network's own initialisation draws a tensor; with `growth` that of its base."""
    if part.role == "norm":
        return 0.0
    if part.role == "bias":
        return net.init.bias_std
    if part.role == "embedding":
        return EMBEDDING_STD
    m = growth.width if growth else 1.0
    fans = part.fan_in / (m if part.grows_in else 1), part.fan_out / (m if part.grows_out else 1)
    std = deviation(net.init.method, *fans) * net.init.scale
    if isinstance(net, Transformer) and part.ends_branch:
        std *= net.branch_shrink * (math.sqrt(growth.depth) if growth else 1.0)
    return std


def _std(net: Net, part: Part, growth: Growth, rule: Rule) -> float:
    if rule.init is None:
        return _own_std(net, part)
    return _own_std(net, part, growth) * rule.init
