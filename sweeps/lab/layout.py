"""Where the trained parameters of a network lie in a row of numbers, and reductions over each of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Self

import torch
from torch import Tensor, nn

from landsweep.orchestrator.errors import SpecError

__all__ = ["Layout"]


@dataclass(frozen=True, slots=True)
class Layout:
    """Where in a row each trained parameter lies.

    Attributes:
        shapes: name to shape, in the order of `named_parameters`; tied parameters come once. Parameters that do not
            train are not among them.
        aliases: each key of the state dict to the parameter or buffer it holds.
        embeddings: names of the parameters that are tables of an embedding.
        fixed: names of the parameters that do not train: those with `requires_grad=False`, and `idle` ones.
        idle: of these, the parameters that the loss does not depend on; torch's optimizers leave them alone too.
        ends: names of the first and the last parameter with two axes or more, trained or not; none: those of `shapes`.
    """

    shapes: dict[str, torch.Size]
    aliases: dict[str, str]
    embeddings: frozenset[str] = field(default=frozenset())
    fixed: tuple[str, ...] = ()
    idle: tuple[str, ...] = ()
    ends: frozenset[str] | None = None

    @classmethod
    def of(cls, module: nn.Module, idle: Collection[str] = ()) -> Self:
        """The layout of a module's parameters.

        Args:
            module: the network.
            idle: names of parameters that its loss does not depend on.

        Raises:
            SpecError: no parameter trains, or the state dict holds something else than parameters and buffers.
        """
        every = dict(module.named_parameters())
        shapes = {n: p.shape for n, p in every.items() if p.requires_grad and n not in idle}
        if not shapes:
            raise SpecError("net: none of its parameters trains: each is frozen (requires_grad=False) or not used")
        names = {id(t): n for n, t in (*module.named_buffers(), *every.items())}
        state = module.state_dict(keep_vars=True)
        if unknown := [key for key, t in state.items() if id(t) not in names]:
            raise SpecError(
                f"net: its state dict holds {unknown[0]!r}, which is neither a parameter nor a buffer of the network; "
                "register it as a buffer, so that it can be kept with each model"
            )
        tables = {names.get(id(m.weight), "") for m in module.modules() if isinstance(m, nn.Embedding)}
        return cls(
            shapes,
            {key: names[id(t)] for key, t in state.items()},
            frozenset(tables),
            tuple(n for n in every if n not in shapes),
            tuple(n for n in every if n in idle),
            _ends({n: p.shape for n, p in every.items()}),
        )

    @property
    def size(self) -> int:
        """Numbers in a row."""
        return sum(self.sizes)

    @property
    def sizes(self) -> list[int]:
        """Numbers in each parameter."""
        return [math.prod(shape) for shape in self.shapes.values()]

    def split(self, rows: Tensor) -> dict[str, Tensor]:
        """Views [K, *shape] of rows [K, P]."""
        parts = zip(self.shapes.items(), torch.split(rows, self.sizes, 1), strict=True)
        return {name: part.view(len(part), *shape) for (name, shape), part in parts}

    def places(self, names: Collection[str]) -> Tensor:
        """Columns [n] of a row that hold these parameters, in the row's order."""
        ends = [0, *accumulate(self.sizes)]
        spans = [torch.arange(ends[i], ends[i + 1]) for i, name in enumerate(self.shapes) if name in names]
        return torch.cat([torch.arange(0), *spans])

    def each(self, rows: Tensor, reduction: Callable[[Tensor], Tensor]) -> Tensor:
        """A number for each parameter, [K, T].

        Args:
            rows: [K, P].
            reduction: from [K, n], of one parameter, to [K].
        """
        return torch.stack([reduction(part) for part in torch.split(rows, self.sizes, 1)], 1)

    def spread(self, each: Tensor) -> Tensor:
        """Numbers for each parameter, [K, T], repeated over its places, [K, P]."""
        # By views, since `repeat_interleave` wants the sizes as a tensor, which would be a copy to the device.
        return torch.cat([each[:, i : i + 1].expand(-1, size) for i, size in enumerate(self.sizes)], 1)

    def matrices(self) -> list[str]:
        """Names of the parameters with two axes or more, but for tables of embeddings."""
        return [name for name, shape in self.shapes.items() if len(shape) >= 2 and name not in self.embeddings]

    def inner(self) -> list[str]:
        """Of the parameters with two axes or more, all but the first, the last, and tables of embeddings."""
        ends = _ends(self.shapes) if self.ends is None else self.ends
        return [name for name in self.matrices() if name not in ends]


def _ends(shapes: Mapping[str, torch.Size]) -> frozenset[str]:
    wide = [name for name, shape in shapes.items() if len(shape) >= 2]
    return frozenset((*wide[:1], *wide[-1:]))
