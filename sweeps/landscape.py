"""The landscape kind: loss and accuracy of networks on a grid of points around, or between, their weights."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch

from orchestrator.errors import SpecError
from orchestrator.kind import Arrays, Preparation, SweepKind, Workbench
from orchestrator.planner import GridPlanner, Named
from orchestrator.report.parts import Report
from orchestrator.row import Column, Metric, Outcome, Status
from orchestrator.unit import Keys, Unit
from sweeps.lab.checkpoint import fit
from sweeps.lab.data import Data
from sweeps.lab.directions import RandomDirections, geometry, group_table, interpolate, random_directions
from sweeps.lab.evaluate import Evaluators
from sweeps.lab.landscape_report import Reading, landscape_report
from sweeps.lab.landscape_spec import LandscapeSpec, LineDirections, landscape_columns
from sweeps.lab.models import check_fit, number_type
from sweeps.lab.rig import Rig, state_arrays
from sweeps.lab.train import train

__all__ = ["LandscapeKind", "LandscapeSession", "LandscapeSpec", "LineDirections"]


class LandscapeSession:
    """Evaluates points: sets the weights in place, runs every evaluator once.

    Between calls of `evaluate` modules are at their centres; `close` gives them back untouched.
    """

    def __init__(self, spec: LandscapeSpec, prepared: Mapping[str, Arrays], bench: Workbench) -> None:
        torch.set_num_threads(bench.threads)
        self._spec, self._prepared, self._bench = spec, prepared, bench
        self._data = spec.data.load(bench.folder).to(bench.device)
        self._known: dict[torch.dtype, Evaluators] = {}
        self._at: tuple[str, int] | None = None
        self._rig: Rig | None = None
        self._geometry: dict[str, Metric] = {}

    def evaluate(self, units: Sequence[Unit]) -> Iterator[Outcome]:
        """One outcome for each unit; a loss that is not finite makes it `diverged`, with its values kept."""
        try:
            for unit in units:
                rig = self._rig_of(str(unit.params["model"]), int(unit.params["draw"] or 0))
                rig.move({axis: float(unit.params[axis] or 0) for axis in self._spec.axes})
                metrics = self._evaluators(rig.dtype)(rig.forward)
                losses = {k: v for k, v in metrics.items() if k.endswith("_loss")}
                bad = [k for k, v in losses.items() if isinstance(v, float) and not np.isfinite(v)]
                metrics |= {"batch_norm": self._spec.batch_norm, **self._geometry}
                if bad:
                    said = ", ".join(f"{k} = {losses[k]}" for k in bad)
                    yield Outcome(unit.key, metrics, Status.diverged, error=f"not finite at this point: {said}")
                else:
                    yield Outcome(unit.key, metrics)
        finally:
            if self._rig is not None:
                self._rig.restore()

    def close(self) -> None:
        """Give the module back as it was before this session."""
        if self._rig is not None:
            self._rig.close()
        self._rig = self._at = None

    def _evaluators(self, dtype: torch.dtype) -> Evaluators:
        if dtype not in self._known:
            self._known[dtype] = _evaluators(self._spec, self._data, dtype, self._bench)
        return self._known[dtype]

    def _rig_of(self, model: str, draw: int) -> Rig:
        """The module with this centre and these directions; units come in an order in which it seldom changes."""
        if self._rig is not None and self._at == (model, draw):
            return self._rig
        self.close()
        spec, bench = self._spec, self._bench
        center = spec.centers()[model][0]
        directions = self._prepared[_directions_name(spec, model, draw)]
        module = spec.models[center].make(self._data.shape, self._data.outputs, bench.folder).to(bench.device)
        batches: tuple[torch.Tensor, ...] = ()
        if spec.batch_norm == "reestimate":
            batches = _training_batches(spec, center, self._data.cast(number_type(module)))
        self._rig = Rig(
            module,
            _under("state", self._prepared[f"model-{center}"]),
            {axis: _under(axis, directions) for axis in spec.axes},
            spec.batch_norm,
            batches,
            bench.device,
        )
        self._geometry = _geometry_metrics(list(spec.axes), directions)
        self._at = (model, draw)
        return self._rig


def _evaluators(spec: LandscapeSpec, data: Data, dtype: torch.dtype, bench: Workbench) -> Evaluators:
    """The evaluators for networks whose numbers are of this type."""
    return Evaluators(
        spec.evaluators,
        data.cast(dtype),
        lambda d: d.load(bench.folder).to(bench.device).cast(dtype),
        spec.batch_size,
        bench.folder,
    )


def _training_batches(spec: LandscapeSpec, model: str, data: Data) -> tuple[torch.Tensor, ...]:
    """The first training batches, in the order of the data."""
    recipe = spec.models[model].train
    split = "train" if recipe is None else recipe.split
    if split not in data.splits:
        raise SpecError(f"batch_norm: reestimate takes its batches from the split {split!r}, which the data lacks")
    return torch.split(data.splits[split].inputs, spec.batch_size)[: spec.reestimate_batches]


def _under(prefix: str, arrays: Arrays) -> dict[str, Any]:
    return {k.removeprefix(f"{prefix}/"): v for k, v in arrays.items() if k.startswith(f"{prefix}/")}


def _geometry_metrics(axes: Sequence[str], directions: Arrays) -> dict[str, Metric]:
    norms, cosines = directions["norms"], directions["cosines"]
    found = {f"norm_{axis}": float(norms[i]) for i, axis in enumerate(axes)}
    for (i, a), (j, b) in itertools.combinations(enumerate(axes), 2):
        found[f"cosine_{a}_{b}"] = float(cosines[i, j])
    return {k: v if np.isfinite(v) else None for k, v in found.items()}


def _directions_name(spec: LandscapeSpec, model: str, draw: int) -> str:
    return f"directions-{'-'.join(spec.centers()[model])}-{draw}"


class LandscapeKind(SweepKind[LandscapeSpec]):
    """Loss landscapes."""

    name: ClassVar[str] = "landscape"
    version: ClassVar[int] = 1
    summary: ClassVar[str] = "loss and accuracy of networks on a grid along directions in weight space"
    spec = LandscapeSpec
    hint_not_deterministic: ClassVar[str] = (
        "dropout or noise that the module applies in evaluation mode too, a random augmentation in the data's "
        "function, or a module that changes its own buffers in forward"
    )

    def example(self) -> LandscapeSpec:
        """A small perceptron on the digits, 15 points."""
        return LandscapeSpec.model_validate(
            {
                "kind": "landscape",
                "name": "landscape-example",
                "data": {"source": "digits"},
                "models": {"mlp": {"net": "mlp", "hidden": [16], "train": {"epochs": 2}}},
                "evaluators": {"train": {"split": "train", "first": 256}, "test": {"split": "test"}},
                "axes": {"x": {"linear": [-1, 1, 5]}, "y": {"linear": [-1, 1, 3]}},
            }
        )

    def params(self, spec: LandscapeSpec) -> tuple[Column, ...]:
        model = Column("model", "name of the network, or of the networks that the line joins", type="text")
        draw = Column("draw", "number of the draw of directions; 0 for an interpolation", type="int")
        return (model, draw, *(Column(axis, f"coordinate along the direction of {axis}") for axis in spec.axes))

    def columns(self, spec: LandscapeSpec) -> tuple[Column, ...]:
        return landscape_columns(spec)

    def planner(self, spec: LandscapeSpec) -> GridPlanner:
        models = spec.definitions()["models"]
        centers = Named({label: [models[name] for name in names] for label, names in spec.centers().items()})
        points = {axis: values.points() for axis, values in spec.axes.items()}
        keys = Keys(self.name, self.version, spec.context())
        return GridPlanner(keys, {"model": centers, "draw": spec.draws.points(), **points})

    def check(self, spec: LandscapeSpec, bench: Workbench) -> None:
        """Load everything, build every module, put one batch through it.

        Raises:
            SpecError: something does not fit.
        """
        torch.set_num_threads(bench.threads)
        data = spec.data.load(bench.folder).to(bench.device)
        states, evaluators = {}, dict[torch.dtype, Evaluators]()
        for name, model in spec.models.items():
            check_fit(model, data, bench.folder, f"models.{name}")
            module = model.make(data.shape, data.outputs, bench.folder).to(bench.device).eval()
            if model.checkpoint is not None:
                fit(module, model.checkpoint.load(bench.folder), f"models.{name}.checkpoint: {model.checkpoint.file}")
            if model.train is not None and model.train.split not in data.splits:
                raise SpecError(
                    f"models.{name}.train.split: there is no split {model.train.split!r}; there are {list(data.splits)}"
                )
            if spec.batch_norm == "reestimate":
                _training_batches(spec, name, data)
            if isinstance(spec.directions, RandomDirections):
                group_table(module, spec.directions)
            states[name] = state_arrays(module)
            dtype = number_type(module)
            try:
                if dtype not in evaluators:
                    evaluators[dtype] = _evaluators(spec, data, dtype, bench)
                evaluators[dtype].attempt(module)
            except (RuntimeError, ValueError, TypeError, IndexError) as e:
                raise SpecError(f"models.{name} and the evaluators do not fit together: {e}") from e
        if isinstance(spec.directions, LineDirections):
            start, *ends = spec.directions.ends
            for end in ends:
                interpolate(states[start], states[end])

    def preparations(self, spec: LandscapeSpec) -> tuple[Preparation, ...]:
        """For each model its weights, then for each centre and draw the directions."""
        context, models = spec.context(), spec.definitions()["models"]
        weights = {name: [self.version, models[name], context["data"]] for name in models}
        steps = [Preparation(f"model-{name}", inputs) for name, inputs in weights.items()]
        for label, names in spec.centers().items():
            inputs = [[weights[name] for name in names], context["directions"], list(spec.axes)]
            needs = tuple(f"model-{name}" for name in names)
            for draw in spec.draws.points():
                steps.append(Preparation(_directions_name(spec, label, int(draw or 0)), [inputs, draw], needs))
        return tuple(steps)

    def prepare(self, spec: LandscapeSpec, name: str, have: Mapping[str, Arrays], bench: Workbench) -> Arrays:
        """Weights of a model (`state/...`, `history/...`, `input_shape`, `classes`) or directions (`AXIS/...`, ...).

        Raises:
            SpecError: a checkpoint does not fit, or a training diverged.
        """
        torch.set_num_threads(bench.threads)
        for model in spec.models:
            if name == f"model-{model}":
                return _weights(spec, model, bench)
        for label, draw in itertools.product(spec.centers(), spec.draws.points()):
            if name == _directions_name(spec, label, int(draw or 0)):
                return _directions(spec, label, int(draw or 0), have, bench)
        raise LookupError(f"kind {self.name} has no preparation {name!r}")

    def open(self, spec: LandscapeSpec, prepared: Mapping[str, Arrays], bench: Workbench) -> LandscapeSession:
        return LandscapeSession(spec, prepared, bench)

    def report(self, spec: LandscapeSpec, rows: pd.DataFrame, series: pd.DataFrame) -> Report:
        del series
        notes = {name: _describe(m.model_dump(mode="json", exclude_defaults=True)) for name, m in spec.models.items()}
        directions = spec.directions.in_words()
        line = isinstance(spec.directions, LineDirections)
        reading = Reading(tuple(spec.axes), tuple(spec.evaluators), directions, line, spec.batch_norm, notes)
        return landscape_report(reading, rows)


def _weights(spec: LandscapeSpec, name: str, bench: Workbench) -> dict[str, Any]:
    model, data = spec.models[name], spec.data.load(bench.folder).to(bench.device)
    module = model.make(data.shape, data.outputs, bench.folder).to(bench.device)
    arrays: dict[str, Any] = {"input_shape": np.array(data.shape), "classes": np.array(data.classes)}
    if model.checkpoint is not None:
        fit(module, model.checkpoint.load(bench.folder), f"models.{name}.checkpoint: {model.checkpoint.file}")
    if model.train is not None:
        history = list(train(module, data.splits[model.train.split].cast(number_type(module)), model.train))
        if history and not np.isfinite(history[-1].loss):
            first = next(e.epoch for e in history if not np.isfinite(e.loss))
            raise SpecError(f"models.{name}.train: the loss became {history[-1].loss} in epoch {first}; lower the rate")
        arrays["history/epoch"] = np.array([e.epoch for e in history], np.int64)
        arrays["history/loss"] = np.array([e.loss for e in history])
        arrays["history/accuracy"] = np.array([e.accuracy for e in history])
    return arrays | {f"state/{k}": v for k, v in state_arrays(module).items()}


def _directions(
    spec: LandscapeSpec, label: str, draw: int, have: Mapping[str, Arrays], bench: Workbench
) -> dict[str, Any]:
    names, axes = spec.centers()[label], list(spec.axes)
    first = have[f"model-{names[0]}"]
    states = [_under("state", have[f"model-{name}"]) for name in names]
    directions: Mapping[str, Mapping[str, Any]]
    shape = tuple(int(n) for n in first["input_shape"])
    module = spec.models[names[0]].make(shape, int(first["classes"]), bench.folder)
    weights = [k for k, _ in module.named_parameters()]
    if isinstance(spec.directions, RandomDirections):
        groups = group_table(module, spec.directions)
        directions = random_directions(states[0], groups, spec.directions, draw, axes)
    else:
        floating = [{k: v for k, v in s.items() if v.dtype.kind == "f"} for s in states]
        directions = {axis: interpolate(floating[0], end) for axis, end in zip(axes, floating[1:], strict=True)}
    norms, cosines = geometry([{k: directions[axis][k] for k in weights} for axis in axes])
    arrays = {f"{axis}/{k}": d.astype(states[0][k].dtype) for axis in axes for k, d in directions[axis].items()}
    return arrays | {"norms": norms, "cosines": cosines}


def _describe(dumped: Mapping[str, Any]) -> str:
    """A definition in one line, fields that are empty left out."""
    parts = [f"{k} {_describe(v) if isinstance(v, Mapping) else v}" for k, v in dumped.items() if v not in (None, {})]
    return ", ".join(parts)
