"""All networks: a new one is a file of its own and its name here. Messages list families by asking these classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, get_args

from pydantic import Field

from landsweep.sweeps.lab.models.base import Net
from landsweep.sweeps.lab.models.cnn import Cnn
from landsweep.sweeps.lab.models.dit import Dit
from landsweep.sweeps.lab.models.encdec import EncoderDecoder
from landsweep.sweeps.lab.models.fixup import FixupResNet
from landsweep.sweeps.lab.models.gpt import Gpt
from landsweep.sweeps.lab.models.mlp import Mlp
from landsweep.sweeps.lab.models.own import OwnNet
from landsweep.sweeps.lab.models.recurrent import Recurrent
from landsweep.sweeps.lab.models.resnet import ResNet
from landsweep.sweeps.lab.models.resnet18 import ResNet18
from landsweep.sweeps.lab.models.small_cnn import SmallCnn
from landsweep.sweeps.lab.models.vit import Vit
from landsweep.sweeps.lab.models.zoo_cnn import ZooCnn

__all__ = ["NetSpec", "families", "networks"]

NetSpec = Annotated[
    Mlp | Cnn | ZooCnn | SmallCnn | ResNet | ResNet18 | FixupResNet | Vit | Dit | Gpt | EncoderDecoder | Recurrent
    | OwnNet,
    Field(discriminator="net"),
]  # fmt: skip
"""A network, told apart by the field `net`.

It is mlp, cnn, cnn_s, cnn_l, small_cnn, resnet, resnet18, fixup_resnet, vit, dit, gpt, encdec, rnn, gru, lstm or own.
"""


def networks() -> tuple[type[Net], ...]:
    """The classes of all networks that specs can name."""
    return get_args(get_args(NetSpec)[0])


def families(which: Callable[[type[Net]], bool]) -> list[str]:
    """What specs call the networks of some of the classes."""
    return [name for net in networks() if which(net) for name in net.families()]
