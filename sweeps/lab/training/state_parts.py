"""States of models of which each member of a gang holds a part: each writes its own, and any number of them reads all.

torch.distributed.checkpoint plans which pieces a member writes and reads. The files are those of all states, and
members tell each other what they have written by `Collective`: torch's own exchanges and files unpickle what comes.
"""

from __future__ import annotations

import json
import re
import threading
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.default_planner import DefaultSavePlanner
from torch.distributed.checkpoint.metadata import (
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    TensorProperties,
    TensorStorageMetadata,
)
from torch.distributed.checkpoint.planner import LoadPlan, LoadPlanner, SavePlan, SavePlanner
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.checkpoint.storage import StorageReader, StorageWriter, WriteResult
from torch.futures import Future

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
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None
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
        self._finish()
        self._files = [f"{self.stem}.part-{step}-{rank}.safetensors" for rank in range(self._gang.size)]
        file, writer = self._files[self._gang.rank], _Writer(self._gang.rank)
        with together():
            save(dict(tensors), storage_writer=writer, planner=_OwnPlan(), use_collectives=False)
        places = {name: {**entry, "chunks": []} for name, entry in writer.places.items()}
        for member in self._gang.each(json.dumps(writer.places)):
            for name, entry in json.loads(member).items():
                places[name]["chunks"] += entry["chunks"]
        self._thread = threading.Thread(target=self._write, args=(file, writer.arrays), name="landsweep-part")
        self._thread.start()
        return np.frombuffer(json.dumps({"files": self._files, "tensors": places}).encode(), np.uint8)

    def _write(self, file: str, arrays: Mapping[str, NDArray[Any]]) -> None:
        try:
            self._artifacts.keep(file, arrays)
            if self._gang is not None:
                self._gang.note(file)
        except Exception as e:  # noqa: BLE001 - raised where it is waited for
            self._error = e

    def _finish(self) -> None:
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._error is not None:
            error, self._error = self._error, None
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
        files_of(about)
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "torch.distributed is disabled")  # each member reads for itself
                load(dict(tensors), storage_reader=_Reader(self._artifacts, about), no_dist=True)
        except (CheckpointException, RuntimeError, ValueError, KeyError, TypeError) as e:
            raise SpecError(f"resume: the parts of the state are not whole, or of another network: {e}") from e


def files_of(about: NDArray[np.uint8]) -> list[str]:
    """The files in which the parts lie.

    Raises:
        SpecError: this says no such thing.
    """
    try:
        files = json.loads(about.tobytes())["files"]
        if all(_FILE.fullmatch(file) for file in files):
            return list(files)
    except (ValueError, KeyError, TypeError):
        pass
    raise SpecError("resume: this does not say in which files the parts of the state lie")


class _OwnPlan(DefaultSavePlanner):
    """The plan of one member, which knows no other's."""

    def create_global_plan(self, all_plans: list[SavePlan]) -> tuple[list[SavePlan], Metadata]:
        return all_plans, Metadata({})


class _Writer(StorageWriter):
    """Takes copies of what this member is to write, and notes where in the whole each piece belongs.

    Attributes:
        arrays: the pieces, by name in the file.
        places: by tensor, its type and shape, and [offsets, sizes, rank, name in the file] of each piece.
    """

    def __init__(self, rank: int) -> None:
        self._rank = rank
        self.arrays: dict[str, NDArray[Any]] = {}
        self.places: dict[str, Any] = {}

    def write_data(self, plan: SavePlan, planner: SavePlanner) -> Future[list[WriteResult]]:
        for i, item in enumerate(plan.items):
            tensor, data = planner.resolve_data(item), item.tensor_data
            assert isinstance(tensor, Tensor) and data is not None, "states are tensors"
            self.arrays[str(i)] = tensor.detach().cpu().numpy().copy()
            dtype = str(data.properties.dtype).removeprefix("torch.")
            entry = self.places.setdefault(item.index.fqn, {"dtype": dtype, "shape": list(data.size), "chunks": []})
            entry["chunks"].append([list(data.chunk.offsets), list(data.chunk.sizes), self._rank, str(i)])
        done: Future[list[WriteResult]] = Future()
        done.set_result([])
        return done

    def finish(self, metadata: Metadata, results: list[list[WriteResult]]) -> None:
        pass

    def prepare_local_plan(self, plan: SavePlan) -> SavePlan:
        return plan

    def prepare_global_plan(self, plans: list[SavePlan]) -> list[SavePlan]:
        return plans

    def set_up_storage_writer(self, is_coordinator: bool, *args: object, **kwargs: object) -> None:
        pass

    def reset(self, checkpoint_id: object = None) -> None:
        pass

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: object) -> bool:
        return True


class _Reader(StorageReader):
    """Reads each file that has something for this process once."""

    def __init__(self, artifacts: Artifacts, about: NDArray[np.uint8]) -> None:
        self._artifacts = artifacts
        self._about: dict[str, Any] = json.loads(about.tobytes())

    def read_metadata(self, *args: object, **kwargs: object) -> Metadata:
        tensors: dict[str, Any] = {}
        where: dict[MetadataIndex, tuple[int, str]] = {}
        for name, entry in self._about["tensors"].items():
            chunks = [ChunkStorageMetadata(torch.Size(at), torch.Size(sizes)) for at, sizes, _, _ in entry["chunks"]]
            properties = TensorProperties(getattr(torch, entry["dtype"]))
            tensors[name] = TensorStorageMetadata(properties, torch.Size(entry["shape"]), chunks)
            where |= {MetadataIndex(name, torch.Size(at)): (rank, key) for at, _, rank, key in entry["chunks"]}
        return Metadata(tensors, storage_data=where)

    def set_up_storage_reader(self, metadata: Metadata, is_coordinator: bool, *args: object, **kwargs: object) -> None:
        self._where: Mapping[MetadataIndex, tuple[int, str]] = metadata.storage_data

    def read_data(self, plan: LoadPlan, planner: LoadPlanner) -> Future[None]:
        items = sorted(plan.items, key=lambda item: self._where[item.storage_index][0])
        current, arrays = -1, {}
        for item in items:
            rank, key = self._where[item.storage_index]
            if rank != current:
                file = self._about["files"][rank]
                current, arrays = rank, self._artifacts.load(file) or {}
            source = torch.from_numpy(np.array(arrays[key]))
            for axis, (start, length) in enumerate(zip(item.storage_offsets, item.lengths, strict=True)):
                source = source.narrow(axis, start, length)
            target = planner.resolve_tensor(item).detach()
            target.copy_(source)
            planner.commit_tensor(item, target)
        done: Future[None] = Future()
        done.set_result(None)
        return done

    def prepare_local_plan(self, plan: LoadPlan) -> LoadPlan:
        return plan

    def prepare_global_plan(self, plans: list[LoadPlan]) -> list[LoadPlan]:
        return plans

    def reset(self, checkpoint_id: object = None) -> None:
        pass

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: object) -> bool:
        return True
