"""The landscape kind: loss and accuracy of networks on a grid of points around, or between, their weights."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import nn

from landsweep.orchestrator.accelerators import of_the_machine
from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.kind import Arrays, Preparation, Session, ShowsTensors, SweepKind, Workbench
from landsweep.orchestrator.planner import Planner
from landsweep.orchestrator.report.parts import Report, Table
from landsweep.orchestrator.row import Column
from landsweep.orchestrator.unit import Keys
from landsweep.sweeps.lab.checkpoints.state_dict import load_into
from landsweep.sweeps.lab.data import Data
from landsweep.sweeps.lab.device import settle
from landsweep.sweeps.lab.models import check_fit, number_type
from landsweep.sweeps.lab.weight_space.directions import RandomDirections, direction_table, group_table, interpolate
from landsweep.sweeps.lab.weight_space.evaluators import Evaluators
from landsweep.sweeps.lab.weight_space.rig import state_arrays
from landsweep.sweeps.landscape.directions import is_judged, parts_of
from landsweep.sweeps.landscape.evaluation import evaluators_of, training_batches
from landsweep.sweeps.landscape.input_plane import check_inputs
from landsweep.sweeps.landscape.input_session import InputSession, attempt_input, prepare_plane
from landsweep.sweeps.landscape.plan import landscape_planner
from landsweep.sweeps.landscape.prepare import directions_name, recipe_training, weights_of
from landsweep.sweeps.landscape.quantised_session import QuantisedSession, tensors_of
from landsweep.sweeps.landscape.session import LandscapeSession
from landsweep.sweeps.landscape.spaces import InputSpace, QuantisationSpace
from landsweep.sweeps.landscape.spec import LandscapeSpec, LineDirections, landscape_columns
from landsweep.sweeps.landscape.vectors import check_directions, directions_of

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["LandscapeKind", "LandscapeSession", "LandscapeSpec", "LineDirections"]


class LandscapeKind(SweepKind[LandscapeSpec], ShowsTensors[LandscapeSpec]):
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
        axes = tuple(Column(axis, _meaning(spec, axis)) for axis in spec.axes)
        point = Column("checkpoint", "number of the point of the path, from 0; none: a point of the grid", type="int")
        return (model, draw, *axes, *((point,) if spec.path is not None else ()))

    def columns(self, spec: LandscapeSpec) -> tuple[Column, ...]:
        return landscape_columns(spec)

    def planner(self, spec: LandscapeSpec) -> Planner:
        return landscape_planner(spec, Keys(self.name, self.version, spec.context()))

    def in_words(self, spec: LandscapeSpec) -> list[str]:
        evaluators = ", ".join(spec.evaluators)
        if isinstance(spec.space, InputSpace):
            return [f"Each unit puts one input through a trained network: {spec.space.in_words(list(spec.axes))}."]
        if isinstance(spec.space, QuantisationSpace):
            return [
                f"Each unit quantises the weights of a trained network and evaluates it on {evaluators}: "
                f"{spec.space.in_words(list(spec.axes))}."
            ]
        return [
            f"Each unit evaluates a network at one point of the space of its weights, on {evaluators}: its trained "
            f"weights, moved along {spec.directions.kind} directions."
        ]

    def check(self, spec: LandscapeSpec, bench: Workbench) -> None:
        """Load everything, build every module, put one batch through it.

        Raises:
            SpecError: something does not fit.
        """
        settle(bench)
        data = spec.data.load(bench.folder).to(bench.device)
        if isinstance(spec.space, InputSpace):
            check_inputs(spec.space, data, list(spec.axes))
            for name in spec.models:
                attempt_input(spec.space, name, _checked(spec, name, data, bench), data, bench)
            return
        states, evaluators = {}, dict[torch.dtype, Evaluators]()
        for name in spec.models:
            module = _checked(spec, name, data, bench)
            if isinstance(spec.space, QuantisationSpace):
                tensors_of(spec, spec.space, module)
            check_directions(spec, module, bench)
            states[name] = state_arrays(module)
            dtype = number_type(module)
            try:
                if dtype not in evaluators:
                    evaluators[dtype] = evaluators_of(spec, data, dtype, bench)
                evaluators[dtype].attempt(module)
            except (RuntimeError, ValueError, TypeError, IndexError) as e:
                if of_the_machine(e):
                    raise
                raise SpecError(f"models.{name} and the evaluators do not fit together: {e}") from e
        for start, *ends in spec.centers().values():
            for end in ends:
                interpolate(states[start], states[end])

    def preparations(self, spec: LandscapeSpec) -> tuple[Preparation, ...]:
        """For each model its weights, then for each centre and draw the directions."""
        context, models = spec.context(), spec.definitions()["models"]
        weights = {name: [self.version, models[name], context["data"]] for name in models}
        for name, *_ in spec.centers().values() if spec.path is not None else ():
            weights[name] += [context["path"]]
        steps = [Preparation(f"model-{name}", inputs) for name, inputs in weights.items()]
        if isinstance(spec.space, QuantisationSpace):
            return tuple(steps)  # scales need no directions
        for label, names in spec.centers().items():
            moved = context["directions"] if spec.space is None else context["space"]
            inputs = [[weights[name] for name in names], moved, list(spec.axes)]
            if judged := [part for part in parts_of(spec.directions, list(spec.axes)).values() if is_judged(part)]:
                inputs += [[context["evaluators"][spec.judge(part)] for part in judged], context["batch_size"]]
            needs = tuple(f"model-{name}" for name in names)
            for draw in spec.draws.points():
                steps.append(Preparation(directions_name(spec, label, int(draw or 0)), [inputs, draw], needs))
        return tuple(steps)

    def prepare(self, spec: LandscapeSpec, name: str, have: Mapping[str, Arrays], bench: Workbench) -> Arrays:
        """Weights of a model (`state/...`, `history/...`, `input_shape`, ...) or directions (`AXIS/...`, ...).

        Raises:
            SpecError: a checkpoint does not fit, or a training diverged.
        """
        settle(bench)
        for model in spec.models:
            if name == f"model-{model}":
                return weights_of(spec, model, bench)
        for label, draw in itertools.product(spec.centers(), spec.draws.points()):
            if name == directions_name(spec, label, int(draw or 0)):
                if isinstance(spec.space, InputSpace):
                    return prepare_plane(spec, spec.space, label, int(draw or 0), have, bench)
                return directions_of(spec, label, int(draw or 0), have, bench)
        raise LookupError(f"kind {self.name} has no preparation {name!r}")

    def open(self, spec: LandscapeSpec, prepared: Mapping[str, Arrays], bench: Workbench) -> Session:
        match spec.space:
            case InputSpace():
                return InputSession(spec, spec.space, prepared, bench)
            case QuantisationSpace():
                return QuantisedSession(spec, spec.space, prepared, bench)
            case None:
                return LandscapeSession(spec, prepared, bench)

    def tensors(self, spec: LandscapeSpec, bench: Workbench) -> list[Table]:
        """How directions move each tensor, a table for each model: to be read before a sweep over one's own module.

        Raises:
            SpecError: the directions are not random, so that they move tensors as a whole.
        """
        if not isinstance(spec.directions, RandomDirections):
            what = "an interpolation moves every tensor from one model to the other, as a whole"
            if not isinstance(spec.directions, LineDirections):
                what = f"directions of kind {spec.directions.kind} move tensors as a whole; only random ones cut them"
            raise SpecError(f"--tensors: {what}")
        data, tables = spec.data.load(bench.folder), []
        for name, model in spec.models.items():
            module = model.make(data.shape, data.outputs, bench.folder)
            tables.append(direction_table(name, group_table(module, spec.directions), spec.directions))
        return tables

    def report(self, spec: LandscapeSpec, rows: pd.DataFrame, series: pd.DataFrame) -> Report:
        from landsweep.sweeps.landscape.input_report import InputFacts, input_report
        from landsweep.sweeps.landscape.refined import RefinedGrid
        from landsweep.sweeps.landscape.report import LandscapeFacts, landscape_report

        del series
        axes = tuple(spec.axes)
        notes = {name: _describe(m.model_dump(mode="json", exclude_defaults=True)) for name, m in spec.models.items()}
        if isinstance(spec.space, InputSpace):
            return input_report(InputFacts(spec.space, axes, notes), rows)
        points = {axis: np.array([float(str(p)) for p in values.points()]) for axis, values in spec.axes.items()}
        refined = None if spec.refine is None else RefinedGrid(spec.refine, spec.refined_metric(), points)
        line = spec.directions if isinstance(spec.directions, LineDirections) else None
        words, origin = spec.directions.in_words(), dict[str, float]()
        if isinstance(spec.space, QuantisationSpace):
            words = spec.space.in_words(axes)
            origin = {axis: float(points[axis].max()) if axis == spec.space.bits else 1.0 for axis in axes}
        facts = LandscapeFacts(axes, tuple(spec.evaluators), words, line, spec.batch_norm, notes, refined, origin)
        return landscape_report(facts, rows)


def _meaning(spec: LandscapeSpec, axis: str) -> str:
    """Of the column of an axis."""
    if not isinstance(spec.space, QuantisationSpace):
        return f"coordinate along the direction of {axis}"
    return (
        "bits for each weight" if axis == spec.space.bits else f"factor of the clipping range of the tensors of {axis}"
    )


def _checked(spec: LandscapeSpec, name: str, data: Data, bench: Workbench) -> nn.Module:
    """The module of a model, in evaluation mode, with its checkpoint loaded.

    Raises:
        SpecError: its parts do not fit together, or not the data.
    """
    model = spec.models[name]
    check_fit(model.network, data, bench.folder, f"models.{name}")
    module = model.make(data.shape, data.outputs, bench.folder).to(bench.device).eval()
    if model.checkpoint is not None:
        load_into(module, model.checkpoint.load(bench.folder), f"models.{name}.checkpoint: {model.checkpoint.file}")
    if model.train is not None and model.train.split not in data.splits:
        raise SpecError(
            f"models.{name}.train.split: there is no split {model.train.split!r}; there are {list(data.splits)}"
        )
    if model.recipe is not None:
        recipe_training(spec, name, model.recipe, data, bench)
    if spec.batch_norm == "reestimate":
        training_batches(spec, name, data)
    return module


def _describe(dumped: Mapping[str, Any]) -> str:
    """A definition in one line, fields that are empty left out."""
    parts = [f"{k} {_describe(v) if isinstance(v, Mapping) else v}" for k, v in dumped.items() if v not in (None, {})]
    return ", ".join(parts)
