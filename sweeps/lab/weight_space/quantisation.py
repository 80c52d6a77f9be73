"""Weights on few values: rounding with a scale for each tensor, or for each output unit of it."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from landsweep.orchestrator.errors import SpecError

__all__ = ["quantised", "weight_names"]


def quantised(weight: Tensor, bits: int | None, factor: float = 1.0, *, units: bool = False) -> Tensor:
    """The nearest of 2^bits - 1 evenly spaced values between minus and plus the clipping range.

    Args:
        weight: any shape; the result has its shape and type.
        bits: for each weight, from 2; None: weights are clipped and not rounded.
        factor: the clipping range, as a multiple of the largest absolute weight; above 0.
        units: a range for each output unit, the first dimension, instead of one for the whole tensor.

    Example:
        >>> quantised(torch.tensor([0.2, -0.9, 1.0]), 2)
        tensor([ 0., -1.,  1.])
        >>> quantised(torch.tensor([0.2, -0.9, 1.0]), None, 0.5)
        tensor([ 0.2000, -0.5000,  0.5000])
    """
    if not weight.numel():
        return weight.clone()
    others = tuple(range(1, weight.ndim))
    largest = weight.abs().amax(others, keepdim=True) if units and others else weight.abs().max()
    if bits is None:
        return torch.clamp(weight, -factor * largest, factor * largest)
    levels = 2 ** (bits - 1) - 1
    scale = factor * largest / levels
    rounded = torch.round(weight / scale).clamp(-levels, levels) * scale
    return torch.where(scale > 0, rounded, weight)


def weight_names(shapes: Mapping[str, Sequence[int]], patterns: Sequence[str] | None, field: str) -> list[str]:
    """Names of the parameters that match one of the patterns; without patterns those of two or more dimensions.

    Args:
        shapes: of all parameters, by name.
        patterns: such as `layers.*.weight`.
        field: of the spec, for messages.

    Raises:
        SpecError: a pattern matches none, or there is none of two or more dimensions.
    """
    if patterns is None:
        names = [name for name, shape in shapes.items() if len(shape) > 1]
    else:
        for pattern in patterns:
            if not fnmatch.filter(shapes, pattern):
                every = ", ".join(shapes)
                raise SpecError(f"{field}: {pattern!r} is the name of no trained parameter; there are {every}")
        names = [name for name in shapes if any(fnmatch.fnmatchcase(name, p) for p in patterns)]
    if not names:
        raise SpecError(f"{field}: no trained parameter has two or more dimensions; name some: {', '.join(shapes)}")
    return names
