"""Sweeps from Python: plan them, run them, and read what they have computed. For notebooks and scripts.

    from landsweep import load, plan, run

    sweep = run("spec.yaml", "axes.x.linear=[-1, 1, 101]", site="local")
    sweep.rows.groupby("x").loss.mean()

What can be done here is what the command line does, with the same files: either may go on with what the other began.
"""

from __future__ import annotations

import io
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from datetime import date
from functools import cached_property
from operator import attrgetter
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from landsweep.orchestrator.assignments import override, split_changes
from landsweep.orchestrator.commands.display import LinesWatch, live_watch, span, state, state_text
from landsweep.orchestrator.commands.follow import Follower
from landsweep.orchestrator.commands.forecast import Forecast, forecast
from landsweep.orchestrator.commands.publish import publish, report_of
from landsweep.orchestrator.commands.tracked import check_tracking
from landsweep.orchestrator.console import err
from landsweep.orchestrator.errors import SpecError, UsageError
from landsweep.orchestrator.kind import SweepKind, Workbench
from landsweep.orchestrator.report.parts import Figure, Report, Table
from landsweep.orchestrator.run.progress import Snapshot, Watch
from landsweep.orchestrator.run.start import run_sweep
from landsweep.orchestrator.run.sweep import Sweep, load_spec, spec_from
from landsweep.orchestrator.site import Site, load_site, parse_site
from landsweep.orchestrator.spec import Spec
from landsweep.orchestrator.spec_files import spec_folder, spec_path
from landsweep.orchestrator.storage.ledger import load_prepared
from landsweep.orchestrator.storage.store import is_url
from landsweep.orchestrator.trust import reading, user_code

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa

    from landsweep.sweeps.lab.trained_models.reader import Zoo

__all__ = ["CellWatch", "Picture", "Results", "load", "plan", "run"]

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
    if at.launcher is not None:
        raise SpecError("this site is for `landsweep submit`: `run` computes on this machine, so give another")
    if report:
        check_tracking(at, where)
    else:
        at = at.model_copy(update={"tracking": False})
    with _stop_on_interrupt() as stop, _watch() as bar, Follower(bar, at, where, own=True) as watch:
        end = run_sweep(kind, parsed, at, where, folder=folder, watch=watch, stop=stop)
        watch.end(end.phase)
    if report and end.phase != "stopped":
        publish(lambda: Sweep.at(where), where, at, bar.say)
    return Results(where)


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
    bench = Workbench("cuda:0" if at.gpus else "cpu", max(1, int(at.cpus)), folder)
    return forecast(kind, parsed, at, str(out or f"results/{parsed.name}"), bench)


def load(where: str | Path, *, trust: bool = False) -> Results:
    """What is known of a sweep, finished or running.

    Args:
        where: its results folder, a path or URL.
        trust: code that the sweep names may run; that of a sweep of your own may anyway.

    Raises:
        SpecError: there is no sweep.
    """
    return Results(str(where), trust=trust)


