"""Derivatives of a network in its inputs, of first to third order."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.row import Column
from landsweep.sweeps.measure.measures.alone import AloneMeasure
from landsweep.sweeps.measure.measures.base import Measured
from landsweep.sweeps.measure.subject import Samples, Subject

__all__ = ["InputDerivatives"]

_ORDERS = 3
_WORDS = ("first", "second", "third")


class InputDerivatives(AloneMeasure):
    """`input_derivatives`: derivatives along each coordinate of the inputs, exact.

    Of outputs or of the loss, the same coordinate one to three times, by automatic differentiation. Networks whose
    activations have kinks, such as ReLU, are piecewise linear in their inputs: second and third derivatives of their
    outputs are 0.
    """

    measure: Literal["input_derivatives"] = "input_derivatives"
    function: Literal["outputs", "loss"] = Field("outputs", description="what is differentiated; of outputs, each one")
    orders: int = Field(_ORDERS, ge=1, le=_ORDERS, description="highest order")
    coordinates: tuple[int, ...] | None = Field(
        None, min_length=1, description="numbers of the inputs' coordinates, as if flat; null: all"
    )

    def columns(self) -> tuple[Column, ...]:
        said = "mean over samples, coordinates and outputs of the absolute value"
        return tuple(
            Column(f"input_derivative_{k}", f"derivative of {word} order in the inputs, {said}")
            for k, word in enumerate(_WORDS, 1)
        )

    def check(self, subject: Subject) -> None:
        samples = self.samples(subject)
        if not samples.inputs.is_floating_point():
            raise SpecError(
                f"input_derivatives: the inputs of the evaluator {samples.name!r} are tokens, in which nothing can be "
                "differentiated; leave the measure out"
            )
        size = samples.inputs[0].numel()
        if outside := [c for c in self.coordinates or () if not 0 <= c < size]:
            raise SpecError(f"input_derivatives.coordinates: {outside[0]} is not among 0 to {size - 1}")

    def of_one(self, subject: Subject) -> Measured:
        self.check(subject)
        samples = self.samples(subject)
        module, size = subject.models[0].build().requires_grad_(False), samples.inputs[0].numel()
        coordinates = range(size) if self.coordinates is None else self.coordinates
        with sdpa_kernel(SDPBackend.MATH), torch.enable_grad():  # fused attention has no second derivative
            sums = torch.stack([self._sums(module, samples, c) for c in coordinates])
        signed, absolute = (sums / len(samples)).unbind(1)
        values = {c.name: None for c in self.columns()} | {
            f"input_derivative_{k + 1}": float(absolute[:, k].mean()) for k in range(self.orders)
        }
        curves = {f"input_derivative_{k + 1}_along_inputs": signed[:, k].tolist() for k in range(self.orders)}
        return Measured(values, curves)

    def _sums(self, module: nn.Module, samples: Samples, coordinate: int) -> Tensor:
        """Sums over the samples of the derivatives and of their absolute values, [2, orders], means over outputs."""
        total = torch.zeros(2, self.orders, dtype=torch.float64)
        along = torch.zeros(samples.inputs[0].numel()).to(samples.inputs)
        along[coordinate] = 1
        for inputs, targets in samples.batches():
            moves = torch.zeros(len(inputs)).to(inputs).requires_grad_()
            outputs = module(inputs + (moves[:, None] * along).reshape(inputs.shape))
            each = samples.loss(outputs, targets)[:, None] if self.function == "loss" else outputs.flatten(1)
            for k in range(self.orders):
                each = _slopes(each, moves)
                total[0, k] += float(each.detach().double().mean(1).sum())
                total[1, k] += float(each.detach().double().abs().mean(1).sum())
        return total


def _slopes(each: Tensor, moves: Tensor) -> Tensor:
    """Derivatives [n, c] of values [n, c], each row in its own move, [n]; 0 where a value does not depend on it."""
    if not each.requires_grad:
        return torch.zeros_like(each)
    n, c = each.shape
    one_at_a_time = torch.eye(c).to(each)[:, None].expand(c, n, c)
    (slopes,) = torch.autograd.grad(
        each, moves, one_at_a_time, create_graph=True, is_grads_batched=True, materialize_grads=True
    )
    rows: Tensor = slopes.T
    return rows
