"""The field `phases` of a measuring sweep: by which rules its report shows a phase diagram."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, model_validator

from landsweep.orchestrator.errors import SpecError, UsageError
from landsweep.orchestrator.spec import Section, parse

if TYPE_CHECKING:
    import pandas as pd

    from landsweep.orchestrator.report.parts import PageSection
    from landsweep.sweeps.measure.phases.rules import PhaseRules

__all__ = ["PhasesSpec"]


class PhasesSpec(Section):
    """A phase diagram in the report, as `landsweep phases` makes it of the sweep's rows."""

    rules: str | dict[str, Any] = Field(
        "taxonomy",
        description="taxonomy, taxonomy_underfit, phase_zoo, three_regimes, or rules of your own, as "
        "`landsweep phases --print-rules` prints them",
    )
    thresholds: dict[str, float] = Field({}, description="name to number: other numbers in the rules")
    columns: dict[str, str] = Field(
        {}, description="load, temperature or quantity to the column, or the arithmetic of columns, that holds it"
    )
    exclude: tuple[str, ...] = Field(
        (), description="rules over columns: rows to leave out, such as `of_label == best`"
    )

    @model_validator(mode="after")
    def _rules_are_known(self) -> Self:
        try:
            rules = self.settled_rules()
        except UsageError as e:
            raise ValueError(str(e)) from None
        if unknown := [name for name in self.columns if name not in ("load", "temperature", *rules.quantities)]:
            names = ", ".join(("load", "temperature", *rules.quantities))
            raise ValueError(f"columns: the rules {rules.name} know no {unknown[0]!r}; they know {names}")
        return self

    def settled_rules(self) -> PhaseRules:
        """The rules with their numbers.

        Raises:
            UsageError: there are no such rules, or no such threshold.
        """
        from landsweep.sweeps.measure.phases.presets import PRESETS  # with pandas, which few specs need
        from landsweep.sweeps.measure.phases.rules import PhaseRules

        if not isinstance(self.rules, str):
            rules = parse(PhaseRules, self.rules, "rules")
        elif self.rules in PRESETS:
            rules = PRESETS[self.rules]
        else:
            raise SpecError(
                f"rules: {self.rules!r} is none of {', '.join(PRESETS)}; write rules of your own in its place"
            )
        return rules.with_thresholds(self.thresholds)

    def check(self, names: Collection[str]) -> None:
        """Refuse a diagram that rows with these columns can't give.

        Raises:
            SpecError: no column holds something that the rules need.
        """
        from landsweep.sweeps.measure.phases.diagram import sources
        from landsweep.sweeps.measure.phases.rules import columns_of

        for name, expression in self.columns.items():
            if unknown := sorted(columns_of(expression) - set(names)):
                raise SpecError(
                    f"phases: columns: {name} is {expression!r}, but the rows have no column {unknown[0]!r}; they have "
                    + ", ".join(names)
                )
        for name, quantity in sources(self.settled_rules()).items():
            if name not in self.columns and not any(quantity.held_by(column, names) for column in quantity.columns):
                raise SpecError(
                    f"phases: no column of the rows holds the {name} ({quantity.doc}): none of "
                    f"{', '.join(quantity.columns)} is there; add a measure that gives it, or say which column it "
                    "is under `columns`"
                )

    def section(self, rows: pd.DataFrame) -> tuple[PageSection, dict[str, float]]:
        """The part of the report, and how many cells each phase has, as `phase_LABEL` with `_` for `-`."""
        from landsweep.orchestrator.report.parts import PageSection
        from landsweep.orchestrator.rules import chosen_by_any
        from landsweep.sweeps.measure.phases import phase_diagram, phase_section

        try:
            wanted = rows[~chosen_by_any(self.exclude, rows)] if self.exclude else rows
            diagram = phase_diagram([wanted], self.settled_rules(), self.columns)
        except UsageError as e:  # rows that are not there yet; what can never be is refused before
            return PageSection("Phases", [f"There is no phase diagram: {e}."]), {}
        counts = {f"phase_{label}".replace("-", "_"): float(n) for label, n in diagram.counts().items() if label}
        return phase_section(diagram), counts
