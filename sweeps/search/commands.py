"""The search's commands. Light: libraries are imported by the command that needs them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.text import one_line, printable

if TYPE_CHECKING:
    from landsweep.orchestrator.run.sweep import Sweep

__all__ = ["register"]

Results = Annotated[Path, typer.Argument(metavar="DIR", help="Results folder of a search.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command("best", epilog="Example: landsweep best results/search_digits > best.yaml")(_best)
    app.command("study-export", epilog="Example: landsweep study-export results/search_digits --to sqlite:///study.db")(
        _export
    )
    app.command("study-points", epilog="Example: landsweep study-points sqlite:///study.db search_digits --best 5")(
        _points
    )


def _opened(folder: Path) -> Sweep:
    from landsweep.orchestrator.run.sweep import Sweep
    from landsweep.sweeps.search.kind import SearchKind

    sweep = Sweep.at(folder)
    if not isinstance(sweep.kind, SearchKind):
        raise SpecError(f"{folder} holds a sweep of the kind {sweep.kind.name}; give the folder of a search")
    return sweep


def _best(
    folder: Results,
    trial: Annotated[
        int | None, typer.Option("--trial", help="Number of a trial to print instead of the best one.")
    ] = None,
) -> None:
    """Print the best settings as a spec that is ready to run."""
    from landsweep.sweeps.search.best import best_text

    sweep = _opened(folder)
    typer.echo(printable(best_text(sweep.spec, sweep.rows(), trial)), nl=False)  # type: ignore[arg-type]


def _export(
    folder: Results,
    to: Annotated[str, typer.Option("--to", help="URL of an Optuna storage, such as sqlite:///study.db.")],
) -> None:
    """Write finished trials to an Optuna storage, such as for optuna-dashboard; a second time adds only new ones."""
    from landsweep.orchestrator.search import StudyPlanner, write_study
    from landsweep.sweeps.search.kind import search_of

    sweep = _opened(folder)
    planner = sweep.planner()
    planner.ask(1)  # the trials of the rows are opened when the first units are asked for
    assert isinstance(planner, StudyPlanner)
    new, total = write_study(planner, search_of(sweep.spec), to, sweep.manifest["id"])  # type: ignore[arg-type]
    typer.echo(f"{new} trials written; the study {one_line(sweep.spec.name)} in {to} has {total}")


def _points(
    url: Annotated[str, typer.Argument(metavar="URL", help="URL of an Optuna storage, such as sqlite:///study.db.")],
    study: Annotated[str, typer.Argument(metavar="STUDY", help="Name of a study in it.")],
    best: Annotated[int, typer.Option("--best", min=1, help="How many of its best trials to print.")] = 5,
) -> None:
    """Print the best trials of any Optuna study as start points: the field `enqueue` of a search."""
    from landsweep.orchestrator.reading import write_yaml
    from landsweep.orchestrator.search import best_points

    typer.echo(printable(write_yaml({"enqueue": best_points(url, study, best)})), nl=False)
