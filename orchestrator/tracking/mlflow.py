"""MLflow as a view of the rows: one run per sweep, and below it some of its units, made from rows alone, at any time.

The only file that imports mlflow, and only inside the functions that need it, because the import costs two seconds.
Nothing is written to MLflow that is not computed from rows, spec and report, so an export can be repeated: the run is
found by the sweep's id, those of units by their keys, and what has not changed is not written again.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pandas as pd

from landsweep.orchestrator.errors import Unreachable, UsageError
from landsweep.orchestrator.redaction import redacted
from landsweep.orchestrator.report.tables import numbers
from landsweep.orchestrator.row import Status
from landsweep.orchestrator.storage.inside import no_links
from landsweep.orchestrator.tracking.contents import (
    UnitEntry,
    artifacts_digest,
    named,
    remarks,
    spec_text,
    sweep_metrics,
    sweep_params,
    sweep_tags,
)
from landsweep.orchestrator.tracking.empty_store import keep_empty, start_from_empty
from landsweep.orchestrator.tracking.store import alone, check_artifacts, check_reachable, database_of
from landsweep.orchestrator.tracking.tracker import State, Tracker, View

__all__ = ["MlflowTracker", "export"]

_SWEEP = "landsweep.sweep"
_OF, _UNIT, _STATE = "landsweep.of", "landsweep.unit", "landsweep.state"  # of the runs of units
_PAGE = 1000
_EMPTY_PAGES = 100  # in a row, of a list of runs
_BATCH, _BATCH_OF_ONE = 1000, 100  # entries of one batch in all, and params or tags of one
_ROWS = "landsweep.rows"  # of a sweep's run: where its rows lie
_PARENT, _NAME = "mlflow.parentRunId", "mlflow.runName"
_CURVE = "curve/"  # before the names of metrics that are series of a unit
_EXPERIMENT = {"mlflow.experimentKind": "custom_model_development"}  # or MLflow shows its pages for chats
_PROGRESS = "progress."  # before the names of metrics that say how far a sweep is
_STATUS = {State.running: "RUNNING", State.killed: "KILLED", State.failed: "FAILED", State.finished: "FINISHED"}
_ID = re.compile(r"[0-9a-f]{1,64}")
_CALM = {  # set unless the user has set them
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",  # with MLflow's own 7 a dead server costs minutes
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER": "false",  # a busy server may ask for an hour
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_DISABLE_AGENT_HINT": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "GIT_PYTHON_REFRESH": "quiet",  # MLflow looks for git and complains when there is none
}


def export(
    rows: pd.DataFrame,
    report_dir: Path,
    sweep: Mapping[str, Any],
    summary: Mapping[str, float],
    uri: str,
    experiment: str | None = None,
    units: Sequence[UnitEntry] = (),
    *,
    state: State | None = None,
    progress: Mapping[str, float] | None = None,
    note: str = "",
) -> str:
    """Write the sweep's run to MLflow, or bring it up to date.

    Args:
        rows: of the sweep.
        report_dir: the folder `report` inside the sweep's folder; its page and pictures become artifacts.
        sweep: entries of `sweep.json`, and, if known, `params`, the columns of the units' params, and `where`, the
            results folder or its URL, and `trusted`, whether a run of the same sweep that was made from another
            folder may be written over.
        summary: name to number, as the kind's report gives it.
        uri: of the store.
        experiment: its name in MLflow; by default `landsweep-<kind>`.
        units: those that get a run of their own below the sweep's; runs of others, from an earlier export, are deleted.
        state: where the sweep stands; None: it has ended, and the rows say how. While it runs there is no report.
        progress: how far it is, name to number.
        note: the same in one line.

    Returns:
        The run's id.

    Raises:
        UsageError: the sweep's id is none, or its run there shows another folder.
        Untrusted: a file of the store is a link, or a store beside the sweep would have the report written elsewhere.
        Exception: whatever MLflow raises.
    """
    if _ID.fullmatch(str(sweep["id"])) is None:
        raise UsageError(
            f"sweep.json: id: {str(sweep['id'])[:80]!r} is not the id of a sweep; ids have only the digits 0-9 and a-f"
        )
    with _quiet(), alone(uri, str(sweep["id"])):
        client = _client(uri)
        where = _experiment(client, uri, experiment or f"landsweep-{sweep['kind']}")
        new_tags = sweep_tags(rows, report_dir, sweep)
        run = _run(client, where, rows, sweep, new_tags[_ROWS])
        run_id = str(run.info.run_id)
        check_artifacts(uri, str(run.info.artifact_uri), report_dir.parent.parent)
        if note:
            new_tags["landsweep.progress"] = note
        metrics = sweep_metrics(rows, sweep, summary) | _progress(run, progress or {})
        _log(client, run, sweep_params(sweep), metrics, new_tags, rows)
        if state is not State.running:
            _write_artifacts(client, run, report_dir, sweep)
        _end(client, run, rows, state)
        _write_units(client, where, run_id, sweep, units)
        return run_id


class MlflowTracker(Tracker):
    """MLflow, in a SQLite file, on a server, or wherever else its client reaches."""

    def check(self) -> None:
        check_reachable(self.uri)

    def show(self, view: View) -> str:
        self.check()  # a server that has gone costs seconds, not MLflow's patience
        folder = view.report or Path(str(view.sweep["where"])) / "report"
        run_id = export(
            view.rows, folder, view.sweep, view.summary, self.uri, self.experiment, view.units,
            state=view.state, progress=view.progress, note=view.note,
        )  # fmt: skip
        return "; ".join(
            [f"MLflow run {run_id} in {redacted(self.uri)}", *remarks(view.rows, view.sweep, view.summary)]
        )


def _client(uri: str) -> Any:  # noqa: ANN401 - mlflow's own client
    """MLflow's client of a store; a new SQLite file starts from an empty one that is kept, or is kept as that one."""
    from mlflow import __version__
    from mlflow.tracking import MlflowClient

    database = database_of(uri) if urlsplit(uri).scheme == "sqlite" else None
    if database is None or database.exists() or start_from_empty(database, __version__):
        return MlflowClient(tracking_uri=uri)
    client = MlflowClient(tracking_uri=uri)
    keep_empty(database, __version__)
    return client


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Settings and log levels under which MLflow says nothing, phones nobody and gives up soon."""
    for name, value in _CALM.items():
        os.environ.setdefault(name, value)
    loggers = [logging.getLogger(name) for name in ("mlflow", "alembic", "sqlalchemy", "urllib3.connectionpool")]
    before = [logger.level for logger in loggers]
    import mlflow  # noqa: F401 - sets up its own logging, so that the levels below stay

    for logger in loggers:
        logger.setLevel(logging.CRITICAL)  # errors are raised as well, and MLflow logs them with tracebacks
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def _experiment(client: Any, uri: str, name: str) -> str:  # noqa: ANN401 - mlflow's own client
    existing = client.get_experiment_by_name(name)
    if existing is not None:
        if existing.lifecycle_stage == "deleted":
            client.restore_experiment(existing.experiment_id)
        return str(existing.experiment_id)
    where = None
    if urlsplit(uri).scheme == "sqlite":  # never ./mlruns in whatever folder the user stands
        where = (database_of(uri).parent / "mlflow-artifacts").as_uri()
    try:
        return str(client.create_experiment(name, artifact_location=where, tags=_EXPERIMENT))
    except Exception:  # another export has made it meanwhile, or this is an error
        if (existing := client.get_experiment_by_name(name)) is None:
            raise
        return str(existing.experiment_id)


def _run(client: Any, experiment_id: str, rows: pd.DataFrame, sweep: Mapping[str, Any], place: str) -> Any:  # noqa: ANN401
    """The sweep's run, made where there is none; `place` is where its rows lie.

    Raises:
        UsageError: it is the run of another folder with the same id, and this folder is not trusted.
    """
    runs = client.search_runs([experiment_id], f"tags.`{_SWEEP}` = '{sweep['id']}'", max_results=1)
    if runs:
        rows_of_run = runs[0].data.tags.get(_ROWS)
        if rows_of_run != place and not sweep.get("trusted"):
            raise UsageError(
                f"MLflow has a run of a sweep with the id {sweep['id']}, whose rows are {rows_of_run or 'not named'}; "
                f"those here are {place}. Nothing was changed. If this folder is a copy, show it in an experiment "
                "of its own: --experiment NAME; if it is the same sweep, moved, say so: --trust"
            )
        return runs[0]
    began = (numbers(rows["ended"]) - numbers(rows["seconds"])).min() if len(rows) else float("nan")
    start = began if began == began else float(sweep.get("created", 0))
    tags = {_SWEEP: str(sweep["id"]), _ROWS: place}
    return client.create_run(experiment_id, start_time=int(start * 1000), tags=tags, run_name=str(sweep["name"]))


def _log(
    client: Any,  # noqa: ANN401 - mlflow's own client
    run: Any,  # noqa: ANN401
    params: Mapping[str, str],
    metrics: Mapping[str, float],
    tags: Mapping[str, str],
    rows: pd.DataFrame,
) -> None:
    """Write what is new: params once, metrics whose value changed as a new step, tags that differ."""
    from mlflow.entities import Metric, Param, RunTag

    have = run.data
    revision = int(have.tags.get("landsweep.revision", "0"))
    changed = {k: v for k, v in metrics.items() if have.metrics.get(k) != v}
    when = int(numbers(rows["ended"]).max() * 1000) if len(rows) else int(run.info.start_time)
    step = revision + 1 if changed else revision
    # the revision is written last: an export that broke off half-way writes the same step again
    client.log_batch(
        run.info.run_id,
        metrics=[Metric(k, v, when, step) for k, v in changed.items()],
        params=[Param(k, v) for k, v in params.items() if k not in have.params],
        tags=[RunTag(k, v) for k, v in tags.items() if have.tags.get(k) != v],
    )
    if step != revision:
        client.set_tag(run.info.run_id, "landsweep.revision", str(step))


def _progress(run: Any, progress: Mapping[str, float]) -> dict[str, float]:  # noqa: ANN401 - mlflow's own
    """Metrics of how far a sweep is; those that an earlier view had and this one lacks, such as its workers, are 0."""
    now = {f"{_PROGRESS}{name}": float(value) for name, value in progress.items()}
    return {name: 0.0 for name in run.data.metrics if name.startswith(_PROGRESS)} | now


def _write_artifacts(client: Any, run: Any, report_dir: Path, sweep: Mapping[str, Any]) -> None:  # noqa: ANN401
    digest = artifacts_digest(report_dir, sweep)
    if run.data.tags.get("landsweep.artifacts") == digest:
        return
    run_id = str(run.info.run_id)
    if report_dir.is_dir():
        no_links(report_dir)  # the targets would be sent
        client.log_artifacts(run_id, str(report_dir), "report")
    client.log_text(run_id, spec_text(sweep), "spec.yaml")
    client.set_tag(run_id, "landsweep.artifacts", digest)


def _end(client: Any, run: Any, rows: pd.DataFrame, state: State | None) -> None:  # noqa: ANN401 - mlflow's own client
    if state is State.running:
        if run.info.status != _STATUS[state]:
            client.update_run(run.info.run_id, _STATUS[state])
        return
    ended = int(numbers(rows["ended"]).max() * 1000) if len(rows) else int(run.info.start_time)
    all_failed = len(rows) > 0 and bool((rows["status"] == Status.failed.value).all())
    status = _STATUS[State.failed if all_failed else state or State.finished]
    if run.info.end_time != ended or run.info.status != status:
        client.set_terminated(run.info.run_id, status, ended)


def _write_units(
    client: Any,  # noqa: ANN401 - mlflow's own client
    experiment_id: str,
    run_id: str,
    sweep: Mapping[str, Any],
    units: Sequence[UnitEntry],
) -> None:
    """A run for each of these units below the sweep's run: new ones are made, changed ones written again."""
    runs: dict[str, Any] = {}
    superfluous: list[Any] = []
    sweep_id = str(sweep["id"])
    for run in _runs_of_units(client, experiment_id, sweep_id):
        if sweep.get("trusted") or run.data.tags.get(_PARENT) == run_id:
            if (key := run.data.tags[_UNIT]) in runs:  # two processes have made it at once
                superfluous.append(run)
            else:
                runs[key] = run
    keys = {u.key for u in units}
    for run in [*superfluous, *(run for key, run in runs.items() if key not in keys)]:
        _remove(client, run)
    for unit in units:
        _write_unit(client, experiment_id, run_id, sweep_id, unit, runs.get(unit.key))


