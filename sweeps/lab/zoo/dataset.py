"""A zoo's weights as a torch data set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from orchestrator.errors import UsageError

if TYPE_CHECKING:
    from sweeps.lab.zoo.reader import Zoo

__all__ = ["WeightSet"]


class WeightSet(torch.utils.data.Dataset[Any]):
    """Weight vectors [P] of a zoo, with a target each; made by `Zoo.dataset`.

    Args:
        zoo: its models are the items, in order, each as often as it has one of the labels.
        target: column of the rows to give beside them; None gives vectors alone.
        labels: of checkpoints.
        transform: applied to each vector.
        permute: seed of random permutations of hidden units; `set_epoch` draws others.
        canonical: bring hidden units into the canonical order.

    Raises:
        UsageError: there is no such column.
    """

    def __init__(
        self,
        zoo: Zoo,
        target: str | None = None,
        labels: Sequence[str] = ("last",),
        transform: Callable[[Tensor], Tensor] | None = None,
        permute: int | None = None,
        *,
        canonical: bool = False,
    ) -> None:
        if target is not None and target not in zoo.rows:
            raise UsageError(f"there is no column {target!r}; the rows have {', '.join(map(str, zoo.rows.columns))}")
        self._zoo, self._target, self._transform = zoo, target, transform
        self._permute, self._canonical = permute, canonical
        self._epoch = 0
        self._items = [(member.key, label) for member in zoo for label in labels if label in member.labels]

    def set_epoch(self, epoch: int) -> None:
        """Draw other permutations from now on."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> Any:  # noqa: ANN401 - a vector, or a vector and its target
        key, label = self._items[index]
        member = self._zoo[key]
        if self._permute is not None:
            words = np.random.SeedSequence([self._permute, self._epoch, index]).generate_state(1, np.uint64)
            state = member.permuted(int(words[0]), label)
        else:
            state = member.canonical(label) if self._canonical else member.state(label)
        vector = self._zoo.architecture(key, label).vector(state)
        vector = vector if self._transform is None else self._transform(vector)
        return vector if self._target is None else (vector, member.row[self._target])
