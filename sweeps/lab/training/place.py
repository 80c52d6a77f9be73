"""Which samples of each batch a process computes: all, or its part where several train one model together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from landsweep.orchestrator.errors import SpecError

__all__ = ["ALONE", "Place"]


@dataclass(frozen=True, slots=True)
class Place:
    """A process among `size` that share each batch: it computes the samples number rank, rank + size, ...

    A member for which none is left computes the first sample, which then counts nothing.

    Example:
        >>> [Place(rank, 2).part(5) for rank in (0, 1)], Place(1, 2).part(1)
        ([slice(0, 5, 2), slice(1, 5, 2)], slice(0, 1, 2))
        >>> Place(0, 2).share(5), Place(1, 2).share(5), Place(1, 2).share(1)
        (0.6, 0.4, 0.0)
    """

    rank: int = 0
    size: int = 1

    def count(self, samples: int) -> int:
        """How many of `samples` samples are this process's."""
        return len(range(self.rank, samples, self.size))

    def share(self, samples: int) -> float:
        """The same as a share of all."""
        return self.count(samples) / samples

    def part(self, samples: int) -> slice:
        """Positions of those that it computes."""
        return slice(self.rank if self.count(samples) else 0, samples, self.size)

    def masks_of(self, masks: Mapping[str, Tensor], samples: int) -> dict[str, Tensor]:
        """Of masks [K, B, ...] for a whole batch, by name of the buffer, those of its part.

        Raises:
            SpecError: one does not have samples along this axis.
        """
        if self.size == 1:
            return dict(masks)
        if odd := [name for name, mask in masks.items() if mask.shape[1] != samples]:
            raise SpecError(
                f"devices: the dropout layer {odd[0].removesuffix('.dropout_mask')} does not have samples along its "
                "first axis, so devices can't share a batch; let one device train this model"
            )
        return {name: mask[:, self.part(samples)] for name, mask in masks.items()}


ALONE = Place()
"""Of a process that trains by itself."""
