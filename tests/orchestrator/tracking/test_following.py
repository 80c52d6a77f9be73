"""A sweep that a tracking store follows while it runs: real drivers, a real store, and a tracker of one small file."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from landsweep.orchestrator.commands import follow as following
from landsweep.orchestrator.commands.display import state, state_text
from landsweep.orchestrator.commands.follow import follow
from landsweep.orchestrator.commands.tracked import live_view
from landsweep.orchestrator.errors import StorageError, Unreachable
from landsweep.orchestrator.run.sweep import open_sweep
from landsweep.orchestrator.storage.ledger.lock import DriverLock
from tests.support.cli import LANDSWEEP, command, write_spec
from tests.support.installed import install_tracker
from tests.support.mlflow_server import bad_server, server
from tests.support.paths import ROOT

pytestmark = pytest.mark.filterwarnings("ignore")  # of MLflow's own imports

UNITS = """
import os, pathlib, time
def unit(x, gates):
    for step in range(3):
        yield {"step": step, "loss": x + 1.0 / (step + 1)}
    while x >= 2 and not pathlib.Path(gates, f"go-{x}").exists():
        time.sleep(0.1)
        step += 1
        yield {"step": step, "loss": float(x)}
"""
JSON_LINES = '''
import json
from pathlib import Path
from landsweep.orchestrator.tracking.tracker import Tracker, View

class Lines(Tracker):
    """One line of JSON for each view."""

    def check(self) -> None:
        pass

    def show(self, view: View) -> str:
        path = Path(self.uri.removeprefix("lines:"))
        curves = {u.name: u.curves for u in view.units}
        line = {"state": view.state, "progress": view.progress, "rows": len(view.rows), "curves": curves,
                "note": view.note, "report": view.report is not None, "sweep": view.sweep["id"]}
        with path.open("a") as file:
            file.write(json.dumps(line) + "\\n")
        return f"lines in {path}"
'''
T = TypeVar("T")


def eventually(look: Callable[[], T | None]) -> T:
    """What `look` gives as soon as it gives anything."""
    end = time.monotonic() + 120
    while (seen := look()) is None:
        assert time.monotonic() < end, "it never came"
        time.sleep(0.1)
    return seen


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With a spec of four units, of which the third and fourth wait until somebody lets them go."""
    (tmp_path / "gated.py").write_text(UNITS)
    write_spec(
        tmp_path,
        {
            "kind": "function",
            "name": "gated",
            "function": "gated:unit",
            "fixed": {"gates": str(tmp_path)},
            "axes": {"x": [0, 1, 2, 3]},
        },
    )
    install_tracker(tmp_path, "lines", JSON_LINES, "Lines")
    return tmp_path


def started(folder: Path, *site: str) -> subprocess.Popen[str]:
    env = {**os.environ, "PYTHONPATH": f"{folder}:{ROOT}"}
    words = [*LANDSWEEP, "run", "spec.yaml", "site.executor=local", "site.probe_seconds=0", "site.shard_seconds=0.01"]
    words += ["site.commit_seconds=0.1", "site.tracking_seconds=0.5", *site]
    return subprocess.Popen(words, cwd=folder, env=env, stderr=subprocess.PIPE, text=True)


def ended(driver: subprocess.Popen[str]) -> tuple[int, str]:
    said = driver.communicate(timeout=120)[1]
    return driver.returncode, said


def test_a_sweep_is_followed_killed_gone_on_with_stopped_and_finished(folder: Path) -> None:
    """Each view that the store gets says how the sweep stands, whatever ends the driver."""
    shown = folder / "shown.jsonl"

    def last(state: str, rows: int) -> Callable[[], dict[str, Any] | None]:
        def look() -> dict[str, Any] | None:
            lines = shown.read_text().splitlines() if shown.exists() else []
            line = json.loads(lines[-1]) if lines else {}
            return line if (line.get("state"), line.get("rows")) == (state, rows) else None

        return look

    site = f"site.tracking=lines:{shown}"
    driver = started(folder, site)
    live = eventually(last("running", 2))
    assert live["progress"]["percent"] == 50.0 and live["progress"]["workers"] == 1.0
    assert live["note"].startswith("running: 2 of 4 units") and not live["report"]
    assert live["curves"]["x=1"] == {"loss": [[0, 2.0], [1, 1.5], [2, 1 + 1 / 3]]}
    driver.kill()
    ended(driver)
    killed = eventually(last("killed", 2))
    assert killed["note"] == "2 of 4 units" and "workers" not in killed["progress"]

    driver = started(folder, site)
    (folder / "go-2").touch()
    eventually(last("running", 3))
    driver.send_signal(signal.SIGINT)
    assert ended(driver)[0] == 3
    eventually(last("killed", 3))

    (folder / "go-3").touch()
    code, said = ended(started(folder, site))
    assert code == 0 and f"lines in {shown}" in said
    end = last("finished", 4)()
    assert end is not None and end["report"] and end["progress"] == {"total": 4.0, "percent": 100.0}
    assert len({json.loads(line)["sweep"] for line in shown.read_text().splitlines()}) == 1


