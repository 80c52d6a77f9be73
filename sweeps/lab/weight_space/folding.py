"""Batch normalisation folded into the layer before it: the same function in fewer passes over memory.

At fixed statistics a normalisation is affine in each channel, (x - mean) / sqrt(var + eps) * weight + bias, and so is
the convolution before it; their product is one convolution with other weights. Sums are rounded in another order, so
that outputs agree to rounding only. Which normalisation follows which layer is seen in one forward pass, and that the
folded network computes the same is not taken for granted: `Shortcut` compares both.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping
from typing import TypeAlias, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from landsweep.sweeps.lab.models.layers import GhostNorm1d, GhostNorm2d

__all__ = ["FoldedModule", "Shortcut", "foldable"]

Forward: TypeAlias = Callable[[Tensor], Tensor]
_Affine: TypeAlias = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d

_LAYERS: dict[type[nn.Module], int] = {
    nn.Linear: 2,
    nn.Conv1d: 3,
    nn.Conv2d: 4,
    nn.Conv3d: 5,
}  # dimensions of their outputs
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, GhostNorm1d, GhostNorm2d)
_TRIALS = 3  # forward passes in which both ways are compared and timed
_ALLOWED = 100  # units in the last place, of the norm of the outputs


def foldable(module: nn.Module, batch: Tensor) -> dict[str, str]:
    """Which normalisations can be folded: their names, with those of the layers whose outputs they take.

    Args:
        module: in evaluation mode.
        batch: inputs for one forward pass.
    """
    outputs: dict[nn.Module, list[Tensor]] = {}
    inputs: dict[nn.Module, list[Tensor]] = {}

    def note(layer: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
        outputs.setdefault(layer, []).append(output)
        inputs.setdefault(layer, []).append(given[0])

    suited = [m for m in module.modules() if (type(m) in _LAYERS or _is_fixed_norm(m)) and not _has_hooks(m)]
    handles = [m.register_forward_hook(note) for m in suited]
    try:
        with torch.inference_mode():
            module(batch)
    finally:
        for handle in handles:
            handle.remove()
    names = {m: name for name, m in module.named_modules()}
    sources = {id(o[0]): m for m, o in outputs.items() if type(m) in _LAYERS and len(o) == 1}
    pairs = {}
    for norm, given in inputs.items():
        layer = sources.get(id(given[0])) if len(given) == 1 and type(norm) in _NORMS else None
        if layer is not None and given[0].ndim == _LAYERS[type(layer)]:
            pairs[names[norm]] = names[layer]
    return pairs if len(set(pairs.values())) == len(pairs) else {}


class FoldedModule:
    """A second module that computes the same as a first, wherever that is moved to.

    Args:
        module: in evaluation mode; its tensors may be written to in place afterwards, not replaced.
        pairs: what `foldable` gave for it.
    """

    def __init__(self, module: nn.Module, pairs: Mapping[str, str]) -> None:
        self._module = copy.deepcopy(module)
        tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
        for name, t in (*self._module.named_parameters(), *self._module.named_buffers()):
            t.data = tensors[name].data
        self._folds: list[tuple[_BatchNorm, _Affine, _Affine]] = []  # normalisation, its layer, the folded layer
        for norm_name, layer_name in pairs.items():
            norm = cast(_BatchNorm, module.get_submodule(norm_name))
            source = cast(_Affine, module.get_submodule(layer_name))
            layer = cast(_Affine, self._module.get_submodule(layer_name))
            layer.weight = nn.Parameter(torch.empty_like(source.weight), requires_grad=False)
            layer.bias = nn.Parameter(source.weight.new_empty(len(source.weight)), requires_grad=False)
            self._module.set_submodule(norm_name, nn.Identity())
            self._folds.append((norm, source, layer))

    @torch.no_grad()
    def fold(self) -> None:
        """Take over where the first module is now."""
        for norm, source, layer in self._folds:
            assert norm.running_mean is not None and norm.running_var is not None and layer.bias is not None
            scale = torch.rsqrt(norm.running_var + norm.eps)
            if norm.affine:
                scale = scale * norm.weight
            shift = -norm.running_mean if source.bias is None else source.bias - norm.running_mean
            layer.weight.copy_(source.weight * scale.view(-1, *[1] * (source.weight.ndim - 1)))
            layer.bias.copy_(shift * scale)
            if norm.affine:
                layer.bias.add_(norm.bias)

    def forward(self, batch: Tensor) -> Tensor:
        """Outputs of the module, where it was when `fold` was called last."""
        outputs: Tensor = self._module(batch)
        return outputs


class Shortcut:
    """Forward passes of a module that moves, by the folded one if that agrees with it and is faster.

    The first passes are made both ways, and count as the module's own.

    Args:
        module: in evaluation mode, set up to be moved.
        forward: of it.
        batch: inputs to find out with what can be folded.

    Attributes:
        taken: whether the passes since the last `move` were those of the folded module.
    """

    def __init__(self, module: nn.Module, forward: Forward, batch: Tensor) -> None:
        self._exact, self._device = forward, batch.device
        self._folded: FoldedModule | None = None
        self._seconds = [0.0, 0.0]
        self._trials = 0
        self.taken = False
        pairs = foldable(module, batch) if batch.dtype in (torch.float32, torch.float64) else {}
        if pairs:
            self._folded = FoldedModule(module, pairs)

    def move(self) -> None:
        """Note that the module is somewhere else now."""
        if self._folded is None:
            return
        began = self._clock()
        self._folded.fold()
        self.taken = self._trials >= _TRIALS
        self._seconds[1] += self._clock() - began

    def forward(self, batch: Tensor) -> Tensor:
        """Outputs of the module where it is."""
        if self._folded is None:
            return self._exact(batch)
        if self.taken:
            return self._folded.forward(batch)
        began = self._clock()
        outputs = self._exact(batch)
        middle = self._clock()
        folded = self._folded.forward(batch)
        self._seconds[0] += middle - began
        self._seconds[1] += self._clock() - middle
        self._trials += 1
        if not _agree(outputs, folded) or (self._trials >= _TRIALS and self._seconds[1] > self._seconds[0]):
            self._folded = None
        return outputs

    def _clock(self) -> float:
        """Seconds, at which a GPU has done all that it was asked for."""
        if self._device.type == "cuda" and not self.taken:
            torch.cuda.synchronize(self._device)
        return time.perf_counter()


def _agree(outputs: Tensor, others: Tensor) -> bool:
    """Whether outputs are equal to rounding; those that are not finite prove nothing."""
    if outputs.shape != others.shape:
        return False
    allowed = _ALLOWED * torch.finfo(outputs.dtype).eps * outputs.norm()
    return bool((outputs - others).norm() <= allowed)


def _is_fixed_norm(module: nn.Module) -> bool:
    return type(module) in _NORMS and not module.training and module.running_mean is not None


def _has_hooks(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)
