"""Networks: one file per family, one union of specs."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from sweeps.lab.models.base import ModelBase, parameter_count
from sweeps.lab.models.cnn import Cnn
from sweeps.lab.models.mlp import Mlp
from sweeps.lab.models.own import OwnModel
from sweeps.lab.models.resnet import ResNet

__all__ = ["Cnn", "Mlp", "ModelBase", "ModelSpec", "OwnModel", "ResNet", "parameter_count"]

ModelSpec = Annotated[Mlp | Cnn | ResNet | OwnModel, Field(discriminator="net")]
"""A network and where its weights come from; told apart by the field `net`: mlp, cnn, resnet or own."""
