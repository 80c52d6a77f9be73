"""Segments: neighbouring columns of a stack whose tensors share their factors, so that each is one stacked step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from landsweep.sweeps.lab.layout import Layout
from landsweep.sweeps.lab.parametrization import Factors

__all__ = ["Segment", "segments"]


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of columns.

    Attributes:
        columns: of the stack's rows.
        factors: name of a coefficient to what each model's is multiplied by, [K, 1] or [K, columns] of float64.
    """

    columns: slice
    factors: dict[str, Tensor]

    def take(self, keep: Tensor) -> Segment:
        """The same of these rows only."""
        return Segment(self.columns, {n: f[keep] for n, f in self.factors.items()})


def segments(
    layout: Layout, each: Sequence[Factors | None], device: torch.device, *, whole: bool = False
) -> list[Segment]:
    """All columns in order, in as few segments as their factors allow: one where no model has any.

    Args:
        layout: of the stack.
        each: factors of each model; None: it has no parametrization.
        device: of the stack.
        whole: give one segment, for a method whose step needs all columns: factors are then [K, P] where any is not 1.
    """
    names = sorted({name for factors in each if factors for by_name in factors.values() for name in by_name})
    if whole:
        tables = {n: [[1.0 if f is None else f[t].get(n, 1.0) for t in layout.shapes] for f in each] for n in names}
        columns = {n: torch.tensor(t, dtype=torch.float64, device=device) for n, t in tables.items()}
        changed = {n: layout.spread(c) for n, c in columns.items() if bool((c != 1).any())}
        return [Segment(slice(0, layout.size), changed)]
    start, last, stretches = 0, None, list[Segment]()
    for tensor, shape in layout.shapes.items():
        end = start + math.prod(shape)
        table = [[1.0 if f is None else f[tensor].get(name, 1.0) for f in each] for name in names]
        if table == last:  # this tensor's factors are those of its neighbour: lengthen the stretch
            stretches[-1] = Segment(slice(stretches[-1].columns.start, end), stretches[-1].factors)
        else:
            each_name = [torch.tensor(row, dtype=torch.float64, device=device).unsqueeze(1) for row in table]
            changed = {n: c for n, c, row in zip(names, each_name, table, strict=True) if set(row) != {1.0}}
            stretches.append(Segment(slice(start, end), changed))
        start, last = end, table
    return stretches
