"""Sweeps from Python: plan them and run them. For notebooks and scripts.

    from landsweep import load, plan, run

    sweep = run("spec.yaml", "axes.x.linear=[-1, 1, 101]", site="local")
    sweep.rows.groupby("x").loss.mean()

What can be done here is what the command line does, with the same files: either may go on with what the other began.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from datetime import date
from operator import attrgetter
from pathlib import Path, PurePath
from typing import Any

from landsweep.orchestrator.assignments import override, split_changes
from landsweep.orchestrator.commands.display import LinesWatch, live_watch, span
from landsweep.orchestrator.commands.follow import Follower
from landsweep.orchestrator.commands.forecast import Forecast, bench_here, forecast
from landsweep.orchestrator.commands.publish import publish
from landsweep.orchestrator.commands.stages import begun_stages, write_page
from landsweep.orchestrator.commands.stages import run_stages as in_order
from landsweep.orchestrator.commands.tracked import check_tracking
from landsweep.orchestrator.console import err
from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.kind import SweepKind
from landsweep.orchestrator.report.parts import Report
from landsweep.orchestrator.run.progress import Snapshot, Watch
from landsweep.orchestrator.run.stages import read_stages, stages_from
from landsweep.orchestrator.run.start import run_sweep
from landsweep.orchestrator.run.sweep import Sweep, load_spec, spec_from
from landsweep.orchestrator.site import Site, load_site, parse_site
from landsweep.orchestrator.spec import Spec
from landsweep.orchestrator.spec_files import spec_folder, spec_path
from landsweep.orchestrator.trust import user_code
from landsweep.results import Results

__all__ = ["CellWatch", "plan", "run", "run_stages"]

_STOPPED = 3  # exit code of a run that was stopped and can go on
_SHOW_SECONDS = 0.5  # between two changes of the line below a cell


def run(
    spec: str | Path | Mapping[str, Any],
    *changes: str,
    site: str | Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    report: bool = True,
) -> Results:
    """Run a sweep until every unit of its plan has a row; resume it where it was stopped, extend it where it has grown.

    Interrupting the kernel (Ctrl-C) stops the sweep and keeps all rows; the same call goes on.

    Args:
        spec: path of a YAML file, name of a shipped spec, or the fields of a spec, which need a `name`. A function may
            be given as itself if it is in a module that workers can import.
        changes: `field=value`, as on the command line; `site.field=value` changes the site.
        site: where to run: path of a site file, name of an installed one, or its fields; by default a Ray of our own on
            this machine. For small sweeps "local" is quicker.
        out: results folder, a path or URL; by default `results/NAME`.
        report: write the report and show the sweep in the tracking store at its end.

    Returns:
        What is known of the sweep. Units that failed raise nothing: they have rows with the status `failed`.

    Raises:
        UsageError: spec, site or results folder can't be used; nothing was started.
        PreparationFailed: what units share could not be computed.
        StopSweep: results could not be written, or no worker can come.
    """
    user_code()
    kind, parsed, at, folder = _read(spec, changes, site)
    where = str(out or f"results/{parsed.name}")
    _refuse_launcher(at)
    with _stop_on_interrupt() as stop:
        _run(kind, parsed, at, where, folder, stop, report=report)
    return Results(where)


def run_stages(
    spec: str | Path | Mapping[str, Any],
    *changes: str,
    site: str | Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    report: bool = True,
) -> dict[str, Results]:
    """Run a spec in stages, one sweep after another; resume it where it was stopped, extend it where it has grown.

    The arguments are those of `run`. Changes begin with the name of a stage, `train.seeds.range=5`, or with `site.`;
    `out` is the folder that the stages' results folders lie in.

    Returns:
        What is known of each stage, by its name, in order. After a stop, of those that have begun.

    Raises:
        UsageError: spec, site or results folder can't be used; where it can be seen before, nothing was started.
        PreparationFailed: what the units of a stage share could not be computed.
        StopSweep: results could not be written, or no worker can come.
    """
    user_code()
    spec_changes, at = _site(changes, site)
    _refuse_launcher(at)
    if isinstance(spec, Mapping):
        stages = stages_from(_named(spec), spec_changes, "spec", Path.cwd())
    else:
        stages = read_stages(spec_path(spec), spec_changes)
    if stages is None:
        raise SpecError("this is the spec of one sweep, which `run` takes; a spec in stages has the field `stages`")
    root = str(out or f"results/{stages.name}")
    with _stop_on_interrupt() as stop:

        def go(kind: SweepKind[Any], parsed: Spec, where: str, folder: Path) -> tuple[int, Report | None]:
            return _run(kind, parsed, at, where, folder, stop, report=report)

        code, reports = in_order(stages, at, root, go, stop)
    if report and code != _STOPPED:
        write_page(root, reports)
    return {stage: Results(where) for stage, where in (begun_stages(root) or {}).items()}


def plan(
    spec: str | Path | Mapping[str, Any],
    *changes: str,
    site: str | Mapping[str, Any] | None = None,
    out: str | Path | None = None,
) -> Forecast:
    """What a run would do: units in all, done and to run, and a forecast of time, files and bytes; nothing is written.

    The arguments and errors are those of `run`. `print(plan(...))` shows it in words.
    """
    user_code()
    kind, parsed, at, folder = _read(spec, changes, site)
    return forecast(kind, parsed, at, str(out or f"results/{parsed.name}"), bench_here(at, folder))


def _run(
    kind: SweepKind[Any], spec: Spec, at: Site, where: str, folder: Path, stop: threading.Event, *, report: bool
) -> tuple[int, Report | None]:
    """Run a sweep, show its progress, and publish its end if a report is wanted; gives exit code and report."""
    if report:
        check_tracking(at, where)
    else:
        at = at.model_copy(update={"tracking": False})
    with _watch() as bar, Follower(bar, at, where, own=True) as watch:
        end = run_sweep(kind, spec, at, where, folder=folder, watch=watch, stop=stop)
        watch.end(end.phase)
    if end.phase == "stopped":
        return _STOPPED, None
    return 0, publish(lambda: Sweep.at(where), where, at, bar.say) if report else None


def _refuse_launcher(at: Site) -> None:
    if at.launcher is not None:
        raise SpecError("this site is for `landsweep submit`: `run` computes on this machine, so give another")


def _read(
    spec: str | Path | Mapping[str, Any], changes: tuple[str, ...], site: str | Mapping[str, Any] | None
) -> tuple[SweepKind[Any], Spec, Site, Path]:
    """Kind, spec, site, and the folder that paths in the spec are relative to."""
    spec_changes, at = _site(changes, site)
    if isinstance(spec, Mapping):
        kind, parsed = spec_from(_named(spec), spec_changes, "spec", Path.cwd())
        return kind, parsed, at, Path.cwd()
    path = spec_path(spec)
    kind, parsed = load_spec(path, spec_changes)
    return kind, parsed, at, spec_folder(path)


def _site(changes: tuple[str, ...], site: str | Mapping[str, Any] | None) -> tuple[list[str], Site]:
    """The changes of a spec, and the site with its own."""
    spec_changes, site_changes = split_changes(list(changes))
    if isinstance(site, Mapping):
        return spec_changes, parse_site(override(site, site_changes), "site")
    return spec_changes, load_site(site, site_changes)


def _named(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a spec that was built in Python, as a spec file has them."""
    if not spec.get("name"):
        raise SpecError("name: missing; a spec built in Python needs one, because it names the results folder")
    fields: dict[str, Any] = _written(spec)
    return fields


