"""The command `figures`: the pictures of a report as files for a paper or a talk, with the numbers that they show."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from landsweep.orchestrator.commands.options import Results, Trust
from landsweep.orchestrator.console import err, out
from landsweep.orchestrator.errors import UsageError

if TYPE_CHECKING:
    from landsweep.orchestrator.report.parts import Figure

__all__ = ["figures"]


def figures(
    folder: Results,
    style: Annotated[
        Literal["report", "paper", "talk"],
        typer.Option("--style", help="report: as on the page; paper: 3.3 or 6.8 inches wide, small type; talk: large."),
    ] = "paper",
    file_format: Annotated[
        Literal["pdf", "svg", "png"], typer.Option("--format", help="Type of the files; png has 300 dpi.")
    ] = "pdf",
    only: Annotated[list[str] | None, typer.Option("--only", help="Only figures with this in their name.")] = None,
    where: Annotated[
        Path | None, typer.Option("--out", help="Folder for the files; by default ./figures-NAME.")
    ] = None,
    trust: Trust = False,
) -> None:
    """Write the figures of a sweep as files for a paper or a talk, each with a CSV of the numbers it shows."""
    from landsweep.orchestrator.commands.publish import report_of
    from landsweep.orchestrator.report.parts import Figure
    from landsweep.orchestrator.run.sweep import open_sweep

    sweep = open_sweep(folder, trust=trust)
    report = report_of(sweep.kind, sweep.spec, sweep.rows(), sweep.series())
    drawn = [p for s in report.sections for p in s.parts if isinstance(p, Figure) and p.picture is not None]
    chosen = [f for f in drawn if not only or any(word in f.name for word in only)]
    if not chosen:
        names = ", ".join(f.name for f in drawn) or "none"
        raise UsageError(f"{folder}: there is no such figure to write; its figures are {names}")
    place = where or Path(f"figures-{sweep.spec.name}")
    root, inner = Path(), place
    if where is not None and _below(where, folder):
        root, inner = Path(folder), where.absolute().relative_to(Path(folder).absolute())
    elif where is not None:
        where.mkdir(parents=True, exist_ok=True)
        root, inner = where, Path()  # which may be a link: its user has named it
    for figure in chosen:
        _write(figure, root, inner, style, file_format)
    err.print(f"{len(chosen)} figures and their numbers are in {place}")


def _below(place: Path, results: str) -> bool:
    return place.absolute().is_relative_to(Path(results).absolute())


def _write(figure: Figure, root: Path, inner: Path, style: str, file_format: str) -> None:
    from landsweep.orchestrator.report.figure_data import numbers_of
    from landsweep.orchestrator.report.styles import styled
    from landsweep.orchestrator.storage.inside import write_in

    data = numbers_of(figure)
    if len(data):
        write_in(root, inner / f"{figure.name}.csv", data.to_csv(index=False))
    path = write_in(root, inner / f"{figure.name}.{file_format}", styled(figure.picture, file_format, style))
    out.print(f"{path}: {figure.caption}")
