"""Activations of blocks that are computed again in the backward pass, instead of being kept for it."""

from __future__ import annotations

import weakref
from functools import partial
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint

from landsweep.sweeps.lab.models.transformer import Block
from landsweep.sweeps.lab.weight_space.batch_norm import running_layers

__all__ = ["cannot_recompute", "fuse_attention", "recompute_blocks"]


def cannot_recompute(module: nn.Module) -> str | None:
    """Why the blocks of a network can't be computed twice in a step; None: they can."""
    if not _blocks(module):
        return "it has no residual blocks (`blocks`), whose activations could be computed again"
    if running_layers(module):
        return "its batch normalisation would count each batch twice"
    return None


def recompute_blocks(module: nn.Module, *, draws: bool) -> None:
    """Let each block keep only its inputs; gradients stay the same, bit for bit.

    Args:
        module: the network.
        draws: whether it draws random numbers of its own, which must then be the same again.
    """
    for block in _blocks(module):
        block.forward = _Twice(block, draws)


def fuse_attention(module: nn.Module) -> bool:
    """Let attention be one operation (torch's scaled_dot_product_attention); whether there is any.

    See `Block.fused` for where it stays written out.
    """
    blocks = [m for m in module.modules() if isinstance(m, Block)]
    for block in blocks:
        block.fused = True
    return bool(blocks)


def _blocks(module: nn.Module) -> list[nn.Module]:
    blocks = getattr(module, "blocks", None)
    return list(blocks) if isinstance(blocks, nn.Sequential | nn.ModuleList) else []


class _Twice:
    """A block's forward pass, of which nothing is kept in training but its inputs.

    Only in training: probes call networks with other weights, which are gone when activations are computed again.
    """

    def __init__(self, block: nn.Module, draws: bool) -> None:
        self._block = weakref.ref(block)  # no circle: a pack leaves its memory as soon as it has ended
        self._draws = draws

    def __call__(self, *inputs: Any) -> Any:  # noqa: ANN401 - of any module
        block = self._block()
        assert block is not None, "its forward pass belongs to it"
        forward = partial(type(block).forward, block)
        if not block.training:
            return forward(*inputs)
        return checkpoint(forward, *inputs, use_reentrant=False, preserve_rng_state=self._draws)
