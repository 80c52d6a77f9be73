"""How axes are cut and put together when a tensor changes its shape and keeps the order of its elements."""

from __future__ import annotations

import math
from collections.abc import Sequence

from landsweep.sweeps.lab.matching.axes import Atom, Axes, Sum, equate, fix, fixed, free, length, parts

__all__ = ["stretches", "viewed"]


def stretches(axis: Sum, sizes: Sequence[int]) -> list[Sum]:
    """An axis cut into stretches of these lengths, some of which may be 0."""
    pieces = [free(n) if n else () for n in sizes]
    equate(axis, tuple(product for piece in pieces for product in piece))
    return pieces


def viewed(axes: Axes, shape: tuple[int, ...]) -> Axes:
    """The axes after a change of shape that keeps the order of the elements."""
    sizes = [sum(map(length, a)) for a in axes]
    result: list[Sum] = []
    i = j = 0
    while i < len(sizes) or j < len(shape):
        # The fewest axes before and after that hold equally many elements.
        before, after = [i], [j]
        a = sizes[i] if i < len(sizes) else 1
        b = shape[j] if j < len(shape) else 1
        while a != b:
            if a < b:
                before.append(before[-1] + 1)
                a *= sizes[before[-1]]
            else:
                after.append(after[-1] + 1)
                b *= shape[after[-1]]
        merged = _product([axes[k] for k in before if k < len(sizes)])
        result += _cut([shape[k] for k in after if k < len(shape)], merged)
        i, j = before[-1] + 1, after[-1] + 1
    return tuple(result)


def _product(axes: Sequence[Sum]) -> Sum:
    merged: Sum = ((),)
    for axis in axes:
        inner = parts(axis)
        if merged == ((),):
            merged = inner
        elif len(inner) == 1:
            merged = tuple(product + inner[0] for product in merged)
        else:
            fix(inner)
            size = sum(map(length, inner))
            merged = tuple((*product, Atom(size, fixed=True)) for product in merged)
    return merged


def _cut(sizes: Sequence[int], axis: Sum) -> list[Sum]:
    """The axes of these sizes whose product is the given axis."""
    if len(sizes) < 2:
        return [axis] if sizes else []
    block = math.prod(sizes[1:])
    inner = [free(n) for n in sizes[1:]]
    if any(length(product) % block for product in axis):
        fix(axis)
        return [fixed(n) for n in sizes]
    rest = tuple(atom for a in inner for atom in a[0])
    first: Sum = tuple(((Atom(length(product) // block),)) for product in axis)
    equate(axis, tuple(product + rest for product in first))
    return [first, *inner]
