"""Which models are measured together: each alone, pairs, groups, or the checkpoints of one run; chosen by rules."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, Field

from landsweep.orchestrator.axes import Value
from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.schema import ITEMS, SHORT
from landsweep.orchestrator.spec import Section
from landsweep.orchestrator.unit import canonical, digest
from landsweep.sweeps.lab.trained_models.pinned import PinnedModel
from landsweep.sweeps.measure.measures.base import Of

__all__ = ["Along", "Choice", "Chosen", "Each", "Groups", "Pairs", "SubjectsSpec", "choices"]

KEY, LABEL, STEP = "key", "label", "step"


@dataclass(frozen=True, slots=True)
class Chosen:
    """A pinned model, and which ref of the spec it comes from.

    Attributes:
        ref: place in `of`.
        pinned: the model at one checkpoint.
        params: what was swept in its sweep, by name.
        metrics: what its sweep says of it, by name.
    """

    ref: int
    pinned: PinnedModel
    params: Mapping[str, Value]
    metrics: Mapping[str, Value]

    def value(self, column: str) -> Value:
        """Of one of the columns that rules may name; None where its sweep has no such column."""
        own: Mapping[str, Value] = {KEY: self.pinned.key, LABEL: self.pinned.label, STEP: self.pinned.step}
        return own[column] if column in own else self.params.get(column)

    @property
    def identity(self) -> list[str | None]:
        """What a unit's key holds of it: no path, and no params, which follow from the key."""
        return [self.pinned.key, self.pinned.label, self.pinned.weights]


@dataclass(frozen=True, slots=True)
class Choice:
    """The models of one subject, in order."""

    of: Of
    models: tuple[Chosen, ...]

    @property
    def alike(self) -> bool:
        """Whether the weights of all have the same names and shapes."""
        return all(model.pinned.shapes == self.models[0].pinned.shapes for model in self.models)


class Each(Section):
    """Every model alone."""

    choose: Literal["each"]

    def of(self) -> Of:
        """What it gives."""
        return "model"

    def columns(self) -> tuple[str, ...]:
        """Columns that its rules name."""
        return ()

    def choices(self, models: Sequence[Chosen], columns: Sequence[str], seed: int) -> Iterator[Choice]:
        """The subjects."""
        del columns, seed
        return (Choice("model", (model,)) for model in models)


class _Together(Section):
    """What pairs and groups share: cells of models that are equal in some columns."""

    within: tuple[str, ...] | None = Field(
        None, description="columns in which the models are equal; none: all but `over`. Checkpoints are equal too"
    )
    over: str | None = Field(None, description="column in which they differ, such as seed; or label, or step")

    def columns(self) -> tuple[str, ...]:
        """Columns that its rules name."""
        return (*(self.within or ()), *((self.over,) if self.over else ()))

    def cells(self, models: Sequence[Chosen], columns: Sequence[str]) -> Iterator[list[Chosen]]:
        """Models that are equal within, in the order of `over`, then of their keys and steps."""
        along = self.over in (LABEL, STEP)
        default = [KEY] if along else [c for c in columns if c not in (KEY, LABEL, STEP, self.over)]
        within = [*(default if self.within is None else self.within), *(() if along else (LABEL,))]
        cells: dict[str, list[Chosen]] = {}
        for model in models:
            cells.setdefault(canonical([model.value(c) for c in within]), []).append(model)
        for cell in cells.values():
            yield sorted(cell, key=self._place)

    def differ(self, a: Chosen, b: Chosen) -> bool:
        """Whether two models of one cell differ in the column `over`; without one, whether they are two at all."""
        if self.over is None:
            return a.identity != b.identity
        return canonical(a.value(self.over)) != canonical(b.value(self.over))

    def _place(self, model: Chosen) -> tuple[Any, ...]:
        value = None if self.over is None else model.value(self.over)
        number = isinstance(value, int | float)
        step = model.pinned.step
        return (not number, value if number else 0, canonical(value), step is None, step or 0, *model.identity[:2])


class Pairs(_Together):
    """Two models each that are equal in some columns and differ in one."""

    choose: Literal["pairs"]
    at_most: int | None = Field(None, ge=1, description="pairs of one cell, drawn from the sweep's seed; none: all")
    unlike: bool = Field(
        False,
        description="also pairs of networks whose weights have other names or shapes, for measures that can: cka, "
        "disagreement, own",
    )

    def of(self) -> Of:
        """What it gives."""
        return "pair"

    def choices(self, models: Sequence[Chosen], columns: Sequence[str], seed: int) -> Iterator[Choice]:
        """The subjects; a draw prefers the same pairs also when the zoo has grown."""
        for cell in self.cells(models, columns):
            pairs = [(a, b) for a, b in itertools.combinations(cell, 2) if self.differ(a, b)]
            for pair in _drawn(pairs, self.at_most, seed, lambda pair: [m.identity for m in pair]):
                if not self.unlike:
                    _refuse_unlike(pair, self.over)
                yield Choice("pair", pair)


