"""Commands on a spec in stages, and on the folder of its results: run, plan, status and report take all stages."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from landsweep.orchestrator.commands.display import state, state_text
from landsweep.orchestrator.console import err, out
from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.kind import Workbench
from landsweep.orchestrator.redaction import command_line
from landsweep.orchestrator.run.stage_list import read_stage_list, write_stage_list
from landsweep.orchestrator.run.sweep import ledger_at, open_sweep
from landsweep.orchestrator.site import EndWhen, Site
from landsweep.orchestrator.storage.inside import folder_in, refuse_link, write_in
from landsweep.orchestrator.storage.ledger import Ledger, Store
from landsweep.orchestrator.storage.store import views
from landsweep.orchestrator.text import one_line

if TYPE_CHECKING:
    from landsweep.orchestrator.report.parts import Report
    from landsweep.orchestrator.run.stages import Stages

__all__ = ["folders_of_stages", "plan_stages", "report_stages", "run_stages", "stages_at", "states_text"]


def run_stages(stages: Stages, site: Site, root: str, *, as_json: bool = False) -> int:
    """Run one stage after another, each as a sweep of its own; gives the exit code.

    Units that failed do not keep later stages from running: they take the models that are there.

    Args:
        stages: to run; all of them are checked before the first begins.
        site: where.
        root: folder that the stages' results folders lie in, a path or URL.
        as_json: also print where each stage stands at the end, as JSON.

    Returns:
        0, or 1 where units failed or a report could not be made, or 3: stopped.

    Raises:
        Untrusted: the folder of a stage is a link.
    """
    stages.check(root)
    if site.end_when != EndWhen():
        raise SpecError("site.end_when ends one sweep; of stages, the next would begin with models that are missing")
    names = [stage.name for stage in stages.stages]
    _refuse_links(Store.at(root), names)
    write_stage_list(Store.at(root), stages.name, stages.description, names)
    code = _run_all(stages, site, root)
    if as_json:
        states_text(root, stages_at(root) or {}, as_json=True)
    return code


def _run_all(stages: Stages, site: Site, root: str) -> int:
    """The exit code of the stage that was stopped, or the highest."""
    from landsweep.orchestrator.commands.drive import drive, stop_on_signals
    from landsweep.orchestrator.run.stages import results_of

    stop = stop_on_signals()
    code, reports = 0, dict[str, "Report | None"]()
    for i, stage in enumerate(stages.stages, 1):
        if stop.is_set():
            err.print(f"stopped before the stage {stage.name}; go on with: landsweep {shlex.join(command_line())}")
            return 3
        err.print(f"stage {i} of {len(stages.stages)}: {stage.name}")
        kind, spec = stages.sweep(stage, root)
        ended, report = drive(kind, spec, site, results_of(root, stage.name), stage.folder, stop=stop)
        if ended == 3:
            return ended
        code, reports[stage.name] = max(code, ended), report
    err.print(f"all stages: {_write_page(root, reports)}")
    return code


def plan_stages(stages: Stages, site: Site, root: str, *, calibrate: bool, as_json: bool) -> None:
    """Print the forecast of each stage; of one that takes models of stages with units to run, which they are."""
    from landsweep.orchestrator.commands.forecast import forecast
    from landsweep.orchestrator.run.stages import results_of

    stages.check(root)
    fields: dict[str, Any] = {}
    unfinished: set[str] = set()
    for i, stage in enumerate(stages.stages, 1):
        line = f"stage {i} of {len(stages.stages)}: {stage.name}"
        if waits := [name for name in dict.fromkeys(stage.mentions.values()) if name in unfinished]:
            fields[stage.name] = {"waits_for": waits}
            unfinished.add(stage.name)
            text = f"takes models of {', '.join(waits)}, which must run first: its units are known then"
        else:
            kind, spec = stages.sweep(stage, root)
            where = results_of(root, stage.name)
            bench = Workbench("cuda:0" if site.gpus else "cpu", max(1, int(site.cpus)), stage.folder)
            expected = forecast(kind, spec, site, where, bench if calibrate else None)
            fields[stage.name], text = expected.fields(), expected.text()
            if expected.to_run or (expected.to_run is None and not _ended(where)):
                unfinished.add(stage.name)
        if not as_json:
            out.print(f"{line}\n{text}\n" if i < len(stages.stages) else f"{line}\n{text}")
    if as_json:
        out.print_json(data={"name": stages.name, "stages": fields})


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


def folders_of_stages(folders: list[str]) -> list[str]:
    """The same folders, with those of stages that have begun in place of a folder of stages."""
    return [place for folder in folders for place in _begun(folder)]


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
    return _write_page(where, reports)


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


def _begun(folder: str) -> Iterator[str]:
    staged = stages_at(folder)
    if staged is None:
        yield folder
        return
    yield from (place for place in staged.values() if Ledger.exists(Store.at(place)))


def _write_page(root: str, reports: Mapping[str, Report | None]) -> Path:
    """The page of all stages: what each has found, and where its own page is."""
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
