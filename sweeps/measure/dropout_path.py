"""The path between two dropout-stable networks that arXiv 1912.10095 constructs: piecewise linear, without training.

A network goes to its own half: from the last hidden layer down, half of the units of a layer are left out and the rest
scaled up. Units that are left out have no outgoing weights, so their incoming ones may be anything: they take a copy of
the kept units, and outgoing weights of the last hidden layer move from one half to the other. Where these alone move,
outputs are linear in them and a convex loss is below the higher of the ends; everywhere else it stays as it is.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.matching.symmetry import Place, Symmetry

__all__ = ["Chain", "chain_of", "dropout_path"]

State = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class _Layer:
    """A hidden layer: the tensors whose rows are its units, and the next weight, [out, N * block, ...]."""

    size: int
    rows: tuple[str, ...]
    weight: str
    into: str
    block: int


@dataclass(frozen=True, slots=True)
class Chain:
    """Hidden layers, each of which feeds the next one alone, and the tensors of the output layer."""

    layers: tuple[_Layer, ...]
    last: tuple[str, ...]


def chain_of(symmetry: Symmetry, names: Sequence[str]) -> Chain:
    """The hidden layers of a network as a chain.

    Args:
        symmetry: of the network.
        names: of its parameters.

    Raises:
        SpecError: they are none: a unit feeds several layers, several write to it, or a layer has a single unit.
    """
    layers = {u.written[0].tensor: _layer(u.size, u.written[0].tensor, u.places) for u in symmetry.units if u.written}
    ordered = [layers.get(name) for name in symmetry.layers]
    good = len(ordered) == len(symmetry.units) and all(len(u.written) == 1 for u in symmetry.units)
    chain = [layer for layer in ordered if layer is not None]
    good = good and len(chain) == len(ordered) and all(a.into == b.weight for a, b in itertools.pairwise(chain))
    last = tuple(n for n in names if chain and n.rpartition(".")[0] == chain[-1].into.rpartition(".")[0])
    if not good or set(names) - {*last, *(name for layer in chain for name in layer.rows)}:
        raise SpecError(
            "dropout_path: it is defined for networks whose hidden layers form a chain, such as an mlp or a plain cnn: "
            "each unit is written by one layer and read by the next alone, and each layer has several"
        )
    return Chain(tuple(chain), last)


def _layer(size: int, name: str, places: Sequence[Place]) -> _Layer | None:
    rows = tuple(p.tensor for p in places if p.dim == 0)
    columns = [p for p in places if p.dim == 1]
    plain = all(p.start == 0 and p.outer == 1 for p in places) and all(p.block == 1 for p in places if p.dim == 0)
    if len(columns) != 1 or not plain:
        return None
    return _Layer(size, rows, f"{name}.weight", columns[0].tensor, columns[0].block)


def dropout_path(chain: Chain, a: Mapping[str, Tensor], b: Mapping[str, Tensor], kept: Sequence[Tensor]) -> list[State]:
    """The corners of the path from A to B.

    Args:
        chain: of both.
        a: state dict of A.
        b: state dict of B.
        kept: for each hidden layer the units that stay, at most half of them.
    """
    there, back = list(_halved(chain, a, kept)), list(_halved(chain, b, kept))
    return [*there, *_over(chain, there[-1], back[-1], kept), *reversed(back)]


def _halved(chain: Chain, state: Mapping[str, Tensor], kept: Sequence[Tensor]) -> Iterator[State]:
    """From a network to its own half."""
    layers, spare = chain.layers, _spare(chain, kept)
    now = dict(state)
    yield now
    now = {**now, layers[-1].into: _thinned(now, layers[-1], kept[-1])}
    yield now
    for i in range(len(layers) - 1, 0, -1):  # layer i - 1 is left out by half, in the copy that begins at layer i
        thinned = _thinned(now, layers[i - 1], kept[i - 1])
        source = {**now, layers[i].weight: thinned}
        for old, new in ((kept, spare), (spare, kept)):
            now = _copied(chain, now, source, i, old, new)
            yield now
            now = {**now, layers[-1].into: _transferred(now, layers[-1], old[-1], new[-1])}
            yield now
            source = now


def _over(chain: Chain, a: State, b: State, kept: Sequence[Tensor]) -> Iterator[State]:
    """From the half of A to that of B, which end on the same units."""
    spare, into = _spare(chain, kept), chain.layers[-1].into
    now = _copied(chain, a, b, 0, kept, spare)
    yield now
    outputs = {name: b[name] for name in chain.last}
    now = {**now, **outputs, into: _transferred(b, chain.layers[-1], kept[-1], spare[-1])}
    yield now
    now = _copied(chain, now, now, 0, spare, kept)
    yield now
    yield {**now, into: _transferred(now, chain.layers[-1], spare[-1], kept[-1])}


def _spare(chain: Chain, kept: Sequence[Tensor]) -> list[Tensor]:
    """As many units of each layer that are left out as are kept."""
    every = [torch.arange(layer.size) for layer in chain.layers]
    return [e[~torch.isin(e, k)][: len(k)] for e, k in zip(every, kept, strict=True)]


def _columns(t: Tensor, layer: _Layer) -> Tensor:
    """The next weight by units, [out, N, ...]; a view."""
    return t.view(t.shape[0], layer.size, layer.block, *t.shape[2:])


def _thinned(state: Mapping[str, Tensor], layer: _Layer, kept: Tensor) -> Tensor:
    """The next weight with the units that are kept scaled up, and 0 for the others."""
    factor = torch.zeros(layer.size, dtype=torch.float64)
    factor[kept] = layer.size / len(kept)
    t = state[layer.into].contiguous()
    shape = (1, layer.size, *[1] * (t.ndim - 1))
    return (_columns(t, layer) * factor.to(t.dtype).view(shape)).view_as(t)


def _transferred(state: Mapping[str, Tensor], layer: _Layer, old: Tensor, new: Tensor) -> Tensor:
    """The next weight with the columns of `old` units at `new` ones, and 0 at the old."""
    t = state[layer.into].clone(memory_format=torch.contiguous_format)
    columns = _columns(t, layer)
    moving = columns[:, old].clone()
    columns[:, old] = 0
    columns[:, new] = moving
    return t


def _copied(
    chain: Chain, state: State, source: State, first: int, old: Sequence[Tensor], new: Sequence[Tensor]
) -> State:
    """A network whose `new` units, from layer `first` on, do what the `old` ones of `source` do, among themselves."""
    copy = dict(state)
    for i in range(first, len(chain.layers)):
        layer = chain.layers[i]
        for name in layer.rows:
            t = copy[name].clone(memory_format=torch.contiguous_format)
            rows = source[name][old[i]].contiguous()
            if name == layer.weight and i > first:  # inputs come from the new units of the layer before, and no others
                before = chain.layers[i - 1]
                by_unit = _columns(rows, before)
                moved = torch.zeros_like(by_unit)
                moved[:, new[i - 1]] = by_unit[:, old[i - 1]]
                rows = moved.view_as(rows)
            t[new[i]] = rows
            copy[name] = t
    return copy
