"""Files of weights: many models in one, stacked. A row says which file, pack and slot hold its model.

A file holds tensors `PACK/LABEL/NAME` of shape [K, ...]: for each pack in it and each checkpoint label one tensor per
entry of the state dict, model k of the pack at place k. A model without a checkpoint of that label (it diverged before)
has NaN there, or 0 in tensors of whole numbers; its row lists the labels that it has.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from landsweep.orchestrator.kind import Arrays
from landsweep.orchestrator.storage.artifacts import Artifacts
from landsweep.orchestrator.unit import digest

__all__ = ["FORMAT", "ModelPlace", "Packed", "WeightFile"]

FORMAT = "landsweep-zoo-1"
_STEP = "step-"


@dataclass(frozen=True, slots=True)
class ModelPlace:
    """Where a model's weights lie: file, number of the pack in it, place in the pack, labels in order of training."""

    file: str
    pack: int
    slot: int
    labels: tuple[str, ...]
    checksum: str


@dataclass(slots=True)
class Packed:
    """The checkpoints of the models of one pack, as they come.

    Attributes:
        keys: of the units, in the order of the slots.
        shape: shape of one input, without the batch dimension.
        outputs: how many numbers each network gives for a sample.
        states: label to slot to state dict.
        steps: for each slot, label to step: for the order of labels.
    """

    keys: Sequence[str]
    shape: Sequence[int]
    outputs: int
    states: dict[str, dict[int, Arrays]] = field(default_factory=dict)
    steps: dict[int, dict[str, int]] = field(default_factory=dict)

    def add(self, slot: int, label: str, step: int, state: Mapping[str, Tensor]) -> None:
        """Take in one checkpoint; a later one of the same label replaces it."""
        self.states.setdefault(label, {})[slot] = {k: v.numpy() for k, v in state.items()}
        self.steps.setdefault(slot, {})[label] = step

    def labels(self, slot: int) -> tuple[str, ...]:
        """The labels of one model, numbered ones by step, then best and last."""
        steps = self.steps.get(slot, {})
        return tuple(sorted(steps, key=lambda label: (not label.startswith(_STEP), steps[label], label)))

    def stacked(self) -> dict[str, NDArray[Any]]:
        """`LABEL/NAME` to [K, ...]."""
        arrays: dict[str, NDArray[Any]] = {}
        for label, states in self.states.items():
            for name, like in next(iter(states.values())).items():
                empty = np.nan if like.dtype.kind == "f" else 0
                stack = np.full((len(self.keys), *like.shape), empty, like.dtype)
                for slot, state in states.items():
                    stack[slot] = state[name]
                arrays[f"{label}/{name}"] = stack
        return arrays

    @property
    def size(self) -> int:
        """Bytes, about."""
        return sum(a.nbytes for states in self.states.values() for state in states.values() for a in state.values())


class WeightFile:
    """Packs that will be written as one file.

    Args:
        artifacts: where to write; None keeps nothing, and places have no file.
    """

    def __init__(self, artifacts: Artifacts | None) -> None:
        self._artifacts = artifacts
        self._packs: list[Packed] = []

    def add(self, pack: Packed) -> None:
        """Take in a pack whose training has ended."""
        self._packs.append(pack)

    @property
    def size(self) -> int:
        """Bytes, about."""
        return sum(pack.size for pack in self._packs)

    def write(self) -> dict[str, ModelPlace]:
        """Write the file; gives key to place for each model with at least one checkpoint. The next file is empty."""
        packs, self._packs = self._packs, []
        arrays = {f"{i}/{name}": a for i, pack in enumerate(packs) for name, a in pack.stacked().items()}
        if not arrays or self._artifacts is None:
            return {}
        file = f"weights/pack-{digest([list(p.keys) for p in packs], size=8)}.safetensors"
        about = [{"shape": list(p.shape), "outputs": p.outputs, "keys": list(p.keys)} for p in packs]
        checksum = self._artifacts.save(file, arrays, {"format": FORMAT, "packs": json.dumps(about)})
        return {
            key: ModelPlace(file, i, slot, labels, checksum)
            for i, pack in enumerate(packs)
            for slot, key in enumerate(pack.keys)
            if (labels := pack.labels(slot))
        }
