"""States are written beside the training, in a thread of their own, one at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
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
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None

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
        self._thread = threading.Thread(
            target=self._write, args=(units, wanted, state, written), name="landsweep-state"
        )
        self._thread.start()

    def finish(self) -> None:
        """Wait until all is written.

        Raises:
            StorageError: it could not be.
        """
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def _write(
        self,
        units: Sequence[Unit],
        wanted: Collection[str],
        state: Mapping[str, NDArray[Any]],
        written: Callable[[], None],
    ) -> None:
        try:
            written()
            self._files.save(units, wanted, state)
        except Exception as e:  # noqa: BLE001 - raised where it is waited for
            self._error = e
