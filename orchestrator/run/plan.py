"""The units of a plan, and how the rows of a ledger fit it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from landsweep.orchestrator.errors import SpecError, UsageError
from landsweep.orchestrator.kind import Ganged, SweepKind
from landsweep.orchestrator.planner import Planner, check_total
from landsweep.orchestrator.row import reported
from landsweep.orchestrator.spec import Spec
from landsweep.orchestrator.storage.ledger import Ledger
from landsweep.orchestrator.unit import Unit

__all__ = ["asked", "check_sizes", "planned", "resumed", "strays", "wanted_files"]

_ASKED = 4096  # units at once
_TO_KEEP = ". To take them over, say which value of the new axis they had, as its `default`"


def planned(kind: SweepKind[Any], spec: Spec) -> Iterator[Unit]:
    """The units that the planner proposes before it is told any row: of an adaptive one, only the first."""
    yield from asked(kind.planner(spec))


def asked(planner: Planner) -> Iterator[Unit]:
    """All units that a planner proposes as long as it is told nothing new.

    Raises:
        SpecError: they are more than a driver can hold the keys of; a plan may come from anybody.
    """
    check_total(planner.total)
    while units := planner.ask(_ASKED):
        yield from units


def check_sizes(kind: SweepKind[Any], spec: Spec, folder: Path, capacity: int | None) -> None:
    """Refuse units that take more devices than there are.

    Args:
        kind: of the spec.
        spec: whose planned units are looked at.
        folder: what relative paths in the spec are relative to.
        capacity: devices in all; None: not known yet.

    Raises:
        SpecError: names the largest unit, and what would fit.
    """
    devices = kind.devices(spec, folder) if isinstance(kind, Ganged) else None
    if devices is None or capacity is None:
        return
    sizes = [(devices(unit), unit) for unit in planned(kind, spec)]
    large = [(size, unit) for size, unit in sizes if size > capacity]
    if large:
        most, unit = max(large, key=lambda pair: pair[0])
        raise SpecError(
            f"devices: {len(large):,} of {len(sizes):,} units take more devices than the {capacity} that there are, "
            f"{dict(unit.params)} takes {most}. Give site.workers={most} or more, or let models take at most what "
            f"fits: devices.most={capacity}"
        )


def resumed(planner: Planner, ledger: Ledger) -> Planner:
    """The planner, after it was told all that the ledger holds."""
    if planner.prunes:
        planner.report(reported(ledger.series()))
    if planner.adaptive:
        for row in ledger.rows().to_pylist():
            planner.tell(row)
        if units := planner.ask(0):
            raise UsageError(
                f"the planner {type(planner).__name__} gave {len(units)} units when it was asked for none: they "
                "would be lost; `ask(limit)` must give at most `limit` units"
            )
    return planner


def wanted_files(kind: SweepKind[Any], spec: Spec) -> list[str]:
    """Names of the prepared files that rows of a sweep belong to: all but those that only time packs."""
    return [step.file for step in kind.preparations(spec) if not step.pack]


def strays(manifest: Mapping[str, Any], kind: SweepKind[Any], spec: Spec, rows: int, planned: int) -> list[str]:
    """What a user should know before a plan goes on whose rows were made by another one: a line each.

    Args:
        manifest: of the sweep, as the last run left it.
        kind: of the spec.
        spec: what is to be computed now.
        rows: how many there are.
        planned: how many of them belong to units of this plan.
    """
    lines = []
    if rows > planned:
        old, new = manifest["spec"].get("axes") or {}, spec.model_dump(mode="json").get("axes") or {}
        gone, added = [f"{n!r}" for n in old if n not in new], [f"{n!r}" for n in new if n not in old]
        why = [f"the axis {', '.join(names)} is {word}" for names, word in ((added, "new"), (gone, "gone")) if names]
        lines.append(
            f"{rows - planned:,} of {rows:,} rows belong to no unit of this plan"
            + (f" ({'; '.join(why)})" if why else "")
            + ": they stay, but reports leave them out. To keep the two apart, give this spec another folder with --out"
            + (_TO_KEEP if added and spec.takes_defaults else "")
        )
    if rows and (changed := _changed_columns(manifest, kind, spec)):
        lines.append(changed)
    return lines


def _changed_columns(manifest: Mapping[str, Any], kind: SweepKind[Any], spec: Spec) -> str:
    """Declared columns that existing rows, or rows to come, lack."""
    try:
        before = kind.columns(kind.parse(manifest["spec"], "sweep.json"))
    except SpecError:  # of a version whose specs this one can't read
        return ""
    now = kind.columns(spec)
    if before is None or now is None:
        return ""
    old, new = ([c.name for c in columns] for columns in (before, now))
    gone, added = [n for n in old if n not in new], [n for n in new if n not in old]
    parts = [f"{', '.join(gone)} in new rows"] if gone else []
    parts += [f"{', '.join(added)} in those that are there"] if added else []
    renamed = " A column that only has a new name is split so; `rerun` and --out avoid that." if gone and added else ""
    return f"columns have changed, so these are null: {'; '.join(parts)}.{renamed}" if parts else ""
