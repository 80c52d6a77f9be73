"""REPAIR (arXiv 2211.08403): a merged network whose hidden units vary as much as those that it was merged from.

Halfway between two networks the variance of hidden units collapses. REPAIR gives each unit a mean and a standard
deviation between those of the two ends by an affine correction after each linear or convolutional layer but the last.
With batch normalisation, re-estimating its statistics does the same (`batch_norm.reestimate`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

__all__ = ["Repair", "UnitStatistics", "unit_statistics"]

_FLOOR = 1e-5  # of a variance, as in batch normalisation


@dataclass(frozen=True, slots=True)
class UnitStatistics:
    """Of one layer's outputs, over samples and positions: mean and standard deviation of each unit, [N]."""

    mean: Tensor
    deviation: Tensor


def unit_statistics(module: nn.Module, layers: Sequence[str], batches: Sequence[Tensor]) -> dict[str, UnitStatistics]:
    """Statistics of hidden layers over all batches.

    Args:
        module: in evaluation mode.
        layers: names of linear and convolutional layers.
        batches: inputs.
    """
    seen: dict[str, list[tuple[int, Tensor, Tensor]]] = {name: [] for name in layers}

    def keep(name: str, layer: nn.Module, output: Tensor) -> None:
        x = _by_unit(layer, output).double()
        seen[name].append((x.shape[1], x.sum(1), x.square().sum(1)))

    handles = [
        module.get_submodule(name).register_forward_hook(lambda layer, _, output, name=name: keep(name, layer, output))
        for name in layers
    ]
    try:
        with torch.no_grad():
            for batch in batches:
                module(batch)
    finally:
        for handle in handles:
            handle.remove()
    return {name: _statistics(parts) for name, parts in seen.items()}


class Repair:
    """The corrections of a network's hidden layers, in force until `close`.

    Args:
        module: in evaluation mode.
        layers: names of the layers to correct: linear and convolutional ones.
        batches: training inputs.
    """

    def __init__(self, module: nn.Module, layers: Sequence[str], batches: Sequence[Tensor]) -> None:
        self._module, self._batches = module, batches
        self._wanted: Mapping[str, UnitStatistics] | None = None
        self._measured: dict[str, list[tuple[int, Tensor, Tensor]]] | None = None
        self._affine: dict[str, tuple[Tensor, Tensor]] = {}
        self._handles = [
            module.get_submodule(name).register_forward_hook(
                lambda m, _, output, name=name: self._hook(name, m, output)
            )
            for name in layers
        ]

    def fit(self, a: Mapping[str, UnitStatistics], b: Mapping[str, UnitStatistics], t: float) -> None:
        """Correct the network as it stands, at `t` on the way from A to B.

        As in training with batch normalisation, each batch passes through layers that are corrected by that batch's
        own statistics; what is kept are the statistics of all batches together.
        """
        mix = {
            name: UnitStatistics(
                (1 - t) * a[name].mean + t * b[name].mean, (1 - t) * a[name].deviation + t * b[name].deviation
            )
            for name in a
        }
        self._wanted, self._measured = mix, {name: [] for name in mix}
        try:
            with torch.no_grad():
                for batch in self._batches:
                    self._module(batch)
            self._affine = {
                name: _affine(_statistics(parts), mix[name]) for name, parts in self._measured.items() if parts
            }
        finally:
            self._measured = None

    def close(self) -> None:
        """Take the corrections away."""
        for handle in self._handles:
            handle.remove()

    def _hook(self, name: str, layer: nn.Module, output: Tensor) -> Tensor | None:
        if self._measured is not None and self._wanted is not None:
            x = _by_unit(layer, output).double()
            sums = (x.shape[1], x.sum(1), x.square().sum(1))
            self._measured[name].append(sums)
            return _corrected(layer, output, _affine(_statistics([sums]), self._wanted[name]))
        return _corrected(layer, output, self._affine[name]) if name in self._affine else None


def _by_unit(layer: nn.Module, output: Tensor) -> Tensor:
    """[N, samples and positions]."""
    return output.movedim(_channels(layer), 0).flatten(1)


def _channels(layer: nn.Module) -> int:
    return -1 if isinstance(layer, nn.Linear) else 1


def _statistics(parts: Sequence[tuple[int, Tensor, Tensor]]) -> UnitStatistics:
    n = sum(count for count, _, _ in parts)
    mean = torch.stack([s for _, s, _ in parts]).sum(0) / n
    square = torch.stack([s for _, _, s in parts]).sum(0) / n
    return UnitStatistics(mean, (square - mean.square()).clamp_min(0).sqrt())


def _affine(own: UnitStatistics, target: UnitStatistics) -> tuple[Tensor, Tensor]:
    scale = (target.deviation.square() + _FLOOR).sqrt() / (own.deviation.square() + _FLOOR).sqrt()
    return scale, target.mean - scale * own.mean


def _corrected(layer: nn.Module, output: Tensor, affine: tuple[Tensor, Tensor]) -> Tensor:
    shape = [1] * output.ndim
    shape[_channels(layer)] = -1
    scale, shift = (x.to(output.dtype).view(shape) for x in affine)
    return output * scale + shift
