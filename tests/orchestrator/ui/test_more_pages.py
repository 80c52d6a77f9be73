"""Pages in a real browser that take longer: comparisons, SQL, an object store, a training, parts that are merged."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from landsweep.orchestrator.storage.ledger import Ledger, Store
from tests.support.cli import LANDSWEEP, LOCAL, command, write_spec
from tests.support.paths import ROOT
from tests.support.s3 import running_s3
from tests.support.ui import Looker, running_browser, running_ui
from tests.support.zoos import SMALL_RECIPE

pytestmark = pytest.mark.slow

INSIDE = """() => [...document.querySelectorAll('.plot')].every(box =>
    box.getBoundingClientRect().bottom >= box.querySelector('.main-svg').getBoundingClientRect().bottom)"""
NOISY = {"kind": "function", "function": "tests.support.pages:noisy"}
MERGING = """
import sys
from pathlib import Path
from landsweep.orchestrator.row import RowMaker, Outcome
from landsweep.orchestrator.run.manifest import new_manifest
from landsweep.orchestrator.run.sweep import spec_from
from landsweep.orchestrator.storage.ledger import Ledger, Store
where, end = map(Path, sys.argv[1:])
fields = {"kind": "function", "name": "many", "function": "m:f", "axes": {"x": {"range": 1000000}}}
kind, spec = spec_from(fields, [], "s", where)
where.mkdir(parents=True)
ledger, count = Ledger.create(Store.at(where), new_manifest(kind, spec, where)), 0
maker, planner = RowMaker(kind.params(spec), None), kind.planner(spec)
with ledger.writing() as writer:
    while not end.exists():
        some = planner.ask(10)
        writer.append(maker.batch(some, [Outcome(u.key, {"y": float(u.params["x"])}) for u in some], [{}] * len(some)))
        writer.commit()
        count += len(some)
        if count == 10:
            print("begun", flush=True)
print(count)
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with running_browser() as running:
        yield running


def ran(home: Path, name: str, axes: dict[str, Any], out: str = "") -> str:
    out = out or f"results/{name}"
    written = write_spec(home, {**NOISY, "name": name, "axes": axes}, f"{name}.yaml")
    command("run", str(written), "--out", out, *LOCAL, cwd=home)
    return out


def test_two_sweeps_are_compared_and_the_link_restores_the_metric(browser: Any, tmp_path: Path) -> None:
    ran(tmp_path, "near", {"x": [0.5, 1.0], "method": ["a"]})
    ran(tmp_path, "far", {"x": [1.5, 2.0, 0.25], "method": ["a", "<b>b</b>"]})
    with running_ui("results", cwd=tmp_path) as server, Looker(browser) as looker:
        page = looker.page
        page.goto(server.url)
        page.wait_for_selector(".card")
        for box in page.query_selector_all(".card input[type=checkbox]"):
            box.check()
        page.click("text=compare")
        page.wait_for_selector(".main-svg")
        page.select_option("select[aria-label=metric]", "i")
        looker.until("() => document.querySelector('.js-plotly-plot')?.data[0].y.some(v => v >= 5)")
        link = page.url
        assert "metric=i" in link
        looker.keep("compare")
        page.goto(link)
        page.wait_for_selector(".main-svg")
        drawn = page.evaluate("document.querySelector('.js-plotly-plot').data.map(line => [line.name, line.y])")
        assert dict(drawn) == {"near": [5, 10], "far": [2, 2, 15, 15, 20, 20]}
        assert page.evaluate(INSIDE), "the drawing leaves its box"
        line = page.inner_text("tr:has(td:text-is('loss'))")
        assert "0.5 to 1" in line and "0.25 to 2" in line
        assert "axes.x" in page.inner_text("pre") and page.query_selector("main pre b") is None
        assert not looker.wrong


def test_a_question_in_sql_is_answered_and_saved(browser: Any, tmp_path: Path) -> None:
    pytest.importorskip("duckdb", reason="DuckDB is not installed: pip install 'landsweep[ui]'")
    ran(tmp_path, "near", {"x": [0.5, 1.0], "method": ["a", "b"]})
    with running_ui("results", cwd=tmp_path) as server, Looker(browser) as looker:
        page = looker.page
        page.goto(server.url)
        page.wait_for_selector(".card")
        page.click(".tools >> text=SQL")
        page.fill("textarea", "select method, sum(loss) as s, count(*) as n from near group by method order by method")
        page.keyboard.press("Control+Enter")
        page.wait_for_selector("table td")
        assert [r.split("\t") for r in page.inner_text("tbody").splitlines()] == [["a", "1.5", "2"], ["b", "1.5", "2"]]
        with page.expect_download() as download:
            page.click("main >> text=CSV")
        assert list(pd.read_csv(download.value.path())["s"]) == [1.5, 1.5]
        page.fill("textarea", "select max(step) as last from near_series")
        page.click("button:text-is('Run')")
        page.wait_for_selector("td:text-is('4')")
        looker.keep("sql")
        assert not looker.wrong
        page.fill("textarea", "copy near to 'x.csv'")
        page.click("button:text-is('Run')")
        page.wait_for_selector("pre.error")
        assert not (tmp_path / "x.csv").exists()


