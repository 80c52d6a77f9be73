"""Steps on a GPU that are judged together: a host that asks for the losses of each step waits for the GPU each time."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from landsweep.sweeps.lab.models import OwnNet
from landsweep.sweeps.lab.optim import NamedClass
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.training.graphs import LONGEST, Graphs, step_by_step
from landsweep.sweeps.lab.training.samples import Samples
from landsweep.sweeps.lab.training.stepper import Stepper

__all__ = ["Blocks", "may_be_judged_together"]

_LARGEST = 2**25  # weights of all models: larger ones keep a GPU busy anyway, and a copy of them takes room


def may_be_judged_together(recipe: Recipe, samples: Samples, weights: int, device: str) -> bool:
    """Whether several steps of a pack can be made before their losses are looked at, and taken back.

    Args:
        recipe: any of the pack.
        samples: of the models.
        weights: of all models together.
        device: `cpu` or `cuda:0`.
    """
    asks_each_step = recipe.precision == "fp16" or recipe.on_spike != "go_on"
    of_the_user = isinstance(recipe.optimizer, NamedClass) or isinstance(recipe.net, OwnNet)
    keeps_more = of_the_user or type(samples) is not Samples  # than a stepper gives back
    return torch.device(device).type == "cuda" and not asks_each_step and not keeps_more and weights <= _LARGEST


class Blocks:
    """Makes steps in blocks, as long as all losses are finite.

    Where one is not, all goes back to where the block began, and its steps are left to be made and judged one by one.
    What comes of them is the same bit for bit: a step follows from the tensors of the stepper and its number alone.

    Args:
        stepper: that makes the steps.
        graphs: by which it makes them; None: one by one.
    """

    def __init__(self, stepper: Stepper, graphs: Graphs | None = None) -> None:
        self._stepper, self._graphs = stepper, graphs
        self._length = LONGEST
        self._alone_until = 0  # the steps before this one are judged one by one

    def make(self, goal: int, active: Sequence[int], idle: Sequence[int]) -> list[Tensor]:
        """The next steps, up to a goal; their losses [K] each. None are made where the next one is to be judged alone.

        Args:
            goal: number of the step before which the block must end.
            active: rows whose losses must be finite.
            idle: as of `Stepper.update`.
        """
        first, stepper = self._stepper.step, self._stepper
        steps = min(goal - first, self._length)
        if steps < 2 or first < self._alone_until:
            return []
        before = {name: t.clone() for name, t in stepper.own_tensors().items()}
        make = partial(step_by_step, stepper) if self._graphs is None else self._graphs.make
        losses = make(steps, idle)
        finite = torch.isfinite(torch.stack(losses)).all(0).tolist()
        if all(finite[row] for row in active):
            self._length = min(2 * self._length, LONGEST)
            return losses
        stepper.load(before, first)
        self._alone_until, self._length = first + steps, max(2, steps // 2)
        return []