class Results:
    """A sweep's results. What was read is kept; `reload()` looks again, such as at a sweep that runs.

    Attributes:
        where: its results folder, a path or URL.
    """

    def __init__(self, where: str, *, trust: bool = False) -> None:
        self.where = where
        self._trust = trust
        self._sweep = Sweep.at(where, trust=trust)

    def reload(self) -> Results:
        """The same sweep as it is now."""
        return Results(self.where, trust=self._trust)

    @property
    def name(self) -> str:
        """Its name."""
        return str(self._sweep.manifest["name"])

    @property
    def kind(self) -> str:
        """Name of its kind."""
        return self._sweep.kind.name

    @property
    def spec(self) -> dict[str, Any]:
        """Its spec, with all defaults."""
        return self._sweep.spec.model_dump(mode="json")

    @property
    def status(self) -> dict[str, Any]:
        """Where it stands now: `running`, `phase`, `done`, `total`, `counts` by status, and more."""
        return state(self._sweep.ledger)

    @cached_property
    def rows(self) -> pd.DataFrame:
        """One line per unit of the plan that has ended: key, status, params, metrics, meters."""
        return self._sweep.rows()

    @cached_property
    def arrow(self) -> pa.Table:
        """The same rows as an Arrow table, of the types in which they are stored."""
        return self._sweep.table()

    @cached_property
    def series(self) -> pd.DataFrame:
        """What units gave step by step: key, step, metric, value."""
        return self._sweep.series()

    def curve(self, metric: str) -> pd.DataFrame:
        """One metric of the series beside the units' params (NAME_param if named like it): a line per unit and step.

        Raises:
            UsageError: the series have no such metric.
        """
        known = sorted(self.series["metric"].unique())
        if metric not in known:
            raise UsageError(f"{self.where} has no series of {metric!r}; there are {', '.join(known) or 'none'}")
        params = [c.name for c in self._sweep.kind.params(self._sweep.spec)]
        chosen = self.series[self.series["metric"] == metric].rename(columns={"value": metric})
        settings = self.rows[["key", *params]].rename(columns={n: f"{n}_param" for n in (metric, "step")})
        return settings.merge(chosen.drop(columns="metric"), on="key")

    @cached_property
    def prepared(self) -> dict[str, Mapping[str, np.ndarray[Any, Any]]]:
        """What the units share, by name: trained weights, directions. What is not computed yet is left out."""
        with self._reading():
            files = {p.name: p.file for p in self._sweep.kind.preparations(self._sweep.spec)}
        arrays = {name: load_prepared(self._sweep.ledger.store, file) for name, file in files.items()}
        return {name: a for name, a in arrays.items() if a is not None}

    @cached_property
    def models(self) -> Zoo:
        """The networks that the sweep has trained and kept.

        Raises:
            UsageError: it has trained none.
        """
        from landsweep.sweeps.lab.trained_models.reader import Zoo

        return Zoo(self.where, trust=self._trust)

    @cached_property
    def report(self) -> Report:
        """The kind's report: sections with text, tables and figures, and the numbers that sum the sweep up."""
        with self._reading():
            return report_of(self._sweep.kind, self._sweep.spec, self.rows, self.series)

    @property
    def summary(self) -> dict[str, float]:
        """The few numbers that sum the sweep up."""
        return dict(self.report.summary)

    @property
    def figures(self) -> dict[str, Picture]:
        """The figures of the report, by name; a notebook shows them."""
        parts = [part for section in self.report.sections for part in section.parts]
        return {part.name: Picture(part) for part in parts if isinstance(part, Figure)}

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        """The tables of the report that have a name."""
        import pandas as pd

        parts = [part for section in self.report.sections for part in section.parts]
        named = [part for part in parts if isinstance(part, Table) and part.name]
        return {t.name: pd.DataFrame([list(line) for line in t.lines], columns=list(t.header)) for t in named}

    def _reading(self) -> AbstractContextManager[None]:
        return reading(self.where, trusted=self._sweep.trusted)

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        place = self.where if is_url(self.where) else str(Path(self.where))
        return f"<{state_text(self.status)} in {place}>"


class Picture:
    """A figure of a report, which a notebook shows.

    Attributes:
        name: of its file.
        caption: what is seen.
        figure: as matplotlib or Plotly has it.
    """

    def __init__(self, part: Figure) -> None:
        self.name, self.caption = part.name, part.caption
        self.figure = part.picture if part.picture is not None else part.interactive
        self._drawn = part.picture is not None

    def save(self, path: str | Path) -> None:
        """Write it as a file of the type that the name ends in: png, pdf, svg; html for an interactive one."""
        if self._drawn:
            self.figure.savefig(path, bbox_inches="tight")
        else:
            self.figure.write_html(path)

    def _repr_mimebundle_(self, **wanted: object) -> dict[str, object]:
        del wanted
        if not self._drawn:
            bundle: dict[str, object] = self.figure._repr_mimebundle_()
            return bundle
        picture = io.BytesIO()
        self.figure.savefig(picture, format="png", bbox_inches="tight")
        return {"image/png": picture.getvalue(), "text/plain": f"{self.name}: {self.caption}"}


def _read(
    spec: str | Path | Mapping[str, Any], changes: tuple[str, ...], site: str | Mapping[str, Any] | None
) -> tuple[SweepKind[Any], Spec, Site, Path]:
    """Kind, spec, site, and the folder that paths in the spec are relative to."""
    spec_changes, site_changes = split_changes(list(changes))
    if isinstance(site, Mapping):
        at = parse_site(override(site, site_changes), "site")
    else:
        at = load_site(site, site_changes)
    if isinstance(spec, Mapping):
        if not spec.get("name"):
            raise SpecError("name: missing; a spec built in Python needs one, because it names the results folder")
        kind, parsed = spec_from(_written(spec), spec_changes, "spec", Path.cwd())
        return kind, parsed, at, Path.cwd()
    path = spec_path(spec)
    kind, parsed = load_spec(path, spec_changes)
    return kind, parsed, at, spec_folder(path)


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
