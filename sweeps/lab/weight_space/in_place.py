"""Activations that may write over their inputs, since nothing else reads these."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

__all__ = ["overwriting_activations"]

_WITH_A_CHOICE = (nn.ReLU, nn.LeakyReLU, nn.ELU, nn.SELU, nn.SiLU)
_SAMPLES = 8  # a network that reads an input again does so for each of them


def overwriting_activations(module: nn.Module, batch: Tensor) -> tuple[str, ...]:
    """Names of a module's activations, if all of them may write over their inputs; else none.

    Each input is overwritten with NaN as soon as its activation is computed: what else reads it shows in the outputs.
    What belongs to the module or to the batch is never overwritten.

    Args:
        module: in evaluation mode.
        batch: inputs of it.
    """
    few = batch[:_SAMPLES].clone()
    kept = {t.untyped_storage().data_ptr() for t in (*module.parameters(), *module.buffers(), few)}
    suited = {m: name for name, m in module.named_modules() if type(m) in _WITH_A_CHOICE and not m._forward_hooks}
    belongs: list[bool] = []

    def spoil(layer: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
        del layer, output
        belongs.append(given[0].untyped_storage().data_ptr() in kept)
        if not belongs[-1]:
            given[0].copy_(given[0].new_full((), math.nan))

    with torch.inference_mode():
        expected = module(few)
        handles = [m.register_forward_hook(spoil) for m in suited]
        try:
            unread = torch.equal(module(few), expected)
        finally:
            for handle in handles:
                handle.remove()
    return tuple(suited.values()) if unread and not any(belongs) else ()
