"""The kind `measure`: stored models as the subject of a sweep, alone, in pairs, in groups, along training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.kind import Arrays, SweepKind, Workbench
from landsweep.orchestrator.planner import ListPlanner
from landsweep.orchestrator.report.parts import Report
from landsweep.orchestrator.row import Column
from landsweep.orchestrator.unit import Keys
from landsweep.sweeps.lab.trained_models.refs import FileRef, changed
from landsweep.sweeps.measure.measures.base import Of
from landsweep.sweeps.measure.plan import MEASURE, Plan
from landsweep.sweeps.measure.spec import MeasureSweepSpec

if TYPE_CHECKING:
    import pandas as pd

    from landsweep.sweeps.measure.session import MeasureSession

__all__ = ["MeasureKind", "MeasureSweepSpec"]

_SHOWN = 5  # changed models in a message


class MeasureKind(SweepKind[MeasureSweepSpec]):
    """Measures of stored models."""

    name: ClassVar[str] = "measure"
    version: ClassVar[int] = 1
    summary: ClassVar[str] = "quantities of stored models: alone, in pairs, in groups, along training"
    spec = MeasureSweepSpec
    hint_not_deterministic: ClassVar[str] = (
        "a measure that draws random numbers from elsewhere than the subject's seed, or a module that draws in "
        "evaluation mode"
    )

    def example(self) -> MeasureSweepSpec:
        """Untrained perceptrons on the digits: their loss, and how far apart they are."""
        return MeasureSweepSpec.model_validate(
            {
                "kind": "measure",
                "name": "measure-example",
                "data": {"source": "digits"},
                "of": [{"name": f"net-{seed}", "net": "mlp", "hidden": [8], "seed": seed} for seed in range(3)],
                "subjects": ["each", {"choose": "pairs", "over": "seed"}],
                "measures": {"loss": {"measure": "losses"}, "distance": {"measure": "distance"}},
                "evaluators": {"train": {"split": "train", "first": 256}},
            }
        )

    def params(self, spec: MeasureSweepSpec) -> tuple[Column, ...]:
        return self._plan(spec).params()

    def columns(self, spec: MeasureSweepSpec) -> tuple[Column, ...]:
        """Those of all measures, then metrics that the models' own sweeps say of them."""
        columns: dict[str, Column] = {}
        for name, measure in spec.measures.items():
            for column in measure.columns():
                if columns.setdefault(column.name, column) != column:
                    raise SpecError(f"measures.{name}: another measure gives the column {column.name!r} too; rename it")
        takes: set[Of] = {measure.takes() for measure in spec.measures.values()}
        ends = [*([""] if "model" in takes else []), *(["_a", "_b"] if "pair" in takes else [])]
        for ref in spec.of:
            for metric in ref.models().metrics:
                for end in ends:
                    doc = f"{metric} in the model's own sweep"
                    columns.setdefault(f"of_{metric}{end}", Column(f"of_{metric}{end}", doc))
        return tuple(columns.values())

    def planner(self, spec: MeasureSweepSpec) -> ListPlanner:
        return self._plan(spec).planner()

    def in_words(self, spec: MeasureSweepSpec) -> list[str]:
        rules = ", ".join(dict.fromkeys(rule.choose for rule in spec.subjects))
        names = ", ".join(spec.measures)
        return [f"Nothing is trained: each unit measures stored models ({rules}) by one of these: {names}."]

    def check(self, spec: MeasureSweepSpec, bench: Workbench) -> None:
        """Compare all weights with those that were pinned, and try each measure on each architecture.

        Raises:
            UsageError: a sweep is not there, models have changed, a measure is not defined for them, or no measure
                gives what the phases need.
        """
        from landsweep.sweeps.measure.session import check_plan
        from landsweep.sweeps.measure.sources import Sources

        if spec.phases is not None:
            spec.phases.check([column.name for column in (*self.params(spec), *self.columns(spec))])
        sources = Sources(spec, bench)
        for i, ref in enumerate(spec.of):
            if isinstance(ref, FileRef):
                continue
            if lines := list(changed(ref, sources.zoo(i))):
                more = f"\n  - and {len(lines) - _SHOWN} more" if len(lines) > _SHOWN else ""
                raise SpecError(
                    f"of.{i}.sweep: {ref.sweep}: {len(lines)} of its models are not as they were pinned:\n  - "
                    + "\n  - ".join(lines[:_SHOWN])
                    + more
                    + "\nPut the old weights back, or give this sweep another name to start anew"
                )
            if (note := ref.models().note) and bench.artifacts is not None:
                bench.artifacts.notes.append(f"of.{i}: {note}")
        check_plan(spec, self._plan(spec), bench)

    def open(self, spec: MeasureSweepSpec, prepared: Mapping[str, Arrays], bench: Workbench) -> MeasureSession:
        from landsweep.sweeps.measure.session import MeasureSession

        del prepared
        return MeasureSession(spec, self._plan(spec), bench)

    def report(self, spec: MeasureSweepSpec, rows: pd.DataFrame, series: pd.DataFrame) -> Report:
        from landsweep.sweeps.measure.report import MeasureFacts, measure_report

        measures = {name: measure.columns() for name, measure in spec.measures.items()}
        plan = self._plan(spec)
        params = [column.name for column in plan.params() if column.name != MEASURE]
        return measure_report(MeasureFacts(measures, params, _models_in_words(spec, plan), spec.phases), rows, series)

    def _plan(self, spec: MeasureSweepSpec) -> Plan:
        return Plan(spec, Keys(self.name, self.version, spec.context()))


def _models_in_words(spec: MeasureSweepSpec, plan: Plan) -> str:
    """How many models there are, where they come from, and what a user should know of their sweeps."""
    sources = [f"{len(ref.models().models)} of {ref.sweep}" for ref in spec.of if not isinstance(ref, FileRef)]
    if files := sum(isinstance(ref, FileRef) for ref in spec.of):
        sources.append(f"{files} given as networks")
    keys = {model.pinned.key for model in plan.models}
    counts = ", ".join(
        f"{sum(c.of == of for c in plan.choices)} {of}s" for of in dict.fromkeys(c.of for c in plan.choices)
    )
    notes = "".join(f" {ref.models().note}." for ref in spec.of if ref.models().note)
    return (
        f"{len(plan.models)} checkpoints of {len(keys)} models ({'; '.join(sources)}), measured as {counts}. Each is "
        f"known by its key and the checksum of its weights.{notes}"
    )
