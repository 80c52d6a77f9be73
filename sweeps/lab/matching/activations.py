"""Activation matching: bringing units together that respond alike to the same samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import torch
from torch import Tensor, nn

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.matching.symmetry import Place, Symmetry
from landsweep.sweeps.lab.matching.weights import Matching, assign

__all__ = ["match_activations"]

_ROUNDING = 1e-10  # of a unit's mean square: what float32 leaves of a constant

_Seen: TypeAlias = Mapping[str, Tensor]


def match_activations(a: nn.Module, b: nn.Module, symmetry: Symmetry, batches: Sequence[Tensor]) -> Matching:
    """Raise the sum of correlations between the units of A and those that come to their places.

    A unit is compared by the outputs of the linear, convolutional and embedding layers that write to it, before any
    normalisation and activation, over samples and positions; where several write to it, their correlations add up
    (arXiv 1511.07543 and 2211.08403, for networks with shortcuts too). A unit that never changes correlates with none.

    Args:
        a: in evaluation mode.
        b: the same.
        symmetry: of their network.
        batches: inputs.

    Raises:
        SpecError: no such layer writes to some units.
    """
    if silent := [u.name for u in symmetry.units if not u.written]:
        raise SpecError(
            f"match: activations: no linear, convolutional or embedding layer writes to the units of "
            f"{', '.join(silent[:6])}; use `match: weights`"
        )
    sums = [[_Moments(p, u.size) for p in u.written] for u in symmetry.units]
    with torch.no_grad():
        for batch in batches:
            seen_a, seen_b = _outputs(a, symmetry, batch), _outputs(b, symmetry, batch)
            for group in sums:
                for moments in group:
                    moments.add(seen_a, seen_b)
    return Matching(tuple(assign(sum((m.correlations() for m in group), torch.zeros(()))) for group in sums))


class _Moments:
    """Sums over samples for one place in the outputs of one layer, [elements of a unit, N (, N)]."""

    def __init__(self, place: Place, size: int) -> None:
        self._place, self._size = place, size
        self._count = 0
        self._sums: tuple[Tensor, ...] = ()

    def add(self, seen_a: _Seen, seen_b: _Seen) -> None:
        x, y = self._elements(seen_a), self._elements(seen_b)
        self._count += x.shape[-1]
        new = (x.sum(2), y.sum(2), x.square().sum(2), y.square().sum(2), x @ y.transpose(1, 2))
        self._sums = tuple(s + n for s, n in zip(self._sums, new, strict=True)) if self._sums else new

    def correlations(self) -> Tensor:
        """Of each unit of A with each of B, summed over the elements of a unit, [N, N]."""
        x, y, xx, yy, xy = (s / self._count for s in self._sums)
        left, right = _deviation(x, xx), _deviation(y, yy)
        covariance = xy - x[:, :, None] * y[:, None, :]
        correlation = covariance / (left[:, :, None] * right[:, None, :])
        return torch.where(correlation.isfinite(), correlation, 0.0).sum(0)

    def _elements(self, seen: _Seen) -> Tensor:
        """[elements of a unit, N, samples and positions]."""
        p, n = self._place, self._size
        part = seen[p.tensor].movedim(p.dim, 0)[p.start : p.start + p.outer * n * p.block].double()
        return part.reshape(p.outer, n, p.block, -1).movedim(1, 2).reshape(p.outer * p.block, n, -1)


def _deviation(mean: Tensor, square: Tensor) -> Tensor:
    """Standard deviation; 0 where a unit changes by no more than rounding."""
    variance = square - mean.square()
    return torch.where(variance > _ROUNDING * square, variance, 0.0).sqrt()


def _outputs(module: nn.Module, symmetry: Symmetry, batch: Tensor) -> _Seen:
    seen: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[nn.Module, object, Tensor], None]:
        return lambda _layer, _inputs, output: seen.__setitem__(name, output)

    names = {p.tensor for u in symmetry.units for p in u.written}
    handles = [module.get_submodule(name).register_forward_hook(keep(name)) for name in names]
    try:
        module(batch)
    finally:
        for handle in handles:
            handle.remove()
    return seen
