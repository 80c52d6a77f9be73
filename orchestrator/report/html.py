"""Parts of a report as HTML. Templates escape all that they are given; nothing else writes HTML."""

from __future__ import annotations

import base64
import csv
import io
import re
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from landsweep.orchestrator.errors import Untrusted
from landsweep.orchestrator.report.drawing import drawn
from landsweep.orchestrator.report.figure_data import numbers_of
from landsweep.orchestrator.report.parts import Figure, PageSection, Table
from landsweep.orchestrator.report.plotly_page import packed_library, plot_json
from landsweep.orchestrator.report.values import is_missing, shown
from landsweep.orchestrator.storage.inside import write_in
from landsweep.orchestrator.text import anchor, one_line, printable, shortened
from landsweep.orchestrator.unit import as_python

__all__ = [
    "FailuresView",
    "FigureView",
    "Link",
    "Page",
    "PageWriter",
    "SectionView",
    "TableView",
    "page_html",
    "table_view",
    "without_tags",
]

_LONGEST = 20_000  # characters of a paragraph, a caption, a traceback or a spec on the page
_LONGEST_CELL = 500
_PIXELS = 110  # of the page for an inch of a picture: its text is then as large as that of the page
_OWN_TAGS = re.compile(r"<(?!br>|extra></extra>)")  # all that Plotly's own templates need


def _safe(value: object) -> object:
    """What a template shows: text without control characters, cut where it is long. Markup is our own."""
    return shortened(printable(value), _LONGEST) if type(value) is str else value


