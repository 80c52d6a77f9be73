"""What consumers of a training rely on, whatever trains: one process here, several GPUs elsewhere."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from landsweep.sweeps.lab.training.events import TrainingEvent

__all__ = ["Trainer"]


class Trainer(Iterator[TrainingEvent], ABC):
    """Trains the models of a pack, and emits what becomes of them. Models go by the index of their recipe.

    Between two events its whole state can be saved. A trainer that is restored from it emits all events before it once
    more, beats excepted, so that a consumer that starts with nothing ends with everything.

    Attributes:
        started_at: steps that were made before it began: of a branch, by its main run; else 0.
    """

    started_at: int

    @property
    @abstractmethod
    def backend(self) -> str:
        """Name of the back-end that trains."""

    @property
    def note(self) -> str:
        """Which faster way of making steps was taken, or why it was not; empty where none was asked for."""
        return ""

    @abstractmethod
    def stop(self, index: int) -> None:
        """End this model soon: it is evaluated, its `last` weights come if they are kept, and it ends as `stopped`."""

    @abstractmethod
    def drop(self, indices: Sequence[int]) -> None:
        """Remove these models; no further events are emitted for them."""

    @abstractmethod
    def state(self) -> dict[str, NDArray[Any]]:
        """All that training on needs, by name; to be called between two events.

        Raises:
            SpecError: an optimizer keeps something that is no array and no number.
        """

    def written(self) -> None:
        """Wait until what the last `state` has begun to write by itself is written; from any thread."""

    @abstractmethod
    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Train on from a state instead of from the beginning; to be called before the first event.

        Raises:
            SpecError: the state is of other recipes, or of another back-end, or not whole.
        """
