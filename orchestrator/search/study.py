"""What is sought, and Optuna's objects for it: studies, samplers, pruners."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Literal

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.search_space import IntersectionSearchSpace
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial

from landsweep.orchestrator.canonical import Value, canonical
from landsweep.orchestrator.search import samplers as specs
from landsweep.orchestrator.search.exploring import ExploringSampler
from landsweep.orchestrator.search.space import Dimension

__all__ = [
    "Goal",
    "Past",
    "Search",
    "as_option",
    "directions",
    "distribution",
    "keeps_state",
    "pruner_of",
    "sampler_of",
    "suggest",
]

optuna.logging.set_verbosity(optuna.logging.WARNING)

_DIGITS = 6  # of a float that is proposed: so the last bits of a processor's logarithm do not matter
_OWN_STATE = (specs.Qmc, specs.CmaEs, specs.Nsga2)  # samplers that keep something beside the trials


@dataclass(frozen=True, slots=True)
class Goal:
    """What is sought: a column of the rows, and which way is better."""

    metric: str
    minimise: bool = True

    @property
    def worst(self) -> float:
        """The value reported to Optuna for a trial without a finite one."""
        return math.inf if self.minimise else -math.inf


@dataclass(frozen=True, slots=True)
class Search:
    """What a search is.

    Attributes:
        name: of the study.
        dimensions: of the space, each after those that it depends on.
        goals: at least one.
        sampler: with its arguments.
        pruner: with its arguments; it looks at the first goal's metric in the series.
        budget: when to stop.
        generation: how many trials are asked for at once.
        seeds: units of one trial; a trial is judged by the mean over them.
        deterministic: whether trials are told in the order of their numbers, a generation at a time.
        seed: of the samplers.
        start: values of the first trials; what one leaves out is drawn.
    """

    name: str
    dimensions: tuple[Dimension, ...]
    goals: tuple[Goal, ...]
    sampler: specs.SamplerSpec
    budget: specs.Budget
    pruner: specs.PrunerSpec = field(default_factory=specs.NoPruner)
    generation: int = 32
    seeds: int = 1
    deterministic: bool = True
    seed: int = 0
    start: tuple[Mapping[str, Value], ...] = ()

    @property
    def trials(self) -> int | None:
        """How many trials the budget of units allows."""
        return None if self.budget.units is None else self.budget.units // self.seeds

    @property
    def free(self) -> bool:
        """Whether no trial depends on another one."""
        return isinstance(self.sampler, specs.Random) and isinstance(self.pruner, specs.NoPruner)

    @property
    def waits(self) -> bool:
        """Whether a generation begins only when the last one has ended."""
        return (self.deterministic and not self.free) or isinstance(self.sampler, _OWN_STATE)


class Past(InMemoryStorage):
    """While a trial is judged, shows only those that have ended beside it: so it does not matter who reports first."""

    judged: int | None = None

    def get_all_trials(self, study_id: int, deepcopy: bool = True, states: Any = None) -> list[FrozenTrial]:  # noqa: ANN401
        trials = super().get_all_trials(study_id, deepcopy, states)
        if self.judged is None:
            return trials
        return [t for t in trials if t.state.is_finished() or t._trial_id == self.judged]


class _Rounded(BaseSampler):
    """Any sampler, its floats rounded to six digits: what the study knows is then exactly what the rows hold."""

    def __init__(self, inner: BaseSampler, shared: IntersectionSearchSpace | None = None) -> None:
        self._inner, self._shared = inner, shared

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        if self._shared is None:
            return self._inner.infer_relative_search_space(study, trial)
        return {name: d for name, d in self._shared.calculate(study, use_cache=True).items() if not d.single()}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        values = self._inner.sample_relative(study, trial, search_space)
        return {name: _rounded(value, search_space[name]) for name, value in values.items()}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:  # noqa: ANN401 - as Optuna declares it
        value = self._inner.sample_independent(study, trial, param_name, param_distribution)
        return _rounded(value, param_distribution)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        self._inner.before_trial(study, trial)


def _rounded(value: Any, distribution: BaseDistribution) -> Any:  # noqa: ANN401 - of any type
    if not isinstance(distribution, FloatDistribution):
        return value
    if distribution.step is not None:
        return float(f"{value:.12g}")
    return min(max(float(f"{value:.{_DIGITS}g}"), distribution.low), distribution.high)


def _seed(seed: int, number: int) -> int:
    return int.from_bytes(blake2b(f"{seed}:{number}".encode(), digest_size=4).digest(), "big") >> 1


def keeps_state(spec: specs.SamplerSpec) -> bool:
    """Whether a sampler keeps something beside the trials, so that it must be asked again to go on."""
    return isinstance(spec, _OWN_STATE)


def directions(search: Search) -> list[Literal["minimize", "maximize"]]:
    """Of the goals, as Optuna names them."""
    return ["minimize" if g.minimise else "maximize" for g in search.goals]


def as_option(d: Dimension, value: Value) -> Value:
    """A value as Optuna gets it: as text where options compare equal, such as 0 and false, which it takes for one."""
    return value if d.setting.choice is None or _all_differ(d.setting.options()) else canonical(value)


def _all_differ(options: Sequence[Value]) -> bool:
    return len(set(options)) == len(options)


def _labels(options: Sequence[Value]) -> tuple[Value, ...]:
    """Options as Optuna gets them."""
    return tuple(options) if _all_differ(options) else tuple(map(canonical, options))


def distribution(d: Dimension) -> BaseDistribution:
    """A setting as Optuna's distribution."""
    setting = d.setting
    if setting.choice is not None:
        return CategoricalDistribution(_labels(setting.options()))
    low, high = setting.bounds
    if setting.whole:
        return IntDistribution(int(low), int(high), log=setting.log, step=int(setting.step or 1))
    return FloatDistribution(low, high, log=setting.log, step=setting.step)