_ENVIRONMENT = Environment(
    loader=PackageLoader("landsweep.orchestrator.report"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    finalize=_safe,
)


@dataclass(frozen=True, slots=True)
class TableView:
    """A table as text; `right` says which columns hold numbers, `file` where the values are as CSV."""

    header: Sequence[str]
    lines: Sequence[Sequence[str]]
    right: Sequence[bool]
    caption: str
    file: str = ""


@dataclass(frozen=True, slots=True)
class FigureView:
    """A figure as it stands on a page: an image inside the page, an interactive plot, or what went wrong.

    An image is markup of our own, since texts of a page are cut where they are long.

    Attributes:
        name: anchor on the page.
        caption: below it.
        image: the picture, as a URL that holds it.
        plot: data and layout of an interactive plot, as JSON; shown in place of the picture where scripts run.
        problem: why there is nothing to see.
        data: the file of the numbers that it shows, beside the page; empty: there are none.
        width: of the picture on the page, in pixels; it is narrower where the page is.
    """

    name: str
    caption: str
    image: Markup | None = None
    plot: Markup | None = None
    problem: str = ""
    data: str = ""
    width: int = 0

    @property
    def file(self) -> str:
        """The picture beside the page."""
        return f"figures/{self.name}.png"

    @property
    def alt(self) -> str:
        """What is said in place of the picture: the beginning of the caption, which stands below it in full."""
        return self.caption.partition(". ")[0].removesuffix(".") + "."


_View: TypeAlias = tuple[str, TableView | FigureView | str]


@dataclass(frozen=True, slots=True)
class SectionView:
    """A section; each part with what it is: table, figure or text."""

    title: str
    parts: Sequence[_View]


def table_view(table: Table, file: str = "") -> TableView:
    """A table's cells as text."""
    lines = [[shown(cell, table.digits, _LONGEST_CELL) for cell in line] for line in table.lines]
    columns = [[line[i] for line in lines if i < len(line)] for i in range(len(table.header))]
    right = [any(cells) and all(map(_is_number, cells)) for cells in columns]
    return TableView([shown(h, most=_LONGEST_CELL) for h in table.header], lines, right, table.caption, file)


def _is_number(text: str) -> bool:
    return bool(re.fullmatch(r"|-|nan|-?inf|[-+]?[\d,]*\.?\d+(e[-+]?\d+)?", text))


@dataclass(frozen=True, slots=True)
class FailuresView:
    """The failed units: the command that runs them again, a table of them, and the whole text of some errors."""

    command: str
    table: TableView
    texts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Link:
    """Another report that this page names.

    Attributes:
        href: relative to this page; empty: the report is not there yet.
        name: of its stage.
        text: its kind, units, answer and claims in a line; of a report that is not there, that it is not.
    """

    href: str
    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Page:
    """All that stands on a page; what is empty is left out.

    Attributes:
        title: heading, and title of the window.
        sections: in order.
        facts: names and values under "How it was made"; None: not known.
        spec_title: what `spec` is.
        spec: a spec as text.
        kind: what the page is about, such as a sweep.
        intro: a paragraph.
        question: what the page is to find out.
        answer: the sentences that sum it up.
        lead: the figure that shows the answer.
        tiles: class, name and number of each counter.
        failed: the failed units.
        verdicts: on claims, which stand before all other sections.
        tables: the sections with tables, after those with figures.
        commands: what each does, and the command.
        interactive: whether a figure needs plotly.js, which is then part of the page.
        links: other pages that this one is about.
    """

    title: str
    sections: Sequence[SectionView]
    facts: Mapping[str, str | None]
    spec_title: str
    spec: str
    kind: str = ""
    question: str = ""
    answer: str = ""
    lead: FigureView | None = None
    intro: str = ""
    tiles: Sequence[tuple[str, str, str]] = ()
    failed: FailuresView | None = None
    verdicts: SectionView | None = None
    tables: Sequence[SectionView] = ()
    commands: Mapping[str, str] = field(default_factory=dict)
    links: Sequence[Link] = ()
    interactive: bool = False


def page_html(page: Page) -> str:
    """A page that stands by itself, with its style inside. All HTML that the project writes is written here."""
    templates = files("landsweep.orchestrator.report") / "templates"
    style = (templates / "page.css").read_text(encoding="utf-8")
    plotly = packed_library() if page.interactive else None
    draw = (templates / "plots.js").read_text(encoding="utf-8")
    return _ENVIRONMENT.get_template("page.html").render(
        page=page, style=Markup(style), plotly=plotly, draw=Markup(draw)
    )


class PageWriter:
    """Saves pictures and tables of a report beside its page, and turns parts into what the templates show.

    Args:
        folder: of the page; pictures go to `figures/` in it, tables that have a name to `tables/`.

    Attributes:
        interactive: how many figures on the page need plotly.js.
        saved: the files that were written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._names: set[str] = set()
        self.interactive = 0
        self.saved: list[Path] = []

    def section(self, section: PageSection) -> SectionView:
        """A section with its parts in order."""
        parts: list[_View] = []
        for part in section.parts:
            if isinstance(part, Table):
                parts.append(("table", self.table(part)))
            elif isinstance(part, Figure):
                parts.append(("figure", self.figure(part)))
            else:
                parts.append(("text", part))
        return SectionView(section.title, parts)

    def table(self, table: Table) -> TableView:
        """The table as text; one with a name is also written as CSV, with all digits."""
        if not table.name:
            return table_view(table)
        file = f"tables/{self._free(anchor(table.name))}.csv"
        text = io.StringIO()
        lines = [["" if is_missing(as_python(cell)) else cell for cell in line] for line in table.lines]
        csv.writer(text, lineterminator="\n").writerows([table.header, *lines])
        self._save(file, text.getvalue())
        return table_view(table, file)

    def figure(self, figure: Figure) -> FigureView:
        """The figure for the page. One that can't be drawn leaves its error on the page, and the rest goes on."""
        name = self._free(anchor(figure.name))
        try:
            return self._drawn(figure, name)
        except Untrusted:
            raise
        except Exception as e:  # noqa: BLE001 - a report with one hole is better than none
            reason = one_line(traceback.format_exception_only(type(e), e)[-1].strip())
            return FigureView(name, figure.caption, problem=f"This figure could not be drawn: {reason}")

    def _free(self, name: str) -> str:
        unique, i = name, 2
        while unique in self._names:
            unique, i = f"{name}-{i}", i + 1
        self._names.add(unique)
        return unique

    def _save(self, file: str, data: bytes | str) -> None:
        self.saved.append(write_in(self._folder, file, data))

    def _drawn(self, figure: Figure, name: str) -> FigureView:
        image, width = None, 0
        if figure.picture is not None:
            data = drawn(figure.picture, format="png", dpi=150, metadata={"Software": None})
            self._save(f"figures/{name}.png", data)
            image = Markup("data:image/png;base64,") + base64.b64encode(data).decode()
            width = round(_PIXELS * figure.picture.get_figwidth())
        if figure.interactive is None and image is None:
            return FigureView(name, figure.caption, problem="This figure is empty.")
        numbers, file = numbers_of(figure), ""
        if len(numbers):
            file = f"figures/{name}.csv"
            self._save(file, numbers.to_csv(index=False).encode("utf-8", "backslashreplace"))
        if figure.interactive is None:
            return FigureView(name, figure.caption, image, data=file, width=width)
        self.interactive += 1
        plot = plot_json(without_tags(figure.interactive.to_plotly_json()))
        return FigureView(name, figure.caption, image, plot, data=file, width=width)


def without_tags(value: Any) -> Any:  # noqa: ANN401 - a tree of a Plotly figure
    """Plotly reads some HTML in texts; here only line breaks and its own marks are left."""
    if isinstance(value, str):
        return _OWN_TAGS.sub("&lt;", printable(value))
    if isinstance(value, Mapping):
        return {k: without_tags(v) for k, v in value.items()}
    if isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.dtype.kind in "OU"):
        return [without_tags(v) for v in value]
    return value
