"""Servers whose lists of runs have no end are named instead of asked for ever."""

from __future__ import annotations

import http.server
import itertools
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from landsweep.orchestrator.errors import Unreachable
from landsweep.orchestrator.tracking.mlflow import _EMPTY_PAGES, export

pytestmark = pytest.mark.filterwarnings("ignore")  # of MLflow's own imports

EXPERIMENT = {"experiment_id": "1", "name": "e", "lifecycle_stage": "active", "artifact_location": "x"}


def run_of(name: str, tags: dict[str, str], artifacts: str) -> dict[str, Any]:
    info = {"run_id": name, "run_uuid": name, "experiment_id": "1", "status": "RUNNING", "lifecycle_stage": "active"}
    data = {"tags": [{"key": key, "value": value} for key, value in tags.items()]}
    return {"info": {**info, "start_time": 1, "artifact_uri": artifacts}, "data": data}


@pytest.mark.parametrize(
    ("token", "name", "why"),
    [
        (lambda i: "a", lambda i: f"u{i}", "a page comes again"),
        (lambda i: f"t{i}", lambda i: None, f"{_EMPTY_PAGES} pages in a row bring no new run"),
        (lambda i: f"t{i}", lambda i: "u", f"{_EMPTY_PAGES} pages in a row bring no new run"),
        (lambda i: "b" if i else "a", lambda i: None, "a page comes again"),
        (lambda i: f"t{i}" if i < _EMPTY_PAGES - 1 else "", lambda i: None, ""),
    ],
    ids=["token", "empty", "same", "later", "sound"],
)
def test_a_list_of_runs_without_end(
    token: Callable[[int], str], name: Callable[[int], str | None], why: str, tmp_path: Path
) -> None:
    pages = itertools.count()

    class Endless(http.server.BaseHTTPRequestHandler):
        def answer(self) -> None:
            asked = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            answer: dict[str, Any] = {"experiment": EXPERIMENT, "run": run_of("sweep", {}, tmp_path.as_uri())}
            if b"landsweep.of" in asked:
                tags = {"landsweep.unit": "k", "mlflow.parentRunId": "another"}
                page = next(pages)
                if (run := name(page)) is not None:
                    answer["runs"] = [run_of(run, tags, tmp_path.as_uri())]
                answer["next_page_token"] = token(page)
            body = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PATCH = answer  # noqa: N815 - names of the library

        def log_message(self, *given: object) -> None:
            """Say nothing."""

    sweep = {"id": "77", "kind": "zoo", "name": "z", "spec": {}, "context": {}, "created": 900.0, "where": "/r"}
    rows = pd.DataFrame({"status": [], "ended": [], "seconds": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Endless) as endless:
        endless.daemon_threads = True
        threading.Thread(target=endless.serve_forever, daemon=True).start()
        where = f"127.0.0.1:{endless.server_address[1]}"
        try:
            if why:
                with pytest.raises(Unreachable, match=rf"the MLflow at http://(\S+@)?{where} has no end: {why}"):
                    export(rows, tmp_path / "report", sweep, {}, f"http://user:hidden@{where}")
            else:
                assert export(rows, tmp_path / "report", sweep, {}, f"http://{where}") == "sweep"
        finally:
            endless.shutdown()
