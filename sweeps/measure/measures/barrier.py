"""The barrier between two networks on the straight line, before and after their units are matched and repaired."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar, Literal, Self, TypeAlias

import numpy as np
from pydantic import Field, model_validator
from torch import nn

from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.row import Column, Metric
from landsweep.sweeps.lab.weight_space.batch_norm import reestimate, running_layers
from landsweep.sweeps.lab.weight_space.paths import Path, Walk
from landsweep.sweeps.lab.weight_space.repair import Repair, unit_statistics
from landsweep.sweeps.measure.connectivity import (
    Match,
    Matcher,
    State,
    StraightThrough,
    barrier_columns,
    barriers,
    curves,
    distance,
    pair,
    profile,
    samples_named,
)
from landsweep.sweeps.measure.measures.base import Measure, Measured, Of
from landsweep.sweeps.measure.subject import Subject

__all__ = ["Barrier", "RepairMode"]

RepairMode: TypeAlias = Literal["none", "reset", "repair"]


class Barrier(Measure):
    """Loss and error on the straight line from A to B.

    Three definitions, which agree only where the ends tie: `line` (arXiv 2110.06296; for the error, and with pairs that
    branched off one run, the instability of 1912.05671), `mean` (2209.04836) and `signed` (2504.18072, there on a
    trained curve). Networks that left one run at a point are a pair like any other: select them by the branch.

    Layer by layer (`layers: each`, 2307.06966), only the tensors of one layer move and all others stay those of A:
    the curves `layer_loss` and `layer_error` hold the barrier `line` of each layer, in the order of the state dict.
    """

    of: ClassVar[Of] = "pair"
    measure: Literal["barrier"] = "barrier"
    points: int = Field(25, ge=3, description="on the line, ends included")
    match: Match = Field("none", description="by what B's hidden units are brought to the places of A's first")
    match_evaluator: str = Field(
        "train", description="evaluator whose samples matching by activations or losses looks at"
    )
    straight_through: StraightThrough = StraightThrough()
    repair: RepairMode = Field(
        "none",
        description="none: statistics of batch normalisation are mixed as the weights are; reset: they are estimated "
        "anew at each point; repair: REPAIR (arXiv 2211.08403), which with batch normalisation is reset",
    )
    layers: Literal["all", "each"] = Field("all", description="each: also every layer alone")

    def columns(self) -> tuple[Column, ...]:
        return (
            *barrier_columns("barrier", "the straight line"),
            Column("barrier_distance", "Euclidean distance of the parameters, after matching"),
            Column("barrier_match", "by what hidden units were matched", type="text"),
            Column("barrier_repair", "what was done for the merged networks: none, reset or repair", type="text"),
            Column("barrier_batch_norm", "statistics of batch normalisation on the line", type="text"),
            Column("barrier_layer_loss", "highest of the barriers `line` of the loss of layers alone"),
            Column("barrier_layer_error", "highest of the barriers `line` of the error of layers alone", "share"),
        )

    def evaluators(self) -> tuple[str, ...]:
        looks = self.match in ("activations", "straight_through")
        return tuple(dict.fromkeys((*super().evaluators(), *([self.match_evaluator] if looks else []))))

    @model_validator(mode="after")
    def _fields_fit(self) -> Self:
        if self.layers == "each" and self.repair == "repair":
            raise ValueError("layers: each, with repair: repair: REPAIR corrects whole networks; use none or reset")
        return self

    def check(self, subject: Subject) -> None:
        _Line(self).open(subject)

    def compute(self, subjects: Sequence[Subject]) -> Iterator[Measured]:
        line = _Line(self)
        for subject in subjects:
            yield line.measured(subject)


class _Line:
    """Computes one pair after the other with one module."""

    def __init__(self, spec: Barrier) -> None:
        self._spec = spec
        self._matcher = Matcher(spec.match, spec.straight_through)
        self._points = np.linspace(0, 1, spec.points).tolist()
        self._module: nn.Module | None = None

    def open(self, subject: Subject) -> nn.Module:
        """A module of the pair's architecture.

        Raises:
            SpecError: the measure is not defined for this pair.
        """
        spec = self._spec
        a, _ = pair(subject)
        if self._module is None:
            module = a.build()
            running = bool(running_layers(module))
            if spec.repair == "reset" and not running:
                raise SpecError(
                    "repair: reset estimates the statistics of batch normalisation anew, but this network has none; "
                    "use `repair: repair`"
                )
            if spec.repair != "none" and not subject.batches:
                raise SpecError(f"repair: {spec.repair} needs training inputs, but there are none; use `repair: none`")
            if spec.match != "none" or (spec.repair == "repair" and not running):
                self._matcher.symmetry(module, spec.samples(subject))
            self._module = module
        return self._module

    def measured(self, subject: Subject) -> Measured:
        spec, module, (a, _) = self._spec, self.open(subject), pair(subject)
        b = self._matcher.matched(module, subject, samples_named(subject, spec.evaluators()[-1]))
        running = bool(running_layers(module))
        samples = spec.samples(subject)
        with Walk(module, Path.straight(a.state, b)) as walk, self._treatment(walk, subject) as arrived:
            path_profile = profile(walk, self._points, samples, arrived)
        layers = self._layers(module, a.state, b, subject) if spec.layers == "each" else {}
        mode = "none" if not running else "interpolate" if spec.repair == "none" else "reestimate"
        values: dict[str, Metric] = {
            **barriers("barrier", path_profile),
            "barrier_distance": distance(a.state, b, [name for name, _ in module.named_parameters()]),
            "barrier_match": spec.match,
            "barrier_repair": "reset" if spec.repair == "repair" and running else spec.repair,
            "barrier_batch_norm": mode,
            **{f"barrier_{name}": max(heights) if heights else None for name, heights in layers.items()},
        }
        columns = {column.name: None for column in spec.columns()}
        return Measured(
            {**columns, **values}, {**curves("line", path_profile), **{k: v for k, v in layers.items() if v}}
        )

    @contextmanager
    def _treatment(self, walk: Walk, subject: Subject) -> Iterator[Callable[[float], None] | None]:
        """What is done to the network at each point of the line."""
        if self._spec.repair == "none":
            yield None
        elif running_layers(walk.module):
            yield lambda _: reestimate(walk.module, subject.batches)
        else:
            layers = self._matcher.symmetry(walk.module, self._spec.samples(subject)).layers
            ends = []
            for t in (0.0, 1.0):
                walk.move(t)
                ends.append(unit_statistics(walk.module, layers, subject.batches))
            repair = Repair(walk.module, layers, subject.batches)
            try:
                yield lambda t: repair.fit(ends[0], ends[1], t)
            finally:
                repair.close()

    def _layers(self, module: nn.Module, a: State, b: State, subject: Subject) -> dict[str, list[float]]:
        """Barriers `line` of each layer alone, in the order of the state dict."""
        heights: dict[str, list[float]] = {"layer_loss": [], "layer_error": []}
        names = [name for name, _ in module.named_parameters()]
        for layer in dict.fromkeys(name.rpartition(".")[0] for name in names):
            moved = {k: b[k] if k.rpartition(".")[0] == layer else t for k, t in a.items()}
            with Walk(module, Path.straight(a, moved)) as walk, self._treatment(walk, subject) as arrived:
                found = barriers("", profile(walk, self._points, self._spec.samples(subject), arrived))
            for name, values in heights.items():
                height = found[f"_{name.removeprefix('layer_')}_line"]
                if isinstance(height, float):
                    values.append(height)
        return heights
