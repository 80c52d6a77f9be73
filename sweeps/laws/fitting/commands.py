"""The commands `fit` and `laws`. Light: libraries are imported by the command that needs them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from landsweep.orchestrator.console import err
from landsweep.orchestrator.errors import UsageError
from landsweep.orchestrator.text import one_line, printable

if TYPE_CHECKING:
    from landsweep.sweeps.laws.fitting.fitted import Fit

__all__ = ["register"]

_NAMES = {"--out": "fit.json", "--plot": "fit.png"}
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON with stable fields.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    example = 'landsweep fit runs.csv --law chinchilla --columns "N=params,D=C/6/N" --exclude "loss top 5"'
    app.command("fit", epilog=f"Example: {example}")(_fit)
    app.command("laws", epilog="Example: landsweep laws chinchilla")(_laws)


Rules = list[str] | None
Law = Annotated[list[str], typer.Option("--law", help="Name of a law (see `landsweep laws`); several are compared.")]
Columns = Annotated[
    Rules,
    typer.Option("--columns", help="NAME=COLUMN or NAME=ARITHMETIC,...: what the law's columns are in the table."),
]
Exclude = Annotated[
    Rules, typer.Option("--exclude", help="Rule: rows to leave out, such as 'loss top 5' or 'N < 1e6'.")
]
Holdout = Annotated[
    Rules, typer.Option("--holdout", help="Rule: rows to predict instead of fitting, such as 'C > 1e21'.")
]
EveryStatus = Annotated[
    bool, typer.Option("--every-status", help="Also fit rows of a sweep that diverged, were pruned or failed.")
]
By = Annotated[str | None, typer.Option("--by", help="Column: fit each of its values separately.")]
Fixed = Annotated[Rules, typer.Option("--fixed", help="NAME=VALUE,...: parameters to hold fixed.")]
Bounds = Annotated[Rules, typer.Option("--bounds", help="NAME=LOW:HIGH,...; one end may be left out.")]
Start = Annotated[Rules, typer.Option("--start", help="NAME=VALUE,...: a start of your own; repeat it for more.")]
Starts = Annotated[
    int | None, typer.Option("--starts", min=1, help="Least number of starts; those not given are drawn.")
]


def _fit(
    table: Annotated[
        str,
        typer.Argument(
            metavar="TABLE",
            help="Parquet, CSV, TSV, text, JSON or JSON lines; a folder of Parquet; results of a sweep. Path or URL.",
        ),
    ],
    law: Law,
    columns: Columns = None,
    objective: Annotated[str, typer.Option("--objective", help="huber, lad or least-squares.")] = "huber",
    delta: Annotated[
        float | None, typer.Option("--delta", help="Threshold of Huber's function; by default 1e-3.")
    ] = None,
    linear: Annotated[bool, typer.Option("--linear", help="Fit plain residuals instead of logarithmic ones.")] = False,
    exclude: Exclude = None,
    holdout: Holdout = None,
    every_status: EveryStatus = False,
    by: By = None,
    weights: Annotated[str | None, typer.Option("--weights", help="Column or arithmetic, such as '1/std**2'.")] = None,
    bootstrap: Annotated[
        int, typer.Option("--bootstrap", min=0, help="Bootstrap draws for the intervals; 0: use curvature.")
    ] = 1000,
    group: Annotated[str | None, typer.Option("--group", help="Column: its equal values are drawn together.")] = None,
    fixed: Fixed = None,
    bounds: Bounds = None,
    start: Start = None,
    starts: Starts = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the bootstrap.")] = 0,
    to: Annotated[Path | None, typer.Option("--out", help="Write the fit to this JSON file.")] = None,
    plot: Annotated[Path | None, typer.Option("--plot", help="Write a figure: measured against predicted.")] = None,
    profile: Annotated[bool, typer.Option("--profile", help="Add intervals from profiles of the objective.")] = False,
    as_json: AsJson = False,
) -> None:
    """Fit a law to any table: parameters with intervals, objective, convergence, held-out error."""
    if law == ["help"]:
        return _laws(None, as_json)
    _check_files(law, to, plot, by)
    from landsweep.sweeps.laws.fitting.options import ends, values

    asked = {
        "exclude": exclude or (), "holdout": holdout or (), "weights": weights, "group": group, "bootstrap": bootstrap,
        "seed": seed, "fixed": values(fixed, "--fixed"), "bounds": ends(bounds), "every_status": every_status,
        "starts": [values([one], "--start") for one in start] if start else None, "start_count": starts,
    }  # fmt: skip
    fits = _fits(table, law, columns, (objective, delta, not linear), by, asked)
    _give(fits, by, to, plot, as_json, profile)
    return None


def _check_files(law: list[str], to: Path | None, plot: Path | None, by: str | None) -> None:
    if (to or plot) and (len(law) > 1 or by is not None):
        raise UsageError("--out and --plot belong to one fit; give one --law, and no --by")
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
    table: str,
    law: list[str],
    columns: list[str] | None,
    objective: tuple[str, float | None, bool],
    by: str | None,
    asked: dict[str, Any],
) -> dict[str, list[Fit]]:
    """The fits of all laws, for each value of the column `by`; without one, under the empty name."""
    from landsweep.sweeps.laws.catalogue import law_named
    from landsweep.sweeps.laws.fitting.expressions import assignments
    from landsweep.sweeps.laws.fitting.fit import fit
    from landsweep.sweeps.laws.fitting.objective import objective_named
    from landsweep.sweeps.laws.fitting.options import parts
    from landsweep.sweeps.laws.fitting.tables import read_table

    name, delta, log = objective
    chosen = objective_named(name, delta=delta, log=log)
    laws, data = [law_named(one) for one in law], read_table(table)
    named = assignments(columns, "--columns") if columns else None
    with err.status(f"fitting {', '.join(law)}, {asked['bootstrap']} draws"):
        return {
            value: [fit(one, part, columns=named, objective=chosen, **asked) for one in laws]
            for value, part in parts(data, by)
        }


def _give(
    fits: dict[str, list[Fit]], by: str | None, to: Path | None, plot: Path | None, as_json: bool, profile: bool
) -> None:
    from landsweep.sweeps.laws.fitting.figures import fit_picture
    from landsweep.sweeps.laws.fitting.json_file import fields, save_fit
    from landsweep.sweeps.laws.fitting.text import by_text, comparison_text, fit_text, profiles, profiles_text

    every = [(value, f) for value, some in fits.items() for f in some]
    if to is not None:
        save_fit(every[0][1], to)
    if plot is not None:
        fit_picture(every[0][1]).savefig(plot)
    if as_json:
        about = [{"by": {by: value}} if by is not None else {} for value, _ in every]
        more = [{"profiles": profiles(f)} if profile else {} for _, f in every]
        entries = [a | fields(f) | m for a, (_, f), m in zip(about, every, more, strict=True)]
        typer.echo(json.dumps(entries[0] if len(entries) == 1 and by is None else entries))
        return
    parts = []
    for value, some in fits.items():
        title = f"{by} = {one_line(value)}\n" if by is not None else ""
        parts += [title + fit_text(f) + (f"\n\n{profiles_text(f)}" if profile else "") for f in some]
        parts += [comparison_text(some)] if len(some) > 1 else []
    typer.echo(printable("\n\n".join(parts + ([by_text(by, fits)] if by is not None else []))))


def _laws(
    name: Annotated[str | None, typer.Argument(metavar="[LAW]", help="Show one law's columns and parameters.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the laws with their formulas and columns, or describe one."""
    from landsweep.sweeps.laws.catalogue import LAWS, law_named
    from landsweep.sweeps.laws.fitting.text import law_fields, law_text, laws_text

    if as_json:
        typer.echo(json.dumps([law_fields(law) for law in LAWS] if name is None else law_fields(law_named(name))))
    else:
        typer.echo(laws_text(LAWS) if name is None else law_text(law_named(name)))
