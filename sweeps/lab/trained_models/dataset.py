"""A zoo's weights as a torch data set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from landsweep.sweeps.lab.trained_models.member import Member

__all__ = ["WeightSet"]


class WeightSet(torch.utils.data.Dataset[Any]):
    """Weight vectors [P] of models, with a target each; `Zoo.dataset` makes one.

    Args:
        model_of: gives the model with a key; models are looked up when their item is asked for.
        items: key of a model and label of a checkpoint for each item.
        target: column of the rows to give beside a vector; None gives vectors alone.
        transform: applied to each vector.
        permute: seed of random permutations of hidden units; `set_epoch` draws others.
        canonical: bring hidden units into the canonical order; without effect where they are permuted.
    """

    def __init__(
        self,
        model_of: Callable[[str], Member],
        items: Sequence[tuple[str, str]],
        target: str | None = None,
        transform: Callable[[Tensor], Tensor] | None = None,
        permute: int | None = None,
        *,
        canonical: bool = False,
    ) -> None:
        self._model_of, self._items = model_of, items
        self._target, self._transform = target, transform
        self._permute, self._canonical = permute, canonical
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Draw other permutations from now on."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> Any:  # noqa: ANN401 - a vector, or a vector and its target
        key, label = self._items[index]
        model = self._model_of(key)
        if self._permute is not None:
            words = np.random.SeedSequence([self._permute, self._epoch, index]).generate_state(1, np.uint64)
            state = model.permuted(int(words[0]), label)
        else:
            state = model.canonical(label) if self._canonical else model.state(label)
        vector = model.files.architecture(model.row, state).vector(state)
        vector = vector if self._transform is None else self._transform(vector)
        return vector if self._target is None else (vector, model.row[self._target])
