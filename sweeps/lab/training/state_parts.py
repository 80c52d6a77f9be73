"""States of models of which each member of a gang holds a part: each writes its own, and any number of them reads all.

torch.distributed.checkpoint plans which pieces a member writes and reads, see `part_pieces`, which is imported where
there are parts. The files are those of all states, and members tell each other what they have written by `Collective`:
torch's own exchanges and files unpickle what comes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.storage.artifacts import Artifacts
from landsweep.sweeps.lab.training.collective import Collective, together

__all__ = ["Parts", "files_of"]

_FILE = re.compile(r"states/[\w-]+\.part-\d+-\d+\.safetensors")  # a state may come from anybody


class Parts:
    """The parts of one state after the other, and who writes them.

    Args:
        artifacts: of the sweep.
        stem: path under which the state's files are called.
        gang: whose members write, each in a thread; None: there is one process, which only reads.
    """

    def __init__(self, artifacts: Artifacts, stem: str, gang: Collective | None = None) -> None:
        self.stem = stem
        self._artifacts, self._gang = artifacts, gang
        self._writing: Future[None] | None = None
        self._files: list[str] = []

    def write(self, tensors: Mapping[str, Tensor], step: int) -> NDArray[np.uint8]:
        """Begin to write this member's part; all members call it together. Gives what `read` needs, as a text.

        Args:
            tensors: by name, distributed among the members.
            step: of the training.

        Raises:
            StorageError: the part before could not be written.
        """
        assert self._gang is not None, "only members of a gang write parts"
        from landsweep.sweeps.lab.training.part_pieces import written

        self._finish()
        self._files = [f"{self.stem}.part-{step}-{rank}.safetensors" for rank in range(self._gang.size)]
        file = self._files[self._gang.rank]
        with together():
            writer = written(tensors, self._gang.rank)
        places = {name: {**entry, "chunks": []} for name, entry in writer.places.items()}
        for member in self._gang.each(json.dumps(writer.places)):
            for name, entry in json.loads(member).items():
                places[name]["chunks"] += entry["chunks"]
        thread = ThreadPoolExecutor(1, "landsweep-part")
        self._writing = thread.submit(self._write, file, writer.arrays)
        thread.shutdown(wait=False)
        return np.frombuffer(json.dumps({"files": self._files, "tensors": places}).encode(), np.uint8)

    def _write(self, file: str, arrays: Mapping[str, NDArray[Any]]) -> None:
        self._artifacts.keep(file, arrays)
        if self._gang is not None:
            self._gang.note(file)

    def _finish(self) -> None:
        if self._writing is not None:
            error = self._writing.exception()
            self._writing = None
            if error is not None:
                raise error

    def wait(self) -> None:
        """Until the last state is whole: the first member for all parts, the others for their own.

        Raises:
            StorageError: this member's could not be written.
            GangBroken: that of another one does not come.
        """
        self._finish()
        if self._gang is not None and self._gang.rank == 0 and self._files:
            self._gang.await_notes(self._files)

    def read(self, about: NDArray[np.uint8], tensors: Mapping[str, Tensor]) -> None:
        """Fill tensors, of which this process may hold parts, with what `write` was given.

        Args:
            about: what `write` gave.
            tensors: by name; overwritten.

        Raises:
            SpecError: a part is missing, or is of other tensors.
        """
        from landsweep.sweeps.lab.training.part_pieces import fill

        files_of(about)
        fill(tensors, self._artifacts, about)


def files_of(about: NDArray[np.uint8]) -> list[str]:
    """The files in which the parts lie.

    Raises:
        SpecError: this is not what `Parts.write` gives.
    """
    try:
        files = json.loads(about.tobytes())["files"]
        if all(_FILE.fullmatch(file) for file in files):
            return list(files)
    except (ValueError, KeyError, TypeError):
        pass
    raise SpecError("resume: this does not say in which files the parts of the state lie")
