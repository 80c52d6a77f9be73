"""The spec of a landscape: which networks, on which data, along which directions, at which points."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from landsweep.orchestrator.axes import Axis, AxisLike
from landsweep.orchestrator.errors import UsageError
from landsweep.orchestrator.row import METERS, Column
from landsweep.orchestrator.spec import IsAxis, IsNamedAxis, Section, Spec
from landsweep.sweeps.lab.data import DataSpec
from landsweep.sweeps.lab.identity import by_content
from landsweep.sweeps.lab.outline import foresee_net, foresee_split
from landsweep.sweeps.lab.trained_models.refs import SweepRef
from landsweep.sweeps.lab.weight_space.batch_norm import BatchNormMode
from landsweep.sweeps.lab.weight_space.directions import RandomDirections
from landsweep.sweeps.lab.weight_space.evaluators import EvaluatorSpec, evaluator_columns
from landsweep.sweeps.landscape.directions import (
    ColumnName,
    Directions,
    FileDirections,
    FunctionDirections,
    GradientDirection,
    HessianDirections,
    Judged,
    LineDirections,
    MixedDirections,
    Name,
    Part,
    TowardsDirection,
    TrainingPath,
    TrajectoryDirections,
    direction_columns,
    is_judged,
    parts_of,
)
from landsweep.sweeps.landscape.models import LandscapeModel
from landsweep.sweeps.landscape.refinement import ValueScale, ladder
from landsweep.sweeps.landscape.spaces import InputSpace, QuantisationSpace, Spaces, input_columns

__all__ = ["LandscapeSpec", "LineDirections", "Refine", "landscape_columns", "path_columns"]

_ORDERED = (TrajectoryDirections, HessianDirections, MixedDirections)  # directions that depend on the order of the axes

_UNUSED = {  # fields that a space of another kind than weights has no use for
    "inputs": ("directions", "path", "refine", "evaluators", "batch_norm", "reestimate_batches", "batch_size"),
    "quantisation": ("directions", "path"),
}


class Refine(Section):
    """Computes only the points of the grid that the others can't be interpolated from; the same keys, fewer of them."""

    evaluator: ColumnName | None = Field(None, description="whose loss decides; default: the first evaluator")
    tolerance: float = Field(
        0.02, gt=0, description="largest difference from the interpolation that is not followed up; see `scale`"
    )
    scale: ValueScale = Field("log", description="log: differences in decades of the loss; linear: of the loss itself")
    start: int = Field(4, ge=2, description="intervals of the coarsest grid along each axis, at least")
    checks: int = Field(16, ge=0, description="further points of each surface, computed to measure the error")


