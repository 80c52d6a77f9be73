"""MLflow as a view of the rows: one run per sweep, made from rows alone, at any time, from anywhere.

The only file that imports mlflow, and only inside the functions that need it, because the import costs two seconds.
Nothing is written to MLflow that is not computed from rows, spec and report, so an export can be repeated: the run is
found by the sweep's id, and what has not changed is not written again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pandas as pd
import yaml

from orchestrator.errors import Unreachable
from orchestrator.reach import answer_of, free_of_credentials, writable
from orchestrator.report.tables import counts, not_finite, numbers, times
from orchestrator.row import METERS, Status

__all__ = ["check_reachable", "default_uri", "export", "export_safely"]

_KEY, _PARAM, _TAG = 250, 6000, 5000  # characters; MLflow allows 250, 6000 and (on older servers) 5000
_MOST_METRICS = 500  # MLflow's pages slow down with thousands of columns
_WAIT = 60  # s
_SWEEP = "landsweep.sweep"
_CALM = {  # set unless the user has set them
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # with MLflow's own 7 a dead server costs minutes
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_DISABLE_AGENT_HINT": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "GIT_PYTHON_REFRESH": "quiet",  # MLflow looks for git and complains when there is none
}


def default_uri(results: Path) -> str:
    """URI of the SQLite store in a folder of results."""
    return f"sqlite:///{results.resolve()}/mlflow.db"


def check_reachable(uri: str) -> None:
    """Whether an export to this store can work, before any other work is done; takes at most about 3 s.

    Args:
        uri: `sqlite:///path`, or `http(s)://…` of an MLflow server. Other schemes are left to MLflow.

    Raises:
        Unreachable: says what was tried and what to do.
    """
    parts = urlsplit(uri)
    if parts.scheme in ("http", "https"):
        answer_of(uri)
    elif parts.scheme == "sqlite":
        writable(_database(uri))
    elif parts.scheme in ("", "file"):
        raise Unreachable(
            f"tracking: {uri!r} is a folder, and MLflow no longer keeps runs in plain folders; "
            "give sqlite:////absolute/path/mlflow.db, or the address of a server, such as http://localhost:5000"
        )


def _database(uri: str) -> Path:
    """The file of a SQLite URI: three slashes and a path, so four for an absolute one."""
    path = unquote(uri.partition("///")[2].partition("?")[0])
    if not path or path == ":memory:":
        raise Unreachable(f"tracking: {uri!r} names no file; give sqlite:////absolute/path/mlflow.db")
    return Path(path).absolute()


def export(
    rows: pd.DataFrame,
    report_dir: Path,
    sweep: Mapping[str, Any],
    summary: Mapping[str, float],
    uri: str,
    experiment: str | None = None,
) -> str:
    """Write the sweep's run to MLflow, or bring it up to date.

    Args:
        rows: of the sweep.
        report_dir: the folder `report` inside the sweep's folder; its page and pictures become artifacts.
        sweep: entries of `sweep.json`, and, if known, `params`, the columns of the units' params, and `where`, the
            results folder or its URL.
        summary: name to number, as the kind's report gives it.
        uri: of the store.
        experiment: its name in MLflow; by default `landsweep-<kind>`.

    Returns:
        The run's id.

    Raises:
        Exception: whatever MLflow raises; `export_safely` catches it.
    """
    with _quiet(), _alone(uri):
        from mlflow.tracking import MlflowClient

        client = MlflowClient(tracking_uri=uri)
        run = _run(client, _experiment(client, uri, experiment or f"landsweep-{sweep['kind']}"), rows, sweep)
        run_id = str(run.info.run_id)
        tags, metrics = dict(run.data.tags), _metrics(rows, sweep, summary)
        _log(client, run, _params(sweep), metrics, _tags(rows, report_dir, sweep), rows)
        digest = _digest(report_dir, sweep)
        if tags.get("landsweep.artifacts") != digest:
            if report_dir.is_dir():
                client.log_artifacts(run_id, str(report_dir), "report")
            client.log_text(run_id, _spec_text(sweep), "spec.yaml")
            client.set_tag(run_id, "landsweep.artifacts", digest)
        _end(client, run, rows)
        return run_id


def export_safely(
    rows: pd.DataFrame,
    report_dir: Path,
    sweep: Mapping[str, Any],
    summary: Mapping[str, float],
    uri: str,
    experiment: str | None = None,
) -> tuple[str | None, str]:
    """`export` for the end of a sweep: the run's id, or None, and one line that tells the user what happened."""
    shown = free_of_credentials(uri)
    try:
        run_id = export(rows, report_dir, sweep, summary, uri, experiment)
    except Exception as e:  # noqa: BLE001 - the rows are safe, so no failure of a view may end the command
        first = (str(e).strip() or "no message").splitlines()[0][:300]
        again = f"landsweep export-mlflow {sweep.get('where', report_dir.parent)} --uri {shown}"
        return None, f"MLflow export to {shown} failed: {type(e).__name__}: {first}. No row is lost; later: {again}"
    return run_id, f"MLflow run {run_id} in {shown}"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Settings and log levels under which MLflow says nothing, phones nobody and gives up soon."""
    for name, value in _CALM.items():
        os.environ.setdefault(name, value)
    loggers = [logging.getLogger(name) for name in ("mlflow", "alembic", "sqlalchemy", "urllib3.connectionpool")]
    before = [logger.level for logger in loggers]
    import mlflow  # noqa: F401 - sets up its own logging, so that the levels below stay

    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


@contextlib.contextmanager
def _alone(uri: str) -> Iterator[None]:
    """One export at a time into a SQLite file: two that create its tables at once break each other."""
    if urlsplit(uri).scheme != "sqlite":
        yield
        return
    import fcntl

    path = _database(uri)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f".{path.name}.lock").open("w") as lock:
        for _ in range(round(_WAIT / 0.1)):
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(0.1)
            except OSError:  # a file system without locks: go on without
                break
        else:
            raise TimeoutError(f"another export has held {path} for {_WAIT} s")
        yield


def _experiment(client: Any, uri: str, name: str) -> str:  # noqa: ANN401 - mlflow's own client
    found = client.get_experiment_by_name(name)
    if found is not None:
        if found.lifecycle_stage == "deleted":
            client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)
    where = None
    if urlsplit(uri).scheme == "sqlite":  # never ./mlruns in whatever folder the user stands
        where = (_database(uri).parent / "mlflow-artifacts").as_uri()
    return str(client.create_experiment(name, artifact_location=where))


def _run(client: Any, experiment_id: str, rows: pd.DataFrame, sweep: Mapping[str, Any]) -> Any:  # noqa: ANN401
    found = client.search_runs([experiment_id], f"tags.`{_SWEEP}` = '{sweep['id']}'", max_results=1)
    if found:
        return found[0]
    began = (numbers(rows["ended"]) - numbers(rows["seconds"])).min() if len(rows) else float("nan")
    start = began if began == began else float(sweep.get("created", 0))
    tags = {_SWEEP: str(sweep["id"])}
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


def _end(client: Any, run: Any, rows: pd.DataFrame) -> None:  # noqa: ANN401 - mlflow's own client
    ended = int(numbers(rows["ended"]).max() * 1000) if len(rows) else int(run.info.start_time)
    status = "FAILED" if len(rows) and (rows["status"] == Status.failed.value).all() else "FINISHED"
    if run.info.end_time != ended or run.info.status != status:
        client.set_terminated(run.info.run_id, status, ended)


def _metrics(rows: pd.DataFrame, sweep: Mapping[str, Any], summary: Mapping[str, float]) -> dict[str, float]:
    """Summary, counts, times, and least, mean and largest of each numeric metric; finite numbers only."""
    found: dict[str, float] = {str(k): float(v) for k, v in summary.items()}
    found |= {f"units.{k.replace('failed: ', 'failed.')}": float(n) for k, n in counts(rows).items()}
    found["units.rows"] = float(len(rows))
    found |= {f"time.{k}": v for k, v in times(rows).items()}
    params = {c.name for c in sweep.get("params", ())} | set(sweep.get("spec", {}).get("axes", ()))
    aside = {"key", *(c.name for c in METERS), *params}
    for name in (str(c) for c in rows.columns if c not in aside):
        if pd.api.types.is_string_dtype(rows[name]):
            continue
        values = numbers(rows[name])
        finite = values[abs(values) < float("inf")]
        if len(finite):
            found |= {f"{name}.min": finite.min(), f"{name}.mean": finite.mean(), f"{name}.max": finite.max()}
        if pd.api.types.is_numeric_dtype(rows[name]) and (odd := not_finite(rows, name)):
            found[f"{name}.nonfinite"] = float(odd)
    finite_only = {k: float(v) for k, v in found.items() if abs(v) < float("inf")}
    return dict(list(_named(finite_only).items())[:_MOST_METRICS])


def _params(sweep: Mapping[str, Any]) -> dict[str, str]:
    """The context, flattened: it can't change within a sweep, and neither can MLflow's params."""
    context = {"fingerprint": sweep.get("fingerprint"), **sweep.get("context", {})}
    return {k: v[:_PARAM] for k, v in _named(_flat(context, "")).items() if v != ""}


def _flat(value: object, path: str) -> dict[str, str]:
    if isinstance(value, Mapping) and value:
        found: dict[str, str] = {}
        for name, inner in value.items():
            found |= _flat(inner, f"{path}.{name}" if path else str(name))
        return found
    return {} if value is None else {path: str(value)}


def _tags(rows: pd.DataFrame, report_dir: Path, sweep: Mapping[str, Any]) -> dict[str, str]:
    spec = sweep.get("spec", {})
    tags = {
        "landsweep.kind": sweep.get("kind"),
        "landsweep.fingerprint": sweep.get("fingerprint"),
        "landsweep.rows": f"{sweep.get('where', report_dir.parent.resolve())}/rows",
        "landsweep.units": ", ".join(f"{n} {k}" for k, n in counts(rows).items() if n),
        "landsweep.host": sweep.get("host"),
        "landsweep.command": " ".join(map(str, sweep.get("command", ()))),
        "mlflow.runName": sweep.get("name"),
        "mlflow.note.content": spec.get("description"),
        "mlflow.source.git.commit": sweep.get("git_commit"),
        **{f"landsweep.version.{k}": v for k, v in (sweep.get("versions") or {}).items()},
        **{f"landsweep.{name}": text for name, text in _axes(sweep).items()},
    }
    return {k: str(v)[:_TAG] for k, v in _named(tags).items() if v not in (None, "")}


def _axes(sweep: Mapping[str, Any]) -> dict[str, str]:
    """The fields of the spec that are neither context nor shown elsewhere, as tags: axes may grow, params may not."""
    aside = {"kind", "name", "description", "columns", *sweep.get("context", {})}
    found: dict[str, str] = {}
    for field, value in sweep.get("spec", {}).items():
        if field == "axes" and isinstance(value, Mapping):
            found |= {f"axis.{name}": _short_axis(axis) for name, axis in value.items()}
        elif field not in aside and value not in (None, [], {}, ""):
            found[f"spec.{field}"] = json.dumps(value)
    return found


def _short_axis(axis: object) -> str:
    if not isinstance(axis, Mapping):
        return json.dumps(axis)
    given = {k: v for k, v in axis.items() if v is not None and (k != "threshold" or axis.get("symlog"))}
    return json.dumps(given)


def _named(entries: Mapping[str, Any]) -> dict[str, Any]:
    """Entries under names that MLflow takes; two that become equal are told apart by a number."""
    found: dict[str, Any] = {}
    for name, value in entries.items():
        clean = unique = re.sub(r"[^\w./ :-]", "_", name).strip("/. ")[: _KEY - 4] or "_"
        i = 2
        while unique in found:
            unique, i = f"{clean}_{i}", i + 1
        found[unique] = value
    return found


def _spec_text(sweep: Mapping[str, Any]) -> str:
    return str(yaml.safe_dump(dict(sweep.get("spec", {})), sort_keys=False, allow_unicode=True))


def _digest(report_dir: Path, sweep: Mapping[str, Any]) -> str:
    """Of all that is sent as artifacts."""
    state = hashlib.blake2b(_spec_text(sweep).encode(), digest_size=16)
    for path in sorted(p for p in report_dir.rglob("*") if p.is_file()):
        state.update(str(path.relative_to(report_dir)).encode())
        state.update(path.read_bytes())
    return state.hexdigest()
