"""Networks: one file per family, one union of specs."""

from __future__ import annotations

from landsweep.sweeps.lab.models.base import Net, number_type, parameter_count
from landsweep.sweeps.lab.models.catalogue import NetSpec
from landsweep.sweeps.lab.models.cnn import Cnn
from landsweep.sweeps.lab.models.fit import check_fit
from landsweep.sweeps.lab.models.gpt import Gpt
from landsweep.sweeps.lab.models.initialisation import Init
from landsweep.sweeps.lab.models.mlp import Mlp
from landsweep.sweeps.lab.models.own import OwnNet
from landsweep.sweeps.lab.models.resnet import ResNet
from landsweep.sweeps.lab.models.resnet18 import ResNet18
from landsweep.sweeps.lab.models.small_cnn import SmallCnn
from landsweep.sweeps.lab.models.vit import Vit
from landsweep.sweeps.lab.models.zoo_cnn import ZooCnn

__all__ = [
    "Cnn",
    "Gpt",
    "Init",
    "Mlp",
    "Net",
    "NetSpec",
    "OwnNet",
    "ResNet",
    "ResNet18",
    "SmallCnn",
    "Vit",
    "ZooCnn",
    "check_fit",
    "number_type",
    "parameter_count",
]
