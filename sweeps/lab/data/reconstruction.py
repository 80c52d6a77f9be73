"""Images that are to be given back: what an autoencoder learns."""

from __future__ import annotations

from typing import Literal

from landsweep.sweeps.lab.data.base import Data, Dimensions, Split
from landsweep.sweeps.lab.data.images_of import ImagesOf

__all__ = ["Reconstruction"]


class Reconstruction(ImagesOf):
    """Images of another source whose targets are themselves, flattened: regression.

    A perceptron with a narrow layer is an autoencoder of them. With no activation its least loss is what principal
    components leave: the sum of the smaller eigenvalues of the images' second moments, over the number of pixels.
    """

    source: Literal["reconstruction"]

    def dimensions(self) -> Dimensions:
        channels, height, width = self.of.dimensions().shape
        return Dimensions((channels, height, width), channels * height * width, regression=True)

    def made_from(self, plain: Data) -> Data:
        return Data.of({name: Split(split.inputs, split.inputs.flatten(1)) for name, split in plain.splits.items()})
