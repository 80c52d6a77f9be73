"""The command `rerun`: units that ended badly, or whose files are damaged, are computed again."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from landsweep.orchestrator.commands.options import Changes, Results, SiteName, Trust
from landsweep.orchestrator.console import err
from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.trust import foreign_code, refuse_files, untrusted

__all__ = ["rerun"]

_DAMAGED = "damaged"  # units whose files are missing or damaged


def rerun(
    folder: Results,
    changes: Changes = None,
    with_status: Annotated[
        str,
        typer.Option(
            "--status", help="failed, diverged, pruned or damaged (files lost or changed, as verify --deep finds)."
        ),
    ] = "failed",
    cause: Annotated[
        str | None, typer.Option("--cause", help="Only units that failed by this: error, oom, timeout or infra.")
    ] = None,
    site: SiteName = None,
    trust: Trust = False,
) -> None:
    """Recompute units that failed, diverged, were pruned or lost their files; their old rows are kept in retired/.

    After a run that was killed, units that have no row come first: what fails again is not taken up again at once.
    """
    from landsweep.orchestrator.assignments import split_changes
    from landsweep.orchestrator.commands.drive import drive
    from landsweep.orchestrator.run.driver_deaths import was_killed
    from landsweep.orchestrator.run.sweep import open_sweep
    from landsweep.orchestrator.site import load_site

    spec_changes, site_changes = split_changes(changes)
    if spec_changes:
        raise SpecError(f"rerun keeps the spec as it is, so {spec_changes[0]!r} can't be given; `site.` fields can")
    _check_options(with_status, cause)
    sweep = open_sweep(folder, trust=trust)
    if not sweep.trusted:
        if names := foreign_code(sweep.manifest["spec"]):
            raise untrusted(folder, names)
        refuse_files(sweep.manifest["spec"], sweep.folder, folder)
    go = partial(drive, sweep.kind, sweep.spec, load_site(site, site_changes), folder, sweep.folder, own=sweep.trusted)
    if with_status == _DAMAGED:
        err.print("first, every byte of rows, series, prepared arrays, weights and states is compared")
        code, _ = go(deep=True)
        raise typer.Exit(code)
    rows = sweep.rows()
    again = tuple(rows.loc[(rows["status"] == with_status) & ((rows["cause"] == cause) if cause else True), "key"])
    missing = {*sweep.keys()}.difference(rows["key"])  # units without a row: a run or rerun that was stopped
    if missing and again and was_killed(sweep.ledger.store):
        err.print(
            f"the last run was killed: its {len(missing):,} units without a row are computed first; type the same "
            f"command again for the {len(again):,} with status {with_status}"
        )
        again = ()
    if not again and not missing:
        err.print(f"no unit with status {with_status}{f' and cause {cause}' if cause else ''}: nothing to do")
        return
    err.print(f"{len(again):,} units will be computed again" if again else "units without a row will be computed")
    code, _ = go(again)
    raise typer.Exit(code)


def _check_options(status: str, cause: str | None) -> None:
    """Refuse a status or a cause that no unit to compute again can have."""
    from landsweep.orchestrator.row import Cause, Status

    if status not in {*Status, _DAMAGED} - {Status.ok}:
        raise SpecError(f"--status {status}: give failed, diverged, pruned or damaged")
    if cause is not None and cause not in set(Cause):
        raise SpecError(f"--cause {cause}: give one of {', '.join(Cause)}")
    if cause is not None and status != Status.failed:
        raise SpecError(f"--cause {cause}: only failed units have a cause; leave it out, or --status {status}")
