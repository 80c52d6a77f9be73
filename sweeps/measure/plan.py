"""The units of a measuring sweep: each subject under each measure that takes such subjects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from landsweep.orchestrator.axes import Value
from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.planner import ListPlanner
from landsweep.orchestrator.row import METERS, Column, param_columns
from landsweep.orchestrator.unit import Keys, Unit, canonical, digest
from landsweep.sweeps.measure.measures.base import Measure
from landsweep.sweeps.measure.spec import MeasureSweepSpec
from landsweep.sweeps.measure.subjects import Choice, Chosen, choices

__all__ = ["MEASURE", "Plan", "PlannedUnit", "carried", "chosen_models", "source_column"]

MEASURE = "measure"
_OWN = {"key": "of_key", "label": "of_label", "step": "of_step"}
_DOCS = {
    MEASURE: "name of the measure",
    "of_key": "key of the model in its own sweep",
    "of_label": "label of the checkpoint",
    "of_step": "optimizer steps of the checkpoint",
    "of_models": "models of a group, in order: key at label",
    "of_count": "how many models a group has",
}


@dataclass(frozen=True, slots=True)
class PlannedUnit:
    """A unit, and what it is computed from.

    Attributes:
        unit: with its pack: units of one pack have networks of one definition and the same samples.
        measure: name of the measure.
        choice: the models.
        seed: of what the measure draws.
    """

    unit: Unit
    measure: str
    choice: Choice
    seed: int


class Plan:
    """All units of a pinned spec.

    Args:
        spec: of the sweep.
        keys: of the sweep.

    Raises:
        SpecError: a rule chooses nothing, or what does not go together.
    """

    def __init__(self, spec: MeasureSweepSpec, keys: Keys) -> None:
        self._spec, self._keys = spec, keys
        self._definitions = spec.definitions()
        self.models = chosen_models(spec)
        self._taken = _taken_names(spec)
        self.choices = list(choices(spec.subjects, self.models, spec.seed))
        for name, measure in spec.measures.items():
            if not any(_fits(choice, measure) for choice in self.choices):
                raise SpecError(
                    f"measures.{name}: {measure.measure} compares weights, but all pairs are of networks whose weights "
                    "have other names or shapes; leave it out, or choose pairs of one architecture"
                )

    def __iter__(self) -> Iterator[PlannedUnit]:
        """By measure and pack, in the order of the subjects."""
        for name, measure in self._spec.measures.items():
            packs: dict[str, list[Choice]] = {}
            for choice in self.choices:
                if _fits(choice, measure):
                    packs.setdefault(self._pack(name, choice), []).append(choice)
            for pack, members in packs.items():
                for choice in members:
                    yield self._unit(name, choice, pack)

    def planner(self) -> ListPlanner:
        """Proposes them."""
        total = sum(_fits(choice, measure) for measure in self._spec.measures.values() for choice in self.choices)
        return ListPlanner((planned.unit for planned in self), total)

    def params(self) -> tuple[Column, ...]:
        """Columns of the units' params."""
        values: dict[str, list[Value]] = {MEASURE: list(self._spec.measures)}
        for choice in self.choices:
            for name, value in self._described(choice).items():
                values.setdefault(name, []).append(value)
        docs = {name: f"{name} of the model, in its own sweep" for name in values}
        for name in values:
            stem = name.removesuffix("_a").removesuffix("_b")
            if (text := _DOCS.get(stem)) is not None:
                docs[name] = text
            if stem != name:
                docs[name] = f"{docs.get(stem, name)}, of the {'first' if name.endswith('_a') else 'second'} model"
        return param_columns(values, docs)

    def _unit(self, name: str, choice: Choice, pack: str) -> PlannedUnit:
        spec = self._spec
        measure = spec.measures[name]
        subject = [[*m.identity, *(() if spec.data is not None else (m.pinned.data,))] for m in choice.models]
        evaluators = {e: self._definitions["evaluators"][e] for e in measure.evaluators()}
        identity = {MEASURE: [name, self._definitions["measures"][name]], "of": subject, "evaluators": evaluators}
        params = {MEASURE: name, **self._described(choice)}
        unit = self._keys.unit_of_text(params, canonical(identity), pack)
        seed = int(digest([spec.seed, subject], size=7), 16)
        return PlannedUnit(unit, name, choice, seed)

    def _pack(self, name: str, choice: Choice) -> str:
        first = choice.models[0].pinned
        others = [] if choice.alike else [[m.pinned.network, m.pinned.shapes] for m in choice.models[1:]]
        return digest([name, first.network, first.shapes, first.data, len(choice.models), *others], size=8)

    def _described(self, choice: Choice) -> dict[str, Value]:
        """Params of a subject: what its models share once, of pairs what differs with the suffixes _a and _b."""
        columns: dict[str, list[Value]] = {}
        for column in ("key", "label", "step"):
            columns[_OWN[column]] = [model.value(column) for model in choice.models]
        for name in dict.fromkeys(name for model in choice.models for name in model.params):
            columns[source_column(name, self._taken)] = [model.params.get(name) for model in choice.models]
        described: dict[str, Value] = {}
        for column, values in columns.items():
            if all(value == values[0] and type(value) is type(values[0]) for value in values):
                described[column] = values[0]
            elif choice.of == "pair":
                described |= {f"{column}_a": values[0], f"{column}_b": values[1]}
        if choice.of == "group":
            described["of_models"] = ", ".join(f"{m.pinned.key} at {m.pinned.label}" for m in choice.models)
            described["of_count"] = len(choice.models)
        return described