def _written(value: Any, field: str = "") -> Any:  # noqa: ANN401 - nested data
    """Nested data as a spec file has it: `package.module:function` for functions, numbers and lists for NumPy's.

    Raises:
        SpecError: a function can't be imported by its name, as workers do; or something that no file can hold.
    """
    if isinstance(value, Mapping):
        return {k: _written(v, f"{field}.{k}" if field else str(k)) for k, v in value.items()}
    if hasattr(value, "tolist"):  # arrays and numbers of NumPy
        return _written(value.tolist(), field)
    if isinstance(value, list | tuple | range):
        return [_written(v, field) for v in value]
    if isinstance(value, str | int | float | date | PurePath | None):
        return str(value) if isinstance(value, PurePath) else value
    if not callable(value):
        raise SpecError(f"{field}: {value!r} ({type(value).__name__}); give numbers, texts, lists and mappings of them")
    return _name_of(value, field)


def _name_of(function: Any, field: str) -> str:  # noqa: ANN401
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", "")
    if module in (None, "__main__") or "<" in name or not name:
        raise SpecError(
            f"{field}: {name or repr(function)} is defined in this notebook or inside another function, and workers "
            "import what they run: write it into a file, such as mine.py, and give mine:NAME, or import it from there"
        )
    with suppress(AttributeError):
        if attrgetter(name)(sys.modules.get(module)) == function:
            return f"{module}:{name}"
    raise SpecError(
        f"{field}: {module}:{name}, which workers would run, is not the function that was given. Give a function of a "
        "module, by the name that it has there; no method of an object"
    )


@contextmanager
def _stop_on_interrupt() -> Iterator[threading.Event]:
    """Set by Ctrl-C, or by interrupting the kernel; a second one raises `KeyboardInterrupt` as ever."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = signal.getsignal(signal.SIGINT)

    def handle(number: int, frame: object) -> None:
        del number, frame
        stop.set()
        signal.signal(signal.SIGINT, before)
        err.print("stopping: rows that have come are being written (again to end at once)")

    signal.signal(signal.SIGINT, handle)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


def _watch() -> AbstractContextManager[Watch]:
    """Progress below the cell of a notebook, as a bar on a terminal, or as lines."""
    ipython = sys.modules.get("IPython")  # a notebook has imported it
    shell = None if ipython is None else ipython.get_ipython()
    if hasattr(shell, "kernel"):
        return nullcontext(CellWatch(sys.modules["IPython.display"].display))
    return live_watch(err) if err.is_terminal else LinesWatch(err)


class CellWatch:
    """Progress as one line below a cell.

    Args:
        display: IPython's function of this name.
    """

    def __init__(self, display: Callable[..., Any]) -> None:
        self._display = display
        self._shown: Any = None
        self._last = 0.0

    def say(self, text: str) -> None:
        """Print it."""
        print(text)  # noqa: T201 - the output of a cell

    def show(self, snapshot: Snapshot) -> None:
        """Change the line, twice a second at most, and at the end."""
        now = time.monotonic()
        ended = snapshot.phase in ("done", "stopped")
        if now - self._last < _SHOW_SECONDS and not ended:
            return
        self._last = now
        total = "?" if snapshot.total is None else f"{snapshot.total:,}"
        bad = "".join(f", {n:,} {s}" for s, n in sorted(snapshot.counts.items()) if s != "ok" and n)
        left = "" if ended or snapshot.eta is None else f", {span(snapshot.eta)} left"
        text = f"{snapshot.phase}: {snapshot.done:,} of {total} units{bad}, {span(snapshot.seconds)}{left}"
        line = {"text/plain": f"{text} {snapshot.note}".rstrip()}
        if self._shown is None:
            self._shown = self._display(line, raw=True, display_id=True)
        else:
            self._shown.update(line, raw=True)
