"""A landscape on one worker: a module is moved from point to point, and evaluated at each."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch

from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.kind import Arrays, Workbench
from landsweep.orchestrator.row import Metric, Outcome, Status
from landsweep.orchestrator.unit import Unit
from landsweep.sweeps.lab.data import Data
from landsweep.sweeps.lab.models import number_type
from landsweep.sweeps.lab.weight_space.evaluators import Evaluators
from landsweep.sweeps.lab.weight_space.rig import MovableModule
from landsweep.sweeps.landscape.prepare import directions_name, under
from landsweep.sweeps.landscape.spec import LandscapeSpec

__all__ = ["LandscapeSession", "evaluators_of", "training_batches"]


class LandscapeSession:
    """Evaluates points: sets the weights in place, runs every evaluator once.

    Between calls of `evaluate` modules are at their centres; `close` gives them back untouched.
    """

    def __init__(self, spec: LandscapeSpec, prepared: Mapping[str, Arrays], bench: Workbench) -> None:
        torch.set_num_threads(bench.threads)
        self._spec, self._prepared, self._bench = spec, prepared, bench
        self._data = spec.data.load(bench.folder).to(bench.device)
        self._by_type: dict[torch.dtype, Evaluators] = {}
        self._at: tuple[str, int] | None = None
        self._movable: MovableModule | None = None
        self._geometry: dict[str, Metric] = {}

    def evaluate(self, units: Sequence[Unit]) -> Iterator[Outcome]:
        """One outcome for each unit; a loss that is not finite makes it `diverged`, with its values kept."""
        try:
            for unit in units:
                movable = self._moved(str(unit.params["model"]), int(unit.params["draw"] or 0))
                movable.move({axis: float(unit.params[axis] or 0) for axis in self._spec.axes})
                metrics = self._evaluators(movable.dtype)(movable.forward)
                losses = {k: v for k, v in metrics.items() if k.endswith("_loss")}
                infinite = [k for k, v in losses.items() if isinstance(v, float) and not np.isfinite(v)]
                metrics |= {"batch_norm": self._spec.batch_norm, **self._geometry}
                if infinite:
                    values = ", ".join(f"{k} = {losses[k]}" for k in infinite)
                    yield Outcome(unit.key, metrics, Status.diverged, error=f"not finite at this point: {values}")
                else:
                    yield Outcome(unit.key, metrics)
        finally:
            if self._movable is not None:
                self._movable.restore()

    def close(self) -> None:
        """Give the module back as it was before this session."""
        if self._movable is not None:
            self._movable.close()
        self._movable = self._at = None

    def _evaluators(self, dtype: torch.dtype) -> Evaluators:
        if dtype not in self._by_type:
            self._by_type[dtype] = evaluators_of(self._spec, self._data, dtype, self._bench)
        return self._by_type[dtype]

    def _moved(self, model: str, draw: int) -> MovableModule:
        """The module with this centre and these directions; units come in an order in which it seldom changes."""
        if self._movable is not None and self._at == (model, draw):
            return self._movable
        self.close()
        spec, bench = self._spec, self._bench
        center = spec.centers()[model][0]
        directions = self._prepared[directions_name(spec, model, draw)]
        module = spec.models[center].make(self._data.shape, self._data.outputs, bench.folder).to(bench.device)
        batches: tuple[torch.Tensor, ...] = ()
        if spec.batch_norm == "reestimate":
            batches = training_batches(spec, center, self._data.cast(number_type(module)))
        self._movable = MovableModule(
            module,
            under("state", self._prepared[f"model-{center}"]),
            {axis: under(axis, directions) for axis in spec.axes},
            spec.batch_norm,
            batches,
            bench.device,
        )
        self._geometry = _geometry_metrics(list(spec.axes), directions)
        self._at = (model, draw)
        return self._movable


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
    return torch.split(data.splits[split].inputs, spec.batch_size)[: spec.reestimate_batches]


def _geometry_metrics(axes: Sequence[str], directions: Arrays) -> dict[str, Metric]:
    norms, cosines = directions["norms"], directions["cosines"]
    metrics = {f"norm_{axis}": float(norms[i]) for i, axis in enumerate(axes)}
    for (i, a), (j, b) in itertools.combinations(enumerate(axes), 2):
        metrics[f"cosine_{a}_{b}"] = float(cosines[i, j])
    return {k: v if np.isfinite(v) else None for k, v in metrics.items()}
