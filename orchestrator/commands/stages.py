"""Commands on a spec in stages, and on the folder of its results: run, plan, status and report take all stages."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from landsweep.orchestrator.commands.display import state, state_text
from landsweep.orchestrator.console import err, out
from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.kind import SweepKind
from landsweep.orchestrator.run.stage_list import read_stage_list, write_stage_list
from landsweep.orchestrator.run.sweep import ledger_at, open_sweep
from landsweep.orchestrator.site import EndWhen, Site
from landsweep.orchestrator.spec import Spec
from landsweep.orchestrator.storage.inside import folder_in, refuse_link, write_in
from landsweep.orchestrator.storage.ledger import Ledger, Store
from landsweep.orchestrator.storage.store import views
from landsweep.orchestrator.text import one_line

if TYPE_CHECKING:
    import threading

    from landsweep.orchestrator.commands.forecast import Forecast
    from landsweep.orchestrator.report.parts import Report
    from landsweep.orchestrator.run.stages import Stages

__all__ = [
    "Expected",
    "Go",
    "begun_stages",
    "check_stages",
    "drive_stages",
    "folders_of_stages",
    "forecasts",
    "plan_stages",
    "report_stages",
    "run_stages",
    "stages_at",
    "states_text",
    "write_page",
]


Go = Callable[[SweepKind[Any], Spec, str, Path], "tuple[int, Report | None]"]
"""Runs a sweep: kind, spec, results folder, and what paths in the spec are relative to; gives exit code and report."""


def drive_stages(stages: Stages, site: Site, root: str, *, command: str | None = None, as_json: bool = False) -> int:
    """Run one stage after another for somebody, as `drive` runs one sweep; gives the exit code.

    Args:
        stages: to run; all of them are checked before the first begins.
        site: where.
        root: folder that the stages' results folders lie in, a path or URL.
        command: what goes on when they were stopped, by default what was typed.
        as_json: also print where each stage stands at the end, as JSON.

    Returns:
        0, or 1 where units failed or a report could not be made, or 3: stopped.

    Raises:
        Untrusted: the folder of a stage is a link.
    """
    from landsweep.orchestrator.commands.drive import drive, stop_on_signals

    stop = stop_on_signals()

    def go(kind: SweepKind[Any], spec: Spec, where: str, folder: Path) -> tuple[int, Report | None]:
        return drive(kind, spec, site, where, folder, command=command, stop=stop)

    code, reports = run_stages(stages, site, root, go, stop)
    if code != 3:
        err.print(f"all stages: {write_page(root, reports)}")
    if as_json:
        states_text(root, stages_at(root) or {}, as_json=True)
    return code


def run_stages(
    stages: Stages, site: Site, root: str, go: Go, stop: threading.Event
) -> tuple[int, dict[str, Report | None]]:
    """Run one stage after another, each as a sweep of its own; gives the highest exit code and the reports.

    Units that failed do not keep later stages from running: they take the models that are there.

    Args:
        stages: to run; all of them are checked before the first begins.
        site: where.
        root: folder that the stages' results folders lie in, a path or URL.
        go: runs one of them. When it gives 3, the run was stopped: no other begins, and 3 is the code of all.
        stop: set when no other stage shall begin.

    Raises:
        SpecError: a stage can't be run.
        Untrusted: the folder of a stage is a link.
    """
    from landsweep.orchestrator.run.stages import results_of

    check_stages(stages, site, root)
    names = [stage.name for stage in stages.stages]
    _refuse_links(Store.at(root), names)
    if Ledger.exists(Store.at(root)):
        raise SpecError(f"{root} holds one sweep, and a folder holds stages or one sweep; give another one with --out")
    write_stage_list(Store.at(root), stages.name, stages.description, names)
    highest, reports = 0, dict[str, "Report | None"]()
    for i, stage in enumerate(stages.stages, 1):
        if stop.is_set():
            err.print(f"stopped before the stage {stage.name}; run the same again to go on")
            return 3, reports
        err.print(f"stage {i} of {len(stages.stages)}: {stage.name}")
        kind, spec = stages.sweep(stage, root)
        code, reports[stage.name] = go(kind, spec, results_of(root, stage.name), stage.folder)
        if code == 3:
            return code, reports
        highest = max(highest, code)
    return highest, reports


def check_stages(stages: Stages, site: Site, root: str) -> None:
    """Refuse what can be seen to be wrong before any work.

    Raises:
        SpecError: a spec can't be used, or the site would end a stage before its models are there.
    """
    stages.check(root)
    if site.end_when != EndWhen():
        raise SpecError("site.end_when ends one sweep; of stages, the next would begin with models that are missing")


@dataclass(frozen=True, slots=True)
class Expected:
    """What is known of a stage before it runs.

    Attributes:
        stage: its name.
        forecast: of its units; None where these are not known yet.
        waits_for: the stages with units to run whose models it takes.
    """

    stage: str
    forecast: Forecast | None
    waits_for: tuple[str, ...] = ()


def forecasts(stages: Stages, site: Site, root: str, *, calibrate: bool) -> Iterator[Expected]:
    """The forecast of each stage, in order; of one that takes models of stages with units to run, which they are.

    The arguments and errors are those of `run_stages`, and `calibrate`: time a few steps where that is needed.
    """
    from landsweep.orchestrator.commands.forecast import bench_here, forecast
    from landsweep.orchestrator.run.stages import results_of

    check_stages(stages, site, root)
    unfinished: set[str] = set()
    for stage in stages.stages:
        if waits := tuple(name for name in dict.fromkeys(stage.mentions.values()) if name in unfinished):
            unfinished.add(stage.name)
            yield Expected(stage.name, None, waits)
            continue
        kind, spec = stages.sweep(stage, root)
        where = results_of(root, stage.name)
        bench = bench_here(site, stage.folder)
        expected = forecast(kind, spec, site, where, bench if calibrate else None)
        if expected.to_run or (expected.to_run is None and not _ended(where)):
            unfinished.add(stage.name)
        yield Expected(stage.name, expected)


def plan_stages(stages: Stages, site: Site, root: str, *, calibrate: bool, as_json: bool) -> None:
    """Print the forecast of each stage."""
    fields: dict[str, Any] = {}
    lines: list[str] = []
    for i, expected in enumerate(forecasts(stages, site, root, calibrate=calibrate), 1):
        if expected.forecast is None:
            waits = list(expected.waits_for)
            fields[expected.stage] = {"waits_for": waits}
            text = f"takes models of {', '.join(waits)}, which must run first: its units are known then"
        else:
            fields[expected.stage], text = expected.forecast.fields(), expected.forecast.text()
        lines.append(f"stage {i} of {len(stages.stages)}: {expected.stage}\n{text}")
    if as_json:
        out.print_json(data={"name": stages.name, "stages": fields})
    else:
        out.print("\n\n".join(lines))


def stages_at(where: str) -> Mapping[str, str] | None:
    """The results folders of the stages in a folder, by their names, in order; None where it holds no stages.

    Raises:
        Untrusted: one of them is a link.
    """
    store = Store.at(where)
    if store.path is not None and not store.path.is_dir():
        return None
    if (listed := read_stage_list(store)) is None:
        return None
    _refuse_links(store, listed["stages"])
    return {name: f"{where.rstrip('/')}/{name}" for name in listed["stages"]}


def begun_stages(where: str) -> Mapping[str, str] | None:
    """The same of those stages only that have begun."""
    stages = stages_at(where)
    return stages and {name: place for name, place in stages.items() if Ledger.exists(Store.at(place))}


def folders_of_stages(folders: list[str]) -> list[str]:
    """The same folders, with those of stages that have begun in place of a folder of stages."""
    begun = [(folder, begun_stages(folder)) for folder in folders]
    return [place for folder, stages in begun for place in ([folder] if stages is None else stages.values())]


def states_text(where: str, folders: Mapping[str, str], *, as_json: bool) -> None:
    """Print where each stage stands."""
    states = {n: state(ledger_at(f)) if Ledger.exists(Store.at(f)) else None for n, f in folders.items()}
    if as_json:
        out.print_json(data={"where": where, "stages": states})
        return
    for name, now in states.items():
        out.print(f"{name}: {'not begun' if now is None else state_text(now)}")


def report_stages(where: str, folders: Mapping[str, str], *, trust: bool) -> Path:
    """Write the report of each stage that has begun, and a page that leads to them; gives its path."""
    from landsweep.orchestrator.commands.publish import write_report

    reports: dict[str, Report | None] = {}
    for name, folder in folders.items():
        if Ledger.exists(Store.at(folder)):
            page, reports[name] = write_report(open_sweep(folder, trust=trust), folder)
            out.print(f"{name}: {page}")
    return write_page(where, reports)


def _refuse_links(store: Store, stages: Iterable[str]) -> None:
    """Refuse stages whose folders are links, which could lead anywhere.

    Raises:
        Untrusted: names it.
    """
    for name in stages:
        if store.path is not None:
            refuse_link(store.path, name)


def _ended(where: str) -> bool:
    """Whether a sweep's run has come to its end: of one that depends on its rows the plan does not tell."""
    return Ledger.exists(Store.at(where)) and state(ledger_at(where)).get("phase") == "done"


