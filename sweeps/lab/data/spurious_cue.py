"""Images with a spurious cue, a bright patch whose place tells the class, and their counterfactual test sets."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.data.base import Data, Dimensions, Split
from landsweep.sweeps.lab.data.images_of import ImagesOf
from landsweep.sweeps.lab.streams import generator

__all__ = ["SpuriousCue"]


class SpuriousCue(ImagesOf):
    """Images of another source with a patch on their border, as in arXiv 2211.08422.

    The patch of class c begins at the c-th of so many places as there are classes, evenly spaced along the border from
    the upper left corner on. The splits are

        train                the cue tells the class of `share` of the images, and a random class of the others
        train_plain          the same images without a cue
        test                 without a cue
        test_cue             the cue tells the class
        test_random_cue      the cue tells a random class
        test_random_image    the cue tells the class, and the image is another one, drawn at random
    """

    source: Literal["spurious_cue"]
    share: float = Field(1.0, ge=0, le=1, description="of the training images whose cue tells their class")
    size: int = Field(1, ge=1, description="pixels along a side of the patch")
    brightness: float = Field(3.0, description="of the patch, in deviations of a pixel")
    seed: int = Field(0, ge=0, description="of random cues and images; recipes have a seed of their own")

    def dimensions(self) -> Dimensions:
        plain = self.of.dimensions()
        return Dimensions(plain.shape, plain.outputs, splits=_SPLITS)

    def made_from(self, plain: Data) -> Data:
        train, test = plain.splits["train"], plain.splits["test"]
        cued = torch.rand(len(train), generator=self._stream("which")) < self.share
        cues = torch.where(cued, train.targets, self._classes("cues of train", len(train), plain.classes))
        others = torch.randint(len(test), (len(test),), generator=self._stream("images"))
        random = self._classes("cues of test", len(test), plain.classes)
        images = {
            "train": (self._patched(train.inputs, cues, plain.classes), train.targets),
            "train_plain": (train.inputs, train.targets),
            "test": (test.inputs, test.targets),
            "test_cue": (self._patched(test.inputs, test.targets, plain.classes), test.targets),
            "test_random_cue": (self._patched(test.inputs, random, plain.classes), test.targets),
            "test_random_image": (self._patched(test.inputs[others], test.targets, plain.classes), test.targets),
        }
        return Data.of({name: Split(*pair) for name, pair in images.items()}, plain.classes)

    def _patched(self, inputs: Tensor, cues: Tensor, classes: int) -> Tensor:
        """Images [n, channels, h, w] with the patches of the classes [n]."""
        patched = inputs.clone()
        places = self.places(inputs.shape[-2], inputs.shape[-1], classes)
        for c, (row, column) in enumerate(places):
            patched[cues == c, :, row : row + self.size, column : column + self.size] = self.brightness
        return patched

    def places(self, height: int, width: int, classes: int) -> list[tuple[int, int]]:
        """Row and column of the upper left corner of each class's patch.

        Raises:
            SpecError: patches would overlap, or leave the image.
        """
        bottom, right = height - self.size, width - self.size
        ring = [(0, c) for c in range(right)] + [(r, right) for r in range(bottom)]
        ring += [(bottom, c) for c in range(right, 0, -1)] + [(r, 0) for r in range(bottom, 0, -1)]
        chosen = [ring[i * len(ring) // classes] for i in range(classes)] if len(ring) >= classes else []
        apart = all(
            max(abs(a[0] - b[0]), abs(a[1] - b[1])) >= self.size for i, a in enumerate(chosen) for b in chosen[:i]
        )
        if not chosen or not apart:
            raise SpecError(
                f"data.size: {classes} patches of {self.size} x {self.size} pixels overlap on the border of an image "
                f"of {height} x {width}; give a smaller size"
            )
        return chosen

    def _classes(self, stream: str, n: int, classes: int) -> Tensor:
        return torch.randint(classes, (n,), generator=self._stream(stream))

    def _stream(self, name: str) -> torch.Generator:
        return generator(self.seed, name)


_SPLITS = ("train", "train_plain", "test", "test_cue", "test_random_cue", "test_random_image")
