"""The spec of a transfer sweep: one recipe in several sizes, each at several learning rates."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from landsweep.orchestrator.axes import Axis, AxisLike
from landsweep.orchestrator.spec import IsAxis, IsLabel, IsNamedAxis, Section
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.training_units.kind import TrainedSpec

__all__ = ["CoordinateCheck", "SharpnessSeries", "TransferSpec"]

Count = Annotated[int, Field(ge=1)]


def _whole_numbers(name: str, axis: Axis, least: int) -> tuple[int, ...]:
    """The points of an axis of whole numbers.

    Raises:
        ValueError: one is none, or less than `least`.
    """
    points = axis.points()
    if any(type(p) is not int or p < least for p in points):
        raise ValueError(f"{name} must be whole numbers from {least}, got {list(points)}")
    return tuple(int(str(p)) for p in points)


class CoordinateCheck(Section):
    """The coordinate check: activations of every layer in the first steps, at one large learning rate."""

    learning_rate: float = Field(gt=0, description="large, so that growth with the width shows")
    steps: int = Field(4, ge=2, description="at least 2: with an output layer that starts at 0, step 1 hides much")
    first: int = Field(128, ge=1, description="activations are means over the first n training samples")
    values: AxisLike | None = Field(
        None, description="sizes to compare; none: those of the sweep. Four or more, and wide, since limits come slowly"
    )
    seeds: AxisLike = Field(Axis(range=(3,)), description="seeds of the models")

    @model_validator(mode="after")
    def _points_are_whole(self) -> Self:
        _whole_numbers("coordinates.seeds", self.seeds, 0)
        if self.values is not None:
            _whole_numbers("coordinates.values", self.values, 1)
        return self

    @property
    def sizes(self) -> tuple[int, ...] | None:
        """The sizes to compare; None: those of the sweep."""
        return None if self.values is None else _whole_numbers("values", self.values, 1)


class SharpnessSeries(Section):
    """Sharpness along training, of one model of each size, at the rate that is best for the first size."""

    learning_rate: float | None = Field(None, gt=0, description="none: the best of the first size, once known")
    times: int = Field(10, ge=2, description="how many times it is measured along the training, the start included")
    first: int = Field(256, ge=1, description="sharpness of the loss on the first n training samples")
    products: int = Field(24, ge=2, description="Hessian-vector products at most, each time")


class TransferSpec(TrainedSpec):
    """One recipe in several sizes, each at several learning rates, from several seeds."""

    kind: Annotated[Literal["transfer"], IsLabel()] = Field("transfer", description="this kind")
    recipe: Recipe = Field(description="what all models share")
    over: str = Field(
        "width",
        description="what changes: `width` or `depth` of the network, `batch_size`, `steps` (the horizon), or, of an "
        "own network, an argument such as net.args.width",
    )
    values: Annotated[AxisLike, IsAxis()] = Field(
        description="values of `over`, rising; the rate of the first is carried over to the others"
    )
    rates: Annotated[AxisLike, IsAxis()] = Field(description="learning rates, rising; at least three")
    recipes: Annotated[dict[str, dict[str, Any]], IsNamedAxis()] = Field(
        {},
        description="variants by name, as changes: {mup: {parametrization: {scheme: mup, base_width: 64}}}",
    )
    seeds: Annotated[AxisLike, IsAxis()] = Field(Axis(values=(0,)), description="seeds of the models")
    planner: Annotated[Literal["grid", "adaptive"], IsAxis()] = Field(
        "grid", description="grid: every rate; adaptive: only as many as it takes to find the best one"
    )
    objective: str = Field("train_loss", pattern=r"_loss$", description="loss of an evaluation, at the end of training")
    target: float | None = Field(None, description="record the first evaluated step with an objective of at most this")
    coordinates: Annotated[CoordinateCheck | None, IsAxis()] = Field(None, description="add a coordinate check")
    sharpness: Annotated[SharpnessSeries | None, IsAxis()] = Field(None, description="add sharpness along training")

    @field_validator("over")
    @classmethod
    def _is_a_size(cls, over: str) -> str:
        if over not in ("width", "depth", "batch_size", "steps") and not re.fullmatch(r"net\.args\.[^.]+", over):
            raise ValueError("should be width, depth, batch_size or steps, or net.args.NAME of an own network")
        return over

    @property
    def sizes(self) -> tuple[int, ...]:
        """The values of `over`."""
        return tuple(int(v) for v in self.values.points() if v is not None)

    @property
    def rate_values(self) -> tuple[float, ...]:
        """The learning rates."""
        return tuple(float(r) for r in self.rates.points() if r is not None)

    @property
    def seed_values(self) -> tuple[int, ...]:
        """The seeds."""
        return tuple(int(s) for s in self.seeds.points() if s is not None)

    @model_validator(mode="after")
    def _points_are_what_they_should_be(self) -> Self:
        for name, least, axis in (("rates", 3, self.rates), ("values", 1, self.values), ("seeds", 1, self.seeds)):
            points = axis.points()
            if any(isinstance(p, bool | str) or p is None for p in points):
                raise ValueError(f"{name} must be numbers, got {list(points)}")
            if name != "seeds" and list(points) != sorted(points, key=lambda p: float(p or 0)):
                raise ValueError(f"{name} must rise, got {list(points)}")
            if len(points) < least:
                raise ValueError(
                    f"{name}: {len(points)} given ({list(points)}), but an optimum needs at least {least}: one below "
                    "and one above the best; such as rates: {log2: [-12, -4, 9]}"
                )
        if min(self.rate_values) <= 0:
            raise ValueError(f"rates must be above 0, got {self.rate_values[0]:g}")
        _whole_numbers("values", self.values, 1)
        _whole_numbers("seeds", self.seeds, 0)
        return self
