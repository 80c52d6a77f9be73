"""Networks with the source of their weights: a training recipe, or a checkpoint. What a landscape is made of."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator
from torch import nn

from sweeps.lab.checkpoint import Checkpoint
from sweeps.lab.models.base import Net
from sweeps.lab.models.cnn import Cnn
from sweeps.lab.models.gpt import Gpt
from sweeps.lab.models.mlp import Mlp
from sweeps.lab.models.own import OwnNet
from sweeps.lab.models.resnet import ResNet
from sweeps.lab.models.resnet18 import ResNet18
from sweeps.lab.models.small_cnn import SmallCnn
from sweeps.lab.models.vit import Vit
from sweeps.lab.models.zoo_cnn import ZooCnn
from sweeps.lab.train import TrainSpec

__all__ = [
    "ModelSpec",
    "Weighted",
    "WeightedCnn",
    "WeightedGpt",
    "WeightedMlp",
    "WeightedOwn",
    "WeightedResNet",
    "WeightedResNet18",
    "WeightedSmallCnn",
    "WeightedVit",
    "WeightedZooCnn",
]


class Weighted(Net):
    """A network and the source of its weights: a training recipe or a checkpoint."""

    train: TrainSpec | None = Field(None, description="recipe that trains it inside the sweep; epochs: 0 for untrained")
    checkpoint: Checkpoint | None = Field(None, description="file with a state dict, instead of training")

    @model_validator(mode="after")
    def _one_source_of_weights(self) -> Self:
        if (self.train is None) == (self.checkpoint is None) and not self._own_weights():
            given = "both" if self.train is not None else "neither"
            raise ValueError(f"a model needs either `train` or `checkpoint`, got {given}")
        return self

    def _own_weights(self) -> bool:
        return False

    @property
    def seed(self) -> int:
        """Of the streams that the model draws from."""
        return 0 if self.train is None else self.train.seed

    def make(self, shape: tuple[int, ...], classes: int, base: Path) -> nn.Module:
        """The module with initial weights; the global random state stays as it was.

        Args:
            shape: of one input.
            classes: how many outputs.
            base: folder that relative paths start from.
        """
        return self.build(shape, classes, self.seed, base)


class WeightedMlp(Weighted, Mlp):
    """A perceptron and its weights."""


class WeightedCnn(Weighted, Cnn):
    """A convolutional network and its weights."""


class WeightedResNet(Weighted, ResNet):
    """A residual network and its weights."""


class WeightedZooCnn(Weighted, ZooCnn):
    """A network of the model-zoo data set and its weights."""


class WeightedSmallCnn(Weighted, SmallCnn):
    """The network of the small CNN zoo and its weights."""


class WeightedResNet18(Weighted, ResNet18):
    """A ResNet-18 and its weights."""


class WeightedVit(Weighted, Vit):
    """A vision transformer and its weights."""


class WeightedGpt(Weighted, Gpt):
    """A decoder and its weights."""


class WeightedOwn(Weighted, OwnNet):
    """The user's network; without `checkpoint` and `train` its weights stay as the user's function made them."""

    def _own_weights(self) -> bool:
        return self.train is None and self.checkpoint is None


ModelSpec = Annotated[
    WeightedMlp
    | WeightedCnn
    | WeightedZooCnn
    | WeightedSmallCnn
    | WeightedResNet
    | WeightedResNet18
    | WeightedVit
    | WeightedGpt
    | WeightedOwn,
    Field(discriminator="net"),
]
"""A network and where its weights come from; told apart by the field `net`, as in `NetSpec`."""
