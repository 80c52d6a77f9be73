"""Rules that give phases: which quantities, which thresholds, and in which order the phases are tried."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Annotated, Self

import pandas as pd
from pydantic import Field, model_validator

from landsweep.orchestrator.errors import UsageError
from landsweep.orchestrator.rules import chosen
from landsweep.orchestrator.spec import Section

__all__ = ["Phase", "PhaseRules", "Quantity", "Threshold", "columns_of"]

_PLACE = re.compile(r"\{(\w+)\}")
_FUNCTIONS = {"exp", "log", "log10", "sqrt"}
Name = Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_]*$")]


class Quantity(Section):
    """What rules speak of, and where a table has it."""

    doc: str = Field(description="what it is, with its sign and unit")
    columns: tuple[str, ...] = Field(min_length=1, description="columns that may hold it, or arithmetic of columns")

    def held_by(self, expression: str, names: Collection[str]) -> bool:
        """Whether a table with columns of these names has all that an expression speaks of."""
        return bool(spoken := columns_of(expression)) and spoken <= set(names)


class Threshold(Section):
    """A number that tells two phases apart."""

    value: float
    doc: str = Field(description="what it separates")
    source: str = Field("ours", description="where the number is from; ours: no paper gives one")


class Phase(Section):
    """A phase, and when a cell belongs to it."""

    label: str = Field(min_length=1, max_length=12)
    when: str = Field(description="rule over quantities and {thresholds}, such as 'sharpness < {sharp} and loss > 1'")
    doc: str = Field(description="in words")


class PhaseRules(Section):
    """Rules with a name and a version: the same rules give the same labels for the same cells.

    The first phase whose rule holds is the cell's; where none holds, or a quantity is missing, it has none.
    """

    name: str
    version: int = Field(ge=1)
    source: str = Field(description="paper that the phases are from")
    load: Quantity
    temperature: Quantity
    quantities: dict[Name, Quantity] = Field(min_length=1)
    thresholds: dict[Name, Threshold] = Field({})
    phases: tuple[Phase, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        for phase in self.phases:
            for name in _PLACE.findall(phase.when):
                if name not in self.thresholds:
                    raise ValueError(
                        f"phase {phase.label}: there is no threshold {name!r}; there are {', '.join(self.thresholds)}"
                    )
        labels = [phase.label for phase in self.phases]
        if len(set(labels)) < len(labels):
            raise ValueError(f"phases: each label stands once; given are {', '.join(labels)}")
        if taken := {"load", "temperature"} & set(self.quantities):
            raise ValueError(f"quantities: {min(taken)!r} is the name of an axis; take another one")
        return self

    def needed(self) -> list[str]:
        """The quantities that a rule speaks of; the others are only shown."""
        return [q for q in self.quantities if any(re.search(rf"\b{q}\b", self.condition(p)) for p in self.phases)]

    def condition(self, phase: Phase) -> str:
        """The rule of a phase with the numbers in their places."""
        return _PLACE.sub(lambda match: repr(self.thresholds[match[1]].value), phase.when)

    def with_thresholds(self, values: Mapping[str, float]) -> Self:
        """The same rules with other numbers.

        Raises:
            UsageError: there is no such threshold.
        """
        if unknown := [name for name in values if name not in self.thresholds]:
            raise UsageError(
                f"rules {self.name}: there is no threshold {unknown[0]!r}; there are {', '.join(self.thresholds)}"
            )
        given = {n: Threshold(value=v, doc=self.thresholds[n].doc, source="given") for n, v in values.items()}
        return self.model_copy(update={"thresholds": {**self.thresholds, **given}})

    def label(self, cells: pd.DataFrame) -> list[str | None]:
        """The phase of each cell.

        Args:
            cells: a column for each quantity that a rule speaks of; a missing value is nan.

        Raises:
            UsageError: a rule can't be read, or speaks of something else.
        """
        labels: list[str | None] = [None] * len(cells)
        for phase in reversed(self.phases):  # the first that holds is written last
            for i in chosen(self.condition(phase), cells).nonzero()[0]:
                labels[int(i)] = phase.label
        return labels


def columns_of(expression: str) -> set[str]:
    """The columns that an expression of the rules speaks of."""
    return set(re.findall(r"[A-Za-z_][\w.]*", expression)) - _FUNCTIONS
