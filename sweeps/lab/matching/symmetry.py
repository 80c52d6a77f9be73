"""The hidden units of a network that can change places without a change of its function: found, then proved.

Nothing is read off names or types of layers: one forward pass is followed (`trace`), so residual streams, padded
shortcuts, heads of attention and own networks need no list. What was found is tried out on the very network: with its
units shuffled it must give the same outputs.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.matching.axes import Atom, Sum, length, parts
from landsweep.sweeps.lab.matching.trace import Trace

__all__ = ["Place", "Symmetry", "Units", "find_symmetry", "moved", "permute", "shuffled"]

_EQUAL = 1e-9


@dataclass(frozen=True, slots=True)
class Place:
    """Where the units are in one axis of one tensor: of `outer` repeats of N x `block` elements, from `start` on.

    Attributes:
        tensor: name in the state dict; of activations, name of the layer.
        dim: the axis.
        start: first element.
        outer: repeats.
        block: elements of a unit that lie side by side: a head's features, a channel's pixels after flattening.
    """

    tensor: str
    dim: int
    start: int
    outer: int
    block: int


@dataclass(frozen=True, slots=True)
class Units:
    """Hidden units that change places together, wherever they occur.

    Attributes:
        name: the first layer that has them.
        size: how many, N.
        places: in the tensors of the state dict.
        written: in the outputs of the layers with a weight matrix that give them values.
    """

    name: str
    size: int
    places: tuple[Place, ...]
    written: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class Symmetry:
    """All the hidden units of a network that can change places.

    Attributes:
        units: in the order of the state dict.
        layers: names of the linear and convolutional layers whose outputs are hidden units.
    """

    units: tuple[Units, ...]
    layers: tuple[str, ...]


def find_symmetry(module: nn.Module, inputs: Tensor, instead: str = "use `match: none`") -> Symmetry:
    """Find the units, and prove on this network that they can change places.

    The heads of attention change places as blocks; features inside a head stay.

    Args:
        module: the network; it stays as it is.
        inputs: [n, ...] a few samples.
        instead: what errors suggest where units can't change places.

    Raises:
        SpecError: an operation has no rule (which, and in which layer), no unit can move, or outputs change.
    """
    trial = copy.deepcopy(module).double().eval()
    samples = inputs.double() if inputs.is_floating_point() else inputs
    trace = Trace(trial, samples[:2])
    if trace.unknown:
        raise SpecError(
            f"matching: it has no rule for what happens to hidden units in {', '.join(trace.unknown[:6])}; "
            f"{instead}, or write the layer with operations that have one: linear layers, convolutions, "
            "normalisations, attention, element by element"
        )
    units = _units(trace, trial)
    if not units:
        raise SpecError(f"matching: no hidden units of this network can change places; {instead}")
    _prove(trial, units, samples, instead)
    matrices = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
    named = dict(trial.named_modules())
    layers = {p.tensor for u in units for p in u.written if isinstance(named[p.tensor], matrices)}
    return Symmetry(units, tuple(name for name in trace.outputs if name in layers))


def permute(state: Mapping[str, Tensor], units: Sequence[Units], orders: Sequence[Tensor]) -> dict[str, Tensor]:
    """The same function with hidden units in another order.

    Args:
        state: a state dict; not changed.
        units: of the network.
        orders: for each of them [N]: which old unit comes to each place.
    """
    new = dict(state)
    for group, order in zip(units, orders, strict=True):
        if bool((order == torch.arange(group.size)).all()):
            continue
        for place in group.places:
            new[place.tensor] = moved(new[place.tensor], place, order)
    return new


def moved(t: Tensor, place: Place, order: Tensor) -> Tensor:
    """A tensor with the units at one place in another order [N]."""
    n = len(order)
    index = torch.arange(t.shape[place.dim], device=t.device)
    part = index[place.start : place.start + place.outer * n * place.block].view(place.outer, n, place.block)
    part.copy_(part[:, order.to(t.device)].clone())
    return t.index_select(place.dim, index)


def shuffled(state: Mapping[str, Tensor], units: Sequence[Units], generator: torch.Generator) -> dict[str, Tensor]:
    """The same function with all units in a random order."""
    return permute(state, units, [torch.randperm(u.size, generator=generator) for u in units])


def _units(trace: Trace, module: nn.Module) -> tuple[Units, ...]:
    places: dict[int, list[Place]] = {}
    sizes: dict[int, int] = {}
    inside: set[int] = set()  # features inside a head, which lie in several blocks
    for name, axes in trace.tensors.items():
        for dim, axis in enumerate(axes):
            for atom, place in _places(name, dim, axis, inside):
                places.setdefault(id(atom), []).append(place)
                sizes[id(atom)] = atom.size
    written: dict[int, list[Place]] = {}
    for name, axes in trace.outputs.items():
        if any(p.ndim > 1 for p in module.get_submodule(name).parameters(recurse=False)):
            for dim, axis in enumerate(axes):
                for atom, place in _places(name, dim, axis, set()):
                    written.setdefault(id(atom), []).append(place)
    return tuple(
        Units(held[0].tensor.rpartition(".")[0], sizes[atom], tuple(held), tuple(written.get(atom, ())))
        for atom, held in places.items()
        if atom not in inside
    )


def _places(name: str, dim: int, axis: Sum, inside: set[int]) -> list[tuple[Atom, Place]]:
    found = []
    start = 0
    for product in parts(axis):
        for i, atom in enumerate(product):
            if atom.fixed:
                continue
            if any(not outer.fixed for outer in product[:i]):
                inside.add(id(atom))
            found.append((atom, Place(name, dim, start, length(product[:i]), length(product[i + 1 :]))))
        start += length(product)
    return found


def _prove(trial: nn.Module, units: Sequence[Units], samples: Tensor, instead: str) -> None:
    """Outputs before and after a shuffle, in double precision, with weights and statistics that are all different."""
    generator = torch.Generator().manual_seed(0)
    state = {
        name: t + 0.3 * torch.rand(t.shape, generator=generator, dtype=torch.float64).to(t)
        if t.is_floating_point()
        else t.clone()
        for name, t in trial.state_dict().items()
    }
    with torch.no_grad():
        trial.load_state_dict(state)
        before: Tensor = trial(samples)
        trial.load_state_dict(shuffled(state, units, generator))
        after: Tensor = trial(samples)
    if not bool((before - after).abs().max() <= _EQUAL * before.abs().max()):
        raise SpecError(
            "matching: with its hidden units in another order this network gives other outputs, so what was found of "
            f"its layers does not hold; {instead}"
        )
