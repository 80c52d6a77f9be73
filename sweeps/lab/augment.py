"""Augmentation of images: each sample of each step is shifted and flipped by draws that its model's seed determines."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from pydantic import Field
from torch import Tensor

from landsweep.orchestrator.spec import Section

__all__ = ["AugmentSpec"]


class AugmentSpec(Section):
    """Random crops after zero padding, and horizontal flips, as is usual for CIFAR (arXiv 1512.03385, section 4.2)."""

    shift: int = Field(0, ge=0, description="largest shift in pixels; what comes in at the edge is 0")
    flip: bool = Field(False, description="mirror left and right with probability 1/2")

    def apply(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Augmented copies.

        Args:
            images: [n, channels, h, w].
            generator: on the CPU; what it draws depends on n alone.
        """
        n, _, height, width = images.shape
        draws = torch.rand(3, n, generator=generator)
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
        return result
