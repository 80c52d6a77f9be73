"""The command `transfer-table`. Light: libraries are imported by the command that needs them."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from landsweep.orchestrator.text import one_line, printable

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    example = "landsweep transfer-table runs.csv --rate lr --over width --loss val_loss --seed seed"
    app.command("transfer-table", epilog=f"Example: {example}")(_transfer_table)


def _transfer_table(
    table: Annotated[
        str, typer.Argument(metavar="TABLE", help="Any table that `landsweep fit` reads, or a sweep's folder.")
    ],
    rate: Annotated[str, typer.Option("--rate", help="Column of the learning rate.")] = "learning_rate",
    over: Annotated[
        str, typer.Option("--over", help="Column of the size: width, depth, steps or batch size.")
    ] = "width",
    loss: Annotated[str, typer.Option("--loss", help="Column of the loss.")] = "loss",
    seed: Annotated[str | None, typer.Option("--seed", help="Column of the seed, if there are several.")] = None,
    by: Annotated[str | None, typer.Option("--by", help="Column; each of its values is analysed separately.")] = None,
    exclude: Annotated[
        list[str] | None, typer.Option("--exclude", help="Rule: rows to leave out, such as 'width < 64'.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON with stable fields.")] = False,
) -> None:
    """Analyse whether the best learning rate carries over between sizes: optima, drift, cost of carrying it over."""
    from landsweep.orchestrator.rules import chosen_by_any
    from landsweep.sweeps.laws.fitting.options import parts
    from landsweep.sweeps.laws.fitting.tables import read_table
    from landsweep.sweeps.transfer.table import judged

    data = read_table(table)
    data = data[~chosen_by_any(exclude or (), data)].reset_index(drop=True)
    groups = {value: judged(rows, rate=rate, over=over, loss=loss, seed=seed) for value, rows in parts(data, by)}
    if as_json:
        lines = [({"by": {by: value}} if by is not None else {}) | group.json() for value, group in groups.items()]
        typer.echo(json.dumps(lines if by is not None else lines[0], allow_nan=False))
        return
    texts = [("" if by is None else f"{by} = {one_line(value)}\n") + group.text() for value, group in groups.items()]
    typer.echo(printable("\n\n".join(texts)))
