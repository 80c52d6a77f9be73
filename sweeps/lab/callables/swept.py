"""What sweeps of a function and of a program share: axes, columns, the plan, and the report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import Field, model_validator

from landsweep.orchestrator.axes import DefaultedAxisLike, Value
from landsweep.orchestrator.draws import Draw, RandomSamples, Simplex
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
    axes: Annotated[dict[str, DefaultedAxisLike], IsAxis()] = Field({}, description="argument name to its values")
    zip: Annotated[tuple[tuple[str, ...], ...], IsAxis()] = Field((), description="groups of axes that move together")
    samples: Annotated[RandomSamples | None, IsAxis()] = Field(
        None, description="random combinations of further arguments, each for all values of the axes"
    )
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
    def _arguments_are_swept_once(self) -> SweptSpec:
        if not self.axes and self.samples is None:
            raise ValueError("nothing is swept; give axes, such as axes: {lr: [0.01, 0.1]}, or samples")
        draw = self.samples.draw if self.samples else {}
        if simplex := [name for name, d in draw.items() if isinstance(d, Simplex)]:
            raise ValueError(
                f"samples.draw.{simplex[0]}: dirichlet gives shares of several fields, but an argument has one value; "
                "draw a number for each and let your code divide them by their sum"
            )
        if twice := sorted(self.axes.keys() & draw.keys()):
            raise ValueError(f"{twice} are swept twice; an argument can stand under axes or under samples, once")
        if zipped := sorted({name for group in self.zip for name in group} & draw.keys()):
            raise ValueError(f"zip names {zipped}, which are drawn together already; it is for axes")
        return self

    @model_validator(mode="after")
    def _columns_are_free(self) -> SweptSpec:
        swept = set(self.swept)
        if clash := sorted(RESERVED & swept):
            raise ValueError(
                f"the rows have columns of their own named {clash}, so no axis can have that name; "
                "rename the argument, or wrap the function"
            )
        if self.columns is not None and (clash := sorted((RESERVED | swept) & self.columns.keys())):
            raise ValueError(f"the names {clash} under columns are taken by axes or by the row's own columns")
        if unknown := sorted(set(self.repeats or ()) - self.axes.keys()):
            raise ValueError(f"repeats names {unknown}, which are no axes; the axes are {list(self.axes)}")
        return self

    @property
    def swept(self) -> list[str]:
        """Names of all arguments that differ between units."""
        return [*self.axes, *(self.samples.draw if self.samples else ())]

    def defaults(self) -> dict[str, Value]:
        return {name: axis.before for name, axis in self.axes.items() if axis.has_default}

    def combinations(self) -> dict[str, tuple[Value, ...]]:
        """Each drawn argument to its values, one for each random combination; one that was drawn before is left out."""
        if self.samples is None:
            return {}
        drawn = dict.fromkeys(tuple(self.samples.values(i).values()) for i in range(self.samples.count))
        return dict(zip(self.samples.draw, zip(*drawn, strict=True), strict=True))

    def objects(self) -> dict[str, dict[str, Any]]:
        """For each argument the lists and mappings among its values, by the text that stands for each as a param."""
        listed = {name: axis.objects() for name, axis in self.axes.items()}
        drawn = {
            name: draw.objects()
            for name, draw in (self.samples.draw if self.samples else {}).items()
            if isinstance(draw, Draw)
        }
        return {name: values for name, values in (listed | drawn).items() if values}

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
        keys = Keys(self.name, self.version, spec.context(), spec.defaults())
        drawn, axes = spec.combinations(), {name: axis.points() for name, axis in spec.axes.items()}
        return GridPlanner(keys, drawn | axes, [*([tuple(drawn)] if drawn else []), *spec.zip])

    def tracked(self, spec: S, rows: pd.DataFrame) -> pd.DataFrame:
        """Units by the goal, if the spec names one, else in the order of the plan."""
        for way, metric in (spec.goal or {}).items():
            if metric in rows:
                return rows.sort_values(metric, ascending=way == "minimise", kind="stable")
        return rows

    def report(self, spec: S, rows: pd.DataFrame, series: pd.DataFrame) -> Report:
        from landsweep.orchestrator.report.generic import generic_section
        from landsweep.orchestrator.report.question_and_answer import answer_of, question_of
        from landsweep.orchestrator.report.tables import described
        from landsweep.orchestrator.report.units import Reading, Units

        params, metrics = described({"params": self.params(spec), "columns": self.columns(spec)}, rows)
        reading = Reading(spec.repeats)
        for way, metric in (spec.goal or {}).items():
            reading = Reading(spec.repeats, metric, way == "minimise")
        section = generic_section(rows, params, metrics, series, reading)
        units = Units.of(rows, params, metrics, reading)
        return Report([section], answer=answer_of(units), question=question_of(units))