def _fits(choice: Choice, measure: Measure) -> bool:
    return choice.of == measure.takes() and (measure.unlike or choice.alike)


def chosen_models(spec: MeasureSweepSpec) -> list[Chosen]:
    """All models of a pinned spec; one that two refs choose counts once.

    Raises:
        SpecError: a ref is not pinned, or two models of one key and label have other weights.
    """
    models: dict[tuple[str, str], Chosen] = {}
    for i, ref in enumerate(spec.of):
        pinned = ref.models()
        for model in pinned.models:
            params = dict(zip(pinned.params, model.params, strict=True))
            metrics = dict(zip(pinned.metrics, model.metrics, strict=True))
            chosen = Chosen(i, model, params, metrics)
            other = models.setdefault((model.key, model.label), chosen)
            if other.pinned.weights != model.weights:
                raise SpecError(
                    f"of.{i}: {model.key} at {model.label} has other weights than the model of that key under "
                    f"of.{other.ref}; leave one of the two out, or measure them in two sweeps"
                )
    if spec.data is None and (unknown := [c for c in models.values() if c.pinned.data is None]):
        raise SpecError(f"data: missing; of.{unknown[0].ref} does not say on which data its models were trained")
    return list(models.values())


def _taken_names(spec: MeasureSweepSpec) -> frozenset[str]:
    """Names of columns that params of the models can't have."""
    measured = {column.name for measure in spec.measures.values() for column in measure.columns()}
    return frozenset({"key", MEASURE, *_DOCS, *measured, *(column.name for column in METERS)})


def source_column(name: str, taken: frozenset[str]) -> str:
    """What a param of a model is called in the rows: as in its sweep, unless rows have a column of that name."""
    return f"of_{name}" if name in taken else name


def carried(choice: Choice) -> Mapping[str, Any]:
    """Metrics of the models' own sweeps, as columns `of_NAME`, of a pair `of_NAME_a` and `of_NAME_b`."""
    if choice.of == "model":
        return {f"of_{name}": value for name, value in choice.models[0].metrics.items()}
    if choice.of == "group":
        return {}
    return {
        f"of_{name}_{end}": value
        for end, model in zip("ab", choice.models, strict=True)
        for name, value in model.metrics.items()
    }