def _runs_of_units(client: Any, experiment_id: str, sweep_id: str) -> Iterator[Any]:  # noqa: ANN401 - mlflow's own
    """All runs of units of a sweep, each once.

    Raises:
        Unreachable: the store's list goes in a circle, or page after page brings nothing new.
    """
    ids: set[str] = set()
    tokens: set[str] = set()
    token, empty = None, 0
    while True:
        page = client.search_runs([experiment_id], f"tags.`{_OF}` = '{sweep_id}'", max_results=_PAGE, page_token=token)
        new = [run for run in page if run.info.run_id not in ids]
        yield from new
        ids.update(run.info.run_id for run in new)
        empty = 0 if new else empty + 1  # a page of runs that the user may not see can be empty
        if not (token := page.token):
            return
        if token in tokens or empty >= _EMPTY_PAGES:
            raise Unreachable(
                f"tracking: the list of runs of the MLflow at {redacted(client.tracking_uri)} has no end: "
                f"{'a page comes again' if token in tokens else f'{empty} pages in a row bring no new run'}. "
                "Is it a real MLflow server, and does a proxy before it keep old answers?"
            )
        tokens.add(token)


def _write_unit(
    client: Any,  # noqa: ANN401 - mlflow's own client
    experiment_id: str,
    run_id: str,
    sweep_id: str,
    unit: UnitEntry,
    run: Any,  # noqa: ANN401
) -> None:
    from mlflow.entities import Metric, Param, RunTag

    if run is not None and run.data.tags.get(_STATE) == unit.digest:
        if run.data.tags.get(_NAME) != unit.name:  # more units are shown, which differ in other settings
            client.set_tag(run.info.run_id, _NAME, unit.name)
        return
    if run is not None and _STATE in run.data.tags and any(name.startswith(_CURVE) for name in run.data.metrics):
        _remove(client, run)  # the unit was computed again, and points of curves can't be taken back
        run = None
    ended = int(unit.ended * 1000)
    files = named({f"landsweep.file.{name}": place for name, place in unit.files.items()})
    tags = {**files, "landsweep.status": unit.status}
    if run is None:
        of = {_PARENT: run_id, _OF: sweep_id, _UNIT: unit.key}
        run = client.create_run(experiment_id, int(unit.began * 1000), {**of, **tags}, run_name=unit.name)
        tags = {}
    elif run.data.tags.get(_NAME) != unit.name:
        tags[_NAME] = unit.name
    metrics = [Metric(k, v, ended, 0) for k, v in unit.metrics.items()]
    for name, points in named({f"{_CURVE}{name}": points for name, points in unit.curves.items()}).items():
        metrics += [Metric(name, value, when, step) for when, step, value in _timed(unit, points)]
    params = [Param(k, v) for k, v in unit.params.items() if k not in run.data.params]
    client.set_terminated(run.info.run_id, "FAILED" if unit.status == Status.failed.value else "FINISHED", ended)
    # The state comes last: a run that was cut off half-way is written again. MLflow writes a batch's tags after all
    # else in it, but what does not fit into one batch in several.
    whole = len(metrics) + len(params) + len(tags) < _BATCH and max(len(params), len(tags)) < _BATCH_OF_ONE
    if whole:
        tags[_STATE] = unit.digest
    client.log_batch(run.info.run_id, metrics, params, [RunTag(k, v) for k, v in tags.items()])
    if not whole:
        client.set_tag(run.info.run_id, _STATE, unit.digest)


def _remove(client: Any, run: Any) -> None:  # noqa: ANN401 - mlflow's own
    """Delete a unit's run; in a database for good, or the runs of all looks would pile up there.

    Servers only mark it as deleted, until `mlflow gc`, of which this is the step for one run.
    """
    client.delete_run(run.info.run_id)
    if (for_good := getattr(client._tracking_client.store, "_hard_delete_run", None)) is not None:
        for_good(run.info.run_id)


def _timed(unit: UnitEntry, points: Sequence[tuple[int, float]]) -> Iterator[tuple[int, int, float]]:
    """Points of a curve with times: the rows don't have these, so they are spread evenly over the unit's time."""
    for i, (step, value) in enumerate(points):
        when = unit.began + (unit.ended - unit.began) * i / max(1, len(points) - 1)
        yield int(when * 1000), step, value
