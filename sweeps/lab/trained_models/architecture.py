"""What networks of one architecture share: the order of a weight vector, and which hidden units can change places."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import torch
from torch import Tensor, nn

from landsweep.sweeps.lab.matching.symmetry import Units, find_symmetry

__all__ = ["Architecture"]


class Architecture:
    """What networks with weights of the same names and shapes share.

    Attributes:
        parameters: their names, in the order of a weight vector.

    Args:
        module: one of the networks.
        inputs: a few samples, [n, ...].
    """

    def __init__(self, module: nn.Module, inputs: Tensor) -> None:
        self._module, self._inputs = module, inputs
        self.parameters = tuple(name for name, _ in module.named_parameters())

    @cached_property
    def units(self) -> tuple[Units, ...]:
        """The hidden units that can change places, proved on this network; none where it has a single layer.

        Raises:
            SpecError: as `find_symmetry`.
        """
        if sum(p.dim() > 1 for p in self._module.parameters()) < 2:
            return ()
        return find_symmetry(self._module, self._inputs, "take its weights as they are").units

    def vector(self, state: Mapping[str, Tensor]) -> Tensor:
        """The parameters [P] of a state dict."""
        return torch.cat([state[name].reshape(-1) for name in self.parameters])

    def state(self, vector: Tensor, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The state dict with the parameters of a vector [P] and the buffers of `like`."""
        pieces = torch.split(vector, [like[name].numel() for name in self.parameters])
        parameters = {name: piece.view_as(like[name]) for name, piece in zip(self.parameters, pieces, strict=True)}
        return {**like, **parameters}
