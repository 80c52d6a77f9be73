"""Where the parameters of a network lie in a row of numbers, and reductions over each of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

import torch
from torch import Tensor, nn

__all__ = ["Layout"]


@dataclass(frozen=True, slots=True)
class Layout:
    """Where in a row each parameter lies.

    Attributes:
        shapes: name to shape, in the order of `named_parameters`; tied parameters come once.
        aliases: each key of the state dict to the parameter or buffer it holds.
        embeddings: names of the parameters that are tables of an embedding.
    """

    shapes: dict[str, torch.Size]
    aliases: dict[str, str]
    embeddings: frozenset[str] = field(default=frozenset())

    @classmethod
    def of(cls, module: nn.Module) -> Self:
        """The layout of a module's parameters."""
        shapes = {name: p.shape for name, p in module.named_parameters()}
        names = {id(t): n for n, t in (*module.named_buffers(), *module.named_parameters())}
        kept = module.state_dict(keep_vars=True)
        tables = {names[id(m.weight)] for m in module.modules() if isinstance(m, nn.Embedding)}
        return cls(shapes, {key: names[id(t)] for key, t in kept.items()}, frozenset(tables))

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

    def each(self, rows: Tensor, reduction: Callable[[Tensor], Tensor]) -> Tensor:
        """A number for each parameter, [K, T].

        Args:
            rows: [K, P].
            reduction: from [K, n], of one parameter, to [K].
        """
        return torch.stack([reduction(part) for part in torch.split(rows, self.sizes, 1)], 1)

    def spread(self, each: Tensor) -> Tensor:
        """Numbers for each parameter, [K, T], repeated over its places, [K, P]."""
        sizes = torch.tensor(self.sizes, device=each.device)
        return each.repeat_interleave(sizes, 1, output_size=self.size)

    def matrices(self) -> list[str]:
        """Names of the parameters with two axes or more, but for tables of embeddings."""
        return [name for name, shape in self.shapes.items() if len(shape) >= 2 and name not in self.embeddings]

    def inner(self) -> list[str]:
        """Of the parameters with two axes or more, all but the first, the last, and tables of embeddings."""
        wide = [name for name, shape in self.shapes.items() if len(shape) >= 2]
        return [name for name in wide[1:-1] if name not in self.embeddings]
