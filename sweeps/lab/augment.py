"""What is drawn anew for each sample of each step, by its model's seed: shifts and flips of images, or their noise."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from pydantic import Field, model_validator
from torch import Tensor

from landsweep.orchestrator.spec import Section
from landsweep.sweeps.lab.data.denoising import Times, renewed

__all__ = ["AugmentSpec"]


class AugmentSpec(Section):
    """Random crops after zero padding, and horizontal flips, as is usual for CIFAR (arXiv 1512.03385, section 4.2).

    Of `denoising` data: other noise at other times in each step, instead.
    """

    shift: int = Field(0, ge=0, description="largest shift in pixels; what comes in at the edge is 0")
    flip: bool = Field(False, description="mirror left and right with probability 1/2")

    noise: Times | None = Field(
        None,
        exclude_if=lambda v: v is None,
        description="of denoising data: noise and times are drawn anew, these uniform or logit_normal",
    )

    @model_validator(mode="after")
    def _noise_alone(self) -> Self:
        if self.noise is not None and (self.shift or self.flip):
            raise ValueError("noise: denoising data can't be shifted or flipped too; leave shift and flip out")
        return self

    def apply(self, inputs: Tensor, targets: Tensor, generators: Iterable[torch.Generator]) -> tuple[Tensor, Tensor]:
        """Augmented copies of inputs [K, n, channels, h, w] of K models, and their targets [K, n, ...].

        Args:
            inputs: as the data has them.
            targets: as the data has them.
            generators: one for each model, on the CPU; what each draws depends on the shapes alone.
        """
        if self.noise is not None:
            each = zip(inputs, targets, generators, strict=True)
            pairs = [renewed(x, y, self.noise, generator) for x, y, generator in each]
            return torch.stack([x for x, _ in pairs]), torch.stack([y for _, y in pairs])
        draws = torch.stack([torch.rand(3, inputs.shape[1], generator=g) for g in generators], 1)
        return self._moved(inputs.flatten(0, 1), draws.flatten(1)).view(inputs.shape), targets

    def _moved(self, images: Tensor, draws: Tensor) -> Tensor:
        """Shifted and flipped copies.

        Args:
            images: [n, channels, h, w].
            draws: [3, n] uniform numbers, on the CPU.
        """
        n, _, height, width = images.shape
        result = images
        if self.flip:
            mirrored = (draws[0] < 0.5).to(images.device)[:, None, None, None]
            result = torch.where(mirrored, result.flip(3), result)
        if self.shift:
            corner = (draws[1:] * (2 * self.shift + 1)).long().clamp_(max=2 * self.shift).to(images.device)
            padded = F.pad(result, (self.shift,) * 4)
            rows = corner[0][:, None] + torch.arange(height, device=images.device)
            columns = corner[1][:, None] + torch.arange(width, device=images.device)
            each = torch.arange(n, device=images.device)[:, None, None]
            result = padded[each, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
        return result.contiguous()
