"""Stored models as a spec pins them: by key and checkpoint, with the checksum of their weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import torch
from torch import Tensor

from landsweep.orchestrator.axes import Value
from landsweep.orchestrator.spec import Section
from landsweep.orchestrator.unit import as_python, digest
from landsweep.sweeps.lab.identity import by_content

__all__ = ["PinnedModel", "PinnedModels", "content", "shapes_of", "values_of", "weights_digest"]


class PinnedModel(Section):
    """One model at one checkpoint: all that a plan needs to know of it.

    Attributes:
        key: of the model in its sweep.
        label: of the checkpoint.
        step: optimizer steps of the checkpoint; None where that is not known.
        weights: digest of the state dict; with key and label the model's identity.
        shapes: digest of names, shapes and types of the state dict.
        network: digest of the network's definition.
        data: digest of the data that it was trained on; None where the source does not say.
        params: what was swept in its sweep, in the order of `PinnedModels.params`.
        metrics: what its sweep says of it, in the order of `PinnedModels.metrics`.
    """

    key: str
    label: str
    step: int | None
    weights: str
    shapes: str
    network: str
    data: str | None
    params: tuple[int | float | bool | str | None, ...]
    metrics: tuple[int | float | None, ...]


class PinnedModels(Section):
    """The models that a reference stands for.

    Attributes:
        params: names of what was swept in their sweep.
        metrics: names of the metrics that are taken along.
        models: each at each of its checkpoints.
        note: what a user should know of the sweep, such as that it has not ended.
    """

    params: tuple[str, ...]
    metrics: tuple[str, ...]
    models: tuple[PinnedModel, ...]
    note: str = ""


def weights_digest(state: Mapping[str, Tensor]) -> str:
    """Digest of a state dict, 32 hexadecimal digits: names, shapes, types and bits; not the file that holds it."""
    total = blake2b(digest_size=16)
    for name, tensor in sorted(state.items()):
        total.update(f"{name}\n{tensor.dtype}\n{list(tensor.shape)}\n".encode())
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        total.update(flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b"")
    return total.hexdigest()


def shapes_of(state: Mapping[str, Tensor]) -> str:
    """Digest of names, shapes and types of a state dict: models in which it is equal have the same weight space."""
    return digest([[name, str(t.dtype), list(t.shape)] for name, t in sorted(state.items())], size=8)


def content(section: Section) -> str:
    """Digest of a part of a spec: by the content of its files, not by where they lie."""
    return digest(by_content(section.model_dump(mode="json")), size=8)


def values_of(row: Mapping[str, Any], names: tuple[str, ...]) -> tuple[Value, ...]:
    """Values of a row as a spec can hold them: what is missing or no number is None."""
    values = []
    for name in names:
        value = as_python(row.get(name))
        infinite = isinstance(value, float) and not math.isfinite(value)
        values.append(None if infinite or not isinstance(value, int | float | bool | str) else value)
    return tuple(values)
