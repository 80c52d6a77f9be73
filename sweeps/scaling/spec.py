"""The spec of a scaling study: a family of recipes, and which sizes and horizons are trained."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AliasChoices, BeforeValidator, Field, model_validator

from landsweep.orchestrator.axes import Axis, AxisLike
from landsweep.orchestrator.spec import IsAxis, IsLabel, Section
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.training_units.kind import TrainedSpec
from landsweep.sweeps.laws.base import Law
from landsweep.sweeps.laws.catalogue import law_named
from landsweep.sweeps.scaling.features import Features
from landsweep.sweeps.scaling.own_sizes import OwnSizes

__all__ = ["Limits", "Rate", "ScalingSpec", "Shape", "Validate"]


class Shape(Section):
    """What a network of a given width looks like."""

    depth: int | None = Field(None, ge=1, description="layers or blocks of every size; none: as in recipe.net")
    aspect: float | None = Field(
        None, gt=0, description="or width per layer: depth = width / aspect, rounded, at least 1"
    )
    head_width: int | None = Field(
        None, ge=1, description="of transformers: heads = width / head_width; none: as many heads as in recipe.net"
    )

    own: OwnSizes | None = Field(
        None, exclude_if=lambda v: v is None, description="of an own network: its arguments, parameters and FLOPs"
    )

    @model_validator(mode="after")
    def _one_depth(self) -> Self:
        if self.depth is not None and self.aspect is not None:
            raise ValueError("give `depth` or `aspect`, not both")
        return self


class Limits(Section):
    """Which sizes a budget is spent on."""

    least_steps: int = Field(20, ge=1, description="shorter trainings are left out")
    most_steps: int | None = Field(None, ge=1, description="longer trainings are left out")
    tokens_per_parameter: tuple[float, float] | None = Field(
        None, description="[least, most] tokens, or samples, per parameter"
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.most_steps is not None and self.most_steps < self.least_steps:
            raise ValueError(f"most_steps must be at least least_steps, {self.least_steps}; got {self.most_steps}")
        if (
            self.tokens_per_parameter is not None
            and not 0 < self.tokens_per_parameter[0] < self.tokens_per_parameter[1]
        ):
            raise ValueError(f"tokens_per_parameter is [least, most], both above 0; got {self.tokens_per_parameter}")
        return self


class Rate(Section):
    """How the learning rate follows size and horizon: that of the recipe x (N / at_size)^size (D / at_horizon)^horizon.

    N counts all parameters, D tokens or samples. arXiv 2409.15156 finds -0.23 and -0.32.
    """

    size: float = Field(0.0, description="exponent of N")
    horizon: float = Field(0.0, description="exponent of D")
    at_size: float | None = Field(None, gt=0, description="parameters at which the recipe's rate holds")
    at_horizon: float | None = Field(None, gt=0, description="tokens, or samples, at which it holds")

    @model_validator(mode="after")
    def _references_are_given(self) -> Self:
        for exponent, reference in (("size", "at_size"), ("horizon", "at_horizon")):
            if getattr(self, exponent) and getattr(self, reference) is None:
                raise ValueError(f"{exponent}: an exponent needs {reference}, where the recipe's rate holds as it is")
        return self

    def multiplier(self, parameters: float, tokens: float) -> float:
        """What the recipe's learning rate is multiplied by."""
        by_size = (parameters / self.at_size) ** self.size if self.at_size else 1.0
        by_horizon = (tokens / self.at_horizon) ** self.horizon if self.at_horizon else 1.0
        return by_size * by_horizon


class Validate(Section):
    """Runs that the fit does not see: at each budget one of the size that the fit holds best, once it can be fitted."""

    budgets: AxisLike = Field(description="FLOPs, above those of all runs that are fitted")
    seeds: int = Field(1, ge=1, description="how many of the study's seeds, the first ones")


def _without_length(data: Any) -> Any:  # noqa: ANN401 - pydantic hands over whatever was given
    """The recipe's number of steps is the plan's to say: 0 stands for that."""
    if not isinstance(data, dict):
        return data
    lengths = [name for name in ("steps", "epochs") if data.get(name)]
    if lengths:
        raise ValueError(f"leave `{lengths[0]}` out: the plan decides how long each size trains")
    return {**data, "steps": 0}


def _numbers(axis: Axis | None) -> tuple[float, ...]:
    return () if axis is None else tuple(float(v) for v in axis.points() if v is not None)


