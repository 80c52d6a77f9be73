"""Networks whose output is scaled and starts at zero: the scale sets whether they train lazily or learn features."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from pydantic import TypeAdapter
from torch import Tensor, nn

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.models.catalogue import NetSpec

__all__ = ["Centred", "centred"]

_NETWORKS: TypeAdapter[Any] = TypeAdapter(NetSpec)


class Centred(nn.Module):
    """scale (f(w, x) - f(w0, x)), where w0 are the weights that `network` has now (arXiv 1812.07956, 2301.13703).

    The larger the scale, the less the weights must move to fit, and the closer the network stays to its linearisation
    at w0: lazy training. w0 is stored beside the weights and does not train.
    """

    def __init__(self, network: nn.Module, scale: float) -> None:
        super().__init__()
        self.network, self.scale = network, scale
        self.start = copy.deepcopy(network).requires_grad_(False)

    def forward(self, inputs: Tensor) -> Tensor:
        difference: Tensor = self.network(inputs) - self.start(inputs)
        return self.scale * difference


def centred(net: Mapping[str, Any], shape: list[int], outputs: int, scale: float) -> Centred:
    """One of the networks that recipes name, as `Centred`, for `net: own`.

    Args:
        net: its fields, such as `{net: mlp, hidden: [64]}`.
        shape: of one input.
        outputs: how many.
        scale: above 0; a learning rate that falls as scale^-2 keeps the speed of the outputs.

    Raises:
        SpecError: the scale is not positive.
    """
    if not scale > 0:
        raise SpecError(f"net.args.scale: {scale:g} is not above 0")
    seed = torch.Generator().manual_seed(torch.initial_seed())
    return Centred(_NETWORKS.validate_python(net).build(tuple(shape), outputs, seed), scale)
