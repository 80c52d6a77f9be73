"""The commands `fit` and `laws`. Light: libraries are imported by the command that needs them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.errors import UsageError

if TYPE_CHECKING:
    from sweeps.lab.laws.outcome import Fit

__all__ = ["register"]

_NAMES = {"--out": "fit.json", "--plot": "fit.png"}
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON with stable fields.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    example = 'landsweep fit runs.csv --law chinchilla --columns "N=params,D=C/6/N" --exclude "loss top 5"'
    app.command("fit", epilog=f"Example: {example}")(_fit)
    app.command("laws", epilog="Example: landsweep laws chinchilla")(_laws)


def _fit(
    table: Annotated[
        str, typer.Argument(metavar="TABLE", help="Parquet file or folder, CSV, or JSON lines (.jsonl); path or URL.")
    ],
    law: Annotated[
        list[str], typer.Option("--law", help="Name of a law; several are compared. `landsweep laws` lists.")
    ],
    columns: Annotated[
        str | None, typer.Option("--columns", help="NAME=COLUMN or NAME=ARITHMETIC,...: where the law's columns are.")
    ] = None,
    objective: Annotated[str, typer.Option("--objective", help="huber, lad or least-squares.")] = "huber",
    delta: Annotated[float | None, typer.Option("--delta", help="Of Huber's function; by default 1e-3.")] = None,
    linear: Annotated[bool, typer.Option("--linear", help="Plain residuals instead of those of logarithms.")] = False,
    exclude: Annotated[
        list[str] | None, typer.Option("--exclude", help="Rule: rows to leave out, such as 'loss top 5' or 'N < 1e6'.")
    ] = None,
    holdout: Annotated[
        list[str] | None,
        typer.Option("--holdout", help="Rule: rows to predict instead of fitting, such as 'C > 1e21'."),
    ] = None,
    weights: Annotated[str | None, typer.Option("--weights", help="Column or arithmetic, such as '1/std**2'.")] = None,
    bootstrap: Annotated[int, typer.Option("--bootstrap", min=0, help="Draws for the intervals; 0: curvature.")] = 1000,
    group: Annotated[str | None, typer.Option("--group", help="Column whose equal values are drawn together.")] = None,
    fixed: Annotated[str | None, typer.Option("--fixed", help="NAME=VALUE,...: parameters that are given.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the bootstrap.")] = 0,
    to: Annotated[Path | None, typer.Option("--out", help="Write the fit to this JSON file.")] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", help="Write a figure (PNG): measured against predicted.")
    ] = None,
    profile: Annotated[bool, typer.Option("--profile", help="Also intervals from profiles of the objective.")] = False,
    as_json: AsJson = False,
) -> None:
    """Fit a law to any table: parameters with intervals, objective, convergence, held-out error."""
    if law == ["help"]:
        return _laws(None, as_json)
    _check_files(law, to, plot)
    asked = {
        "exclude": exclude or (), "holdout": holdout or (), "weights": weights, "group": group, "bootstrap": bootstrap,
        "seed": seed, "fixed": _values(fixed),
    }  # fmt: skip
    fits = _fits(table, law, columns, (objective, delta, not linear), asked)
    _give(fits, to, plot, as_json, profile)
    return None


def _check_files(law: list[str], to: Path | None, plot: Path | None) -> None:
    if (to or plot) and len(law) > 1:
        raise UsageError("--out and --plot belong to one fit; give one --law")
    if plot is not None and plot.suffix.lower() != ".png":
        raise UsageError(f"--plot {plot}: the figure is a PNG; give a name that ends in .png")
    for option, path in (("--out", to), ("--plot", plot)):
        if path is not None and not path.absolute().parent.is_dir():
            raise UsageError(f"{option} {path}: there is no folder {path.parent}")
        if path is not None and path.is_dir():
            raise UsageError(
                f"{option} {path}: that is a folder; give the name of a file, such as {path / _NAMES[option]}"
            )


def _fits(
    table: str, law: list[str], columns: str | None, objective: tuple[str, float | None, bool], asked: dict[str, Any]
) -> list[Fit]:
    from rich.console import Console

    from sweeps.lab.laws.cases import read_table
    from sweeps.lab.laws.catalogue import law_named
    from sweeps.lab.laws.expressions import split_assignments
    from sweeps.lab.laws.fit import fit
    from sweeps.lab.laws.objective import objective_named

    name, delta, log = objective
    wanted = objective_named(name, delta=delta, log=log)
    laws, data = [law_named(one) for one in law], read_table(table)
    named = dict(split_assignments(columns, "--columns")) if columns else None
    with Console(stderr=True).status(f"fitting {', '.join(law)}, {asked['bootstrap']} draws"):
        return [fit(one, data, columns=named, objective=wanted, **asked) for one in laws]


def _give(fits: list[Fit], to: Path | None, plot: Path | None, as_json: bool, profile: bool) -> None:
    from sweeps.lab.laws.pictures import fit_picture
    from sweeps.lab.laws.record import fields, save_fit
    from sweeps.lab.laws.shown import comparison_text, fit_text, profiles, profiles_text

    if to is not None:
        save_fit(fits[0], to)
    if plot is not None:
        fit_picture(fits[0]).savefig(plot)
    if as_json:
        found = [fields(f) | ({"profiles": profiles(f)} if profile else {}) for f in fits]
        typer.echo(json.dumps(found[0] if len(found) == 1 else found))
        return
    parts = [fit_text(f) + (f"\n\n{profiles_text(f)}" if profile else "") for f in fits]
    typer.echo("\n\n".join(parts + ([comparison_text(fits)] if len(fits) > 1 else [])))


def _values(text: str | None) -> dict[str, float]:
    from sweeps.lab.laws.expressions import split_assignments

    found = {}
    for name, value in split_assignments(text, "--fixed") if text else ():
        try:
            found[name] = float(value)
        except ValueError:
            raise UsageError(f"--fixed {name}={value}: {value!r} is no number") from None
    return found


def _laws(
    name: Annotated[str | None, typer.Argument(metavar="[LAW]", help="Show one law's columns and parameters.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the laws with their formulas and columns, or describe one."""
    from sweeps.lab.laws.catalogue import LAWS, law_named
    from sweeps.lab.laws.shown import law_fields, law_text, laws_text

    if as_json:
        typer.echo(json.dumps([law_fields(law) for law in LAWS] if name is None else law_fields(law_named(name))))
    else:
        typer.echo(laws_text(LAWS) if name is None else law_text(law_named(name)))
