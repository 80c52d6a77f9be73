"""Sweeps on the Ray of this process, and the workers to kill."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import psutil

from landsweep.orchestrator.kind import kind_named
from landsweep.orchestrator.run.progress import Snapshot
from landsweep.orchestrator.run.start import run_sweep
from landsweep.orchestrator.site import Site
from landsweep.orchestrator.spec import parse
from landsweep.orchestrator.testing.kind_suite import QuietWatch


def run_on_ray(spec: dict[str, Any], folder: Path, watch: QuietWatch | None = None, **site: Any) -> Snapshot:
    kind = kind_named("function")
    where = Site(**{"cpus": 0.5, **site})
    return run_sweep(
        kind, parse(kind.spec, spec, "chaos"), where, folder, folder=Path.cwd(), watch=watch or QuietWatch()
    )


def busy_workers() -> list[psutil.Process]:
    """Workers of the Ray that this process has started, in the middle of a shard."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess, FileNotFoundError):
            if "ray::Actor.run" in " ".join(process.cmdline()):
                found.append(process)
    return found
