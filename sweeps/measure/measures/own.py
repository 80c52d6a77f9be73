"""The user's own measure: a function of a subject."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from landsweep.orchestrator.callables import import_callable
from landsweep.orchestrator.row import Column, Metric
from landsweep.orchestrator.unit import as_python
from landsweep.sweeps.lab.callables.columns import RESERVED, ColumnSpec
from landsweep.sweeps.measure.measures.base import Measure, Measured, Of
from landsweep.sweeps.measure.subject import Subject

__all__ = ["OwnMeasure"]


class OwnMeasure(Measure):
    """What `function(subject, **args)` gives: column to number, flag, text or None; lists of numbers are curves.

    The function's code is not part of the sweep's identity: raise `version` when what it gives changes. Random
    numbers must come from `subject.seed`.
    """

    unlike: ClassVar[bool] = True

    measure: Literal["own"]
    function: str = Field(
        pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$", description="package.module:function(subject) -> dict"
    )
    measures: Of = Field("model", description="what a subject is: a model, a pair or a group")
    args: dict[str, Any] = Field({}, description="further keyword arguments of the function")
    also: tuple[str, ...] = Field(
        (), exclude_if=lambda v: not v, description="further evaluators whose samples the function is given"
    )
    version: int = Field(1, description="raise it when the function changed so that it gives other results")
    values: dict[str, ColumnSpec] = Field(min_length=1, description="the columns that it gives, with their meaning")

    @model_validator(mode="after")
    def _names_are_free(self) -> OwnMeasure:
        if clash := sorted(RESERVED & self.values.keys()):
            raise ValueError(
                f"values: the rows have columns of their own named {clash}; rename what the function gives"
            )
        return self

    def takes(self) -> Of:
        return self.measures

    def evaluators(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((self.evaluator, *self.also)))

    def columns(self) -> tuple[Column, ...]:
        return tuple(Column(n, c.doc or f"{n} of {self.function}", c.unit, c.type) for n, c in self.values.items())

    def check(self, subject: Subject) -> None:
        """Import the function."""
        del subject
        import_callable(self.function)

    def compute(self, subjects: Sequence[Subject]) -> Iterator[Measured]:
        function = import_callable(self.function)
        for subject in subjects:
            yield self._checked(function(_copied(subject), **copy.deepcopy(self.args)))

    def _checked(self, result: object) -> Measured:
        """What the function gave, with exactly the declared columns.

        Raises:
            ValueError: it is no dict, or a column is missing or not declared.
        """
        if not isinstance(result, Mapping):
            raise ValueError(f"{self.function} must give a dict of columns, but gave a {type(result).__name__}")
        curves = {str(n): [float(v) for v in value] for n, value in result.items() if _is_curve(value)}
        values: dict[str, Metric] = {str(n): as_python(v) for n, v in result.items() if str(n) not in curves}
        if values.keys() != self.values.keys():
            raise ValueError(
                f"{self.function} gave {sorted(values)}, but `values` declares {sorted(self.values)}; they must agree"
            )
        return Measured(values, curves)


def _copied(subject: Subject) -> Subject:
    """The same in memory of its own: what a function writes into it is read by no other measure."""
    models = [
        replace(m, row=copy.deepcopy(m.row), state={n: t.clone() for n, t in m.state.items()}) for m in subject.models
    ]
    samples = {n: replace(s, inputs=s.inputs.clone(), targets=s.targets.clone()) for n, s in subject.samples.items()}
    return Subject(tuple(models), samples, tuple(b.clone() for b in subject.batches), subject.seed)


def _is_curve(value: object) -> bool:
    return not isinstance(value, str) and getattr(value, "ndim", 1) == 1 and hasattr(value, "__len__")
