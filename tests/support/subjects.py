"""Subjects of measures made from modules, without a zoo."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from landsweep.sweeps.lab.losses import LOSSES
from landsweep.sweeps.measure.subject import Samples, StoredModel, Subject

__all__ = ["run_of", "samples_of", "stored_model", "subject_of"]


def samples_of(inputs: Tensor, targets: Tensor, loss: str = "cross_entropy", batch_size: int = 64) -> Samples:
    """The samples of the evaluator `train`."""
    return Samples("train", inputs, targets, LOSSES[loss], batch_size)


def stored_model(
    module: nn.Module,
    key: str = "a",
    label: str = "last",
    step: int | None = None,
    row: Mapping[str, Any] | None = None,
) -> StoredModel:
    """A module as a stored model; each build is a copy of it in evaluation mode."""
    kept = copy.deepcopy(module).eval()
    return StoredModel(key, label, step, row or {}, kept.state_dict(), lambda: copy.deepcopy(kept))


def subject_of(
    *modules: nn.Module, samples: Samples | None = None, batches: Sequence[Tensor] = (), seed: int = 0
) -> Subject:
    """Models of unlike keys, on one evaluator."""
    models = tuple(stored_model(m, key=f"model{i}") for i, m in enumerate(modules))
    return Subject(models, {} if samples is None else {samples.name: samples}, tuple(batches), seed)


def run_of(checkpoints: Mapping[int, nn.Module]) -> Subject:
    """The checkpoints of one run: step to module."""
    models = [stored_model(m, "run", f"step-{step:06d}", step) for step, m in checkpoints.items()]
    return Subject(tuple(models), {}, (), 0)
