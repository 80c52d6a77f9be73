"""The size rule of an own network: which of its arguments its sizes are, and what it then holds and costs.

A study plans sizes without building them, and without running code of the user's. So the spec declares both, and
before any work the networks of the plan are built and compared with what was declared.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import Field, field_validator, model_validator

from landsweep.orchestrator.arithmetic import Floats, Resolver, compute, parsed
from landsweep.orchestrator.errors import SpecError, UsageError
from landsweep.orchestrator.spec import Section
from landsweep.sweeps.lab.data import Dimensions
from landsweep.sweeps.lab.flops import Count, counted
from landsweep.sweeps.lab.models import OwnNet, parameter_count
from landsweep.sweeps.lab.models.base import number_type

__all__ = ["OwnSizes"]

_LONGEST = 300  # characters of a formula
_SIZES = ("width", "depth", "heads")
_KNOWN = (*_SIZES, "inputs", "outputs", "tokens")
_APART = 0.1  # share by which the declared operations may differ from those of a real pass


class OwnSizes(Section):
    """The size rule of an own network. Formulas are of width, depth, heads, inputs, outputs and tokens.

    `inputs` are the numbers of one input, `outputs` the classes or the vocabulary, `tokens` those of a sample: 1 where
    samples are no sequences.
    """

    arguments: dict[Literal["width", "depth", "heads"], str] = Field(
        description="width, and perhaps depth and heads, to the argument of the network that it is"
    )
    parameters: str = Field(description="formula of the number of all parameters")
    outside: str = Field("0", description="formula of those in embeddings and the last layer")
    forward: str = Field(
        "2 * parameters * tokens",
        description="formula of the FLOPs of a forward pass of one sample; training takes three times as many",
    )

    @model_validator(mode="after")
    def _has_a_width(self) -> OwnSizes:
        if "width" not in self.arguments:
            raise ValueError("arguments: say which argument the `width` is")
        return self

    @field_validator("parameters", "outside", "forward")
    @classmethod
    def _is_a_formula(cls, formula: str) -> str:
        names = dict.fromkeys((*_KNOWN, "parameters", "outside"), 2.0)
        try:
            _computed(formula, names)
        except UsageError as e:
            raise ValueError(str(e)) from e
        return formula

    def sized(self, net: OwnNet, sizes: Mapping[str, int]) -> OwnNet:
        """The network with these sizes.

        Raises:
            SpecError: the rule has no argument for one of them.
        """
        if odd := [name for name in sizes if name not in self.arguments]:
            raise SpecError(f"shape.own.arguments: say which argument of {net.function} the {odd[0]} is")
        args = {self.arguments[name]: value for name, value in sizes.items() if name in _SIZES}  # type: ignore[index]
        return net.model_copy(update={"args": {**net.args, **args}})

    def sizes_of(self, net: OwnNet) -> dict[str, int]:
        """The sizes that a network's arguments give."""
        sizes = {name: net.args.get(argument) for name, argument in self.arguments.items()}
        return {name: value for name, value in sizes.items() if type(value) is int}

    def count(self, net: OwnNet, data: Dimensions) -> Count:
        """What the formulas say of a network.

        Raises:
            SpecError: a size has no argument, or a formula gives no whole number above 0.
        """
        known: dict[str, float] = {
            **self.sizes_of(net),
            "inputs": math.prod(data.shape),
            "outputs": data.outputs,
            "tokens": data.tokens,
        }
        parameters = self._whole("parameters", known, 1)
        outside = self._whole("outside", {**known, "parameters": parameters}, 0)
        forward = self._whole("forward", {**known, "parameters": parameters, "outside": outside}, 1)
        return Count(parameters, outside, 0, forward, 3 * forward)

    def _whole(self, field: str, known: Mapping[str, float], least: int) -> int:
        formula = str(getattr(self, field))
        try:
            value = _computed(formula, known)
        except UsageError as e:
            raise SpecError(f"shape.own.{field}: {e}") from e
        if not math.isfinite(value) or value < least or (field != "forward" and value != round(value)):
            raise SpecError(f"shape.own.{field}: {formula!r} gives {value:g}, but must be a whole number from {least}")
        return round(value)

    def check(self, net: OwnNet, data: Dimensions, folder: Path) -> None:
        """Build the network, and compare what was declared with what it holds and what a pass costs.

        Raises:
            SpecError: they differ; says by how much.
        """
        declared, module = self.count(net, data), net.build(data.shape, data.outputs, 0, folder)
        sizes = ", ".join(f"{name} {value}" for name, value in self.sizes_of(net).items())
        if (real := parameter_count(module)) != declared.parameters:
            raise SpecError(
                f"shape.own.parameters: {self.parameters!r} gives {declared.parameters} for {sizes}, but the network "
                f"has {real} parameters"
            )
        dtype = torch.int64 if data.sequence else number_type(module)
        flops = counted(module, torch.zeros((1, *data.shape), dtype=dtype)).forward
        if flops and abs(declared.forward / flops - 1) > _APART:
            raise SpecError(
                f"shape.own.forward: {self.forward!r} gives {declared.forward:.4g} FLOPs for {sizes}, but matrix "
                f"products and convolutions of a pass take {flops:.4g}; at most {_APART:.0%} may be between them"
            )


def _computed(formula: str, known: Mapping[str, float]) -> float:
    def name(wanted: str) -> Floats:
        if wanted not in known:
            raise UsageError(f"{formula!r}: there is no {wanted!r}; there are {', '.join(known)}")
        return np.asarray(float(known[wanted]))

    def call(function: str, arguments: Sequence[ast.expr]) -> Floats | None:
        del function, arguments
        return None

    def refuse() -> UsageError:
        return UsageError(f"{formula!r}: only numbers, {', '.join(known)}, + - * / **, brackets, log, exp and sqrt")

    expression = parsed(formula, _LONGEST)
    if expression is None:
        raise refuse()
    return float(compute(expression, expression.tree, Resolver(name, call, refuse)))
