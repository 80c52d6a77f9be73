"""Samplers, pruners and goals of a search, as fields of a spec.

Every argument stands here with its value, under the name that Optuna gives it, so that a search is what its spec says
and not what the defaults of some version were.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from landsweep.orchestrator.spec import Section

__all__ = [
    "Budget",
    "CmaEs",
    "Explore",
    "Gp",
    "Halving",
    "Hyperband",
    "Median",
    "NoPruner",
    "Nsga2",
    "PrunerSpec",
    "Qmc",
    "Random",
    "SamplerSpec",
    "Tpe",
]

Count = Annotated[int, Field(ge=1)]
FromZero = Annotated[int, Field(ge=0)]


class Tpe(Section):
    """Tree-structured Parzen estimator (arXiv 2304.11127)."""

    method: Literal["tpe"] = "tpe"
    n_startup_trials: FromZero = Field(10, description="drawn at random before the estimator begins")
    n_ei_candidates: Count = Field(24, description="candidates of which the most promising is taken")
    multivariate: bool = Field(True, description="settings are drawn jointly")
    group: bool | None = Field(None, description="by sub-space; none: where some settings exist only beside others")
    constant_liar: bool = Field(True, description="running trials count as bad ones, so that a generation spreads")


class Random(Section):
    """Independent draws."""

    method: Literal["random"] = "random"


class Qmc(Section):
    """A low-discrepancy sequence; categorical and conditional settings are drawn at random."""

    method: Literal["qmc"]
    qmc_type: Literal["sobol", "halton"] = "sobol"
    scramble: bool = True


class Gp(Section):
    """Gaussian process with expected improvement in the logarithm (for several goals: of the hypervolume)."""

    method: Literal["gp"]
    n_startup_trials: FromZero = Field(10, description="drawn at random before the process is fitted")
    deterministic_objective: bool = Field(False, description="whether the goal has no noise")


class Explore(Section):
    """Where the surface is known least: lowers the variance of a Gaussian process over all settings (arXiv 2206.05985).

    It does not seek the best: for claims over all settings, not for tuning.
    """

    method: Literal["explore"]
    n_startup_trials: Count = Field(8, description="drawn at random before the process is fitted")
    candidates: Count = Field(256, description="random settings of which one is taken")


class CmaEs(Section):
    """Covariance matrix adaptation (arXiv 1604.00772); its population is one generation. Numbers only, one goal."""

    method: Literal["cmaes"]
    n_startup_trials: Count = Field(1, description="drawn at random before the strategy begins")
    use_separable_cma: bool = Field(False, description="a diagonal covariance: faster with many settings")
    with_margin: bool = Field(False, description="keeps whole numbers from getting stuck")
    lr_adapt: bool = Field(False, description="adapts its learning rate to noise")


class Nsga2(Section):
    """Non-dominated sorting genetic algorithm; its population is one generation."""

    method: Literal["nsga2"]
    mutation_prob: Annotated[float, Field(ge=0, le=1)] | None = Field(None, description="none: 1 / settings")
    crossover_prob: float = Field(0.9, ge=0, le=1)
    swapping_prob: float = Field(0.5, ge=0, le=1)


SamplerSpec = Annotated[Tpe | Random | Qmc | Gp | Explore | CmaEs | Nsga2, Field(discriminator="method")]


class NoPruner(Section):
    """Every trial runs to its end."""

    method: Literal["none"] = "none"


class Median(Section):
    """Stop a trial whose best value so far is worse than the median of the others at the same step."""

    method: Literal["median"]
    n_startup_trials: FromZero = Field(5, description="trials that must have ended before any is stopped")
    n_warmup_steps: FromZero = Field(0, description="training steps before which none is stopped")
    n_min_trials: Count = Field(1, description="trials that must have reported at a step")


class Halving(Section):
    """Asynchronous successive halving (arXiv 1810.05934)."""

    method: Literal["halving"]
    min_resource: Count = Field(description="training steps before the first rung")
    reduction_factor: int = Field(4, ge=2, description="one trial in this many goes on to the next rung")
    min_early_stopping_rate: FromZero = 0


class Hyperband(Section):
    """Several brackets of successive halving (arXiv 1603.06560)."""

    method: Literal["hyperband"]
    min_resource: Count = Field(description="training steps before the first rung")
    max_resource: Count = Field(description="training steps of a whole trial")
    reduction_factor: int = Field(3, ge=2)

    @model_validator(mode="after")
    def _a_rung_fits(self) -> Self:
        if self.min_resource >= self.max_resource:
            raise ValueError(f"min_resource {self.min_resource} must be below max_resource {self.max_resource}")
        return self


PrunerSpec = Annotated[NoPruner | Median | Halving | Hyperband, Field(discriminator="method")]


class Budget(Section):
    """How much is spent. The first limit that is reached ends the search; units that run then are finished."""

    units: Count | None = Field(None, description="units in all; a trial takes as many as there are seeds")
    seconds: Annotated[float, Field(gt=0)] | None = Field(None, description="seconds of units, summed over workers")
    flops: Annotated[float, Field(gt=0)] | None = Field(None, description="the column `flops`, summed over units")
    in_vain: Count = Field(
        100, description="this many trials in a row that failed, or added nothing to a limit, end the search too"
    )

    @model_validator(mode="after")
    def _a_limit(self) -> Self:
        if self.units is None and self.seconds is None and self.flops is None:
            raise ValueError("a budget needs at least one of units, seconds and flops")
        return self
