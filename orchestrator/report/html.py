"""Parts of a report as HTML. Everything that comes from a spec, a row or a kind is escaped here, and only here."""

from __future__ import annotations

import base64
import io
import re
import traceback
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import plotly.io

from orchestrator.report.parts import Figure, Part, Section, Table

__all__ = ["FigureWriter", "anchor", "details", "pairs", "section_html", "table_html"]


def anchor(name: str) -> str:
    """A name that is safe as a file name and as an anchor."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "figure"


def table_html(table: Table) -> str:
    """A table that scrolls sideways on its own where the screen is narrow; columns of numbers stand right."""
    columns = [[line[i] for line in table.lines if i < len(line)] for i in range(len(table.header))]
    right = [any(v != "" for v in cells) and all(_is_number(v) for v in cells) for cells in columns]
    head = "".join(f"<th{_align(r)}>{escape(str(h))}</th>" for h, r in zip(table.header, right, strict=True))
    body = "".join(
        "<tr>" + "".join(f"<td{_align(r)}>{escape(str(v))}</td>" for v, r in zip(line, right, strict=False)) + "</tr>\n"
        for line in table.lines
    )
    caption = f"<figcaption>{escape(table.caption)}</figcaption>" if table.caption else ""
    return (
        f'<figure class="table"><div class="scroll"><table><thead><tr>{head}</tr></thead>\n'
        f"<tbody>{body}</tbody></table></div>{caption}</figure>\n"
    )


def _align(right: bool) -> str:
    return ' class="number"' if right else ""


def _is_number(value: object) -> bool:
    if isinstance(value, int | float):
        return True
    return bool(re.fullmatch(r"|-|nan|-?inf|[-+]?[\d,]*\.?\d+(e[-+]?\d+)?", str(value)))


def pairs(items: Mapping[str, object]) -> str:
    """Names and values as a compact list; entries that are None are left out."""
    lines = "".join(
        f"<div><dt>{escape(str(k))}</dt><dd>{escape(str(v))}</dd></div>" for k, v in items.items() if v is not None
    )
    return f"<dl>{lines}</dl>\n"


def details(summary: str, text: str) -> str:
    """Text of fixed width that opens on a click."""
    return f"<details><summary>{escape(summary)}</summary><pre>{escape(text)}</pre></details>\n"


class FigureWriter:
    """Saves pictures and turns figures into HTML.

    Args:
        folder: where the pictures go.

    Attributes:
        interactive: how many figures on the page need plotly.js.
        saved: the pictures that were written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._names: set[str] = set()
        self.interactive = 0
        self.saved: list[Path] = []

    def __call__(self, figure: Figure) -> str:
        """The figure as HTML. One that can't be drawn leaves its error on the page, and the rest goes on."""
        name = self._free(anchor(figure.name))
        try:
            body = self._body(figure, name)
        except Exception as e:  # noqa: BLE001 - a report with one hole is better than none
            told = traceback.format_exception_only(type(e), e)[-1].strip()
            body = f'<p class="problem">This figure could not be drawn: {escape(told)}</p>'
        return f'<figure id="{name}">{body}<figcaption>{escape(figure.caption)}</figcaption></figure>\n'

    def _free(self, name: str) -> str:
        unique, i = name, 2
        while unique in self._names:
            unique, i = f"{name}-{i}", i + 1
        self._names.add(unique)
        return unique

    def _body(self, figure: Figure, name: str) -> str:
        shown = '<p class="problem">This figure is empty.</p>'
        if figure.picture is not None:
            buffer = io.BytesIO()
            figure.picture.savefig(buffer, format="png", dpi=150, metadata={"Software": None})
            path = self._folder / f"{name}.png"
            self._folder.mkdir(parents=True, exist_ok=True)
            path.write_bytes(buffer.getvalue())
            self.saved.append(path)
            data = base64.b64encode(buffer.getvalue()).decode()
            shown = f'<img alt="{escape(figure.caption)}" src="data:image/png;base64,{data}">'
        if figure.interactive is None:
            return shown
        made = plotly.io.to_html(
            figure.interactive,
            full_html=False,
            include_plotlyjs=False,
            div_id=f"plot-{name}",
            config={"responsive": True, "displaylogo": False},
        )
        self.interactive += 1
        link = f'<p class="file"><a href="figures/{name}.png">PNG</a></p>' if figure.picture is not None else ""
        return f'<div class="plot">{made}</div>{link}'


def section_html(section: Section, figure: FigureWriter) -> str:
    """A section with its parts in order."""
    return f"<section><h2>{escape(section.title)}</h2>\n{_parts(section.parts, figure)}</section>\n"


def _parts(parts: Sequence[Part], figure: FigureWriter) -> str:
    made = []
    for part in parts:
        if isinstance(part, Table):
            made.append(table_html(part))
        elif isinstance(part, Figure):
            made.append(figure(part))
        else:
            made.append(f"<p>{escape(part)}</p>\n")
    return "".join(made)
