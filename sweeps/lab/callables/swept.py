"""What sweeps of a function and of a program share: axes, columns, the plan, and the report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

from pydantic import Field, model_validator

from landsweep.orchestrator.axes import AxisLike
from landsweep.orchestrator.faults import MOST_METRICS
from landsweep.orchestrator.kind import Ranked, SweepKind
from landsweep.orchestrator.planner import GridPlanner
from landsweep.orchestrator.report.parts import Report
from landsweep.orchestrator.row import Column
from landsweep.orchestrator.spec import IsAxis, IsLabel, Spec
from landsweep.orchestrator.unit import Keys
from landsweep.sweeps.lab.callables.columns import RESERVED, ColumnSpec

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["SweptKind", "SweptSpec"]


class SweptSpec(Spec):
    """Axes over which code of the user's is swept, and what its metrics mean."""

    version: int = Field(1, description="raise it when the code changed so that it gives other results")
    axes: Annotated[dict[str, AxisLike], IsAxis()] = Field(min_length=1, description="argument name to its values")
    zip: Annotated[tuple[tuple[str, ...], ...], IsAxis()] = Field((), description="groups of axes that move together")
    columns: Annotated[dict[str, ColumnSpec] | None, IsLabel()] = Field(
        None,
        max_length=MOST_METRICS,
        description="metrics with meaning, unit and type; left out: whatever the units give",
    )
    repeats: Annotated[tuple[str, ...] | None, IsLabel()] = Field(
        None,
        description="axes that only repeat a unit, over which the report averages; left out: those that are called "
        "seed, replicate, repeat, trial or fold",
    )
    goal: Annotated[dict[Literal["minimise", "maximise"], str] | None, IsLabel()] = Field(
        None,
        max_length=1,
        description="metric by which the report ranks units, such as {minimise: loss}; left out: the first one that "
        "varies, of which less is better unless its name speaks of an accuracy, score or reward",
    )

    @model_validator(mode="after")
    def _columns_are_free(self) -> SweptSpec:
        if clash := sorted(RESERVED & self.axes.keys()):
            raise ValueError(
                f"the rows have columns of their own named {clash}, so no axis can be called so; "
                "rename the argument, or wrap the function"
            )
        if self.columns is not None and (clash := sorted((RESERVED | self.axes.keys()) & self.columns.keys())):
            raise ValueError(f"the names {clash} under columns are taken by axes or by the row's own columns")
        if unknown := sorted(set(self.repeats or ()) - self.axes.keys()):
            raise ValueError(f"repeats names {unknown}, which are no axes; the axes are {list(self.axes)}")
        return self

    @property
    def types(self) -> dict[str, str] | None:
        """Types of the declared columns; None when any metric is allowed."""
        return None if self.columns is None else {name: c.type for name, c in self.columns.items()}


S = TypeVar("S", bound=SweptSpec)


class SweptKind(SweepKind[S], Ranked[S]):
    """A grid over axes, with the report that any grid gets."""

    def params(self, spec: S) -> tuple[Column, ...]:
        return self.planner(spec).params

    def columns(self, spec: S) -> tuple[Column, ...] | None:
        if spec.columns is None:
            return None
        return tuple(Column(name, c.doc, c.unit, c.type) for name, c in spec.columns.items())

    def planner(self, spec: S) -> GridPlanner:
        keys = Keys(self.name, self.version, spec.context())
        return GridPlanner(keys, {name: axis.points() for name, axis in spec.axes.items()}, spec.zip)

    def tracked(self, spec: S, rows: pd.DataFrame) -> pd.DataFrame:
        """Units by the goal, if the spec names one, else in the order of the plan."""
        for way, metric in (spec.goal or {}).items():
            if metric in rows:
                return rows.sort_values(metric, ascending=way == "minimise", kind="stable")
        return rows

    def report(self, spec: S, rows: pd.DataFrame, series: pd.DataFrame) -> Report:
        from landsweep.orchestrator.report.generic import Reading, generic_answer, generic_section
        from landsweep.orchestrator.report.tables import described

        params, metrics = described({"params": self.params(spec), "columns": self.columns(spec)}, rows)
        reading = Reading(spec.repeats)
        for way, metric in (spec.goal or {}).items():
            reading = Reading(spec.repeats, metric, way == "minimise")
        section = generic_section(rows, params, metrics, series, reading)
        return Report([section], answer=generic_answer(rows, params, metrics, reading))
