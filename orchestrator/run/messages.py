"""What driver and workers say to each other: what a worker is to compute, its pieces of work, and its answers.

All of it is plain data, so that it can travel to another process.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa

from landsweep.orchestrator.kind import Arrays, SweepKind
from landsweep.orchestrator.row import Progress
from landsweep.orchestrator.run.schedule import Shard
from landsweep.orchestrator.site import Site
from landsweep.orchestrator.spec import Spec

__all__ = ["CheckInput", "Chunk", "Message", "Prepare", "Prepared", "Probed", "Work", "WorkerConfig"]


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """All that a worker needs to come to life, as plain data.

    Attributes:
        kind: name of the kind.
        spec: the spec as plain data.
        folder: what relative paths in the spec are relative to.
        threads: threads of one worker.
        imports: folders that are searched for the user's own modules.
        flush_seconds: longest time for which a finished row is buffered before it is sent, s.
        state_seconds: how often a long unit keeps a state to go on from, s.
        states_kept: how many of the latest states it keeps.
        probe_seconds: a probe evaluates a unit again unless that took longer than this, s.
        check_timeout: what the check calls of the user's code may take, s; None: any time.
        pdb: open the debugger where a unit raises.
        results: the results folder, a path or URL.
        gpus: of one worker, or its share of one.
        peak_flops: of one device, FLOP/s, where the site states it.
        shortcuts: as in `Workbench`.
    """

    kind: str
    spec: Mapping[str, Any]
    folder: str = "."
    threads: int = 1
    imports: tuple[str, ...] = ()
    flush_seconds: float = 0.02
    state_seconds: float = 60.0
    states_kept: int = 1
    probe_seconds: float = math.inf
    check_timeout: float | None = None
    pdb: bool = False
    results: str | None = None
    gpus: float = 0.0
    peak_flops: float | None = None
    shortcuts: bool = False

    @classmethod
    def of(cls, kind: SweepKind[Any], spec: Spec, site: Site, folder: Path, results: str | None = None) -> WorkerConfig:
        """The config of the workers that a site lends to a sweep.

        Args:
            kind: of the spec.
            spec: what they compute.
            site: where and how fast.
            folder: what relative paths in the spec are relative to.
            results: the results folder, a path or URL; None: there is none yet.
        """
        return cls(
            kind=kind.name,
            spec=spec.model_dump(mode="json"),
            folder=str(folder.resolve()),
            threads=site.threads or max(1, int(site.cpus)),
            imports=(str(Path.cwd()), str(folder.resolve())),
            state_seconds=site.state_seconds,
            states_kept=site.states_kept,
            probe_seconds=site.probe_seconds,
            check_timeout=site.check_timeout,
            pdb=site.pdb,
            results=results,
            gpus=site.gpus,
            peak_flops=site.peak_flops,
            shortcuts=site.shortcuts,
        )


@dataclass(frozen=True, slots=True)
class CheckInput:
    """Work: see whether data, model and functions of the spec fit together."""

    id: int


@dataclass(frozen=True, slots=True)
class Prepare:
    """Work: compute one preparation."""

    id: int
    name: str
    needs: tuple[str, ...] = ()


Work: TypeAlias = CheckInput | Prepare | Shard


@dataclass(frozen=True, slots=True)
class Prepared:
    """Message: the arrays of one preparation."""

    name: str
    arrays: Arrays
    seconds: float


@dataclass(frozen=True, slots=True)
class Chunk:
    """Message: some rows of a shard, with the series of just these units, what running units report, and notes.

    Attributes:
        broken: the gang that computed them can't compute any more: its members are no longer in step.
    """

    rows: pa.RecordBatch | None
    series: pa.RecordBatch | None
    progress: tuple[Progress, ...] = ()
    notes: tuple[str, ...] = ()
    broken: bool = False


@dataclass(frozen=True, slots=True)
class Probed:
    """Message: the first unit has ended; if it was evaluated again, the result was equal.

    Attributes:
        key: of the unit.
        seconds: what its first evaluation took.
        compared: whether it was evaluated again.
        limit: it is not, if the first evaluation took longer, s.
    """

    key: str
    seconds: float
    compared: bool
    limit: float

    @property
    def text(self) -> str:
        """For the user."""
        if self.compared:
            return "the first unit was evaluated twice, with equal results"
        slow = f"took {self.seconds:.0f} s, more than site.probe_seconds={self.limit:g}"
        why = slow if self.seconds > self.limit else "failed or was stopped"
        return f"the first unit {why}, so it was not evaluated again: equal results of equal units are not checked"


Message: TypeAlias = Prepared | Chunk | Probed
