"""Commands over what was measured. Light: libraries are imported by the command that needs them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from landsweep.orchestrator.errors import UsageError
from landsweep.orchestrator.text import printable

if TYPE_CHECKING:
    from landsweep.sweeps.measure.phases.diagram import Diagram

__all__ = ["register"]

Rules = list[str] | None


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    example = 'landsweep phases runs.csv --rules taxonomy --columns "load=width,temperature=batch_size"'
    app.command("phases", epilog=f"Example: {example}")(_phases)


def _phases(
    tables: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TABLE...",
            help="Parquet, CSV, JSON or results of a sweep; path or URL. Rows of several tables are put together.",
        ),
    ] = None,
    rules: Annotated[
        str,
        typer.Option(
            "--rules", help="taxonomy, taxonomy_underfit, phase_zoo, three_regimes, or a YAML file of your own rules."
        ),
    ] = "taxonomy",
    columns: Annotated[
        Rules,
        typer.Option("--columns", help="NAME=COLUMN or NAME=ARITHMETIC,...: where the table has what the rules need."),
    ] = None,
    thresholds: Annotated[
        Rules, typer.Option("--thresholds", help="NAME=VALUE,...: other numbers in the rules.")
    ] = None,
    exclude: Annotated[Rules, typer.Option("--exclude", help="Rule: rows to leave out, such as 'on == test'.")] = None,
    to: Annotated[Path | None, typer.Option("--out", help="Write phases.csv and phases.png to this folder.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON with stable fields.")] = False,
    print_rules: Annotated[
        bool, typer.Option("--print-rules", help="Print the rules as YAML, to be changed and given to --rules.")
    ] = False,
) -> None:
    """Label each cell of load and temperature with a phase, by stated rules over medians."""
    from landsweep.orchestrator.reading import write_yaml
    from landsweep.orchestrator.rules import chosen_by_any
    from landsweep.sweeps.laws.fitting.expressions import assignments
    from landsweep.sweeps.laws.fitting.options import values
    from landsweep.sweeps.laws.fitting.tables import read_table
    from landsweep.sweeps.measure.phases.diagram import phase_diagram
    from landsweep.sweeps.measure.phases.presets import rules_named
    from landsweep.sweeps.measure.phases.section import phase_text

    phase_rules = rules_named(rules).with_thresholds(values(thresholds, "--thresholds"))
    if print_rules:
        typer.echo(printable(write_yaml(phase_rules.model_dump(mode="json"))), nl=False)
        return
    if not tables:
        raise UsageError("phases: give a TABLE: a file, a folder of Parquet, or the results of a sweep")
    named = assignments(columns, "--columns") if columns else None
    parts = [read_table(table) for table in tables]
    if exclude:
        parts = [part[~chosen_by_any(exclude, part)] for part in parts]
    diagram = phase_diagram(parts, phase_rules, named)
    if to is not None:
        _write(diagram, to)
    typer.echo(json.dumps(_fields(diagram)) if as_json else printable(phase_text(diagram)))


def _write(diagram: Diagram, folder: Path) -> None:
    from landsweep.orchestrator.report.drawing import drawn
    from landsweep.orchestrator.storage.inside import write_in
    from landsweep.sweeps.measure.phases.section import diagram_picture

    folder.mkdir(parents=True, exist_ok=True)
    write_in(folder, "phases.csv", diagram.cells.to_csv(index=False))
    write_in(folder, "phases.png", drawn(diagram_picture(diagram), format="png", dpi=150))


def _fields(diagram: Diagram) -> dict[str, object]:
    cells = diagram.cells.astype(object).where(diagram.cells.notna(), None)
    return {
        "rules": diagram.rules.model_dump(mode="json"),
        "columns": dict(diagram.columns),
        "counts": {label or "none": count for label, count in diagram.counts().items()},
        "cells": cells.to_dict(orient="records"),
        "rows": diagram.rows,
        "left_out": diagram.left_out,
    }
