"""What a report is made of; a kind gives these, the engine renders them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from landsweep.orchestrator.claim import Verdict

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Figure", "PageSection", "Report", "Table"]


@dataclass(frozen=True, slots=True)
class Table:
    """A table with a caption; cells are text or numbers.

    Attributes:
        caption: says what the lines are.
        header: name of each column.
        lines: cells in the order of the header.
        name: file name without ending; with one, the values are also written to `report/tables/<name>.csv`.
        digits: of the numbers on the page; the file has all of them.
    """

    caption: str
    header: Sequence[str]
    lines: Sequence[Sequence[object]]
    name: str = ""
    digits: int = 4


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure with a caption, as a picture file, on the page, or both.

    Attributes:
        name: file name without ending, and anchor on the page.
        caption: says what is seen, with the numbers a paper's caption needs.
        picture: a matplotlib figure, saved as `figures/<name>.png`.
        interactive: a Plotly figure, shown on the page instead of the picture.
        data: the numbers that the picture shows, where they can't be read off it, such as cells on a log scale.
    """

    name: str
    caption: str
    picture: Any = None
    interactive: Any = None
    data: pd.DataFrame | None = None


@dataclass(frozen=True, slots=True)
class PageSection:
    """A headed part of a report: paragraphs of text, tables and figures in order."""

    title: str
    parts: Sequence[str | Table | Figure]


@dataclass(frozen=True, slots=True)
class Report:
    """Sections in order, and the few numbers that sum the sweep up (also sent to the tracking server).

    Attributes:
        sections: in order.
        summary: name to number, such as `skip.test_loss_at_centre`.
        intervals: 95 % intervals of some of these numbers, low and high; what claims about them are judged by.
        verdicts: on the claims of the spec; the engine adds them, not the kind.
        answer: one or two sentences with the numbers that matter most; the page begins with them.
        question: what the sweep was made to find out, in one sentence; it stands above the answer.
        lead: name of the figure that shows the answer; empty: the first one.
    """

    sections: Sequence[PageSection]
    summary: dict[str, float] = field(default_factory=dict)
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    verdicts: Sequence[Verdict] = ()
    answer: str = ""
    question: str = ""
    lead: str = ""


Part: TypeAlias = str | Table | Figure
