"""Noised images and the velocity that takes them to the noise: what a diffusion network learns to predict."""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from pydantic import Field
from torch import Tensor

from landsweep.sweeps.lab.data.base import Data, Dimensions, Split
from landsweep.sweeps.lab.data.images_of import ImagesOf
from landsweep.sweeps.lab.streams import generator

__all__ = ["Denoising", "Times", "drawn", "renewed"]

Times: TypeAlias = Literal["uniform", "logit_normal"]


class Denoising(ImagesOf):
    """Images of another source on the straight way to noise, as in rectified flow (arXiv 2209.03003, 2403.03206).

    x_t = (1 - t) x + t e     target: e - x, flattened

    e is normal with deviation 1, and t lies between 0 and 1: uniform, or the sigmoid of a normal number. One input has
    the channels of x_t and one more, all of whose pixels are t. Noise and times belong to the sample, the same in each
    epoch; `augment: {noise: ...}` of a recipe draws both anew in each step, in training alone. Inputs and target
    together tell x and e, so nothing else is needed for that.
    """

    source: Literal["denoising"]
    times: Times = Field("logit_normal", description="how t is distributed; logit_normal: most in the middle")
    seed: int = Field(0, ge=0, description="of noise and times; recipes have a seed of their own")

    def dimensions(self) -> Dimensions:
        channels, height, width = self.of.dimensions().shape
        return Dimensions((channels + 1, height, width), channels * height * width, regression=True)

    def made_from(self, plain: Data) -> Data:
        each = {
            name: Split(*drawn(split.inputs, self.times, generator(self.seed, f"noise of {name}")))
            for name, split in plain.splits.items()
        }
        return Data.of(each)


def drawn(images: Tensor, times: Times, source: torch.Generator) -> tuple[Tensor, Tensor]:
    """Inputs [n, channels + 1, h, w] and targets [n, channels h w] of images [n, channels, h, w].

    Args:
        images: on any device.
        times: as in `Denoising`.
        source: on the CPU; what it draws depends on the shape of the images alone.
    """
    n = len(images)
    t = torch.rand(n, generator=source) if times == "uniform" else torch.randn(n, generator=source).sigmoid()
    noise = torch.randn(images.shape, generator=source).to(images.device, images.dtype)
    share = t.to(images.device, images.dtype).view(-1, 1, 1, 1)
    mixed = (1 - share) * images + share * noise
    inputs = torch.cat([mixed, share.expand(-1, 1, *images.shape[2:])], 1)
    return inputs, (noise - images).flatten(1)


def renewed(inputs: Tensor, targets: Tensor, times: Times, source: torch.Generator) -> tuple[Tensor, Tensor]:
    """The same images with other noise at other times; arguments and results as `drawn` gives them."""
    mixed, share = inputs[:, :-1], inputs[:, -1:]
    return drawn(mixed - share * targets.view(mixed.shape), times, source)
