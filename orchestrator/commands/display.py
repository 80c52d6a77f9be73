"""What the command line shows: progress while a run goes, and states, findings and kinds as text."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from typing import Any, Self

import yaml
from pydantic import TypeAdapter
from rich.progress import BarColumn, Progress, TextColumn

from landsweep.orchestrator.console import Console
from landsweep.orchestrator.kind import SweepKind
from landsweep.orchestrator.reading import write_yaml
from landsweep.orchestrator.report.columns_text import columns_text
from landsweep.orchestrator.report.parts import Table
from landsweep.orchestrator.report.values import number
from landsweep.orchestrator.run.manifest import read_manifest
from landsweep.orchestrator.run.progress import Snapshot
from landsweep.orchestrator.spec import IsAxis, IsLabel
from landsweep.orchestrator.storage.ledger import FACTS, Findings, Ledger, driver_lives, read_status
from landsweep.orchestrator.text import one_line

__all__ = [
    "LinesWatch",
    "LiveWatch",
    "findings_text",
    "kind_text",
    "live_watch",
    "mending",
    "span",
    "state",
    "state_text",
    "table_text",
]

_LINE_SECONDS = 10.0
_SILENCE_SECONDS = 30.0  # a driver on another machine that says nothing for this long counts as gone


def span(seconds: float | None) -> str:
    """A duration for people: `42 s`, `3 min 05 s`, `2 h 10 min`.

    Example:
        >>> span(185), span(7800), span(None)
        ('3 min 05 s', '2 h 10 min', 'unknown')
    """
    if seconds is None:
        return "unknown"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _numbers(s: Snapshot) -> str:
    bad = ", ".join(f"{s.counts[k]:,} {k}" for k in ("diverged", "pruned", "failed") if s.counts.get(k))
    parts = [f"{s.rate:,.1f} units/s", _workers(s.workers)]
    if s.eta is not None:
        parts.append(f"{span(s.eta)} left")
    return ", ".join([*parts, *([bad] if bad else [])])


def _workers(count: int) -> str:
    return "1 worker" if count == 1 else f"{count:,} workers"


class LinesWatch:
    """Progress as a line now and then: for log files."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last = -_LINE_SECONDS
        self._phase = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def say(self, text: str) -> None:
        """Print it."""
        self._console.print(text)

    def show(self, snapshot: Snapshot) -> None:
        """Print a line every ten seconds, and when the phase changes; whoever ran the sweep reports its end."""
        if snapshot.phase in ("done", "stopped"):
            return
        now = time.monotonic()
        if now - self._last < _LINE_SECONDS and snapshot.phase == self._phase:
            return
        self._last, self._phase = now, snapshot.phase
        total = "?" if snapshot.total is None else f"{snapshot.total:,}"
        line = f"{snapshot.phase}: {snapshot.done:,}/{total} units"
        self.say(", ".join(filter(None, [line, _numbers(snapshot) if snapshot.phase == "running" else snapshot.note])))


