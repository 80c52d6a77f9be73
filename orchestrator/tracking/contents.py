"""What tracking shows, computed from rows, spec and report: params, metrics and tags by names that MLflow takes."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as by_default
from pathlib import Path
from typing import Any

import pandas as pd

from landsweep.orchestrator.reading import write_yaml
from landsweep.orchestrator.report.tables import counts, not_finite, numbers, times
from landsweep.orchestrator.row import METERS
from landsweep.orchestrator.unit import digest

__all__ = [
    "UnitEntry",
    "artifacts_digest",
    "named",
    "remarks",
    "spec_text",
    "sweep_metrics",
    "sweep_params",
    "sweep_tags",
    "unit_entries",
]

_KEY, PARAM, _TAG = 250, 6000, 5000  # characters; MLflow allows 250, 6000 and (on older servers) 5000
_MOST_METRICS = 500  # MLflow's pages slow down with thousands of columns
_SHOWN = 5  # names in a remark
_FAILED_SHARE = 0.2  # of the runs of single units, for those that failed
_CURVE = 200  # points of one curve: the pages show no more, and a store takes a few thousand per second
_NAME = 100  # characters in the name of a unit's run


@dataclass(frozen=True, slots=True)
class UnitEntry:
    """One unit as a run.

    Attributes:
        key: of the unit.
        status: status of its row.
        began: seconds since 1970.
        ended: likewise.
        params: its settings.
        metrics: its finite numbers.
        digest: of all of this: a unit that was computed again has another.
        name: for people: the settings in which the units shown differ.
        curves: metric to its points (step, value), at most 200 of each, the first and last among them.
        files: column to the place of a file that the unit has left, such as its weights.
    """

    key: str
    status: str
    began: float
    ended: float
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    digest: str
    name: str = ""
    curves: Mapping[str, Sequence[tuple[int, float]]] = by_default(default_factory=dict)
    files: Mapping[str, str] = by_default(default_factory=dict)


def unit_entries(
    ranked: pd.DataFrame,
    params: Mapping[str, object],
    most: int,
    series_of: Callable[[Sequence[str]], pd.DataFrame] | None = None,
    files: Mapping[str, str] | None = None,
) -> list[UnitEntry]:
    """The units that are shown as runs of their own: the first ones, a fifth of the places for those that failed.

    Args:
        ranked: rows, the most interesting first.
        params: names of the units' params.
        most: how many.
        series_of: gives the series of the units with these keys (key, step, metric, value); None: there are none.
        files: columns that name files, and the folder or URL below which these lie.
    """
    failed = ranked[ranked["status"] == "failed"].head(math.ceil(_FAILED_SHARE * most))
    others = ranked[ranked["status"] != "failed"].head(most - len(failed))
    lines = [line for part in (others, failed) for line in part.to_dict("records")]
    keys = [str(line["key"]) for line in lines]
    curves = _curves(series_of(keys)) if series_of is not None and keys else {}
    differ = [n for n in params if len({str(line.get(n)) for line in lines}) > 1]
    return [_entry(line, params, differ, curves.get(str(line["key"]), {}), files or {}) for line in lines]


def _curves(series: pd.DataFrame) -> dict[str, dict[str, list[tuple[int, float]]]]:
    """By unit and metric, points in the order of steps; evenly thinned, and without values that are not finite."""
    curves: dict[str, dict[str, list[tuple[int, float]]]] = {}
    finite = series[series["value"].abs() < float("inf")]
    for (key, metric), points in finite.sort_values("step", kind="stable").groupby(["key", "metric"], sort=True):
        last = len(points) - 1
        chosen = points.iloc[sorted({round(i * last / (_CURVE - 1)) for i in range(_CURVE)})] if last else points
        steps, values = chosen["step"].tolist(), chosen["value"].tolist()
        curves.setdefault(str(key), {})[str(metric)] = list(zip(map(int, steps), map(float, values), strict=True))
    return curves


def _entry(
    line: Mapping[str, Any],
    params: Mapping[str, object],
    differ: Sequence[str],
    curves: Mapping[str, Sequence[tuple[int, float]]],
    files: Mapping[str, str],
) -> UnitEntry:
    no_metrics = {"key", *(c.name for c in METERS), *params} - {"seconds", "peak_memory"}
    params_given = {n: line[n] for n in params if not _missing(line.get(n))}
    values = {n: v for n, v in line.items() if n not in no_metrics and isinstance(v, int | float) and not _missing(v)}
    metrics = {n: float(v) for n, v in named(values).items() if math.isfinite(v)}
    settings = {n: _cut(str(v)) for n, v in named(params_given).items() if v != ""}
    ended = float(line["ended"])
    began = ended - (0.0 if _missing(line.get("seconds")) else float(line["seconds"]))
    places = {n: f"{folder}/{line[n]}" for n, folder in files.items() if not _missing(line.get(n))}
    content = [
        settings,
        metrics,
        str(line["status"]),
        ended,
        {n: [list(p) for p in c] for n, c in curves.items()},
        places,
    ]
    key, status = str(line["key"]), str(line["status"])
    name = ", ".join(f"{n.rpartition('.')[2]}={line.get(n)}" for n in differ)
    short = name if len(name) <= _NAME else f"{name[: _NAME - 12]}... {key[:8]}"
    name = short or f"{status} {key[:8]}"
    return UnitEntry(key, status, began, ended, settings, metrics, digest(content, size=8), name, curves, places)


def _missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def sweep_metrics(rows: pd.DataFrame, sweep: Mapping[str, Any], summary: Mapping[str, float]) -> dict[str, float]:
    """Summary, counts, times, and least, mean and largest of each numeric metric; finite numbers only."""
    return dict(list(named(_metrics(rows, sweep, summary)).items())[:_MOST_METRICS])


def remarks(rows: pd.DataFrame, sweep: Mapping[str, Any], summary: Mapping[str, float]) -> list[str]:
    """How what the tracking store shows differs from the rows: names that it does not take, and what is too much."""
    metrics, params = _metrics(rows, sweep, summary), _flat(sweep.get("context", {}), "")
    pairs = [pair for part in (metrics, params) for pair in zip(part, named(part), strict=True)]
    changed = [f"{old!r} is {new!r}" for old, new in pairs if old != new]
    long = [name for name, text in params.items() if len(text) > PARAM]
    lines = []
    if changed:
        more = f" and {len(changed) - _SHOWN:,} more" if len(changed) > _SHOWN else ""
        lines.append(f"names that MLflow does not take are changed there: {', '.join(changed[:_SHOWN])}{more}")
    if long:
        lines.append(f"params cut to {PARAM:,} characters: {', '.join(long[:_SHOWN])}")
    if len(metrics) > _MOST_METRICS:
        lines.append(f"{len(metrics) - _MOST_METRICS:,} of {len(metrics):,} metrics are left out: its pages slow down")
    return lines


def _metrics(rows: pd.DataFrame, sweep: Mapping[str, Any], summary: Mapping[str, float]) -> dict[str, float]:
    metrics: dict[str, float] = {str(k): float(v) for k, v in summary.items()}
    metrics |= {f"units.{k.replace('failed: ', 'failed.')}": float(n) for k, n in counts(rows).items()}
    metrics["units.rows"] = float(len(rows))
    metrics |= {f"time.{k}": v for k, v in times(rows).items()}
    params = {c.name for c in sweep.get("params", ())} | set(sweep.get("spec", {}).get("axes", ()))
    no_metrics = {"key", *(c.name for c in METERS), *params}
    for name in (str(c) for c in rows.columns if c not in no_metrics):
        if pd.api.types.is_string_dtype(rows[name]):
            continue
        values = numbers(rows[name])
        finite = values[abs(values) < float("inf")]
        if len(finite):
            metrics |= {f"{name}.min": finite.min(), f"{name}.mean": finite.mean(), f"{name}.max": finite.max()}
        if pd.api.types.is_numeric_dtype(rows[name]) and (nonfinite := not_finite(rows, name)):
            metrics[f"{name}.nonfinite"] = float(nonfinite)
    return {k: float(v) for k, v in metrics.items() if abs(v) < float("inf")}


def sweep_params(sweep: Mapping[str, Any]) -> dict[str, str]:
    """The context, flattened: it can't change within a sweep, and neither can MLflow's params."""
    context = {"fingerprint": sweep.get("fingerprint"), **sweep.get("context", {})}
    return {k: _cut(v) for k, v in named(_flat(context, "")).items() if v != ""}


def _cut(text: str) -> str:
    return text if len(text) <= PARAM else text[: PARAM - 3] + "..."


def _flat(value: object, path: str) -> dict[str, str]:
    if isinstance(value, Mapping) and (value or not path):
        entries: dict[str, str] = {}
        for name, inner in value.items():
            entries |= _flat(inner, f"{path}.{name}" if path else str(name))
        return entries
    return {} if value is None else {path: str(value)}


def sweep_tags(rows: pd.DataFrame, report_dir: Path, sweep: Mapping[str, Any]) -> dict[str, str]:
    """Where the rows lie, what made them, and the fields of the spec that may grow."""
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
        **{
            f"landsweep.claim.{i}": f"{v.outcome.value}: {v.claim.says}"
            for i, v in enumerate(sweep.get("verdicts", ()))
        },
    }
    return {k: str(v)[:_TAG] for k, v in named(tags).items() if v not in (None, "")}


def _axes(sweep: Mapping[str, Any]) -> dict[str, str]:
    """The fields of the spec that are neither context nor shown elsewhere, as tags: axes may grow, params may not."""
    shown_elsewhere = {"kind", "name", "description", "claims", "columns", *sweep.get("context", {})}
    tags: dict[str, str] = {}
    for field, value in sweep.get("spec", {}).items():
        if field == "axes" and isinstance(value, Mapping):
            tags |= {f"axis.{name}": _short_axis(axis) for name, axis in value.items()}
        elif field not in shown_elsewhere and value not in (None, [], {}, ""):
            tags[f"spec.{field}"] = json.dumps(value)
    return tags


def _short_axis(axis: object) -> str:
    if not isinstance(axis, Mapping):
        return json.dumps(axis)
    fields = {k: v for k, v in axis.items() if v is not None and (k != "threshold" or axis.get("symlog"))}
    return json.dumps(fields)


def named(entries: Mapping[str, Any]) -> dict[str, Any]:
    """Entries under names that MLflow takes: clean paths; two that become equal are told apart by a number.

    Example:
        >>> list(named({"val//acc": 1, "val/acc": 2, "../lr*": 3}))
        ['val/acc', 'val/acc_2', '_/lr_']
    """
    by_name: dict[str, Any] = {}
    for name, value in entries.items():
        parts = re.sub(r"[^\w./ :-]", "_", name).split("/")
        path = "/".join("_" if part == ".." else part for part in parts if part not in ("", "."))
        clean = unique = path.strip("/. ")[: _KEY - 4].rstrip("/. ") or "_"
        i = 2
        while unique in by_name:
            unique, i = f"{clean}_{i}", i + 1
        by_name[unique] = value
    return by_name


def spec_text(sweep: Mapping[str, Any]) -> str:
    """The spec as YAML."""
    return write_yaml(dict(sweep.get("spec", {})))


def artifacts_digest(report_dir: Path, sweep: Mapping[str, Any]) -> str:
    """Of all that is sent as artifacts."""
    state = hashlib.blake2b(spec_text(sweep).encode(), digest_size=16)
    for path in sorted(p for p in report_dir.rglob("*") if p.is_file()):
        state.update(str(path.relative_to(report_dir)).encode())
        state.update(path.read_bytes())
    return state.hexdigest()