def test_a_driver_that_has_said_nothing_yet_is_a_running_sweep_without_a_pace(folder: Path) -> None:
    """Its preparations may last longer than the first look of a store."""
    assert command("run", "spec.yaml", "site.executor=local", "axes.x=[0, 1]", cwd=folder).returncode == 0
    where = str(folder / "results/gated")
    status = folder / "results/gated/status.json"
    status.unlink()
    assert live_view(open_sweep(where), where, most=4).state == "finished"
    sweep = open_sweep(where)
    lock = DriverLock.take(sweep.ledger.store)
    try:
        for torn in (None, b"", b"{}"):
            if torn is not None:
                status.write_bytes(torn)
            view = live_view(sweep, where, most=4)
            assert (view.state, view.progress, view.note) == ("running", {}, "2 of ? units")
            assert state_text(state(sweep.ledger)) == "gated (function): its driver is starting"
    finally:
        lock.release()


def runs(uri: str, status: str, rows: int) -> Callable[[], list[Any] | None]:
    """Looks for the sweep's run with this status and so many rows; gives it and the whole runs of its units."""
    from mlflow.tracking import MlflowClient

    def look() -> list[Any] | None:
        client = MlflowClient(tracking_uri=uri)
        found = client.search_runs([e.experiment_id for e in client.search_experiments()])
        tops = [r for r in found if "landsweep.sweep" in r.data.tags]
        fits = [r for r in tops if r.info.status == status and r.data.metrics.get("units.rows") == rows]
        units = [r for r in found if "landsweep.state" in r.data.tags]  # it is written last
        return [*fits, *units] if fits and len(units) == rows else None

    return look


@pytest.mark.slow
@pytest.mark.parametrize("store", ["file", "server"])
def test_mlflow_shows_a_running_sweep_its_units_and_their_curves(folder: Path, store: str) -> None:
    with server(folder) if store == "server" else contextlib.nullcontext(f"sqlite:///{folder}/store.db") as uri:
        check_live(folder, uri)


def check_live(folder: Path, uri: str) -> None:
    from mlflow.tracking import MlflowClient

    MlflowClient(tracking_uri=uri).search_experiments()  # makes the tables: two that do so at once break each other
    driver = started(folder, f"site.tracking={uri}")
    try:
        top, *units = eventually(runs(uri, "RUNNING", 2))
        assert top.data.metrics["progress.percent"] == 50.0 and top.data.metrics["loss.min"] > 0
        assert top.data.tags["landsweep.progress"].startswith("running: 2 of 4 units")
        assert {u.data.tags["mlflow.parentRunId"] for u in units} == {top.info.run_id}
        assert {u.info.run_name for u in units} == {"x=0", "x=1"}
        client = MlflowClient(tracking_uri=uri)
        (one,) = (u for u in units if u.info.run_name == "x=1")
        points = sorted((m.step, m.value) for m in client.get_metric_history(one.info.run_id, "curve/loss"))
        assert points == [(0, 2.0), (1, 1.5), (2, 1 + 1 / 3)]
        kind = client.get_experiment(top.info.experiment_id).tags["mlflow.experimentKind"]
        assert kind == "custom_model_development"
    finally:
        for x in (2, 3):
            (folder / f"go-{x}").touch()
        code, said = ended(driver)
    assert code == 0, said
    after, *units = runs(uri, "FINISHED", 4)() or [None]
    assert after is not None and after.info.run_id == top.info.run_id and len(units) == 4
    assert after.data.metrics["progress.percent"] == 100.0 and after.data.metrics["progress.workers"] == 0.0


def heard(driver: subprocess.Popen[str], words: str) -> str:
    """What a driver has said until these words."""
    said = ""
    while words not in said:
        assert driver.stderr is not None
        line = driver.stderr.readline()
        assert line, said
        said += line
    return said


