"""Data that are made from the images of another source."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from landsweep.sweeps.lab.data.base import Data, Source
from landsweep.sweeps.lab.data.cifar10 import Cifar10
from landsweep.sweeps.lab.data.digits import Digits
from landsweep.sweeps.lab.data.mnist import Mnist

__all__ = ["ImagesOf"]


class ImagesOf(Source):
    """Other data from the images that the field `of` names."""

    of: Annotated[Digits | Mnist | Cifar10, Field(discriminator="source")] = Field(
        Digits(source="digits"), description="where the images come from"
    )

    @model_validator(mode="after")
    def _no_validation_images(self) -> Self:
        if self.of.validation is not None:
            raise ValueError("of.validation: there is no such split here; leave it out")
        return self

    @abstractmethod
    def made_from(self, plain: Data) -> Data:
        """The data, from the splits `train` and `test` of the images.

        Raises:
            SpecError: these images do not do.
        """

    def pinned(self, base: Path) -> Self:
        return self.model_copy(update={"of": self.of.pinned(base)})

    def stand_in(self, rows: int, base: Path) -> Data:
        return self.made_from(self.of.stand_in(rows, base))

    def load(self, base: Path) -> Data:
        """All splits on the CPU.

        Raises:
            SpecError: there are no such images, or they do not do.
        """
        return self.made_from(self.of.load(base))
