"""Entropy-SGD: a walk around the weights, towards whose mean they step."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from landsweep.sweeps.lab.layout import Layout
from landsweep.sweeps.lab.optim.base import Method, Step
from landsweep.sweeps.lab.optim.sgd import sgd_step
from landsweep.sweeps.lab.streams import counted, stream

__all__ = ["EntropySgd"]


class EntropySgd(Method):
    """Entropy-SGD (arXiv 1611.01838, algorithm 1): SGD along the gradient of a local entropy.

    From x = m = w, as often as `walk` says:

    x <- x - r (grad L(x) + wd x - s (w - x)) + sqrt(r) e N(0, 1)        m <- a m + (1 - a) x

    with r = `walk_rate`, e = `noise`, a = `memory` and s = `scope` (1 + `scope_growth`)^(t - 1). Then SGD steps from w
    with w - m in the place of the gradient; as in the authors' code the learning rate stands for the paper's product of
    rate and scope. All gradients of a step are of one batch, as there; in the paper each is of another one. The walk
    has no momentum.
    """

    per_model: ClassVar[tuple[str, ...]] = (
        *("learning_rate", "weight_decay", "momentum"),
        *("walk_rate", "noise", "memory", "scope", "scope_growth"),
    )
    slots: ClassVar[tuple[str, ...]] = ("velocity",)
    unruled: ClassVar[str] = "it steps towards the mean of a walk"
    elementwise: ClassVar[bool] = False
    steps_alike: ClassVar[bool] = False

    method: Literal["entropy_sgd"]
    learning_rate: float = Field(1.0, gt=0, description="the highest of the schedule; 1 steps to the mean of the walk")
    momentum: float = Field(0.0, ge=0, lt=1, description="of the steps, not of the walk")
    nesterov: bool = False
    walk: int = Field(20, ge=1, description="steps of the walk, each of which takes a gradient")
    walk_rate: float = Field(0.1, gt=0)
    noise: float = Field(1e-4, ge=0)
    memory: float = Field(0.75, ge=0, lt=1, description="share of the old mean in each step of the walk")
    scope: float = Field(1e-2, ge=0, description="pull of the walk towards the weights")
    scope_growth: float = Field(0.0, ge=0, description="of the pull, in each step")

    @model_validator(mode="after")
    def _nesterov_has_momentum(self) -> Self:
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs a momentum above 0")
        return self

    @property
    def gradients(self) -> int:
        return self.walk

    def start(self, weights: Tensor, layout: Layout, seed: int) -> dict[str, Tensor]:
        del layout
        return {"root": torch.tensor([stream(seed, "walk")], device=weights.device)}

    def update(self, step: Step) -> None:
        weights, here, c = step.weights, step.weights.clone(), step.c
        scope = (c["scope"].double() * (1 + c["scope_growth"].double()) ** (step.t - 1)).to(here)
        roots, mean = step.slots["root"][:, 0].tolist(), here.clone()
        for i in range(self.walk):
            slope = step.again() if i else step.grads
            slope = slope + weights * c["weight_decay"] + (weights - here) * scope
            weights.addcmul_(slope, c["walk_rate"], value=-1)
            weights.add_(_noise(roots, step.made * self.walk + i, weights) * (c["walk_rate"].sqrt() * c["noise"]))
            mean.lerp_(weights, 1 - c["memory"])
        weights.copy_(here)
        step.grads.copy_(here - mean)
        sgd_step(step, nesterov=self.nesterov)


def _noise(roots: list[int], counter: int, like: Tensor) -> Tensor:
    """Normal numbers [K, P], of each model from its own root: what trains beside it does not change them."""
    sources = (torch.Generator().manual_seed(counted(root, counter)) for root in roots)
    return torch.stack([torch.randn(like.shape[1], generator=g, dtype=like.dtype) for g in sources]).to(like.device)
