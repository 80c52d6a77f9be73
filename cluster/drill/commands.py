"""The command `drill`."""

from __future__ import annotations

import json
import time
from typing import Annotated

import typer

from landsweep.orchestrator.commands.options import AsJson, Out, SiteName
from landsweep.orchestrator.console import err, out

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("drill", epilog="Example: landsweep drill --site ray-cluster --seconds 300 site.workers=64")(_drill)


def _drill(
    changes: Annotated[
        list[str] | None, typer.Argument(metavar="[site.FIELD=VALUE]...", help="Changes to the site.")
    ] = None,
    site: SiteName = None,
    seconds: Annotated[
        float, typer.Option("--seconds", min=1, help="How long the work takes if nothing dies, s.")
    ] = 60,
    units: Annotated[
        int | None, typer.Option("--units", min=1, help="Number of units; by default, half a second each.")
    ] = None,
    life: Annotated[float, typer.Option("--life", min=1, help="Mean life of a worker, s.")] = 20,
    drivers: Annotated[int, typer.Option("--drivers", min=0, help="How often the driver is killed.")] = 2,
    allow_node: Annotated[bool, typer.Option("--allow-node", help="Also kill one node that is not the head.")] = False,
    training: Annotated[
        bool, typer.Option("--training", help="One long training instead, whose worker is killed; says what was lost.")
    ] = False,
    out_dir: Out = None,
    as_json: AsJson = False,
) -> None:
    """Try on your own cluster whether a sweep survives the deaths of workers, driver and node; a verdict at the end."""
    from landsweep.cluster.drill.drill import Drill

    where = out_dir or f"results/drill-{time.strftime('%Y%m%d-%H%M%S')}"
    site_changes = [c.removeprefix("site.") for c in changes or ()]
    outcome = Drill(site, site_changes, where, seconds, units, life, drivers, allow_node, training=training).run(
        err.print
    )
    checks = outcome.checks()
    survived = all(check.ok is not False for check in checks)
    if as_json:
        verdict = [{"what": c.what, "ok": c.ok, "found": c.detail} for c in checks]
        facts = {"survived": survived, "deaths": dict(outcome.deaths()), "seconds": outcome.seconds, "checks": verdict}
        out.print_json(json.dumps(facts))
    else:
        for check in checks:
            out.print(check.text())
        out.print(outcome.loss())
        out.print("survived" if survived else "did not survive, see above")
    if not survived:
        raise typer.Exit(1)
