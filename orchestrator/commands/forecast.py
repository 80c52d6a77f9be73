"""What a run would do, and what it would cost, before anything is started."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple

from landsweep.orchestrator.commands.display import span, table_text
from landsweep.orchestrator.kind import Costed, Costs, Ganged, SweepKind, Workbench
from landsweep.orchestrator.row import RowMaker, Status
from landsweep.orchestrator.run.manifest import check_same
from landsweep.orchestrator.run.plan import asked, check_sizes, planned, resumed, strays
from landsweep.orchestrator.site import Site
from landsweep.orchestrator.spec import Spec
from landsweep.orchestrator.storage.ledger import Ledger, Store

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Forecast", "bench_here", "forecast"]

_BYTES_PER_NUMBER = 9  # of a column of floats in a compressed part
_BYTES_PER_KEY = 34
_MOST_PARTS = 60  # parts are merged, so their number grows with the logarithm of the time
_WEIGHTS = "weights_file"  # a column of units that leave weights
_NAMED = 8  # preparations that the text names


@dataclass(frozen=True, slots=True)
class Forecast:
    """A plan in numbers.

    Attributes:
        where: results folder.
        total: units of the plan, None when they depend on the rows.
        done: of these, those that have a row already.
        to_run: those that have none; None when `total` is.
        preparations: names of what is computed once before.
        unit_seconds: mean wall time of the units that have rows and did not fail; None before any has.
        seconds: of the rest on `workers` workers, None when unknown.
        workers: that the site asks for; None: as many as the cluster holds.
        files: upper bound for rows and preparations; series take as many again.
        bytes: about what the rows will take on disk.
        costs: of the rest, where the kind has timed them on this machine.
        weights: whether weights are kept beside the rows.
        remarks: what is unusual about the existing rows, and what to do.
        problem: why it can't be run on this machine, where that was checked; None: nothing was found.
        device_hours: of the rest, where workers have GPUs or the site has a price; None when unknown.
        price: of these, in the currency of `site.price`.
    """

    where: str
    total: int | None
    done: int
    to_run: int | None
    preparations: tuple[str, ...]
    unit_seconds: float | None
    seconds: float | None
    workers: int | None
    files: int
    bytes: int
    costs: Costs | None = None
    weights: bool = False
    remarks: tuple[str, ...] = ()
    problem: str | None = None
    device_hours: float | None = None
    price: float | None = None

    def fields(self) -> dict[str, Any]:
        """The same as JSON, with stable names."""
        return asdict(self)

    def __str__(self) -> str:
        return self.text()

    def text(self) -> str:
        """The same for people."""
        lines = [f"results: {self.where}"]
        if self.total is None:
            lines.append(f"units: as many as the search needs; {self.done:,} have rows")
        else:
            lines.append(f"units: {self.total:,} in all, {self.done:,} done, {self.to_run:,} to run")
        if self.preparations:
            first = ", ".join(self.preparations[:_NAMED])
            more = f" and {len(self.preparations) - _NAMED:,} more" if len(self.preparations) > _NAMED else ""
            lines.append(f"prepared once, before them: {first}{more}")
        on = "1 worker" if self.workers in (None, 1) else f"{self.workers} workers"
        if self.costs is not None:
            lines += [table_text(self.costs.table), f"calibration: {self.costs.note}"]
        if self.costs is not None and self.costs.seconds is not None:
            lines.append(f"time: {span(self.costs.seconds)} of one worker, so at least {span(self.seconds)} on {on}")
        elif self.to_run == 0:
            lines.append("time: nothing is left to run")
        elif self.unit_seconds is None:
            rows = "no unit has run yet" if not self.done else "all units that have run failed"
            lines.append(f"time: unknown, because {rows}; run, stop after a few (Ctrl-C loses nothing) and plan again")
        elif self.seconds is None:
            rest = "how many more the search needs depends on their results"
            lines.append(f"time: {self.unit_seconds:.3g} s per unit so far; {rest}")
        else:
            lines.append(f"time: {self.unit_seconds:.3g} s per unit, so about {span(self.seconds)} on {on}")
        if self.device_hours:
            price = "" if self.price is None else f", which cost {self.price:,.2f}"
            lines.append(f"devices: about {self.device_hours:,.3g} device-hours{price}")
        more = ", without weights" if self.weights else ""
        lines += self.remarks
        lines.append(f"disk: rows in at most {self.files:,} files, {_megabytes(self.bytes)}{more}")
        return "\n".join(lines)


def _megabytes(bytes_: int) -> str:
    return f"about {bytes_ / 1e6:,.1f} MB" if bytes_ >= 1e5 else "less than 0.1 MB"


def bench_here(site: Site, folder: Path) -> Workbench:
    """This machine in the place of a site's worker, for what is timed before a sweep.

    Args:
        site: where the sweep would run.
        folder: what relative paths in the spec are relative to.
    """
    device = "cuda:0" if site.gpus else "cpu"
    return Workbench(device, max(1, int(site.cpus)), folder, peak_flops=site.peak_flops, mfu=site.mfu)


def forecast(kind: SweepKind[Any], spec: Spec, site: Site, where: str, bench: Workbench | None = None) -> Forecast:
    """Count units and estimate the cost of those that have no row yet; nothing is written or started.

    Args:
        kind: of the spec.
        spec: what would be computed.
        site: where.
        where: results folder.
        bench: this machine, where the kind may time what its units do; None: nothing is timed.

    Raises:
        SweepMismatch, SpecError: `where` holds another sweep; a unit takes more devices than there are.
    """
    check_sizes(kind, spec, Path() if bench is None else bench.folder, site.capacity)
    total, done, keys, unit_seconds, remarks = _so_far(kind, spec, where)
    to_run = None if total is None else total - done
    workers = None if site.workers == "auto" else site.workers
    of_one = None if unit_seconds is None or to_run is None else unit_seconds * to_run
    costs = kind.costs(spec, keys, bench) if bench is not None and isinstance(kind, Costed) else None
    if timed := costs is not None and costs.seconds is not None:
        of_one = costs.seconds
    gangs = isinstance(kind, Ganged) and kind.devices(spec, Path() if bench is None else bench.folder) is not None
    # Units so far may have taken other numbers of devices than those to come; timed ones are counted in FLOPs.
    hours = None if gangs and not timed else _device_hours(site, of_one)
    preparations, declared = kind.preparations(spec), kind.columns(spec)
    columns = len(RowMaker(kind.params(spec), declared).schema())
    return Forecast(
        where=where,
        total=total,
        done=done,
        to_run=to_run,
        preparations=tuple(p.name for p in preparations),
        unit_seconds=unit_seconds,
        seconds=None if of_one is None else of_one / (workers or 1),
        workers=workers,
        files=min(_MOST_PARTS, total or _MOST_PARTS) + 2 * len(preparations) + 5,
        bytes=(total or done) * (_BYTES_PER_KEY + _BYTES_PER_NUMBER * columns),
        costs=costs,
        remarks=tuple(remarks),
        weights=any(not p.pack for p in preparations) or any(c.name == _WEIGHTS for c in declared or ()),
        device_hours=hours,
        price=None if hours is None or site.price is None else hours * site.price,
    )


class _SoFar(NamedTuple):
    total: int | None
    done: int
    keys: Collection[str]
    unit_seconds: float | None
    remarks: Sequence[str]


def _so_far(kind: SweepKind[Any], spec: Spec, where: str) -> _SoFar:
    """Units of the plan, those with rows, all keys with rows, the time of one, and what is unusual."""
    planner, store = kind.planner(spec), Store.at(where)
    total = planner.total
    if not Ledger.exists(store):
        return _SoFar(total, 0, (), None, ())
    ledger = Ledger.open(store)
    check_same(ledger.sweep, kind, spec, where)
    rows = ledger.rows(columns=["key", "seconds", "status"])
    keys = set(rows.column("key").to_pylist())
    remarks: list[str] = []
    if not planner.adaptive:
        done = sum(u.key in keys for u in planned(kind, spec))
        remarks = strays(ledger.sweep, kind, spec, len(keys), done)
    elif total is None:
        done = len(keys)
    else:  # rows that a smaller plan no longer holds are neither done nor to run
        left = sum(u.key not in keys for u in asked(resumed(planner, ledger)))
        total = planner.total or 0
        done = min(len(keys), total - left)
        if planner.ended_early:
            total, remarks = done + left, [planner.ended_early]
    return _SoFar(total, done, keys, _mean_seconds(rows), remarks)


def _device_hours(site: Site, seconds: float | None) -> float | None:
    """Of this many seconds of one worker; None where they are unknown, or devices are neither GPUs nor paid for."""
    if seconds is None or not (site.gpus or site.price):
        return None
    return seconds / 3600 * (site.gpus or 1)


def _mean_seconds(rows: pa.Table) -> float | None:
    """Of units that did not fail; in Python, because pyarrow imports pandas to compare with a text."""
    pairs = zip(rows.column("seconds").to_pylist(), rows.column("status").to_pylist(), strict=True)
    ran = [seconds for seconds, status in pairs if status != Status.failed.value and seconds is not None]
    return fmean(ran) if ran else None
