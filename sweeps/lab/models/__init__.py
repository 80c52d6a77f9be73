"""Networks: one file per family, one union of specs."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from sweeps.lab.models.base import Net, parameter_count
from sweeps.lab.models.cnn import Cnn
from sweeps.lab.models.mlp import Mlp
from sweeps.lab.models.own import OwnNet
from sweeps.lab.models.resnet import ResNet
from sweeps.lab.models.weighted import ModelSpec, Weighted

__all__ = ["Cnn", "Mlp", "ModelSpec", "Net", "NetSpec", "OwnNet", "ResNet", "Weighted", "parameter_count"]

NetSpec = Annotated[Mlp | Cnn | ResNet | OwnNet, Field(discriminator="net")]
"""A network, told apart by the field `net`; `build` makes the module."""
