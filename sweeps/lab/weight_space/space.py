"""Spaces: where a grid moves. Weights of a network, its inputs, or any tensors of any function."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import torch
from torch import Tensor

__all__ = ["Space"]

_ALIGN = 16  # elements: every tensor starts at a multiple of 64 bytes, as if it had been allocated alone


@dataclass(frozen=True, slots=True)
class _Bucket:
    """All tensors of one type on one device, as one vector: a move is one operation, however many layers there are."""

    base: Tensor
    live: Tensor
    directions: Mapping[str, Tensor]


class Space:
    """Tensors that move together: base + sum of coordinate times direction, always from the base, so errors never add.

    While a space is open the tensors look into its own memory. `close` gives them back their old memory, which nothing
    has written to: they come back bit for bit, after an exception too.

    Args:
        center: the tensors to move, by name; floating point. They are changed in place.
        directions: axis to direction; a direction is a tensor for each name, and 0 where a name is left out.

    Raises:
        ValueError: a direction has a name that is not in the center, or another shape.

    Example:
        >>> w = torch.tensor([1.0, 2.0])
        >>> with Space({"w": w}, {"x": {"w": torch.tensor([1.0, 0.0])}}) as space:
        ...     space.move({"x": 0.5})
        ...     print(w)
        tensor([1.5000, 2.0000])
        >>> w
        tensor([1., 2.])
    """

    def __init__(self, center: Mapping[str, Tensor], directions: Mapping[str, Mapping[str, Tensor]]) -> None:
        for axis, direction in directions.items():
            for name, d in direction.items():
                if name not in center or d.shape != center[name].shape:
                    expected = list(center[name].shape) if name in center else "no such tensor"
                    raise ValueError(f"direction {axis}: {name} has shape {list(d.shape)}, the center: {expected}")
        self.axes = tuple(directions)
        self._tensors = dict(center)
        self._originals = {name: t.data for name, t in center.items()}
        self._buckets: list[_Bucket] = []
        kinds = dict.fromkeys((t.dtype, t.device) for t in center.values())
        for dtype, device in kinds:
            names = [n for n, t in center.items() if (t.dtype, t.device) == (dtype, device)]
            self._buckets.append(self._bucket(names, directions))

    def _bucket(self, names: list[str], directions: Mapping[str, Mapping[str, Tensor]]) -> _Bucket:
        starts, size = {}, 0
        for name in names:
            starts[name] = size
            size += math.ceil(self._originals[name].numel() / _ALIGN) * _ALIGN
        like = self._originals[names[0]]

        def flat(values: Mapping[str, Tensor]) -> Tensor:
            vector = torch.zeros(size, dtype=like.dtype, device=like.device)
            for name in names:
                if name in values:
                    _part(vector, starts[name], values[name]).copy_(values[name])
            return vector

        with torch.no_grad():
            base = flat(self._originals)
            live = base.clone()
            bucket = _Bucket(base, live, {axis: flat(d) for axis, d in directions.items()})
        for name in names:
            self._tensors[name].data = _part(live, starts[name], self._originals[name])
        return bucket

    @torch.no_grad()
    def move(self, coordinates: Mapping[str, float]) -> None:
        """Set the tensors to base + sum of coordinate times direction; an axis left out is at 0."""
        for bucket in self._buckets:
            source = bucket.base
            for axis, c in coordinates.items():
                torch.add(source, bucket.directions[axis], alpha=c, out=bucket.live)
                source = bucket.live
            if not coordinates:
                bucket.live.copy_(bucket.base)

    def restore(self) -> None:
        """Move back to the base, exactly."""
        self.move({})

    def close(self) -> None:
        """Give the tensors their old memory back."""
        for name, t in self._tensors.items():
            t.data = self._originals[name]
        self._tensors = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _part(vector: Tensor, start: int, like: Tensor) -> Tensor:
    return vector[start : start + like.numel()].view(like.shape)
