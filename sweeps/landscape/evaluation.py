"""What judges the points of a landscape: evaluators, and the batches that statistics are taken from."""

from __future__ import annotations

import torch

from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.kind import Workbench
from landsweep.sweeps.lab.data import Data
from landsweep.sweeps.lab.weight_space.evaluators import Evaluators
from landsweep.sweeps.landscape.spec import LandscapeSpec

__all__ = ["evaluators_of", "training_batches"]


def evaluators_of(spec: LandscapeSpec, data: Data, dtype: torch.dtype, bench: Workbench) -> Evaluators:
    """The evaluators for networks whose numbers are of this type."""
    return Evaluators(
        spec.evaluators,
        data.cast(dtype),
        lambda d: d.load(bench.folder).to(bench.device).cast(dtype),
        spec.batch_size,
        bench.folder,
    )


def training_batches(spec: LandscapeSpec, model: str, data: Data) -> tuple[torch.Tensor, ...]:
    """The first training batches, in the order of the data, from which `batch_norm: reestimate` takes its statistics.

    Raises:
        SpecError: the data lacks the split that the model is trained on.
    """
    split = spec.models[model].split
    if split not in data.splits:
        raise SpecError(f"batch_norm: reestimate takes its batches from the split {split!r}, which the data lacks")
    first = data.splits[split].head(spec.batch_size * spec.reestimate_batches)
    return torch.split(first.inputs, spec.batch_size)
