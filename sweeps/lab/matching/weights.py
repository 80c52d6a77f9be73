"""Weight matching: bringing the hidden units of one network to the places of another's, by their weights alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from landsweep.sweeps.lab.matching.symmetry import Place, Symmetry, Units, moved

__all__ = ["Matching", "assign", "by_unit", "match_weights"]

_PASSES, _PROGRESS = 100, 1e-12


@dataclass(frozen=True, slots=True)
class Matching:
    """How the units of B come to the places of A's.

    Attributes:
        orders: for each group of units [N]: which unit of B comes to each place.
        objective: after each pass, the inner product of A's parameters with B's; never falls. Empty where it was not
            what is raised.
    """

    orders: tuple[Tensor, ...]
    objective: tuple[float, ...] = ()


def assign(similarity: Tensor) -> Tensor:
    """The order [N] of B's units that makes the sum of similarities [N of A, N of B] largest."""
    from scipy.optimize import linear_sum_assignment  # here, since plans and most sweeps need none of it

    _, order = linear_sum_assignment(similarity.cpu().numpy(), maximize=True)
    return torch.from_numpy(np.asarray(order))


def match_weights(
    a: Mapping[str, Tensor],
    b: Mapping[str, Tensor],
    symmetry: Symmetry,
    names: Sequence[str],
    generator: torch.Generator,
    start: Sequence[Tensor] | None = None,
) -> Matching:
    """Raise the inner product of the parameters of A and B by a linear assignment per group of units, in random order.

    That is algorithm 1 of arXiv 2209.04836. It starts from what the network's ends tell: group by group, from the
    inputs on, with only the tensors whose other units have their places already. So the result does not depend on the
    order in which B's units happen to come.

    Args:
        a: state dict of A.
        b: state dict of B.
        symmetry: of their network.
        names: of the parameters.
        generator: for the order of the groups.
        start: orders to begin with, instead.
    """
    parameters = set(names)
    left = {k: a[k].double() for k in a if k in parameters}
    problem = _Problem(left, {k: b[k].double() for k in left}, symmetry.units)
    orders = problem.greedy() if start is None else [order.clone() for order in start]
    right = problem.permuted(orders)
    objective = [_inner(left, right)]
    open_groups = set(range(len(symmetry.units)))  # those whose surroundings have changed since they were assigned
    for _ in range(_PASSES):
        for i in torch.randperm(len(symmetry.units), generator=generator).tolist():
            if i not in open_groups:
                continue
            open_groups.discard(i)
            group = symmetry.units[i]
            step = assign(problem.similarity(group, right))
            new = problem.moved(right, group, step)
            held = {p.tensor for p in group.places} & set(left)
            gain = _inner({k: left[k] for k in held}, new) - _inner({k: left[k] for k in held}, right)
            if gain > _PROGRESS * (1 + abs(objective[-1])):
                orders[i], right = orders[i][step], new
                open_groups |= problem.touching(i)
        objective.append(_inner(left, right))
        if not open_groups:
            break
    return Matching(tuple(orders), tuple(objective))


class _Problem:
    def __init__(self, a: Mapping[str, Tensor], b: Mapping[str, Tensor], units: Sequence[Units]) -> None:
        self._a, self._b, self._units = a, b, units

    def touching(self, i: int) -> set[int]:
        """The groups whose assignment depends on that of group i: itself too, where a tensor has its units twice."""
        held = [p.tensor for p in self._units[i].places]
        own = {i} if len(set(held)) < len(held) else set()
        return own | {
            j for j, group in enumerate(self._units) if j != i and any(p.tensor in held for p in group.places)
        }

    def similarity(self, group: Units, b: Mapping[str, Tensor], only: set[str] | None = None) -> Tensor:
        """Inner products [N, N] of all that belongs to each unit of A and of B."""
        total = torch.zeros(group.size, group.size, dtype=torch.float64)
        for place in group.places:
            if place.tensor in self._a and (only is None or place.tensor in only):
                total += (
                    by_unit(self._a[place.tensor], place, group.size) @ by_unit(b[place.tensor], place, group.size).T
                )
        return total

    def moved(self, b: Mapping[str, Tensor], group: Units, order: Tensor) -> dict[str, Tensor]:
        new = dict(b)
        for place in group.places:
            if place.tensor in new:
                new[place.tensor] = moved(new[place.tensor], place, order)
        return new

    def permuted(self, orders: Sequence[Tensor]) -> dict[str, Tensor]:
        b = dict(self._b)
        for group, order in zip(self._units, orders, strict=True):
            b = self.moved(b, group, order)
        return b

    def greedy(self) -> list[Tensor]:
        """From the inputs on, each group by the tensors whose other groups have their places."""
        waiting: dict[str, set[int]] = {k: set() for k in self._a}
        for i, group in enumerate(self._units):
            for place in group.places:
                if place.tensor in waiting:
                    waiting[place.tensor].add(i)
        orders = [torch.arange(group.size) for group in self._units]
        b = dict(self._b)
        left = set(range(len(self._units)))
        while left:
            sizes = {
                i: sum(self._a[k].numel() for k, others in waiting.items() if others == {i}) / self._units[i].size
                for i in left
            }
            i = max(left, key=lambda i: (sizes[i], -i))
            group = self._units[i]
            orders[i] = assign(self.similarity(group, b, {k for k, others in waiting.items() if others == {i}}))
            b = self.moved(b, group, orders[i])
            left.remove(i)
            for others in waiting.values():
                others.discard(i)
        return orders


def by_unit(t: Tensor, place: Place, n: int) -> Tensor:
    """All that belongs to each unit at one place, [N, elements]."""
    part = t.movedim(place.dim, 0)[place.start : place.start + place.outer * n * place.block]
    return part.reshape(place.outer, n, -1).movedim(1, 0).reshape(n, -1)


def _inner(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> float:
    return float(sum(torch.dot(t.reshape(-1), b[k].reshape(-1)) for k, t in a.items()))
