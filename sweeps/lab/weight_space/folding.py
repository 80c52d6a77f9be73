"""Faster ways to compute a module's outputs: batch normalisation folded into the layer before it, convolutions by rows.

At fixed statistics a normalisation is affine in each channel, (x - mean) / sqrt(var + eps) * weight + bias, and so is
the convolution before it; their product is one convolution with other weights. Sums are rounded in another order, so
that outputs agree to rounding only. Which normalisation follows which layer is seen in one forward pass, and that the
folded network computes the same is not taken for granted: `Shortcut` compares both. It also tries convolutions computed
row by row (`RowConvolution`), and takes what is fastest for this module on this machine.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from landsweep.sweeps.lab.models.layers import GhostNorm1d, GhostNorm2d
from landsweep.sweeps.lab.weight_space.row_convolution import RowConvolution, row_by_row

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
_TRIALS = 5  # forward passes in which all ways are compared and, after the first, timed
_WORTHWHILE = 0.95  # of the usual time, or less: differences below that are often the machine's
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


class _Folds:
    """Weights and biases of layers with the normalisations of their outputs in them.

    Scales and shifts of all channels of all layers are computed together, as vectors.

    Args:
        norms: the normalisations, at fixed statistics; their tensors may be written to in place, not replaced.
        layers: whose outputs they take, in the same order; likewise.

    Attributes:
        parts: weight and bias of each layer, which `compute` writes to.
    """

    def __init__(self, norms: Sequence[_BatchNorm], layers: Sequence[_Affine]) -> None:
        weights = [layer.weight.detach() for layer in layers]
        ones, zeros = ([make(w, len(w)) for w in weights] for make in (Tensor.new_ones, Tensor.new_zeros))
        self._variances = [cast(Tensor, norm.running_var) for norm in norms]
        self._means = [cast(Tensor, norm.running_mean) for norm in norms]
        self._factors = [n.weight.detach() if n.affine else one for n, one in zip(norms, ones, strict=True)]
        self._shifts = [n.bias.detach() if n.affine else zero for n, zero in zip(norms, zeros, strict=True)]
        self._own = [zero if m.bias is None else m.bias.detach() for m, zero in zip(layers, zeros, strict=True)]
        self._products: list[tuple[Tensor, Tensor, Tensor]] = []
        self.parts: list[tuple[Tensor, Tensor]] = []
        if not weights:
            return
        self._eps = torch.cat([norm.eps * one for norm, one in zip(norms, ones, strict=True)])
        self._scale, self._bias = torch.cat(ones), torch.cat(zeros)
        channels = [len(w) for w in weights]
        scales, biases = (torch.split(joined, channels) for joined in (self._scale, self._bias))
        for weight, scale, bias in zip(weights, scales, biases, strict=True):
            folded = torch.empty_like(weight)
            self._products.append((weight, scale.view(-1, *[1] * (weight.ndim - 1)), folded))
            self.parts.append((folded, bias))

    @torch.no_grad()
    def compute(self) -> None:
        """Write the parts anew."""
        if not self.parts:
            return
        scale = torch.add(torch.cat(self._variances), self._eps, out=self._scale).rsqrt_()
        scale.mul_(torch.cat(self._factors))
        torch.sub(torch.cat(self._own), torch.cat(self._means), out=self._bias)
        self._bias.mul_(scale).add_(torch.cat(self._shifts))
        for weight, factor, folded in self._products:
            torch.mul(weight, factor, out=folded)


class FoldedModule:
    """A second module that computes the same as a first, wherever that is moved to.

    Args:
        module: in evaluation mode; its tensors may be written to in place afterwards, not replaced.
        pairs: what `foldable` gave for it.
        rows: whether convolutions are computed by `RowConvolution` where it can be.
    """

    def __init__(self, module: nn.Module, pairs: Mapping[str, str], *, rows: bool = False) -> None:
        self._module = copy.deepcopy(module)
        tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
        for name, t in (*self._module.named_parameters(), *self._module.named_buffers()):
            t.data = tensors[name].data
        self._folds = _Folds(
            [cast(_BatchNorm, module.get_submodule(name)) for name in pairs],
            [cast(_Affine, module.get_submodule(name)) for name in pairs.values()],
        )
        for (norm_name, layer_name), (weight, bias) in zip(pairs.items(), self._folds.parts, strict=True):
            layer = cast(_Affine, self._module.get_submodule(layer_name))
            layer.weight = nn.Parameter(weight, requires_grad=False)
            layer.bias = nn.Parameter(bias, requires_grad=False)
            self._module.set_submodule(norm_name, nn.Identity())
        if rows:
            for name in _in_rows(self._module):
                layer = cast(nn.Conv2d, self._module.get_submodule(name))
                self._module.set_submodule(name, RowConvolution(layer))

    def fold(self) -> None:
        """Take over where the first module is now."""
        self._folds.compute()

    def forward(self, batch: Tensor) -> Tensor:
        """Outputs of the module, where it was when `fold` was called last."""
        outputs: Tensor = self._module(batch)
        return outputs


@dataclass(slots=True)
class _Way:
    """One way to compute a module's outputs.

    Attributes:
        module: None: the module itself.
        seconds: that the timed passes took.
        difference: largest one found, relative to the norm of the outputs.
    """

    module: FoldedModule | None
    seconds: float = 0.0
    difference: float = 0.0


class Shortcut:
    """Forward passes of a module that moves, by the fastest way that agrees with it and is worthwhile.

    The first passes are made in all ways, and count as the module's own.

    Args:
        module: in evaluation mode, set up to be moved.
        forward: of it.
        batch: inputs to find out with what can be folded.

    Attributes:
        taken: whether the passes since the last `move` were those of a faster way.
    """

    def __init__(self, module: nn.Module, forward: Forward, batch: Tensor) -> None:
        self._exact, self._device = forward, batch.device
        self._ways = [_Way(None)]
        self._trials = 0
        self.taken = False
        if batch.dtype not in (torch.float32, torch.float64):
            return
        pairs = foldable(module, batch)
        if pairs:
            self._ways.append(_Way(FoldedModule(module, pairs)))
        if batch.device.type == "cpu" and batch.ndim == 4 and _in_rows(module):
            self._ways.append(_Way(FoldedModule(module, pairs, rows=True)))

    @property
    def difference(self) -> float | None:
        """Between the outputs of the way that was taken and the module's own, where both were computed.

        The norm of their difference over that of the outputs, the largest of the first passes; None where the module's
        own outputs are taken.
        """
        return self._ways[0].difference if self.taken else None

    def move(self) -> None:
        """Note that the module is somewhere else now."""
        self.taken = len(self._ways) == 1 and self._ways[0].module is not None
        for way in self._ways:
            if way.module is not None:
                began = self._clock()
                way.module.fold()
                self._count(way, began)

    def forward(self, batch: Tensor) -> Tensor:
        """Outputs of the module where it is."""
        if self.taken:
            return self._by(self._ways[0], batch)
        if len(self._ways) == 1:
            return self._exact(batch)
        return self._try_all(batch)

    def _try_all(self, batch: Tensor) -> Tensor:
        own, *others = self._ways
        outputs: dict[int, Tensor] = {}
        for way in (
            self._ways if self._trials % 2 else reversed(self._ways)
        ):  # in turn, since the first finds caches cold
            try:
                outputs[id(way)] = self._timed(way, batch)
            except RuntimeError:  # such as `view` of outputs that lie in another order
                if way is own:
                    raise
        exact = outputs[id(own)]
        for way in others:
            difference = _difference(exact, outputs[id(way)]) if id(way) in outputs else math.nan
            way.difference = max(difference, way.difference)  # in this order nan stays
        self._trials += 1
        allowed = _ALLOWED * torch.finfo(batch.dtype).eps
        self._ways = [own, *(way for way in others if way.difference <= allowed)]
        if self._trials == _TRIALS:
            fastest = min(self._ways[1:], key=lambda way: way.seconds, default=own)
            self._ways = [fastest if fastest.seconds <= _WORTHWHILE * own.seconds else own]
        return exact

    def _timed(self, way: _Way, batch: Tensor) -> Tensor:
        began = self._clock()
        outputs = self._by(way, batch)
        self._count(way, began)
        return outputs

    def _by(self, way: _Way, batch: Tensor) -> Tensor:
        return self._exact(batch) if way.module is None else way.module.forward(batch)

    def _count(self, way: _Way, began: float) -> None:
        """Add what has passed since then, but not in the first trial, in which libraries prepare themselves."""
        if self._trials:
            way.seconds += self._clock() - began

    def _clock(self) -> float:
        """Seconds: of a GPU when it has done all that it was asked for, of processors those that were spent here."""
        if self._device.type != "cuda":
            return time.process_time()  # others on this machine do not count
        if not self.taken:
            torch.cuda.synchronize(self._device)
        return time.perf_counter()


def _in_rows(module: nn.Module) -> list[str]:
    """Names of the convolutions that can be computed row by row."""
    return [name for name, m in module.named_modules() if row_by_row(m) and not _has_hooks(m)]


def _difference(outputs: Tensor, others: Tensor) -> float:
    """Norm of the difference over that of the outputs; nan where they can't be compared."""
    if outputs.shape != others.shape:
        return math.nan
    return float((outputs - others).norm() / outputs.norm())


def _is_fixed_norm(module: nn.Module) -> bool:
    return type(module) in _NORMS and not module.training and module.running_mean is not None


def _has_hooks(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)
