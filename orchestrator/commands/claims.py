"""The command `claims`: whether what a spec claims holds in its rows. Light: libraries are imported when it runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from landsweep.orchestrator.commands.options import AsJson, Trust
from landsweep.orchestrator.console import err, out
from landsweep.orchestrator.errors import SpecError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from landsweep.orchestrator.claim import Verdict

__all__ = ["claims"]


def claims(
    folders: Annotated[list[str], typer.Argument(metavar="DIR...", help="Results folders, paths or URLs.")],
    spec: Annotated[
        Path | None, typer.Option("--spec", help="Take the claims from this spec file instead (one folder only).")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Exit with 1 unless every claim is held.")] = False,
    as_json: AsJson = False,
    trust: Trust = False,
) -> None:
    """Judge the claims of sweeps by their rows: held, not held, or undecided.

    A claim is undecided where the 95 % interval of a difference crosses 0. Exit codes: 0, or with --check 0 where all
    are held, else 1; 2 the input can't be used.
    """
    from landsweep.orchestrator.commands.stages import folders_of_stages

    folders = folders_of_stages(folders)
    if spec is not None and len(folders) > 1:
        raise UsageError(f"--spec judges one folder, but {len(folders)} were given")
    judged = {folder: _judged(folder, spec, trust) for folder in folders}
    if as_json:
        out.print_json(json.dumps({folder: [v.fields() for v in verdicts] for folder, verdicts in judged.items()}))
    else:
        for folder, verdicts in judged.items():
            _show(folder, verdicts)
    if check and any(v.outcome.value != "held" for verdicts in judged.values() for v in verdicts):
        raise typer.Exit(1)


def _judged(folder: str, file: Path | None, trust: bool) -> Sequence[Verdict]:
    from landsweep.orchestrator.commands.publish import report_of
    from landsweep.orchestrator.run.sweep import load_spec, open_sweep

    sweep = open_sweep(folder, trust=trust)
    spec = sweep.spec
    if file is not None:
        _, given = load_spec(file, [])
        if given.kind != spec.kind:
            raise SpecError(f"{file} is a spec of the kind {given.kind}, but {folder} holds a sweep of {spec.kind}")
        spec = spec.model_copy(update={"claims": given.claims})
    if not spec.claims:
        err.print(f"{folder}: the spec makes no claims; add `claims:` and run it again, or give --spec FILE")
    return report_of(sweep.kind, spec, sweep.rows(), sweep.series()).verdicts


def _show(folder: str, verdicts: Sequence[Verdict]) -> None:
    """Of one sweep, for people."""
    out.print(folder)
    for verdict in verdicts:
        source = f" ({verdict.claim.source})" if verdict.claim.source else ""
        out.print(f"  {verdict.outcome.value:>9}  {verdict.claim.says}{source}")
        out.print(f"             {verdict.numbers}; {verdict.reason}")
