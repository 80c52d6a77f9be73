"""Averaged weights of all models of a pack."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from landsweep.sweeps.lab.averaging import Averaging, Exponential, Latest, Polynomial
from landsweep.sweeps.lab.training.stack import Stack

__all__ = ["Averages"]


class Averages:
    """Averages of the weights [K, P].

    Args:
        spec: how all models average; None: the average is the weights themselves.
        stack: holds the initial weights, with which an average begins.
        own: gives the average [K, P] that the optimizer itself makes; None: it makes none.
    """

    def __init__(self, spec: Averaging | None, stack: Stack, own: Callable[[], Tensor] | None = None) -> None:
        self._spec, self._own, self._steps = spec, own, 0
        self._for_evaluations = own is not None or (spec is not None and spec.evaluate)
        self._for_checkpoints = own is not None or (spec is not None and spec.checkpoints)
        self._mean: Tensor | None = None
        if isinstance(spec, Latest):  # the last few, [K, last, P]
            self._mean = stack.weights.new_zeros(len(stack), spec.last, stack.weights.shape[1])
        elif spec is not None:
            self._mean = stack.weights.clone()

    @torch.no_grad()
    def update(self, stack: Stack, steps: int) -> None:
        """Add the weights after `steps` steps, counted from 1."""
        self._steps = steps
        if self._mean is None:
            return
        match self._spec:
            case Latest(last=last, every=every):  # a ring: the newest weights replace the oldest
                if steps % every == 0:
                    self._mean[:, (steps // every - 1) % last] = stack.weights
            case Exponential(decay=decay):
                self._mean.lerp_(stack.weights, 1.0 if steps == 1 else 1 - decay)
            case Polynomial(gamma=gamma):
                self._mean.lerp_(stack.weights, (1 + gamma) / (steps + gamma))

    def counted(self, steps: int) -> None:
        """Note that a CUDA graph has brought the average up to `steps` steps."""
        self._steps = steps

    def of(self, weights: Tensor, rows: slice = slice(None)) -> Tensor:
        """Averages [n, P] of these rows of the weights [K, P]; the weights where nothing has been averaged yet."""
        if self._own is not None:
            return self._own()[rows]
        if self._mean is None or not self._steps:
            return weights[rows]
        if isinstance(self._spec, Latest):
            filled = min(self._steps // self._spec.every, self._spec.last)
            return self._mean[rows, :filled].mean(1) if filled else weights[rows]
        return self._mean[rows]

    def state_dicts(self, stack: Stack, rows: Sequence[int]) -> list[dict[str, Tensor]]:
        """State dicts of these rows as checkpoints hold them."""
        if not self._for_checkpoints:
            return stack.states_of(rows)
        return stack.states_of(rows, torch.cat([self.of(stack.weights, slice(row, row + 1)) for row in rows]))

    @contextmanager
    def evaluated(self, stack: Stack) -> Iterator[None]:
        """While this lasts, the stack holds the weights to evaluate at."""
        if not self._for_evaluations:
            yield
            return
        with torch.no_grad():
            trained = stack.weights.clone()
            # In place: back-ends hold views of this memory.
            stack.weights.copy_(self.of(stack.weights))
            yield
            stack.weights.copy_(trained)

    def take(self, keep: Tensor) -> None:
        """Keep only these rows."""
        self._mean = None if self._mean is None else self._mean[keep].contiguous()

    def state(self) -> dict[str, Tensor]:
        """All that it keeps from step to step, by name, [K, ...] each; the number of steps is known elsewhere."""
        return {} if self._mean is None else {"mean": self._mean}

    def load(self, state: Mapping[str, Tensor], steps: int) -> None:
        """Restore what `state` gave after `steps` steps."""
        self._steps = steps
        if self._mean is not None:
            self._mean.copy_(state["mean"])  # in place: captured steps work in this memory
