"""What is answered at which address. Every answer is a view: nothing is written, no code of a folder is imported."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from functools import partial, wraps
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import pyarrow as pa
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from landsweep.orchestrator.errors import LandsweepError, UsageError
from landsweep.orchestrator.text import anchor
from landsweep.orchestrator.ui import sql, units, views
from landsweep.orchestrator.ui.about import about, problem, progress, spec_text
from landsweep.orchestrator.ui.cells import line
from landsweep.orchestrator.ui.places import Place, Places
from landsweep.orchestrator.ui.query import Query
from landsweep.orchestrator.ui.tables import Snapshot, Tables

if TYPE_CHECKING:
    from landsweep.orchestrator.ui.kinds import Kinds

__all__ = ["application"]

_STATIC = files("landsweep.orchestrator.ui") / "static"
_TYPES = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml", "html": "text/html"}
_FIGURES = {"png": "image/png", "svg": "image/svg+xml", "csv": "text/csv", "json": "application/json"}
_PAGES = ("/", "/sweep/{id}", "/unit/{id}/{key}", "/compare", "/sql")  # the page itself finds out what to show
_ANSWER_ROWS, _FILE_ROWS = 1_000, 1_000_000  # of an answer to a question in SQL
_MOST_CURVES = 50
_MOST_COMPARED = 8

Answer: TypeAlias = Callable[[Request], Response]


def application(places: Places, tables: Tables) -> Starlette:
    """The application.

    Args:
        places: the sweeps that it shows.
        tables: their rows.
    """
    views_of = _Views(places, tables)
    one = "/api/sweeps/{id}"
    answers: dict[str, Answer] = {
        "/api/sweeps": views_of.sweeps,
        one: views_of.about,
        f"{one}/progress": views_of.progress,
        f"{one}/columns": views_of.columns,
        f"{one}/spec.yaml": views_of.spec,
        f"{one}/rows": views_of.rows,
        f"{one}/rows.{{form}}": views_of.rows_file,
        f"{one}/points": views_of.points,
        f"{one}/curves": views_of.curves,
        f"{one}/failures": views_of.failures,
        f"{one}/report": views_of.report,
        f"{one}/figures/{{name}}/{{form}}": views_of.figure,
        f"{one}/units/{{key}}": views_of.unit,
        f"{one}/units/{{key}}/log": views_of.log,
        f"{one}/units/{{key}}/curves": views_of.unit_curves,
        "/api/compare": views_of.compare,
        "/api/sql": views_of.sql,
        "/api/sql.{form}": views_of.sql_file,
        "/static/plotly.js": _plotly,
        "/static/{name}": _static,
    }
    pages = [Route(path, partial(_static, name="index.html")) for path in _PAGES]
    return Starlette(routes=[*pages, *(Route(path, _safely(answer)) for path, answer in answers.items())])


def _safely(answer: Answer) -> Answer:
    """Errors that are meant for the user become an answer with their text; so do those of a damaged folder."""

    @wraps(answer)
    def answered(request: Request) -> Response:
        try:
            return answer(request)
        except LandsweepError as e:
            return JSONResponse({"problem": problem(e)}, 400)
        except OSError as e:
            return JSONResponse({"problem": problem(e)}, 500)

    return answered


class _Views:
    """The answers about sweeps."""

    def __init__(self, places: Places, tables: Tables) -> None:
        self._places = places
        self._tables = tables
        self._importing = threading.Lock()
        self._opened: Kinds | None = None

    @property
    def _kinds(self) -> Kinds:
        with self._importing:
            if self._opened is None:
                from landsweep.orchestrator.ui.kinds import Kinds  # and pandas, and what draws: rows can be seen before

                self._opened = Kinds()
            return self._opened

    def sweeps(self, request: Request) -> Response:
        del request
        found = [progress(place) for place in self._places.all()]
        return _json({"sweeps": found, "named": [line(name) for name in self._places.named]})

    def about(self, request: Request) -> Response:
        return _json(about(*self._read(request)))

    def progress(self, request: Request) -> Response:
        return _json(progress(self._place(request)))

    def spec(self, request: Request) -> Response:
        place, snapshot = self._read(request)
        data = spec_text(place, snapshot).encode("utf-8", "backslashreplace")
        return Response(data, media_type="text/plain; charset=utf-8", headers=_attached("spec.yaml"))

    def columns(self, request: Request) -> Response:
        place, snapshot = self._read(request)
        return _json(self._kinds.columns(snapshot, place))

    def rows(self, request: Request) -> Response:
        names = request.query_params.getlist("column")
        offset, limit = _number(request, "offset", 0), _number(request, "limit", 100)
        return _json(views.page(self._read(request)[1], _query(request), names, offset, limit))

    def rows_file(self, request: Request) -> Response:
        place, snapshot = self._read(request)
        table = views.chosen(snapshot, _query(request), request.query_params.getlist("column"))
        return _file(table, Path(place.where).name, request.path_params["form"])

    def points(self, request: Request) -> Response:
        names = request.query_params.getlist("column")
        return _json(views.points(self._read(request)[1], _query(request), names))

    def curves(self, request: Request) -> Response:
        place, snapshot = self._read(request)
        query, most = _query(request), min(_number(request, "limit", 10), _MOST_CURVES)
        keys, running = views.keys(snapshot, query, most), units.under_way(place, snapshot, query)[:most]
        shown = units.curves(snapshot, keys, request.query_params.get("metric", ""), running)
        return _json({**shown, "version": snapshot.version})

    def unit_curves(self, request: Request) -> Response:
        key, metric = request.path_params["key"], request.query_params.get("metric", "")
        return _json(units.curves(self._read(request)[1], [key], metric))

    def failures(self, request: Request) -> Response:
        return _json(views.failures(self._read(request)[1]))

    def report(self, request: Request) -> Response:
        place, snapshot = self._read(request)
        return _json(self._kinds.report(snapshot, place))

    def figure(self, request: Request) -> Response:
        place, snapshot = self._read(request)
        name, form = request.path_params["name"], request.path_params["form"]
        if form not in _FIGURES:
            raise UsageError(f"figures come as {', '.join(_FIGURES)}, not as {form[:20]!r}")
        data = self._kinds.figure(snapshot, place, name, form)
        shown = form == "json" or (form == "png" and "download" not in request.query_params)
        return Response(data, media_type=_FIGURES[form], headers={} if shown else _attached(f"{anchor(name)}.{form}"))

    def unit(self, request: Request) -> Response:
        place, snapshot = self._read(request)
        return _json(units.unit(place, snapshot, request.path_params["key"], self._kinds.again(snapshot, place)))

    def log(self, request: Request) -> Response:
        key = request.path_params["key"]
        data = units.printed(self._place(request), key).encode("utf-8", "backslashreplace")
        return Response(data, media_type="text/plain; charset=utf-8", headers=_attached(f"{anchor(key)}.txt"))

    def compare(self, request: Request) -> Response:
        names = list(dict.fromkeys(request.query_params.getlist("id")))[:_MOST_COMPARED]
        return _json(views.compared({name: self._tables.read(self._places.get(name)) for name in names}))

    def sql(self, request: Request) -> Response:
        names = self._table_names()
        known = [{"table": table, "id": one.id, "where": line(one.where)} for table, one in names.items()]
        fields: dict[str, Any] = {"tables": known, "installed": sql.is_installed()}
        if question := request.query_params.get("q", "").strip():
            table, more = sql.answer(question, self._readers(names), _ANSWER_ROWS)
            fields |= {**views.table_json(table), "more": more}
        return _json(fields)

    def sql_file(self, request: Request) -> Response:
        question = request.query_params.get("q", "")
        table, more = sql.answer(question, self._readers(self._table_names()), _FILE_ROWS)
        if more:
            raise UsageError(
                f"the answer has more than {_FILE_ROWS:,} rows: ask for less, or take the rows of the sweep"
            )
        return _file(table, "answer", request.path_params["form"])

    def _table_names(self) -> dict[str, Place]:
        places = {place.id: place for place in self._places.all()}
        named = sql.table_names({one: Path(place.where).name for one, place in places.items()})
        return {name: places[one] for name, one in named.items()}

    def _readers(self, names: Mapping[str, Place]) -> dict[str, Callable[[], pa.Table]]:
        readers: dict[str, Callable[[], pa.Table]] = {}
        for name, place in names.items():
            readers[name] = lambda place=place: self._tables.read(place).table  # type: ignore[misc]
            readers[f"{name}_series"] = lambda place=place: self._tables.read(place).series  # type: ignore[misc]
        return readers

    def _place(self, request: Request) -> Place:
        return self._places.get(request.path_params["id"])

    def _read(self, request: Request) -> tuple[Place, Snapshot]:
        place = self._place(request)
        return place, self._tables.read(place)


def _query(request: Request) -> Query:
    return Query.read(request.query_params.getlist("filter"), request.query_params.getlist("sort"))


def _number(request: Request, name: str, otherwise: int) -> int:
    given = request.query_params.get(name, str(otherwise))
    if not (given.isascii() and given.isdecimal()) or len(given) > 12:
        raise UsageError(f"{name}: {given[:40]!r} is no whole number from 0")
    return int(given)


def _json(fields: Mapping[str, Any]) -> Response:
    return Response(json.dumps(fields, allow_nan=False), media_type="application/json")


def _attached(name: str) -> dict[str, str]:
    return {"content-disposition": f'attachment; filename="{name}"'}


def _file(table: pa.Table, name: str, form: str) -> Response:
    headers = _attached(f"{anchor(name)}.{form}")
    if form == "csv":
        return StreamingResponse(views.as_csv(table), media_type="text/csv", headers=headers)
    if form == "parquet":
        return Response(views.as_parquet(table), media_type="application/vnd.apache.parquet", headers=headers)
    raise UsageError(f"tables come as csv or parquet, not as {form[:20]!r}")


def _static(request: Request, name: str = "") -> Response:
    name = name or request.path_params["name"]
    file: Traversable | None = next((f for f in _STATIC.iterdir() if f.name == name), None)
    if file is None:
        return Response("no such file", 404, media_type="text/plain")
    return Response(
        file.read_bytes(), media_type=_TYPES[name.rpartition(".")[2]], headers={"cache-control": "no-cache"}
    )


def _plotly(request: Request) -> Response:
    import plotly

    del request
    script = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
    return FileResponse(script, media_type="text/javascript", headers={"cache-control": "private, max-age=86400"})