def write_page(root: str, reports: Mapping[str, Report | None]) -> Path:
    """Write the page of all stages: what each has found, and where its own page is; gives its path."""
    from landsweep.orchestrator.report.html import Link, Page, page_html
    from landsweep.orchestrator.report.verdicts import in_short

    listed = read_stage_list(Store.at(root)) or {"name": "", "description": "", "stages": list(reports)}
    place = views(root) / "report"
    links = []
    for name in listed["stages"]:
        folder = f"{root.rstrip('/')}/{name}"
        report = reports.get(name)
        if report is None:
            links.append(Link("", name, "it has no report yet"))
            continue
        now = state(ledger_at(folder))
        parts = [f"{now['kind']}, {now.get('done', 0):,} units.", one_line(report.answer)]
        if report.verdicts:
            parts.append(f"Claims: {in_short(report.verdicts)}.")
        text = " ".join(filter(None, parts))
        links.append(Link(os.path.relpath(views(folder) / "report/index.html", place), name, text))
    facts: dict[str, str | None] = {"results": root, "where each stage stands": f"landsweep status {shlex.quote(root)}"}
    page = Page(listed["name"], (), facts, "", "", kind="stages", intro=listed["description"], links=links)
    return write_in(folder_in(views(root), "report"), "index.html", page_html(page))
