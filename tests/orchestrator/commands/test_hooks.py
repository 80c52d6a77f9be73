"""`site.notify`: a command or an address hears once of failures, a standstill and the end, and never harms the run."""

from __future__ import annotations

import http.server
import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from landsweep.orchestrator.commands.hooks import Notifier
from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.run.progress import Snapshot
from landsweep.orchestrator.site import Site
from tests.support.app import app
from tests.support.cli import write_spec

WRITE = """
import os, sys
with open("told", "a") as file:
    print(os.environ["LANDSWEEP_EVENT"], os.environ["LANDSWEEP_DONE"], sys.argv[-1], file=file)
"""
UNITS = """
def unit(x):
    if x == 1:
        raise ValueError("no")
    return {"y": x}
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "hooked.py").write_text(UNITS)
    (tmp_path / "write.py").write_text(WRITE)
    write_spec(tmp_path, {"kind": "function", "name": "h", "function": "hooked:unit", "axes": {"x": [0, 1, 2]}})
    yield tmp_path
    sys.modules.pop("hooked", None)


def run(notify: str, *more: str) -> Any:
    words = ["run", "spec.yaml", "--site", "local", "site.tracking=off", "site.probe_seconds=0", *more]
    return CliRunner().invoke(app, [*words, f"site.notify={json.dumps(notify)}"])


def test_a_command_hears_of_failures_and_of_the_end(here: Path) -> None:
    done = run(f"{sys.executable} write.py")
    assert done.exit_code == 1, done.output
    lines = sorted((here / "told").read_text().splitlines())
    assert [line.split()[0] for line in lines] == ["done", "failures"]
    assert lines[0] == "done 3 landsweep h: done, 3 of 3 units, 1 failed (results/h)"


@pytest.mark.parametrize(
    "notify", ["/no/such/program", f"{sys.executable} -c 'raise SystemExit(7)'", "http://127.0.0.1:9/no address"]
)
def test_a_command_that_fails_is_a_line(here: Path, notify: str) -> None:
    done = run(notify, "axes.x=[0]")
    assert done.exit_code == 0, done.output
    assert done.output.count("site.notify: ") == 1 and "was not told of 'done'" in done.output


def test_an_address_gets_json_and_its_secrets_stay_secret(here: Path) -> None:
    heard: list[dict[str, Any]] = []

    class Hook(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(500 if self.path.startswith("/bad") else 200)
            self.end_headers()

        def log_message(self, *given: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}"
        assert run(address, "axes.x=[0,2]").exit_code == 0
        bad = run(f"{address}/bad?token=hunter2", "axes.x=[0,2]", "name=again")
        server.shutdown()
    assert heard[0]["event"] == "done" and (heard[0]["done"], heard[0]["total"]) == (2, 2)
    assert heard[0]["text"] == "landsweep h: done, 2 of 2 units, 0 failed (results/h)"
    assert bad.exit_code == 0 and "HTTP Error 500" in bad.output and "hunter2" not in bad.output


@pytest.mark.parametrize(
    "notify",
    [
        "no-program -u :hunter2 https://chat.example/hook", "http://ann:hunter2@127.0.0.1:9/x", "http://127.0.0.1:9/hunter2",
        f"{sys.executable} -c 'raise SystemExit(\"at https://chat.example/hook/hunter2, password=hunter2\")'",
        "no-program https://chat.example/hunter2",
    ],
)  # fmt: skip
def test_what_was_not_told_shows_no_secret(here: Path, notify: str) -> None:
    done = run(notify, "axes.x=[0]")
    assert done.exit_code == 0 and "was not told of 'done'" in done.output and "hunter2" not in done.output
    written = [path for path in (here / "results").rglob("*") if path.is_file()]
    assert written and not [path for path in written if b"hunter2" in path.read_bytes()]


@pytest.mark.parametrize("notify", ["htp://x/hunter2", "HTTPS://x/hunter2", "https:/x/hunter2"])
def test_an_address_of_another_scheme_is_no_command(here: Path, notify: str) -> None:
    done = run(notify, "axes.x=[0]")
    assert isinstance(done.exception, SpecError) and "hunter2" not in done.output + str(done.exception)
    assert "an address begins with http:// or https://" in str(done.exception)


class Quiet:
    def say(self, text: str) -> None:
        raise AssertionError(text)

    def show(self, snapshot: Snapshot) -> None:
        pass


def test_a_run_that_raises_is_told_as_failed(here: Path) -> None:
    site = Site(notify=f"{sys.executable} write.py")
    with pytest.raises(ZeroDivisionError), Notifier(Quiet(), site, "s", "r") as watch:
        watch.show(Snapshot("checking", 4, 0, 0, {}, 0.0, None, 1, 4.0))
        watch.show(Snapshot("running", 4, 2, 0, {"ok": 1, "failed": 1}, 0.0, None, 1, 5.0))
        _ = 1 / 0
    events = [line.split()[0] for line in (here / "told").read_text().splitlines()]
    assert events == ["failed"], "the unit that failed in an earlier run is no news"


STUCK = """
import json, pathlib, time
def unit(x):
    assert json.loads(pathlib.Path("results/h/status.json").read_text())["phase"] == "running"
    end = time.monotonic() + 120
    while "stalled" not in (pathlib.Path("told").read_text() if pathlib.Path("told").exists() else ""):
        assert time.monotonic() < end, "nobody was told"
        time.sleep(0.05)
    return {"y": x}
"""


def test_a_standstill_is_told_while_the_unit_that_stands_still_has_this_process(here: Path) -> None:
    (here / "hooked.py").write_text(STUCK)
    done = run(f"{sys.executable} write.py", "axes.x=[0,1]", "site.stall_seconds=0.2")
    assert done.exit_code == 0, done.output
    events = [line.split()[0] for line in (here / "told").read_text().splitlines()]
    assert events == ["stalled", "done"], "once, however long it lasts"
