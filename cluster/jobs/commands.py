"""The commands `submit`, `jobs`, `logs` and `cancel`. Libraries are imported by the command that needs them."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from landsweep.orchestrator.commands.options import Changes, SpecFile
from landsweep.orchestrator.console import Console, err, out
from landsweep.orchestrator.redaction import command_line
from landsweep.orchestrator.text import printable
from landsweep.orchestrator.trust import user_code

if TYPE_CHECKING:
    from landsweep.cluster.jobs.jobs import Job

__all__ = ["register"]


_WIDE = 1000  # characters
WhichJob = Annotated[str, typer.Argument(metavar="DIR|JOB", help="Results folder (its last job), or a job id.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command("submit", epilog="Example: landsweep submit landscape_skip --site my_slurm.yaml")(_submit)
    app.command("jobs", epilog="Example: landsweep jobs results/landscape_skip")(_jobs)
    app.command("logs", epilog="Example: landsweep logs results/landscape_skip")(_logs)
    app.command("cancel", epilog="Example: landsweep cancel results/landscape_skip")(_cancel)


def _submit(
    spec: SpecFile,
    changes: Changes = None,
    site: Annotated[str, typer.Option("--site", help="Site file with a section `launcher`, or an installed one.")] = "",
    out_dir: Annotated[
        str | None, typer.Option("--out", help="Results folder or URL; by default results/NAME.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print what would be submitted.")] = False,
    follow: Annotated[bool, typer.Option("--follow", help="Show the job's output until it ends.")] = False,
) -> None:
    """Queue a sweep on a cluster; resubmitting the same spec resumes it, or extends it when its axes have grown."""
    from landsweep.cluster.jobs.submit import draft, submit

    user_code()
    launcher, launch = draft(spec, changes, site, out_dir, command_line(), offline=dry_run)
    if dry_run:
        return out.print(launcher.dry_run(launch))
    job = submit(launcher, launch, err.print)
    out.print(f"job {job.job} ({launcher.name}): results will be in {job.out}")
    err.print(f"landsweep jobs | landsweep logs {shlex.quote(job.home)} | landsweep cancel {shlex.quote(job.home)}")
    return _follow(job) if follow else None


def _follow(job: Job) -> None:
    from landsweep.cluster.jobs.follow import follow

    def write(text: str) -> None:
        sys.stdout.write(printable(text.replace("\r", "\n")))
        sys.stdout.flush()  # as it comes, into a pipe too

    raise typer.Exit(follow(job, write))


def _jobs(
    folder: Annotated[
        str, typer.Argument(metavar="[DIR]", help="Results of one sweep, or a folder of several.")
    ] = "results",
) -> None:
    """List submitted jobs: what their scheduler says of them, and how far their sweeps are."""
    from rich.measure import Measurement
    from rich.table import Table

    from landsweep.cluster.jobs.follow import progress, refreshed
    from landsweep.cluster.jobs.jobs import every_job

    table = Table("sweep", "job", "site", "state", "units", "scheduler says", box=None, pad_edge=False)
    for job in every_job(folder):
        now = refreshed(job)
        table.add_row(f"{now.name} {now.number}", now.job, now.type, now.state, progress(now), now.detail)
    if not table.rows:
        return out.print(f"no jobs below {folder}: `landsweep submit` starts one")
    needed = Measurement.get(out, out.options.update(max_width=_WIDE), table).maximum
    return Console(width=max(out.width, needed), soft_wrap=False).print(table)  # no part of an id is lost


def _logs(
    which: WhichJob,
    follow: Annotated[bool, typer.Option("--follow", help="Keep printing until the job ends.")] = False,
    unit: Annotated[
        str | None, typer.Option("--unit", help="Of DIR: what one unit has printed; its key, or the first digits.")
    ] = None,
) -> None:
    """Print the output of a job, or of one unit."""
    if unit is not None:
        from landsweep.orchestrator.run.sweep import ledger_at
        from landsweep.orchestrator.storage.outputs import unit_output

        return out.print(unit_output(ledger_at(which).store, unit))
    from landsweep.cluster.jobs.follow import Streams
    from landsweep.cluster.jobs.jobs import find_job, launcher_of

    job = find_job(which)
    if follow:
        return _follow(job)
    text = Streams().news(launcher_of(job).logs(job.job, Path(job.home)), last=True)
    return out.print(text.replace("\r", "\n").rstrip() or f"job {job.job} has printed nothing yet")


def _cancel(which: WhichJob) -> None:
    """End a job; its rows are kept, and submitting again resumes the sweep."""
    from landsweep.cluster.jobs.jobs import find_job, launcher_of

    job = find_job(which)
    launcher_of(job).cancel(job.job, Path(job.home))
    out.print(f"job {job.job} was asked to end; its rows in {job.out} are kept")
