"""Putting a parametrization into practice: weights drawn by it, and factors for the optimizer's coefficients.

Networks are trained in the weights that act, W = multiplier * tensor, so that no module, back-end or reader of weights
needs to know of multipliers. A step on the tensor with rate r is then a step on W with

    SGD-like: r * multiplier^2        Adam-like, Muon: r * multiplier, and eps / multiplier

and a weight decay d becomes d / multiplier where it is decoupled, d / multiplier^2 where it is part of the gradient.
Clipping sees the gradient by W.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import nn

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.layout import Layout
from landsweep.sweeps.lab.models.base import Net
from landsweep.sweeps.lab.models.initialisation import EMBEDDING_STD, deviation
from landsweep.sweeps.lab.optim.base import Family, Method
from landsweep.sweeps.lab.parametrization.anatomy import NetTensor, anatomy
from landsweep.sweeps.lab.parametrization.base import Growth, Parametrization, Rule

__all__ = ["Factors", "TensorLine", "factors", "family_of", "plain_lines", "rescale", "tensor_lines"]

Factors: TypeAlias = Mapping[str, Mapping[str, float]]
"""Name of a tensor to name of a coefficient to what it is multiplied by."""


@dataclass(frozen=True, slots=True)
class TensorLine:
    """What `landsweep plan --tensors` says of one tensor. `eps` is None where the optimizer has none.

    The role is that of `NetTensor`; tensors of a network without a width have none, so the kind of layer is shown.
    """

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
        SpecError: no parametrization has rules for this optimizer; says why.
    """
    if method.family is None:
        raise SpecError(
            f"parametrization: there are no rules for the optimizer {method.method}: {method.unruled}; there are for "
            "sgd, for methods whose steps have one size (adam, adamw, rmsprop, lion, nadamw, ademamix, grams, "
            "stable_spam), and for muon"
        )
    return method.family


def _ruled(
    scheme: Parametrization, net: Net, method: Method, shape: tuple[int, ...], classes: int
) -> Iterator[tuple[NetTensor, Family, Rule]]:
    """Each tensor with the family of its step and its rule."""
    default, growth, parts = family_of(method), scheme.growth(net), anatomy(net, shape, classes)
    tables = frozenset(p.name for p in parts if p.role == "embedding")
    families = method.families(Layout({p.name: p.shape for p in parts}, {}, tables))
    for part in parts:
        family = families[part.name] or default
        length = _lengthened(part, growth, method) if family == "spectral" else 1.0
        yield part, family, scheme.rules(part, growth, family, length)


def _lengthened(part: NetTensor, growth: Growth, method: Method) -> float:
    """By how much the singular values of a step are larger than at the base, by the method's own factor."""
    rows, columns = part.shape[0], part.shape[1:].numel()
    m = growth.width
    return method.length(rows, columns) / method.length(
        rows / (m if part.grows_out else 1), columns / (m if part.grows_in else 1)
    )


def factors(scheme: Parametrization, net: Net, method: Method, shape: tuple[int, ...], classes: int) -> Factors:
    """For each tensor, what the optimizer's coefficients are multiplied by when it steps on the weights that act.

    Args:
        scheme: the parametrization.
        net: the network.
        method: the optimizer.
        shape: shape of one input, without the batch dimension.
        classes: how many outputs.
    """
    return {
        part.name: _acting(rule, method, family) for part, family, rule in _ruled(scheme, net, method, shape, classes)
    }


def _acting(rule: Rule, method: Method, family: Family) -> dict[str, float]:
    a, decay = rule.multiplier, rule.decay or 0.0
    shrinking = decay / (a if method.decoupled else a * a)
    by_name = {
        "learning_rate": rule.rate * (a * a if family == "sgd" else a),
        "weight_decay": shrinking,
        "adamw_weight_decay": shrinking,
        "eps": rule.eps / a,
    }
    coefficients = method.coefficients()
    return {name: factor for name, factor in by_name.items() if name in coefficients and name in method.scaled}


@torch.no_grad()
def rescale(
    module: nn.Module, scheme: Parametrization, net: Net, method: Method, shape: tuple[int, ...], classes: int
) -> None:
    """Give the initial weights of a module, drawn by the network's own initialisation, the scheme's size, in place."""
    growth = scheme.growth(net)
    tensors = dict(module.named_parameters())
    for part, _, rule in _ruled(scheme, net, method, shape, classes):
        drawn_std, rule_std = _own_std(net, part), _std(net, part, growth, rule)
        factor = rule.multiplier * (rule_std / drawn_std if drawn_std else 1.0)
        if factor != 1:
            tensors[part.name].mul_(factor)


def tensor_lines(
    scheme: Parametrization, net: Net, method: Method, shape: tuple[int, ...], classes: int
) -> list[TensorLine]:
    """One line per tensor, of the tensors as the scheme stores them, before the multiplier."""
    growth = scheme.growth(net)
    lines = []
    for part, family, rule in _ruled(scheme, net, method, shape, classes):
        rate, decay = method.settings(family)
        eps = getattr(method, "eps", None) if family != "spectral" else None
        lines.append(
            TensorLine(
                name=part.name,
                shape=tuple(part.shape),
                role=part.role,
                init_std=_std(net, part, growth, rule),
                multiplier=rule.multiplier,
                learning_rate=rate * rule.rate,
                weight_decay=decay * (rule.decay or 0.0),
                eps=eps and eps * (rule.eps if "eps" in method.scaled else 1.0),
            )
        )
    return lines


def plain_lines(module: nn.Module, method: Method) -> list[TensorLine]:
    """The same for a network without a width, whose tensors no scheme scales, read off one with initial weights."""
    layout = Layout.of(module)
    families = method.families(layout)
    owners = {id(p): type(m).__name__ for m in module.modules() for p in m.parameters(recurse=False)}
    lines = []
    for name, p in module.named_parameters():
        rate, decay = method.settings(families[name])
        eps = getattr(method, "eps", None) if families[name] != "spectral" else None
        std = float(p.detach().double().std(correction=0))
        lines.append(TensorLine(name, tuple(p.shape), owners[id(p)], std, 1.0, rate, decay, eps))
    return lines


def _own_std(net: Net, part: NetTensor, growth: Growth | None = None) -> float:
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
    return std * net.branch_shrink(growth.depth if growth else 1.0) if part.ends_branch else std


def _std(net: Net, part: NetTensor, growth: Growth, rule: Rule) -> float:
    if rule.init is None:
        return _own_std(net, part)
    return _own_std(net, part, growth) * rule.init