class LandscapeSpec(Spec):
    """Which networks, on which data, along which directions, at which points."""

    kind: Literal["landscape"]
    data: DataSpec
    models: Annotated[dict[Name, LandscapeModel], IsNamedAxis(), Field(min_length=1)]
    evaluators: dict[ColumnName, EvaluatorSpec] = Field(
        {"train": EvaluatorSpec(split="train"), "test": EvaluatorSpec(split="test")}, min_length=1
    )
    space: Spaces | None = Field(
        None,
        exclude_if=lambda v: v is None,
        description="what the axes move instead of the weights: inputs, or scales of quantised weights",
    )
    directions: Directions = Field(RandomDirections(kind="random"))
    path: TrainingPath | None = Field(
        None, exclude_if=lambda v: v is None, description="points of a training, drawn on the surface"
    )
    draws: Annotated[AxisLike, IsAxis()] = Field(
        Axis(range=(0, 1)), description="numbers of draws: {range: 5} for five"
    )
    axes: Annotated[dict[ColumnName, AxisLike], IsAxis(), Field(min_length=1, max_length=3)]
    refine: Annotated[Refine | None, IsAxis()] = Field(
        None, exclude_if=lambda v: v is None, description="compute a part of the grid only, and interpolate the rest"
    )
    batch_norm: BatchNormMode = "fixed"
    reestimate_batches: int = Field(8, ge=1, description="training batches that `batch_norm: reestimate` uses")
    batch_size: int = Field(512, ge=1, description="samples per forward pass of an evaluation")

    @model_validator(mode="before")
    @classmethod
    def _recipes_train_on_its_data(cls, fields: Any) -> Any:  # noqa: ANN401 - pydantic hands over whatever was given
        """A recipe that names no data is meant to train on those of the landscape."""
        if not isinstance(fields, Mapping) or "data" not in fields or not isinstance(fields.get("models"), Mapping):
            return fields
        models = {name: _with_data(model, fields["data"]) for name, model in fields["models"].items()}
        return {**fields, "models": models}

    @model_validator(mode="after")
    def _fields_fit_together(self) -> Self:
        for field, axis in [("draws", self.draws), *((f"axes.{name}", a) for name, a in self.axes.items())]:
            number_types = int if field == "draws" else (int, float)
            if any(isinstance(p, bool) or not isinstance(p, number_types) for p in axis.points()):
                raise ValueError(f"{field} must hold {'whole ' if field == 'draws' else ''}numbers only")
        taken = {
            "key",
            "model",
            "draw",
            *(["checkpoint"] if self.path is not None else []),
            *(c.name for c in (*METERS, *landscape_columns(self))),
        }
        if clash := taken & self.axes.keys():
            raise ValueError(f"axes: {sorted(clash)} are names of other columns; choose other names")
        if isinstance(self.directions, LineDirections):
            ends = self.directions.ends
            if unknown := [e for e in ends if e not in self.models]:
                raise ValueError(f"directions.ends: there is no model {unknown[0]!r}; there are {list(self.models)}")
            if len(self.axes) != len(ends) - 1:
                raise ValueError(f"{len(ends)} ends span {len(ends) - 1} axes, but there are {len(self.axes)}")
            if self.draws.points() != (0,):
                raise ValueError("an interpolation has nothing to draw; leave `draws` out")
            if self.directions.evaluator is not None and self.directions.match != "activations":
                raise ValueError("directions.evaluator: only match: activations looks at samples; leave it out")
        elif self.batch_norm == "interpolate":
            raise ValueError("batch_norm: interpolate needs directions of kind interpolation; use fixed or reestimate")
        return self

    @model_validator(mode="after")
    def _space_fits(self) -> Self:
        if self.space is None:
            return self
        for field in _UNUSED[self.space.kind]:
            if getattr(self, field) != type(self).model_fields[field].get_default():
                raise ValueError(f"{field}: a landscape of {self.space.kind} makes no use of it; leave it out")
        self.space.check_axes({name: axis.points() for name, axis in self.axes.items()}, self.draws.points())
        return self

    @model_validator(mode="after")
    def _directions_fit(self) -> Self:
        if isinstance(self.directions, MixedDirections) and self.directions.axes.keys() != self.axes.keys():
            raise ValueError(
                f"directions.axes: names {list(self.directions.axes)}, but the axes are {list(self.axes)}; "
                "give each axis one direction"
            )
        parts = parts_of(self.directions, list(self.axes))
        for names, part in parts.items():
            self._part_fits(names, part)
        drawn = any(isinstance(part, RandomDirections | FunctionDirections) for part in parts.values())
        if not drawn and self.draws.points() != (0,):
            raise ValueError("these directions have nothing to draw; leave `draws` out")
        if not self.centers():
            raise ValueError("every model is named as a target of `towards`, so none is left to be the centre")
        return self

    def _part_fits(self, axes: Sequence[str], part: Part) -> None:
        match part:
            case GradientDirection() if len(axes) > 1:
                raise ValueError(
                    f"directions: a gradient is one direction, but there are {len(axes)} axes; use kind: mixed"
                )
            case TowardsDirection() if part.model not in self.models:
                raise ValueError(
                    f"directions.axes.{axes[0]}.model: there is no model {part.model!r}; there are {list(self.models)}"
                )
            case TrajectoryDirections() if self.path is None:
                raise ValueError("directions of kind trajectory need a `path`, such as path: {checkpoints: 20}")
            case TrajectoryDirections() if part.components is not None and len(part.components) != len(axes):
                raise ValueError(f"directions.components: {len(part.components)} for {len(axes)} axes")
            case HessianDirections() if part.eigenvectors is not None and len(part.eigenvectors) != len(axes):
                raise ValueError(f"directions.eigenvectors: {len(part.eigenvectors)} for {len(axes)} axes")
            case _:
                pass
        if (is_judged(part) or isinstance(part, LineDirections)) and self.judge(part) not in self.evaluators:
            raise ValueError(f"directions: there is no evaluator {part.evaluator!r}; there are {list(self.evaluators)}")

    @model_validator(mode="after")
    def _path_fits(self) -> Self:
        if self.path is None:
            return self
        centers = [names[0] for names in self.centers().values()]
        if self.path.files is not None and len(centers) > 1:
            raise ValueError(f"path.files: the files lead to one model, but there are {len(centers)}: {centers}")
        without = [name for name in centers if self.models[name].recipe is None]
        if self.path.files is None and without:
            raise ValueError(
                f"path.checkpoints: model {without[0]!r} has no `recipe` whose training could be followed; give it "
                "one, or list `files`"
            )
        return self

    @model_validator(mode="after")
    def _grid_can_be_refined(self) -> Self:
        if self.refine is None:
            return self
        if self.refine.evaluator is not None and self.refine.evaluator not in self.evaluators:
            raise ValueError(
                f"refine.evaluator: there is no evaluator {self.refine.evaluator!r}; there are {list(self.evaluators)}"
            )
        for name, axis in self.axes.items():
            points = [float(str(p)) for p in axis.points()]
            if points != sorted(points):
                raise ValueError(f"axes.{name}: a grid that is refined needs rising coordinates")
            if len(ladder((len(points),), self.refine.start)) < 3:
                raise ValueError(
                    f"axes.{name}: its {len(points)} points can't be halved twice to {self.refine.start} intervals or "
                    "more, so refining saves nothing; give it a multiple of 4 and one more, such as 17, 33 or 65"
                )
        return self

    @model_validator(mode="after")
    def _data_fit(self) -> Self:
        for name, model in self.models.items():
            if model.net is not None:
                foresee_net(model.net, self.data, f"models.{name}")
            if model.train is not None:
                foresee_split(model.train.split, self.data, f"models.{name}.train.split")
            if model.recipe is not None:
                foresee_net(model.network, model.recipe.data, f"models.{name}.recipe.net")
                foresee_split(model.recipe.split, model.recipe.data, f"models.{name}.recipe.split")
        if isinstance(self.space, InputSpace):
            foresee_split(self.space.split, self.data, "space.split")
            return self
        for name, evaluator in self.evaluators.items():
            data = self.data if evaluator.data is None else evaluator.data
            foresee_split(evaluator.split, data, f"evaluators.{name}.split")
        return self

    def pinned(self, folder: Path) -> Self:
        """This spec with all data files and checkpoints pinned by digest."""
        models = {name: _pinned(name, model, folder) for name, model in self.models.items()}
        evaluators = {
            name: e if e.data is None else e.model_copy(update={"data": e.data.pinned(folder)})
            for name, e in self.evaluators.items()
        }
        changes: dict[str, Any] = {"data": self.data.pinned(folder), "models": models, "evaluators": evaluators}
        if self.path is not None:
            changes["path"] = self.path.pinned(folder)
        match self.directions:
            case FileDirections():
                changes["directions"] = self.directions.pinned(folder)
            case MixedDirections(axes=axes):
                pinned = {a: d.pinned(folder) if isinstance(d, FileDirections) else d for a, d in axes.items()}
                changes["directions"] = self.directions.model_copy(update={"axes": pinned})
            case _:
                pass
        return self.model_copy(update=changes)

    def context(self) -> dict[str, Any]:
        """All that rows depend on beside the params; files by content, not by path."""
        identity: dict[str, Any] = by_content(super().context())
        line = isinstance(self.directions, LineDirections) and self.directions.orthogonal
        if line or isinstance(self.directions, _ORDERED):
            identity["order"] = list(self.axes)
        return identity

    def definitions(self) -> dict[str, dict[str, Any]]:
        """What the names of models stand for; files by content, not by path."""
        identity: dict[str, dict[str, Any]] = by_content(super().definitions())
        for name, model in self.models.items():
            if isinstance(model.checkpoint, SweepRef):
                stored = model.checkpoint.single()
                known = {"key": stored.key, "label": stored.label, "weights": stored.weights}
                identity["models"][name]["checkpoint"] = known
        return identity

    def centers(self) -> dict[str, tuple[str, ...]]:
        """For each value of the param `model`: the models it stands for, the one at the centre first."""
        if isinstance(self.directions, LineDirections):
            return {" to ".join(self.directions.ends): self.directions.ends}
        parts = parts_of(self.directions, list(self.axes)).values()
        targets = tuple(dict.fromkeys(p.model for p in parts if isinstance(p, TowardsDirection)))
        return {name: (name, *targets) for name in self.models if name not in targets}

    def refined_metric(self) -> str:
        """Column whose values decide which points of the grid are computed."""
        chosen = self.refine.evaluator if self.refine is not None else None
        return f"{chosen or next(iter(self.evaluators))}_loss"

    def judge(self, part: Judged | LineDirections) -> str:
        """Name of the evaluator whose samples and loss a direction is computed from."""
        return part.evaluator or next(iter(self.evaluators))


