"""What a network of the user's own does beside computing outputs: seen on one batch, before it trains."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from landsweep.orchestrator.accelerators import of_the_machine
from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.losses import TrainingLoss
from landsweep.sweeps.lab.models import OwnNet
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.settings import settings_kept
from landsweep.sweeps.lab.streams import seeded

__all__ = ["Habits", "habits_of"]


@dataclass(frozen=True, slots=True)
class Habits:
    """What training must know of a network.

    Attributes:
        idle: names of parameters that ask for a gradient, but that the loss does not depend on.
        draws: whether it draws from a global random state while it trains: only the loop gives each model its own.
    """

    idle: frozenset[str] = frozenset()
    draws: bool = False


@settings_kept()
def habits_of(recipe: Recipe, module: nn.Module, inputs: Tensor, targets: Tensor, loss: TrainingLoss) -> Habits:
    """The habits of a recipe's network; those of built-in ones are known.

    Args:
        recipe: of the network.
        module: with masks, on the CPU; one that does not train, since it may count how often it is called.
        inputs: [B, ...], a batch.
        targets: [B, ...].
        loss: of the recipe.

    Raises:
        SpecError: it does something that can't be trained so that the same recipe gives the same weights.
    """
    if not isinstance(recipe.net, OwnNet):
        return Habits()
    _check_memory(module)
    try:
        return _seen(module, inputs.cpu(), targets.cpu(), loss)
    except (RuntimeError, ValueError, TypeError, IndexError) as e:
        if of_the_machine(e):
            raise
        raise SpecError(f"net: {recipe.net.function} can't take a step on a batch of {len(inputs)} samples: {e}") from e


def _seen(module: nn.Module, x: Tensor, y: Tensor, loss: TrainingLoss) -> Habits:
    with seeded(0):
        module.eval()
        given = x.clone()  # `x` stays to compare with, should the network write into its input
        with torch.no_grad():
            before = _random_state()
            module(given)
        if _random_state() != before:
            raise SpecError(
                "net: the network draws random numbers when it is evaluated, so no two evaluations agree; let "
                "it draw only `if self.training`"
            )
        module.train()
        outputs = module(given)
        draws = _random_state() != before
        if not torch.equal(given, x):
            raise SpecError(
                "net: the network writes into its inputs, which other models and steps read too; begin with an "
                "operation that makes a new tensor (not inplace=True)"
            )
        trained = {n: p for n, p in module.named_parameters() if p.requires_grad}
        value = loss(outputs[None], y[None]).mean()
        if not value.requires_grad:
            raise SpecError("net: the loss depends on no parameter that trains (requires_grad=True)")
        grads: Sequence[Tensor | None] = torch.autograd.grad(value, list(trained.values()), allow_unused=True)
    idle = frozenset(n for n, g in zip(trained, grads, strict=True) if g is None)
    return Habits(idle, draws)


def _random_state() -> tuple[bytes, object, object]:
    """Of torch, Python and NumPy."""
    _, keys, *rest = np.random.get_state()  # noqa: NPY002 - it is the user's network that draws
    return torch.get_rng_state().numpy().tobytes(), random.getstate(), (np.asarray(keys).tobytes(), *rest)


def _check_memory(module: nn.Module) -> None:
    owners: dict[int, str] = {}
    for name, p in module.named_parameters():
        if getattr(p, "_post_accumulate_grad_hooks", None):
            raise SpecError(
                f"net: the parameter {name} has a hook that runs after its gradient is accumulated, but gradients are "
                "not accumulated here; use register_hook"
            )
        if p.is_complex():
            raise SpecError(f"net: the parameter {name} is complex, but training is in real numbers")
        # Tied parameters are one object, and named once; two objects in one memory would be stacked as two.
        if p.numel() and owners.setdefault(p.data_ptr(), name) != name:
            raise SpecError(
                f"net: the parameters {owners[p.data_ptr()]} and {name} are two tensors in one memory; to tie them, "
                "assign the same nn.Parameter to both places"
            )