class Groups(_Together):
    """All models that are equal in some columns, as one subject."""

    choose: Literal["groups"]
    at_most: int | None = Field(None, ge=2, description="models of one group, drawn from the sweep's seed; none: all")

    def of(self) -> Of:
        """What it gives."""
        return "group"

    def choices(self, models: Sequence[Chosen], columns: Sequence[str], seed: int) -> Iterator[Choice]:
        """The subjects: groups of at least two models."""
        for cell in self.cells(models, columns):
            members = _drawn(cell, self.at_most, seed, lambda model: model.identity)
            if len(members) > 1:
                _refuse_unlike(members, self.over)
                yield Choice("group", tuple(members))


class Along(Section):
    """The checkpoints of each run, in the order of their steps, as one subject."""

    choose: Literal["along"]

    def of(self) -> Of:
        """What it gives."""
        return "group"

    def columns(self) -> tuple[str, ...]:
        """Columns that its rules name."""
        return ()

    def choices(self, models: Sequence[Chosen], columns: Sequence[str], seed: int) -> Iterator[Choice]:
        """The subjects; a checkpoint that is kept under two labels, such as best and last, counts once.

        Raises:
            SpecError: a run has one checkpoint only.
        """
        del columns, seed
        runs: dict[str, dict[int | None, Chosen]] = {}
        for model in models:
            runs.setdefault(model.pinned.key, {}).setdefault(model.pinned.step, model)
        for key, run in runs.items():
            if len(run) < 2:
                (only,) = run.values()
                raise SpecError(
                    f"subjects: along: only one checkpoint of {key} is chosen ({only.pinned.label}); choose more: "
                    "of: [{sweep: ..., checkpoints: [all]}], of a sweep that keeps them (recipe.checkpoints)"
                )
            steps = sorted(step for step in run if step is not None)
            unknown = [run[None]] if None in run else []
            yield Choice("group", (*(run[step] for step in steps), *unknown))


def _from_word(value: Any) -> Any:  # noqa: ANN401 - before validation
    return {"choose": value} if isinstance(value, str) else value


_WORDS = {"enum": ["each", "pairs", "groups", "along"]}  # a rule without fields of its own
_Rule: TypeAlias = Annotated[
    Annotated[Each | Pairs | Groups | Along, Field(discriminator="choose", json_schema_extra={SHORT: [_WORDS]})],
    BeforeValidator(_from_word),
]


def _from_one(value: Any) -> Any:  # noqa: ANN401 - before validation
    return value if isinstance(value, list | tuple) else [value]


SubjectsSpec = Annotated[
    tuple[_Rule, ...], BeforeValidator(_from_one), Field(min_length=1, json_schema_extra={SHORT: ITEMS})
]
"""`each`, `along`, `{choose: pairs, within: [...], over: seed}`, `{choose: groups, ...}`, or a list of these."""


def choices(rules: Iterable[_Rule], models: Sequence[Chosen], seed: int) -> Iterator[Choice]:
    """All subjects.

    Raises:
        SpecError: a rule names a column that no model has, chooses nothing, or puts unlike networks together.
    """
    columns = list(dict.fromkeys((KEY, LABEL, STEP, *(name for model in models for name in model.params))))
    for rule in rules:
        if unknown := [name for name in rule.columns() if name not in columns]:
            raise SpecError(
                f"subjects: {rule.choose}: there is no column {unknown[0]!r}; the models have {', '.join(columns)}"
            )
        first = None
        for first in rule.choices(models, columns, seed):
            yield first
        if first is None:
            raise SpecError(f"subjects: {rule.choose}: the rule chooses nothing of {len(models)} models; {_why(rule)}")


def _why(rule: _Rule) -> str:
    if not isinstance(rule, Pairs | Groups):
        return "choose more models under `of`"
    within = "all columns but `over`" if rule.within is None else f"{list(rule.within)}"
    over = f" and differ in {rule.over!r}" if rule.over else ""
    return f"no two of them are equal in {within}{over}; name fewer columns under `within`"


def _drawn(items: list[Any], most: int | None, seed: int, identity: Callable[[Any], object]) -> list[Any]:
    """At most this many of some items, in order; which ones depends on each item alone, so that growth moves few."""
    if most is None or len(items) <= most:
        return items
    first = sorted(range(len(items)), key=lambda i: digest([seed, identity(items[i])]))[:most]
    return [items[i] for i in sorted(first)]


def _refuse_unlike(models: Sequence[Chosen], over: str | None) -> None:
    first = models[0]
    for other in models[1:]:
        if other.pinned.shapes != first.pinned.shapes:
            raise SpecError(
                f"subjects: {first.pinned.key} and {other.pinned.key} have weights of other names or shapes, so they "
                f"can't be compared ({_named(first)}; {_named(other)}). Put what changes the network under `within`, "
                "which now leaves them together" + (f" over {over!r}" if over else "")
            )


def _named(model: Chosen) -> str:
    return ", ".join(f"{name} {value}" for name, value in model.params.items()) or model.pinned.label
