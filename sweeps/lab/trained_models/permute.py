"""Permutations of hidden units that leave a network's function as it is, and a canonical order.

A hidden unit of a fully connected net, or a channel of a convolution, has no place of its own: exchange two of them,
with their incoming weights, bias, normalisation and outgoing weights, and the outputs stay the same. Published
generators of such augmentations come without a test of that (arXiv 2209.14764 augments, 2304.13718 canonicalises);
here it is tried out on each network before it is used: `prove_permutations`.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.models.layers import GhostNorm1d, GhostNorm2d, NoNorm, Shift
from landsweep.sweeps.lab.models.plain import misread

__all__ = ["Hidden", "canonical_order", "hidden_layers", "permute", "permuted", "prove_permutations"]

_ACTIVATIONS = (nn.ReLU, nn.GELU, nn.Tanh, nn.SiLU, nn.Sigmoid, nn.LeakyReLU, nn.ELU, nn.SELU, nn.Identity)
_NORMS = (NoNorm, Shift, nn.BatchNorm1d, nn.BatchNorm2d, GhostNorm1d, GhostNorm2d, nn.LayerNorm, nn.GroupNorm)
_DROPOUT = (nn.Dropout, nn.Dropout1d, nn.Dropout2d)
_SHAPES = (nn.Flatten, nn.AdaptiveAvgPool2d, nn.AvgPool2d, nn.MaxPool2d)
_KNOWN = (nn.Linear, nn.Conv2d, *_ACTIVATIONS, *_NORMS, *_DROPOUT, *_SHAPES)
_TRIED, _EQUAL = 8, 1e-9


@dataclass(frozen=True, slots=True)
class Hidden:
    """One hidden layer: the tensors in which its units are a dimension.

    Attributes:
        size: how many units or channels, N.
        along: names of tensors [N, ...] that belong to the units: incoming weights, bias, normalisation.
        into: name of the next weight, [out, N * block, ...].
        block: how many inputs of the next layer one unit feeds: the pixels of a channel after flattening.
    """

    size: int
    along: tuple[str, ...]
    into: str
    block: int


def hidden_layers(module: nn.Module) -> tuple[Hidden, ...]:
    """The hidden layers of a network whose layers form a chain.

    A `forward` of the network's own may still do anything: `prove_permutations` tries the layers out.

    Raises:
        SpecError: they do not, or there is a layer that this module does not know: shortcuts, attention, subclasses.
    """
    if reason := misread(module, _KNOWN, root=True):
        raise SpecError(f"permutations: {reason}; only MLPs and plain CNNs are known")
    chain = [(name, layer) for name, layer in module.named_modules() if type(layer) in _KNOWN]
    layers: list[Hidden] = []
    along: list[str] = []
    size = 0
    for name, layer in chain:
        if isinstance(layer, nn.Linear | nn.Conv2d):
            if getattr(layer, "groups", 1) != 1:
                raise SpecError(f"permutations: {name} is a grouped convolution, which can't be permuted freely")
            inputs = layer.weight.shape[1]
            if size:
                if inputs % size:
                    raise SpecError(f"permutations: {name} has {inputs} inputs after a layer of {size} units: no chain")
                layers.append(Hidden(size, tuple(along), f"{name}.weight", inputs // size))
            size, along = layer.weight.shape[0], [f"{name}.{k}" for k, _ in layer.named_parameters()]
            continue
        tensors = {k: v for k, v in layer.state_dict().items() if v.dim()}
        if isinstance(layer, nn.GroupNorm) and layer.num_groups not in (1, size):
            raise SpecError(f"permutations: {name} normalises groups of channels, which fixes their places")
        if any(v.shape != (size,) for v in tensors.values()):
            raise SpecError(f"permutations: {name} is a {type(layer).__name__}; only MLPs and plain CNNs are known")
        along += [f"{name}.{k}" for k in tensors]
    return tuple(layers)


def prove_permutations(module: nn.Module, layers: Sequence[Hidden], shape: Sequence[int]) -> None:
    """Try out that permutations keep the function: outputs for random inputs and weights, before and after.

    In double precision, where what is only summed in another order agrees to 1e-9 of the largest output.

    Args:
        module: the network; it stays as it is.
        layers: as `hidden_layers` gives them.
        shape: shape of one input, without the batch dimension.

    Raises:
        SpecError: the outputs differ.
    """
    trial = copy.deepcopy(module).double().eval()
    generator = torch.Generator().manual_seed(0)
    state = {
        name: t + 0.3 * torch.rand(t.shape, generator=generator, dtype=t.dtype) if t.is_floating_point() else t
        for name, t in trial.state_dict().items()
    }
    inputs = torch.rand(_TRIED, *shape, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        trial.load_state_dict(state)
        before: Tensor = trial(inputs.clone())
        trial.load_state_dict(permuted(state, layers, seed=1))
        after: Tensor = trial(inputs.clone())
    if not bool((before - after).abs().max() <= _EQUAL * before.abs().max()):
        raise SpecError(
            "permutations: with its hidden units in another order this network gives other outputs, so its layers are "
            "no plain chain (a shortcut, or a layer that is used twice or not in order)"
        )


def permute(state: Mapping[str, Tensor], layers: Sequence[Hidden], orders: Sequence[Tensor]) -> dict[str, Tensor]:
    """The same function with hidden units in another order.

    Args:
        state: a state dict; not changed.
        layers: of the network, as `hidden_layers` gives them.
        orders: for each layer [N]: which old unit comes to each place.
    """
    new = dict(state)
    for layer, order in zip(layers, orders, strict=True):
        for name in layer.along:
            new[name] = new[name][order]
        weight = new[layer.into]
        grouped = weight.reshape(weight.shape[0], layer.size, layer.block, *weight.shape[2:])
        new[layer.into] = grouped[:, order].reshape(weight.shape)
    return new


def permuted(state: Mapping[str, Tensor], layers: Sequence[Hidden], seed: int) -> dict[str, Tensor]:
    """The same function with all hidden units shuffled."""
    rng = np.random.Generator(np.random.Philox(seed))
    return permute(state, layers, [torch.from_numpy(rng.permutation(layer.size)) for layer in layers])


def canonical_order(state: Mapping[str, Tensor], layers: Sequence[Hidden]) -> dict[str, Tensor]:
    """The same function in an order that does not depend on the one given: incoming weights of growing norm.

    The norm of a unit is that of all its tensors together, bias included; units of exactly equal norm keep their
    order. Norms do not depend on the order of the layer before, so all layers are sorted at once.
    """
    orders = []
    for layer in layers:
        tensors = [state[name].double().reshape(layer.size, -1) for name in layer.along]
        squares = torch.cat(tensors, dim=1).square().sort(dim=1).values  # sorted: the sum then has one order too
        orders.append(torch.argsort(squares.sum(1), stable=True))
    return permute(state, layers, orders)