class LiveWatch:
    """Progress as a bar on a terminal."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("starting", total=None, numbers="")

    def say(self, text: str) -> None:
        """Print it above the bar."""
        self._progress.console.print(text)

    def show(self, snapshot: Snapshot) -> None:
        """Move the bar."""
        running = snapshot.phase in ("running", "done", "stopped")
        counts = f"{snapshot.done:,}/{snapshot.total or 0:,}  {_numbers(snapshot)}"
        self._progress.update(
            self._task,
            description=one_line(snapshot.phase),
            completed=snapshot.done,
            total=snapshot.total,
            numbers=counts if running else one_line(snapshot.note),
        )


@contextmanager
def live_watch(console: Console) -> Iterator[LiveWatch]:
    """A progress bar with rate, time left and failures for the duration of a run."""
    columns = (
        TextColumn("{task.description:>9}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[numbers]}", markup=False),
    )
    with Progress(*columns, console=console, refresh_per_second=5) as progress:
        yield LiveWatch(progress)


def state(ledger: Ledger) -> dict[str, Any]:
    """Where a sweep stands, with stable fields.

    `running` says whether a driver works on it: by its process on this machine, by the age of its last word elsewhere.
    """
    status = read_status(ledger.store) or {}
    age = time.time() - status.get("updated", 0.0)
    lives = driver_lives(ledger.store)
    running = age < _SILENCE_SECONDS if lives is None else lives
    manifest = read_manifest(ledger.sweep, f"{ledger.store.where}/sweep.json")
    return {"name": manifest["name"], "kind": manifest["kind"], "running": running, "age": age, **status}


def state_text(now: Mapping[str, Any]) -> str:
    """The same for people."""
    sweep, note = f"{one_line(now['name'])} ({one_line(now['kind'])})", one_line(now.get("note", ""))
    if "phase" not in now:
        return f"{sweep}: {'its driver is starting' if now['running'] else 'no driver has run yet'}"
    counts = ", ".join(f"{n:,} {k}" for k, n in sorted(now["counts"].items()) if n)
    total = "?" if now["total"] is None else f"{now['total']:,}"
    line = f"{sweep}: {now['phase']}, {now['done']:,}/{total} units ({counts or 'no rows'})"
    if now["running"]:
        speed = f"{now['rate']:,.1f} units/s, {_workers(now['workers'])}, {span(now['eta'])} left"
        return f"{line}, {speed} {note}".rstrip()
    if now["phase"] not in ("done", "stopped"):
        line += f"; its driver is gone, last heard {span(now['age'])} ago. The command that began it resumes it"
    if now.get("ended_early"):
        line += f"; ended early: {one_line(now['ended_early'])}"
    return line


def findings_text(findings: Findings, folder: str) -> str:
    """What `verify` found, and what to do about it."""
    by_status = ", ".join(f"{n:,} {s}" for s, n in sorted(findings.by_status.items()))
    lines = [f"{folder}: {findings.rows:,} rows ({by_status or 'none'})"]
    for what in (field.name for field in fields(findings)):
        items = getattr(findings, what)
        if isinstance(items, list | tuple) and items:
            lines.append(f"  {what.replace('_', ' ')}: {len(items):,}, such as {one_line(items[0])}")
    if findings.missing:
        lines.append(f"{len(findings.missing):,} units of the plan have no row yet: run the sweep's command again")
    lines.append(_verdict(findings, folder))
    return "\n".join(lines)


def _verdict(findings: Findings, folder: str) -> str:
    """What was proved, and no more; or what to do."""
    if not findings.sound:
        advice = "not sound, see above"
        if _facts_changed(findings):
            advice += f". No command can restore {FACTS}: put back a copy of it, or undo what was changed"
        if (command := mending(findings, folder)) is not None:
            advice += f". To set aside what is damaged and compute it again:\n  {command}"
        return advice
    text = "sound: no unit has two rows; rows, series and prepared arrays are what was written"
    text += f"; so is {FACTS}" if findings.facts_proved else f"; {FACTS}, of an earlier version, carries no checksum"
    if findings.files:
        how = "every byte compared" if findings.deep else "neither missing nor cut off (--deep compares every byte)"
        text += f"; files that rows name: {findings.files:,}, {how}"
    if findings.states:
        how = "every byte compared" if findings.deep else "none cut off (--deep compares every byte)"
        how += f", but {findings.unproved:,} of an earlier version carry no digest" if findings.unproved else ""
        text += f"; saved states: {findings.states:,}, {how}"
    return text


def mending(findings: Findings, folder: str) -> str | None:
    """The command that mends what `verify` found; None: there is nothing that a command can mend."""
    files = any(damage.path != FACTS for damage in findings.damaged)
    within = files or findings.duplicates or findings.stray_series
    return f"landsweep rerun {shlex.quote(folder)} --status damaged" if within else None


def _facts_changed(findings: Findings) -> bool:
    return any(damage.path == FACTS for damage in findings.damaged)


def kind_text(kind: SweepKind[Any]) -> str:
    """Fields of a kind's spec, then its example as YAML."""
    lines = [f"{kind.name}: {kind.summary}", "", "fields:"]
    for name, field in kind.spec.model_fields.items():
        role = "axis" if any(isinstance(m, IsAxis) for m in field.metadata) else "context"
        role = "label" if any(isinstance(m, IsLabel) for m in field.metadata) else role
        need = "required" if field.is_required() else f"default {_brief(field.get_default(call_default_factory=True))}"
        lines.append(f"  {name} ({role}, {need}): {field.description or ''}".rstrip(": "))
    spec = kind.example()
    below = (
        f"what is inside a field: landsweep kinds {kind.name} FIELD; a spec to begin with: landsweep new {kind.name}"
    )
    return "\n".join([*lines, "", below, "", "example:", *("  " + s for s in write_yaml(spec.given()).splitlines())])


def _brief(default: object) -> str:
    """A default as one would write it in a spec, cut where it is long."""
    plain = TypeAdapter(Any).dump_python(default, mode="json", exclude_defaults=True)
    text = yaml.safe_dump(plain, default_flow_style=True, width=10_000).strip().removesuffix("\n...")
    return text if len(text) <= 60 else f"{text[:57]}..."


def table_text(table: Table) -> str:
    """A table of a report as text: its caption, then its lines, indented."""
    text = columns_text(table.header, table.lines, lambda c: number(c) if isinstance(c, int | float) else str(c))
    return "\n".join([table.caption, *(f"  {line}" for line in text.splitlines())])