def test_a_sweep_in_an_object_store(browser: Any, tmp_path: Path) -> None:
    with running_s3() as s3:
        url = f"s3://{s3.bucket}/looked/at"
        ran(tmp_path, "far", {"x": [0.5, 1.0, 2.0], "method": ["a"]}, url)
        with running_ui(url, cwd=tmp_path) as server, Looker(browser) as looker:
            page = looker.page
            page.goto(server.url)
            page.click("text=far")
            page.wait_for_selector(".tbody .tr .key a")
            page.fill("input[data-column=x]", "> 0.7")
            looker.until("() => document.querySelector('.count').textContent === '2 of 3 rows'")
            assert sorted(looker.column("x")) == ["1", "2"]
            page.click(".tabs >> text=Curves")
            page.wait_for_selector(".scatterlayer .trace")
            looker.until("() => document.querySelectorAll('.scatterlayer .trace').length === 2")
            page.click(".tabs >> text=Figures")
            page.wait_for_selector("figure")
            assert not looker.wrong


def test_curves_of_a_training_are_seen_before_its_end(browser: Any, tmp_path: Path) -> None:
    recipe = {**SMALL_RECIPE, "steps": 1_000_000, "evaluate": {"every_steps": 50}, "checkpoints": {"at_steps": []}}
    spec = {"kind": "zoo", "name": "trained", "recipe": recipe, "seeds": {"range": 2}}
    words = [*LANDSWEEP, "run", str(write_spec(tmp_path, spec)), "--out", "results/trained", *LOCAL]
    (tmp_path / "results").mkdir()
    with running_ui("results", cwd=tmp_path) as server, Looker(browser) as looker:
        run = subprocess.Popen(words, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)})
        try:
            looker.page.goto(server.url)
            deadline = time.monotonic() + 300  # torch is imported, and packs are timed
            while not (tmp_path / "results/trained/running.json").exists():
                assert run.poll() is None and time.monotonic() < deadline
                time.sleep(0.1)
            looker.page.click("text=trained")
            looker.page.click(".tabs >> text=Curves")
            looker.page.wait_for_selector("text=that still run")
            looker.until("() => document.querySelector('.js-plotly-plot')?.data?.some(line => line.x.length > 2)")
            looker.keep("training")
        finally:
            run.kill()
            run.wait()
        assert not looker.wrong


def test_reading_while_parts_are_merged_gives_each_row_once(tmp_path: Path) -> None:
    where, end = tmp_path / "results" / "many", tmp_path / "end"
    (tmp_path / "results").mkdir()
    env, command = {**os.environ, "PYTHONPATH": str(ROOT)}, [sys.executable, "-c", MERGING, where, end]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as writer:
        assert writer.stdout is not None
        try:
            assert writer.stdout.readline() == "begun\n"
            with running_ui("results", cwd=tmp_path) as server:
                headers = {"cookie": server.cookie(), "host": server.base.removeprefix("http://")}
                id_ = json.loads(server.ask("/api/sweeps", headers)[2])["sweeps"][0]["id"]
                address, counts = f"/api/sweeps/{id_}/rows?limit=1000&column=key&column=x&column=y", [0]
                while len(counts) < 30 or counts[-1] == counts[1]:
                    status, _, answer = server.ask(address, headers)
                    page = json.loads(answer)
                    assert status == 200, page
                    rows = page["rows"]
                    assert len(set(rows["key"])) == len(rows["key"]) and rows["x"] == rows["y"]
                    assert counts[-1] <= page["count"]
                    counts.append(page["count"])
        finally:
            end.touch()
        written = int(writer.stdout.readline())
    assert counts[-1] <= written == len(Ledger.open(Store.at(where)).rows())
    assert len(list((where / "rows").iterdir())) < written / 10 / 2, "parts were to be merged"
