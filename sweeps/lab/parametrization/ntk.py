"""The neural-tangent parametrization: weights of order 1, each layer divided by the root of its inputs."""

from __future__ import annotations

from typing import Literal

from landsweep.sweeps.lab.optim.base import Family
from landsweep.sweeps.lab.parametrization.anatomy import NetTensor
from landsweep.sweeps.lab.parametrization.base import Growth, Parametrization, Rule

__all__ = ["Ntk"]


class Ntk(Parametrization):
    """NTK parametrization (arXiv 1806.07572): in wide networks the features stop changing, the function does not.

    With m = width / base width: tensors whose inputs grow keep the base's initial deviation and are multiplied by
    1/√m. SGD's rate is the same for all: the gradient by a hidden activation is of order 1/√m, and so is its change,
    and m such changes times gradients make O(1) in the function.

    Adam's step does not shrink with that gradient, so its rate must (the adaptive limit of arXiv 2308.01814). Seen from
    the function, activations have to move by 1/√m, since the output layer adds up m of them with aligned signs and
    weights of order 1/√m. A step r on a tensor moves the activations after it by r, or, where its inputs grow, by
    √m r: m aligned inputs times the multiplier 1/√m. That gives

    ===========================================  ===========
    tensor                                       rate (Adam)
    ===========================================  ===========
    input, embedding, bias, gain (outputs grow)  1/√m
    hidden (both grow)                           1/m
    output (inputs grow)                         1/√m
    ===========================================  ===========

    Rates of 1, 1/√m, 1/√m, which keep what activations move by at O(1), let the outputs grow as √m in the first steps.
    Orthogonal steps (Muon) move the norm of all m activations by O(1), or √m where inputs grow, which is what is wanted
    already: their rate is the same for all.
    """

    scheme: Literal["ntk"]

    def rule(self, part: NetTensor, growth: Growth, family: Family) -> Rule:
        shrunk = growth.width**-0.5
        multiplier = shrunk if part.grows_in else 1.0
        if family != "adam":
            return Rule(multiplier=multiplier)
        return Rule(multiplier=multiplier, rate=multiplier * (shrunk if part.grows_out else 1.0))
