"""A stack: parameters and buffers of K models of one architecture, in one array and a few."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sweeps.lab.layout import Layout

__all__ = ["Stack"]


class Stack:
    """Weights [K, P] and buffers [K, ...] of K models.

    Attributes:
        layout: of a row.
        weights: [K, P].
        buffers: name to [K, ...].
    """

    def __init__(self, modules: Sequence[nn.Module], device: str) -> None:
        self.layout = Layout.of(modules[0])
        with torch.no_grad():
            rows = [torch.cat([p.flatten() for p in m.parameters()]) for m in modules]
            self.weights = torch.stack(rows).to(device)
            each = [{n: b for n, b in m.named_buffers() if not n.endswith("dropout_mask")} for m in modules]
            self.buffers = {name: torch.stack([b[name] for b in each]).to(device) for name in each[0]}

    def __len__(self) -> int:
        return len(self.weights)

    def leaves(self) -> dict[str, Tensor]:
        """Views of the weights as leaves that gradients are taken of; they follow the weights' memory."""
        return {n: v.requires_grad_() for n, v in self.layout.split(self.weights.detach()).items()}

    def take(self, keep: Tensor) -> None:
        """Keep only these rows, in new memory."""
        self.weights = self.weights[keep].contiguous()
        self.buffers = {name: b[keep].contiguous() for name, b in self.buffers.items()}

    def state_of(self, row: int, weights: Tensor | None = None) -> dict[str, Tensor]:
        """State dict of one model, on the CPU, its own copy; with other `weights` [P] than the stack's, if given."""
        source = self.weights[row] if weights is None else weights
        one = {n: v[0] for n, v in self.layout.split(source[None]).items()}
        one |= {n: b[row] for n, b in self.buffers.items()}
        return {key: one[name].detach().cpu().clone() for key, name in self.layout.aliases.items()}