def test_a_store_that_fails_while_a_sweep_runs_is_told_once_and_costs_nothing(folder: Path) -> None:
    driver = started(folder, f"site.tracking=lines:{folder}/absent/shown.jsonl")
    said = heard(driver, "could not be brought up to date")
    assert "FileNotFoundError" in said and "The sweep goes on, and it is tried again every 0.5 s" in said
    (folder / "go-2").touch()
    (folder / "absent").mkdir()
    said += heard(driver, "works again")
    (folder / "go-3").touch()
    code, rest = ended(driver)
    said += rest
    assert code == 0 and "done: 4 units (4 ok)" in said
    assert said.count("could not be brought up to date") == said.count("works again") == 1


@pytest.mark.slow
@pytest.mark.parametrize("how", ["fails", "hangs", "dies", "is no database"])
def test_an_mlflow_that_goes_bad_while_a_sweep_runs_is_told_once_and_at_the_end(folder: Path, how: str) -> None:
    with contextlib.ExitStack() as stack:
        uri = f"sqlite:///{folder}/store.db"
        if how == "is no database":
            (folder / "store.db").write_text("no database, but a text that is long enough to be taken for one\n" * 99)
        elif how == "dies":
            uri = stack.enter_context(server(folder))
        else:
            uri = stack.enter_context(bad_server(how))
        driver = started(folder, f"site.tracking={uri}")
        if how == "dies":
            eventually(runs(uri, "RUNNING", 2))
            stack.close()
        said = heard(driver, "could not be brought up to date")
        for x in (2, 3):
            (folder / f"go-{x}").touch()
        code, rest = ended(driver)
    said += rest
    assert code == 0 and "done: 4 units (4 ok)" in said
    assert said.count("could not be brought up to date") == 1 and said.count("No row is lost; later:") == 1


class Says:
    """A run that ends in a given way, after so many looks."""

    def __init__(self, how: str, looks: int) -> None:
        self._how, self._looks = how, looks

    def wait(self, seconds: float) -> str | None:
        assert seconds >= 60
        self._looks -= 1
        return self._how if self._looks <= 0 else None


def test_a_driver_that_raises_shows_a_failed_sweep_and_one_that_is_done_shows_its_end_itself(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(folder)
    driver = started(folder, "site.tracking=off")
    status = folder / "results" / "gated" / "status.json"
    eventually(lambda: (status.exists() and json.loads(status.read_text())["done"] == 2) or None)
    driver.kill()
    ended(driver)
    shown, said = folder / "shown.jsonl", list[str]()

    def states(how: str, looks: int) -> list[str]:
        shown.unlink(missing_ok=True)
        where = str(folder / "results" / "gated")
        run_end = Says(how, looks)
        follow(where, f"lines:{shown}", every=60, most=1, trust=True, say=said.append, run_end=run_end)
        return [json.loads(line)["state"] for line in shown.read_text().splitlines()]

    assert states("failed", 1) == ["killed", "failed"]
    assert states("", 2) == ["killed", "killed", "killed"]
    assert states("done", 2) == ["killed", "killed"], "the driver shows the end, with the report"
    assert said == []


def test_results_that_can_not_be_reached_for_a_while_are_no_end_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = [Unreachable("no answer"), StorageError("no answer"), OSError("stale file handle"), None, None]

    def ledger_at(where: str) -> Any:
        look = looks.pop(0)
        if look is not None:
            raise look
        return where

    monkeypatch.setattr(following, "ledger_at", ledger_at)
    monkeypatch.setattr(following, "_REMOTE_TICK", 0.0)
    monkeypatch.setattr(following, "state", lambda ledger: {"running": len(looks) > 0})
    assert following.RemoteRun("s3://bucket/x").wait(60) == "stopped"
    assert looks == []


@pytest.mark.slow  # the same look as when a driver is killed
def test_track_sets_the_run_of_a_killed_driver_right(folder: Path) -> None:
    driver = started(folder, "site.tracking=off")
    status = folder / "results" / "gated" / "status.json"
    eventually(lambda: (status.exists() and json.loads(status.read_text())["done"] == 2) or None)
    driver.kill()
    ended(driver)
    env = {**os.environ, "PYTHONPATH": f"{folder}:{ROOT}"}
    words = [*LANDSWEEP, "track", "results/gated", "--uri", f"lines:{folder}/shown.jsonl"]
    done = subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("lines in ")
    assert json.loads((folder / "shown.jsonl").read_text().splitlines()[-1])["state"] == "killed"
    refused = command("track", "results/none", cwd=folder, check=2)
    assert "there is no folder results/none" in refused.stderr
