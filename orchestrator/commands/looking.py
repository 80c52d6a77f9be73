"""A look at a plan on this machine, before any worker is started: its tensors, and the check of a run."""

from __future__ import annotations

import contextlib
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from landsweep.orchestrator.commands.display import table_text
from landsweep.orchestrator.console import out
from landsweep.orchestrator.errors import LandsweepError, SpecError
from landsweep.orchestrator.kind import Costed, ShowsTensors, SweepKind, Workbench
from landsweep.orchestrator.run.checking import check_apart, runs_apart
from landsweep.orchestrator.run.messages import WorkerConfig
from landsweep.orchestrator.site import Site
from landsweep.orchestrator.spec import Spec

__all__ = ["problem_of", "show_tensors"]


def problem_of(
    kind: SweepKind[Any], spec: Spec, site: Site, bench: Workbench, asked: bool | None, *, timed: bool = False
) -> str | None:
    """What a worker would refuse: an absent module, function or file, wrong arguments, parts that do not fit.

    Args:
        kind: of the spec.
        spec: what would be computed.
        site: where.
        bench: this machine, standing for a worker.
        asked: whether to look; None: if it is quick, and the workers are on this machine.
        timed: whether steps will be timed in this process; then the user's networks are checked in any case.
    """
    here = site.launcher is None and "local" in (site.executor, site.address) and not site.runtime_env
    apart = runs_apart(kind, spec, pdb=site.pdb)
    looks = kind.light(spec) and here if asked is None else asked
    if not looks and not (timed and apart and isinstance(kind, Costed)):
        return None
    try:
        with contextlib.redirect_stdout(sys.stderr):  # what a module prints while it is imported
            if apart:
                check_apart(WorkerConfig.of(kind, spec, site, bench.folder), bench.device)
            else:
                kind.check(spec, bench)
    except LandsweepError as e:
        return str(e)
    except Exception as e:  # noqa: BLE001 - whatever code of the user's raises
        return f"{type(e).__name__}: {e}"
    return None


def show_tensors(kind: SweepKind[Any], spec: Spec, folder: Path, as_json: bool) -> None:
    """Print how each tensor of a plan is drawn and trained.

    Raises:
        SpecError: the kind trains no networks.
    """
    if not isinstance(kind, ShowsTensors):
        raise SpecError(f"--tensors: the kind {kind.name} trains no networks whose tensors could be shown")
    tables = kind.tensors(spec, Workbench(folder=folder))
    if as_json:
        out.print_json(json.dumps([asdict(table) for table in tables]))
        return
    out.print("\n\n".join(map(table_text, tables)))
