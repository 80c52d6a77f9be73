"""A last layer of distances, whose cross entropy is the harmonic loss."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["Distances"]

_LEAST = 1e-12  # squared distance below which the outputs stay finite


class Distances(nn.Linear):
    """Outputs -n log |x - w_c| of features x, so that softmax gives |x - w_c|^-n over their sum (arXiv 2502.01628).

    Cross entropy of these outputs is the paper's harmonic loss with exponent n; the rows of the weights are the centres
    of the classes.
    """

    def __init__(self, features: int, classes: int, exponent: float) -> None:
        super().__init__(features, classes, bias=False)
        self._exponent = exponent

    def forward(self, input: Tensor) -> Tensor:
        """From [..., features] to [..., classes]."""
        sizes = input.square().sum(-1, keepdim=True) + self.weight.square().sum(-1)
        squares = sizes - 2 * input @ self.weight.transpose(-1, -2)
        return torch.log(squares.clamp(min=_LEAST)) * (-self._exponent / 2)