class ScalingSpec(TrainedSpec):
    """A family of recipes, and which sizes and horizons are trained."""

    kind: Annotated[Literal["scaling"], IsLabel()] = Field("scaling", description="this kind")
    recipe: Annotated[Recipe | None, BeforeValidator(_without_length)] = Field(
        None, description="what all sizes share; its net gives all but width and depth, and no number of steps"
    )
    features: Features | None = Field(None, description="instead of a recipe: the random-feature model")
    shape: Shape = Field(Shape(), description="what a network of a given width looks like")
    widths: Annotated[AxisLike, IsAxis()] = Field(description="sizes of the network, or numbers of features")
    budgets: Annotated[AxisLike | None, IsAxis()] = Field(
        None, description="FLOPs of a training: at each, all sizes within the limits (iso-FLOP)"
    )
    ratios: Annotated[AxisLike | None, IsAxis()] = Field(
        None, description="tokens, or samples, per parameter: each size at each of them (a ladder)"
    )
    limits: Annotated[Limits, IsAxis()] = Field(Limits(), description="which sizes a budget is spent on")
    horizons: Literal["runs", "branches"] = Field(
        "runs",
        exclude_if=lambda v: v == "runs",
        description="runs: every horizon of a size is trained from its start; branches: only the longest, and the "
        "others are cool-downs that leave it (needs a schedule wsd)",
    )
    rate: Rate = Field(Rate(), description="how the learning rate follows size and horizon")
    rates: Annotated[AxisLike, IsAxis()] = Field(
        Axis(values=(1.0,)), description="factors on that rate: the best of each size and horizon is fitted"
    )
    seeds: Annotated[AxisLike, IsAxis()] = Field(Axis(values=(0,)), description="of every size and horizon")
    validation: Annotated[Validate | None, IsAxis()] = Field(
        # `validate` is what it is called in a spec; as an attribute, that is a method of all models.
        None,
        validation_alias=AliasChoices("validate", "validation"),
        description="larger runs to test the prediction on",
    )
    law: Annotated[str, IsLabel()] = Field("chinchilla", description="that is fitted; see `landsweep laws`")
    fixed: Annotated[dict[str, float], IsLabel()] = Field(
        {}, description="parameters of the law that are known and not fitted, such as E: 0 where no loss remains"
    )
    parameters: Annotated[Literal["all", "body"], IsLabel()] = Field(
        "all", description="what N counts: all parameters, or none of the embedding and the last layer"
    )
    bootstrap: Annotated[int, IsLabel()] = Field(1000, ge=0, description="draws for intervals; 0: from the curvature")

    @property
    def family(self) -> str:
        """What is trained, in one word: the network of the recipe, or features."""
        return "features" if self.recipe is None else str(self.recipe.net.net)

    @property
    def base_rate(self) -> float:
        """The learning rate that the rule starts from."""
        if self.features is not None:
            return self.features.rate
        return float(getattr(self.recipe.optimizer, "learning_rate", 0.0)) if self.recipe else 0.0

    @property
    def width_values(self) -> tuple[int, ...]:
        """The widths, or numbers of features."""
        return tuple(int(v) for v in _numbers(self.widths))

    @property
    def budget_values(self) -> tuple[float, ...]:
        """The budgets, in FLOPs; may be none."""
        return _numbers(self.budgets)

    @property
    def ratio_values(self) -> tuple[float, ...]:
        """The ratios, in tokens or samples per parameter; may be none."""
        return _numbers(self.ratios)

    @property
    def factor_values(self) -> tuple[float, ...]:
        """The factors on the learning rate."""
        return _numbers(self.rates)

    @property
    def seed_values(self) -> tuple[int, ...]:
        """The seeds."""
        return tuple(int(v) for v in _numbers(self.seeds))

    @property
    def test_budgets(self) -> tuple[float, ...]:
        """Budgets of the runs that test the fit, in FLOPs; may be none."""
        return () if self.validation is None else _numbers(self.validation.budgets)

    @property
    def fitted_law(self) -> Law:
        """The law of this name."""
        return law_named(self.law)

    @model_validator(mode="after")
    def _one_family(self) -> Self:
        if (self.recipe is None) == (self.features is None):
            raise ValueError("a study needs either a `recipe` or `features`, one of the two")
        if self.budgets is None and self.ratios is None:
            raise ValueError("say what to train: `budgets` in FLOPs, or `ratios` in tokens per parameter, or both")
        for name, axis, least in (("widths", self.widths, 1), ("seeds", self.seeds, 0)):
            if any(type(v) is not int or v < least for v in axis.points()):
                raise ValueError(f"{name} must be whole numbers from {least}, got {list(axis.points())}")
        tested = None if self.validation is None else self.validation.budgets
        positive = {"budgets": self.budgets, "ratios": self.ratios, "rates": self.rates, "validate.budgets": tested}
        for name, values in positive.items():
            if values is not None and any(isinstance(v, str | bool | None) or v <= 0 for v in values.points()):
                raise ValueError(f"{name} must be numbers above 0, got {list(values.points())}")
        if self.validation is not None and self.validation.seeds > len(self.seeds):
            raise ValueError(f"validate.seeds: there are only {len(self.seeds)} seeds, got {self.validation.seeds}")
        return self

    @model_validator(mode="after")
    def _recipe_can_be_judged(self) -> Self:
        if self.recipe is None:
            return self
        if not hasattr(self.recipe.optimizer, "learning_rate"):
            raise ValueError(f"recipe.optimizer: {self.recipe.optimizer.method} has no learning_rate to plan with")
        splits = self.recipe.evaluate.splits
        if splits is not None and "test" not in splits:
            raise ValueError(f"recipe.evaluate.splits must hold test, which the law is fitted to; got {list(splits)}")
        return self
