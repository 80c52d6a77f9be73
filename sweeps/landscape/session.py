"""A landscape on one worker: the weights of a module are moved from point to point, and evaluated at each."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch

from landsweep.orchestrator.kind import Arrays, Workbench
from landsweep.orchestrator.row import Metric, Outcome, Status
from landsweep.orchestrator.unit import Unit
from landsweep.sweeps.lab.device import settle
from landsweep.sweeps.lab.models import number_type
from landsweep.sweeps.lab.settings import settings_kept
from landsweep.sweeps.lab.weight_space.evaluators import Evaluators
from landsweep.sweeps.lab.weight_space.folding import Shortcut
from landsweep.sweeps.lab.weight_space.rig import MovableModule
from landsweep.sweeps.landscape.evaluation import evaluators_of, training_batches
from landsweep.sweeps.landscape.prepare import directions_name, under
from landsweep.sweeps.landscape.spec import LandscapeSpec

__all__ = ["LandscapeSession", "geometry_metrics", "outcome_of"]

# Of points that are judged at once: how long they may take, how many they may be, and how many outputs they may have.
_SECONDS, _MOST, _OUTPUTS = 0.1, 32, 2**21


class LandscapeSession:
    """Evaluates points: sets the weights in place, runs every evaluator once.

    Between calls of `evaluate` modules are at their centres; `close` gives them back untouched.
    """

    def __init__(self, spec: LandscapeSpec, prepared: Mapping[str, Arrays], bench: Workbench) -> None:
        settle(bench)
        self._spec, self._prepared, self._bench = spec, prepared, bench
        self._data = spec.data.load(bench.folder).to(bench.device)
        self._by_type: dict[torch.dtype, Evaluators] = {}
        self._at: tuple[str, int, int | None] | None = None
        self._movable: MovableModule | None = None
        self._shortcut: Shortcut | None = None
        self._geometry: dict[str, Metric] = {}
        self._together = 1  # points that are judged at once

    def evaluate(self, units: Sequence[Unit]) -> Iterator[Outcome]:
        """One outcome for each unit; a loss that is not finite makes it `diverged`, with its values kept.

        Points that take a few milliseconds or less are judged several at a time, which changes no number.
        """
        try:
            for group in self._groups(units):
                yield from self._outcomes(group)
        finally:
            if self._movable is not None:
                self._movable.restore()

    def _groups(self, units: Sequence[Unit]) -> Iterator[list[Unit]]:
        """The units in their order, in groups of one centre and one draw that are judged at once."""
        for _, neighbours in itertools.groupby(units, _place):
            while group := list(itertools.islice(neighbours, self._together)):
                yield group

    def _outcomes(self, units: Sequence[Unit]) -> Iterator[Outcome]:
        model, draw, point = _place(units[0])
        wall, cpu = time.perf_counter(), time.process_time()
        if point is None:
            points = self._at_grid_points(units, model, draw)
        else:
            points = [self._at_point_of_path(model, draw, point)]
        count = len(units)
        wall, cpu = (time.perf_counter() - wall) / count, (time.process_time() - cpu) / count
        for unit, metrics in zip(units, points, strict=True):
            outcome = outcome_of(unit.key, {**metrics, "batch_norm": self._spec.batch_norm, **self._geometry})
            yield outcome if count == 1 else replace(outcome, seconds=wall, cpu_seconds=cpu)

    @settings_kept()
    def _at_grid_points(self, units: Sequence[Unit], model: str, draw: int) -> list[dict[str, Metric]]:
        movable = self._moved(model, draw)
        evaluators, shortcut = self._evaluators(movable.dtype), self._shortcut
        forward = movable.forward if shortcut is None else shortcut.forward
        outputs: list[list[torch.Tensor]] = []
        points: list[dict[str, Metric]] = []
        shortcuts: list[dict[str, Metric]] = []
        began = time.perf_counter()
        for unit in units:
            movable.move({axis: float(unit.params[axis] or 0) for axis in self._spec.axes})
            if shortcut is not None:
                shortcut.move()
            if evaluators.keeps:
                outputs.append(evaluators.outputs(forward))
            else:
                points.append(evaluators(forward))
            if shortcut is not None:
                shortcuts.append({"folded": shortcut.taken, "shortcut_difference": shortcut.difference})
        if outputs:
            points = evaluators.judge(outputs)
            numbers, seconds = sum(o.numel() for o in outputs[0]), (time.perf_counter() - began) / len(units)
            self._together = max(1, min(_MOST, int(_SECONDS / seconds), _OUTPUTS // numbers))
        for metrics, shortcut_metrics in zip(points, shortcuts, strict=False):
            metrics.update(shortcut_metrics)
        return points

    @settings_kept()
    def _at_point_of_path(self, model: str, draw: int, point: int) -> dict[str, Metric]:
        """Metrics at a point of the path with its own weights, and at the nearest point of the plane."""
        directions = self._prepared[directions_name(self._spec, model, draw)]
        coordinates = dict(zip(self._spec.axes, directions["path_coordinates"][point].tolist(), strict=True))
        movable = self._moved(model, draw)
        movable.move(coordinates)
        nearest = self._evaluators(movable.dtype)(movable.forward)
        movable = self._moved(model, draw, point)
        movable.move({})
        metrics = self._evaluators(movable.dtype)(movable.forward)
        distance, residual = (float(directions[f"path_{k}"][point]) for k in ("distance", "residual"))
        return {
            **metrics,
            **{f"{e}_loss_projected": nearest[f"{e}_loss"] for e in self._spec.evaluators},
            **{f"path_{axis}": c for axis, c in coordinates.items()},
            "step": int(self._prepared[f"model-{self._spec.centers()[model][0]}"]["path_steps"][point]),
            "distance": distance,
            "off_plane": residual / distance if distance else None,
        }

    def close(self) -> None:
        """Restore the module to its state before this session."""
        if self._movable is not None:
            self._movable.close()
        self._movable = self._shortcut = self._at = None

    def _evaluators(self, dtype: torch.dtype) -> Evaluators:
        if dtype not in self._by_type:
            self._by_type[dtype] = evaluators_of(self._spec, self._data, dtype, self._bench)
        return self._by_type[dtype]

    def _moved(self, model: str, draw: int, point: int | None = None) -> MovableModule:
        """The module with this centre and these directions, or fixed at a point of the path.

        Units come in an order in which it seldom changes.
        """
        if self._movable is not None and self._at == (model, draw, point):
            return self._movable
        self.close()
        spec, bench = self._spec, self._bench
        center = spec.centers()[model][0]
        arrays, directions = self._prepared[f"model-{center}"], self._prepared[directions_name(spec, model, draw)]
        module = spec.models[center].make(self._data.shape, self._data.outputs, bench.folder).to(bench.device)
        batches: tuple[torch.Tensor, ...] = ()
        if spec.batch_norm == "reestimate":
            batches = training_batches(spec, center, self._data.cast(number_type(module)))
        state = under("state", arrays) if point is None else {k: v[point] for k, v in under("path", arrays).items()}
        axes = {axis: under(axis, directions) for axis in spec.axes} if point is None else {}
        self._movable = movable = MovableModule(module, state, axes, spec.batch_norm, batches, bench.device)
        if bench.shortcuts and point is None:
            samples, _ = self._evaluators(movable.dtype).samples(next(iter(spec.evaluators)))
            self._shortcut = Shortcut(module, movable.forward, samples[0][0])
        self._geometry = geometry_metrics(list(spec.axes), directions)
        self._at = (model, draw, point)
        return self._movable


def _place(unit: Unit) -> tuple[str, int, int | None]:
    """Centre, draw, and the number of the point on the path; None for points of the grid."""
    point = unit.params.get("checkpoint")
    return str(unit.params["model"]), int(unit.params["draw"] or 0), None if point is None else int(point)


def outcome_of(key: str, metrics: dict[str, Metric]) -> Outcome:
    """The outcome of one point: `diverged` where a loss is not finite, with all values kept."""
    losses = {k: v for k, v in metrics.items() if k.endswith(("_loss", "_loss_projected"))}
    infinite = [k for k, v in losses.items() if isinstance(v, float) and not np.isfinite(v)]
    if not infinite:
        return Outcome(key, metrics)
    values = ", ".join(f"{k} = {losses[k]}" for k in infinite)
    return Outcome(key, metrics, Status.diverged, error=f"not finite at this point: {values}")


def geometry_metrics(axes: Sequence[str], directions: Arrays) -> dict[str, Metric]:
    """Metrics of directions: their norms, the cosines between them, and facts about how they were made."""
    norms, cosines = directions["norms"], directions["cosines"]
    metrics = {f"norm_{axis}": float(norms[i]) for i, axis in enumerate(axes)}
    for (i, a), (j, b) in itertools.combinations(enumerate(axes), 2):
        metrics[f"cosine_{a}_{b}"] = float(cosines[i, j])
    metrics |= {name: float(value) for name, value in under("fact", directions).items()}
    return {k: v if np.isfinite(v) else None for k, v in metrics.items()}
