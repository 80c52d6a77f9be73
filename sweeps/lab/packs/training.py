"""The training of a pack: an iterator of events whose whole state can be kept and gone on from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from sweeps.lab.data import Data
from sweeps.lab.packs.events import PackEvent
from sweeps.lab.recipe import Recipe

__all__ = ["Training", "train_pack"]

Arrays = Mapping[str, NDArray[Any]]


class Training(Iterator[PackEvent]):
    """A pack in training: an iterator of events.

    Attributes:
        backend: the back-end that trains, `auto` having been decided.
    """

    backend: str

    def __next__(self) -> PackEvent:
        raise NotImplementedError

    def state(self) -> dict[str, NDArray[Any]]:
        """All that going on needs, between two events: weights, buffers, optimizer, position, and the events so far.

        Small enough to keep often if the checkpoint policy is: snapshots that were given are part of it.
        """
        raise NotImplementedError

    def stop(self, index: int) -> None:
        """Let the model of this recipe end now; it is evaluated, its `last` weights come, and it ends as `stopped`."""
        raise NotImplementedError


def train_pack(
    recipes: Sequence[Recipe],
    data: Data,
    *,
    device: str = "cpu",
    backend: str = "auto",
    resume: Arrays | None = None,
    base: Path = Path(),
) -> Training:
    """Train all recipes, which must have equal pack keys, as one stacked computation.

    Args:
        recipes: one per model.
        data: what their common `data` loads, on `device`.
        device: `cpu` or `cuda:0`.
        backend: `loop`, `vmap`, `bmm`, `compiled`, or `auto`: the fastest of those that serve these recipes here.
        resume: what `Training.state` gave for the same recipes. Training goes on from there; the events before it come
            again first, so that a consumer that starts with nothing ends with everything.
        base: folder that relative paths start from.

    Raises:
        SpecError: recipes differ in what a pack shares, don't fit the data, or the back-end does not serve them.
    """
    raise NotImplementedError
