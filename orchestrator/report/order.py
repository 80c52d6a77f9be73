"""The order of a page: the figure that shows the answer, then all other figures, then tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from landsweep.orchestrator.report.parts import Figure, PageSection, Part, Table

__all__ = ["Ordered", "figures_first"]


@dataclass(frozen=True, slots=True)
class Ordered:
    """Sections of a report in the order in which people read.

    Attributes:
        lead: the figure that shows the answer; None where the report has no figure.
        figures: sections with the other figures, and the texts that go with them.
        tables: sections with the tables, and the texts that go with them.
    """

    lead: Figure | None
    figures: Sequence[PageSection]
    tables: Sequence[PageSection]


def figures_first(sections: Sequence[PageSection], lead: str = "") -> Ordered:
    """Take the figure that leads out of its section, and part figures from tables.

    A text goes with the figure or table that follows it, or, at the end of a section, with the one before it.

    Args:
        sections: of a report.
        lead: name of the figure that leads; empty, or a name that no figure has: the first figure.
    """
    drawn = [part for section in sections for part in section.parts if isinstance(part, Figure)]
    first = next((figure for figure in drawn if figure.name == lead), next(iter(drawn), None))
    figures, tables = [], []
    for section in sections:
        shown, listed = _halves([part for part in section.parts if part is not first])
        figures += [PageSection(section.title, shown)] if shown else []
        tables += [PageSection(section.title, listed)] if listed else []
    return Ordered(first, figures, tables)


def _halves(parts: Sequence[Part]) -> tuple[list[Part], list[Part]]:
    figures: list[Part] = []
    tables: list[Part] = []
    half, waiting = figures, []  # texts alone stand among the figures: they say why there are none
    for part in parts:
        waiting.append(part)
        if isinstance(part, Figure | Table):
            half = figures if isinstance(part, Figure) else tables
            half += waiting
            waiting = []
    half += waiting
    return figures, tables
