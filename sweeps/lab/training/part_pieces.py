"""Which pieces of distributed tensors a member writes and reads, as torch.distributed.checkpoint plans it."""

from __future__ import annotations

import json
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

__all__ = ["PieceWriter", "fill", "written"]


def written(tensors: Mapping[str, Tensor], rank: int) -> PieceWriter:
    """Copies of the pieces that the member of this rank holds, and their places."""
    writer = PieceWriter(rank)
    save(dict(tensors), storage_writer=writer, planner=_OwnPlan(), use_collectives=False)
    return writer


def fill(tensors: Mapping[str, Tensor], artifacts: Artifacts, about: NDArray[np.uint8]) -> None:
    """Fill tensors, of which this process may hold parts, from files.

    Args:
        tensors: by name; overwritten.
        artifacts: with the files.
        about: a text in JSON: `files`, and `tensors` with the `places` of all members.

    Raises:
        SpecError: a part is missing, or is of other tensors.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "torch.distributed is disabled")  # each member reads for itself
            load(dict(tensors), storage_reader=_Reader(artifacts, about), no_dist=True)
    except (CheckpointException, RuntimeError, ValueError, KeyError, TypeError) as e:
        raise SpecError(f"resume: the parts of the state are not whole, or of another network: {e}") from e


class _OwnPlan(DefaultSavePlanner):
    """The plan of one member, which knows no other's."""

    def create_global_plan(self, all_plans: list[SavePlan]) -> tuple[list[SavePlan], Metadata]:
        return all_plans, Metadata({})


class PieceWriter(StorageWriter):
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
