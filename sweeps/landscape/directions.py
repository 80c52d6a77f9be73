"""How a spec names its directions: random ones, lines between models, and what is known of the network or its path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeAlias, TypeGuard

from pydantic import Field, StringConstraints, model_validator

from landsweep.orchestrator.row import Column
from landsweep.orchestrator.spec import Section
from landsweep.sweeps.lab.checkpoints.state_dict import Checkpoint, CheckpointFile
from landsweep.sweeps.lab.weight_space.directions import RandomDirections
from landsweep.sweeps.lab.weight_space.known import Scaling

__all__ = [
    "ColumnName",
    "Directions",
    "FileDirections",
    "FunctionDirections",
    "GradientDirection",
    "HessianDirections",
    "Judged",
    "LineDirections",
    "MixedDirections",
    "Name",
    "OneDirection",
    "Part",
    "TowardsDirection",
    "TrainingPath",
    "TrajectoryDirections",
    "direction_columns",
    "is_judged",
    "parts_of",
]

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
ColumnName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]
_LENGTHS = {"unit": "length 1", "weights": "the length of the weights it moves", "given": "as it is"}
_SCALE = "unit: length 1, so that a coordinate is a distance; weights: the length of the weights it moves; given: as is"


class LineDirections(Section):
    """Lines between models: each axis leads from the first model, at 0, to another one, at 1."""

    kind: Literal["interpolation"]
    ends: tuple[Name, ...] = Field(min_length=2, max_length=4, description="names of models: start, then one per axis")
    orthogonal: bool = Field(
        False,
        exclude_if=lambda v: not v,
        description="make each axis orthogonal to those before it; the plane stays the same, and is drawn to scale",
    )
    match: Literal["none", "weights", "activations"] = Field(
        "none",
        exclude_if=lambda v: v == "none",
        description="by what the hidden units of the other ends are brought to the places of the first one's",
    )
    evaluator: ColumnName | None = Field(
        None,
        exclude_if=lambda v: v is None,
        description="whose samples activations are taken from; default: the first evaluator",
    )

    def in_words(self) -> str:
        """For captions."""
        words = f"straight from {self.ends[0]} to {' and to '.join(self.ends[1:])}, all parameters"
        words += f", hidden units matched by {self.match}" if self.match != "none" else ""
        return words + (", each axis orthogonal to those before it" if self.orthogonal else "")


class TowardsDirection(Section):
    """The line to another model, which is at 1."""

    kind: Literal["towards"]
    model: Name

    def in_words(self) -> str:
        """For captions."""
        return f"straight to {self.model}"


class GradientDirection(Section):
    """The gradient of the loss at the centre: along it the loss rises fastest."""

    kind: Literal["gradient"]
    evaluator: ColumnName | None = Field(None, description="whose samples and loss; default: the first evaluator")
    scale: Scaling = Field("unit", description=_SCALE)

    def in_words(self) -> str:
        """For captions."""
        return f"gradient of the loss, {_LENGTHS[self.scale]}"


class FileDirections(CheckpointFile):
    """Tensors from a file, by names of parameters; with several axes `AXIS/NAME`. What is left out does not move."""

    kind: Literal["file"]
    scale: Scaling = Field("given", description=_SCALE)

    def in_words(self) -> str:
        """For captions."""
        return f"from the file {Path(self.file).name}, {_LENGTHS[self.scale]}"


class FunctionDirections(Section):
    """What a function of the user's gives for each axis: a mapping of names of parameters to tensors."""

    kind: Literal["function"]
    function: str = Field(
        pattern=r"^[\w.]+:[\w.]+$",
        description="package.module:function; given those of module, samples, axis and draw that it takes, and `args`",
    )
    args: dict[str, Any] = Field({}, description="passed to the function by name")
    evaluator: ColumnName | None = Field(None, description="whose samples it is given; default: the first evaluator")
    scale: Scaling = Field("given", description=_SCALE)

    def in_words(self) -> str:
        """For captions."""
        return f"by {self.function}, {_LENGTHS[self.scale]}"


class TrajectoryDirections(Section):
    """Principal components of the path: the directions in which its points differ most, of length 1."""

    kind: Literal["trajectory"]
    components: tuple[Annotated[int, Field(ge=1)], ...] | None = Field(
        None, description="one per axis; 1: the one with the largest share of variance; default: 1, 2, ..."
    )
    about: Literal["last", "mean"] = Field(
        "last", description="variance around the last point (Li et al. 2018) or around the mean of all"
    )

    def in_words(self) -> str:
        """For captions."""
        return f"principal components of the path about its {'end' if self.about == 'last' else 'mean'}, length 1"