def _pinned(name: str, model: LandscapeModel, folder: Path) -> LandscapeModel:
    try:
        return model.pinned(folder)
    except UsageError as e:
        stored = isinstance(model.checkpoint, SweepRef)
        raise (type(e)(f"models.{name}.checkpoint.{e}") if stored else e) from e


def _with_data(model: Any, data: Any) -> Any:  # noqa: ANN401 - before validation
    recipe = model.get("recipe") if isinstance(model, Mapping) else None
    if not isinstance(recipe, Mapping) or "data" in recipe:
        return model
    return {**model, "recipe": {"data": data, **recipe}}


def landscape_columns(spec: LandscapeSpec) -> tuple[Column, ...]:
    """Metrics of a row."""
    axes = list(spec.axes)
    batch_norm = Column(
        "batch_norm", "statistics of batch normalisation: fixed, interpolate or reestimate", type="text"
    )
    lengths = (
        *(Column(f"norm_{a}", f"Euclidean norm of the direction of {a}") for a in axes),
        *(
            Column(f"cosine_{a}_{b}", f"cosine of the angle between the directions of {a} and {b}")
            for a, b in itertools.combinations(axes, 2)
        ),
    )
    match spec.space:
        case InputSpace():
            return (*input_columns(spec.space, axes), *lengths)
        case QuantisationSpace():
            return (*evaluator_columns(list(spec.evaluators)), batch_norm)
        case None:
            pass
    return (
        *evaluator_columns(list(spec.evaluators)),
        batch_norm,
        Column(
            "folded",
            "computed in a faster way than usual: batch normalisation as part of the layer before it, convolutions "
            "row by row, or both (`site.shortcuts`)",
            type="bool",
        ),
        Column(
            "shortcut_difference",
            "how far outputs computed in that way were from the usual ones, where both were computed: the norm of the "
            "difference over that of the outputs",
        ),
        *lengths,
        *direction_columns(spec.directions, axes),
        *(path_columns(spec) if spec.path is not None else ()),
    )


def path_columns(spec: LandscapeSpec) -> tuple[Column, ...]:
    """Metrics that only points of the path have."""
    return (
        Column("step", "optimizer steps made at this point of the path; of files their number", type="int"),
        *(Column(f"path_{a}", f"coordinate along {a} of the nearest point of the plane") for a in spec.axes),
        Column("distance", "Euclidean distance of this point from the centre"),
        Column("off_plane", "share of that distance that lies outside of the plane"),
        *(
            Column(f"{e}_loss_projected", f"mean loss under the evaluator {e} at the nearest point of the plane")
            for e in spec.evaluators
        ),
    )
