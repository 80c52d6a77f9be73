"""States are written beside the training, in a thread of their own, one at a time."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from numpy.typing import NDArray

from landsweep.orchestrator.unit import Unit
from landsweep.sweeps.lab.training_units.states import StateFiles

__all__ = ["Saver"]


class Saver:
    """Writes the states of one pack while it trains.

    Only one state is written at a time. If writing takes longer than the time between two states, the training waits:
    otherwise the work that a failure loses would grow without bound.

    Args:
        files: of the state.
    """

    def __init__(self, files: StateFiles) -> None:
        self._files = files
        self._writing: Future[None] | None = None

    def save(
        self,
        units: Sequence[Unit],
        wanted: Collection[str],
        state: Mapping[str, NDArray[Any]],
        written: Callable[[], None] = lambda: None,
    ) -> None:
        """Begin to write a state, after the previous one has been written.

        Args:
            units: of the pack, in order.
            wanted: keys of the units that are to be returned.
            state: of their training; nobody may change its arrays.
            written: waits until the parts of the state that are stored elsewhere have been written.

        Raises:
            StorageError: the previous state could not be written.
        """
        self.finish()
        thread = ThreadPoolExecutor(1, "landsweep-state")
        self._writing = thread.submit(self._write, units, wanted, state, written)
        thread.shutdown(wait=False)

    def finish(self) -> None:
        """Wait until all is written.

        Raises:
            StorageError: it could not be.
        """
        if self._writing is not None:
            error = self._writing.exception()
            self._writing = None
            if error is not None:
                raise error

    def _write(
        self,
        units: Sequence[Unit],
        wanted: Collection[str],
        state: Mapping[str, NDArray[Any]],
        written: Callable[[], None],
    ) -> None:
        written()
        self._files.save(units, wanted, state)