class HessianDirections(Section):
    """Eigenvectors of the loss's Hessian at the centre: along them the surface bends most, or least."""

    kind: Literal["hessian"]
    eigenvectors: tuple[int, ...] | None = Field(
        None,
        description="one per axis; 1: that of the largest eigenvalue by sign, 2: of the next, -1: of the lowest, which "
        "may be negative; default: 1, 2, ...",
    )
    evaluator: ColumnName | None = Field(None, description="whose samples and loss; default: the first evaluator")
    products: int = Field(100, ge=2, description="most Hessian-vector products")
    tolerance: float = Field(1e-3, gt=0, description="of the residual |Hv - lambda v|, relative to |lambda|")
    scale: Scaling = Field("unit", description=_SCALE)

    @model_validator(mode="after")
    def _counted_from_one(self) -> Self:
        if self.eigenvectors is not None and (0 in self.eigenvectors or not self.eigenvectors):
            raise ValueError("eigenvectors are counted from 1, and from the lowest one on from -1; there is no 0")
        return self

    def in_words(self) -> str:
        """For captions."""
        return f"eigenvectors of the Hessian, {_LENGTHS[self.scale]}"


OneDirection: TypeAlias = Annotated[
    RandomDirections
    | TowardsDirection
    | GradientDirection
    | HessianDirections
    | TrajectoryDirections
    | FileDirections
    | FunctionDirections,
    Field(discriminator="kind"),
]


class MixedDirections(Section):
    """A kind of its own for each axis."""

    kind: Literal["mixed"]
    axes: dict[ColumnName, OneDirection] = Field(min_length=1, description="name of the axis to its direction")
    orthogonal: bool = Field(False, description="make each axis orthogonal to those before it")

    def in_words(self) -> str:
        """For captions."""
        words = "; ".join(f"{axis}: {direction.in_words()}" for axis, direction in self.axes.items())
        return words + ("; each axis orthogonal to those before it" if self.orthogonal else "")


Directions: TypeAlias = Annotated[
    RandomDirections
    | LineDirections
    | GradientDirection
    | HessianDirections
    | TrajectoryDirections
    | FileDirections
    | FunctionDirections
    | MixedDirections,
    Field(discriminator="kind"),
]
Judged: TypeAlias = GradientDirection | HessianDirections | FunctionDirections
"""Directions that depend on samples and loss of an evaluator."""
Part: TypeAlias = (
    RandomDirections
    | LineDirections
    | TowardsDirection
    | GradientDirection
    | HessianDirections
    | TrajectoryDirections
    | FileDirections
    | FunctionDirections
)


class TrainingPath(Section):
    """Points of a training: weights along the way to the centre, drawn on the surface and judged themselves."""

    checkpoints: int | None = Field(
        None, ge=2, description="how many of the model's own training by its recipe, the start and the end included"
    )
    spacing: Literal["linear", "log"] = Field("linear", description="of their steps")
    files: tuple[Checkpoint, ...] | None = Field(None, min_length=2, description="or files with state dicts, in order")

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.checkpoints is None) == (self.files is None):
            raise ValueError("a path is given by `checkpoints`, a number, or by `files`; give one of the two")
        return self

    def __len__(self) -> int:
        """How many points it has."""
        return self.checkpoints or len(self.files or ())

    def pinned(self, folder: Path) -> Self:
        """The same with its files pinned by digest."""
        files = None if self.files is None else tuple(f.pinned(folder) for f in self.files)
        return self.model_copy(update={"files": files})


def parts_of(directions: Directions, axes: Sequence[str]) -> Mapping[tuple[str, ...], Part]:
    """Groups of axes that are computed together, and how."""
    if isinstance(directions, MixedDirections):
        return {(axis,): directions.axes[axis] for axis in axes if axis in directions.axes}
    return {tuple(axes): directions}


def is_judged(part: Part) -> TypeGuard[Judged]:
    """Whether a direction depends on samples and loss of an evaluator."""
    return isinstance(part, Judged)


def direction_columns(directions: Directions, axes: Sequence[str]) -> tuple[Column, ...]:
    """What a row holds of its directions beside their norms and cosines."""
    columns = []
    for names, part in parts_of(directions, axes).items():
        for i, axis in enumerate(names):
            match part:
                case TrajectoryDirections():
                    about = "end" if part.about == "last" else "mean"
                    meaning = f"share of the path's variance about its {about} that lies along {axis}"
                    columns.append(Column(f"explained_{axis}", meaning))
                case LineDirections(orthogonal=True) if i:
                    columns += [
                        Column(f"end_{axis}_{other}", f"coordinate along {other} of the model to which {axis} leads")
                        for other in names[:i]
                    ]
                case GradientDirection():
                    columns.append(Column(f"gradient_norm_{axis}", "Euclidean norm of the gradient at the centre"))
                case HessianDirections():
                    columns += [
                        Column(f"eigenvalue_{axis}", f"eigenvalue of the Hessian for the direction of {axis}"),
                        Column(f"residual_{axis}", "length of Hv - lambda v: how far that is from an eigenvector"),
                    ]
                case _:
                    pass
    return tuple(columns)
