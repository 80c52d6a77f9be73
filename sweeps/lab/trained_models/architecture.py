"""What networks of one architecture share: the order of a weight vector, and which hidden units may be permuted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

import torch
from torch import Tensor, nn

from landsweep.sweeps.lab.trained_models.permute import Hidden, hidden_layers, prove_permutations

__all__ = ["Architecture"]


class Architecture:
    """What networks with weights of the same names and shapes share.

    Attributes:
        parameters: their names, in the order of a weight vector.

    Args:
        module: one of the networks.
        shape: shape of one input, without the batch dimension.
    """

    def __init__(self, module: nn.Module, shape: Sequence[int]) -> None:
        self._module, self._shape = module, shape
        self.parameters = tuple(name for name, _ in module.named_parameters())

    @cached_property
    def hidden(self) -> tuple[Hidden, ...]:
        """The hidden layers, whose units may be permuted: tried out on this network.

        Raises:
            SpecError: its layers form no chain, or its outputs change.
        """
        layers = hidden_layers(self._module)
        prove_permutations(self._module, layers, self._shape)
        return layers

    def vector(self, state: Mapping[str, Tensor]) -> Tensor:
        """The parameters [P] of a state dict."""
        return torch.cat([state[name].reshape(-1) for name in self.parameters])

    def state(self, vector: Tensor, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The state dict with the parameters of a vector [P] and the buffers of `like`."""
        pieces = torch.split(vector, [like[name].numel() for name in self.parameters])
        parameters = {name: piece.view_as(like[name]) for name, piece in zip(self.parameters, pieces, strict=True)}
        return {**like, **parameters}