def suggest(trial: optuna.Trial, d: Dimension) -> Value:
    """Let Optuna choose a value for one setting."""
    setting = d.setting
    if setting.choice is not None:
        options = setting.options()
        labels = _labels(options)
        return options[labels.index(trial.suggest_categorical(d.name, labels))]
    low, high = setting.bounds
    if setting.whole:
        return trial.suggest_int(d.name, int(low), int(high), step=int(setting.step or 1), log=setting.log)
    return trial.suggest_float(d.name, low, high, step=setting.step, log=setting.log)


def sampler_of(search: Search, number: int, shared: IntersectionSearchSpace | None = None) -> BaseSampler:
    """The sampler of one trial, with all of its arguments and a seed drawn from the trial's number.

    Args:
        search: what is sought.
        number: of the trial.
        shared: what all samplers of the study know of the settings that its trials have in common. Without it each TPE
            looks through all trials for that, which is a quarter of its time at a thousand trials.
    """
    sampler = _sampler(search, _seed(search.seed, number))
    plain = isinstance(search.sampler, specs.Tpe) and search.sampler.multivariate and not _grouped(search)
    return _Rounded(sampler, shared if plain else None)


def _grouped(search: Search) -> bool:
    """Whether TPE draws groups of settings that occur together."""
    spec = search.sampler
    assert isinstance(spec, specs.Tpe)
    return spec.multivariate and (any(d.when for d in search.dimensions) if spec.group is None else spec.group)


def _sampler(search: Search, seed: int) -> BaseSampler:
    samplers = optuna.samplers
    spec = search.sampler
    args = spec.model_dump(exclude={"method"})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        match spec:
            case specs.Tpe():
                return samplers.TPESampler(**{**args, "group": _grouped(search)}, seed=seed)
            case specs.Random():
                return samplers.RandomSampler(seed=seed)
            case specs.Qmc():
                apart = samplers.RandomSampler(seed=seed)
                return samplers.QMCSampler(
                    **args, seed=_seed(search.seed, -1), independent_sampler=apart, warn_independent_sampling=False
                )
            case specs.Gp():
                return samplers.GPSampler(**args, seed=seed, warn_independent_sampling=False)
            case specs.Explore():
                return ExploringSampler(spec.n_startup_trials, spec.candidates, seed)
            case specs.CmaEs():
                return samplers.CmaEsSampler(
                    **args, popsize=search.generation, seed=seed, warn_independent_sampling=False
                )
            case specs.Nsga2():
                return samplers.NSGAIISampler(**args, population_size=search.generation, seed=seed)


def pruner_of(spec: specs.PrunerSpec) -> optuna.pruners.BasePruner:
    """Optuna's pruner with all of its arguments."""
    args = spec.model_dump(exclude={"method"})
    match spec:
        case specs.NoPruner():
            return optuna.pruners.NopPruner()
        case specs.Median():
            return optuna.pruners.MedianPruner(**args)
        case specs.Halving():
            return optuna.pruners.SuccessiveHalvingPruner(**args)
        case specs.Hyperband():
            return optuna.pruners.HyperbandPruner(**args)
