"""Networks: one file per family, one union of specs."""

from __future__ import annotations

from sweeps.lab.models.base import Net, number_type, parameter_count
from sweeps.lab.models.catalogue import NetSpec
from sweeps.lab.models.cnn import Cnn
from sweeps.lab.models.fit import check_fit
from sweeps.lab.models.gpt import Gpt
from sweeps.lab.models.initialisation import Init
from sweeps.lab.models.mlp import Mlp
from sweeps.lab.models.own import OwnNet
from sweeps.lab.models.resnet import ResNet
from sweeps.lab.models.resnet18 import ResNet18
from sweeps.lab.models.small_cnn import SmallCnn
from sweeps.lab.models.vit import Vit
from sweeps.lab.models.zoo_cnn import ZooCnn

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
