"""The pages in a real browser: what is shown is right, links restore it, texts of a folder stay texts."""

from __future__ import annotations

import http.server
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from landsweep import load
from landsweep.orchestrator.ui.cells import line
from tests.support.cli import LANDSWEEP, LOCAL, command, write_spec
from tests.support.hostile import HOSTILE
from tests.support.pages import EVIL
from tests.support.paths import ROOT
from tests.support.ui import Looker, Server, running_browser, running_ui

AXES = {"x": [0.5, 1.0, 1.5, 2.0, 2.5], "method": [*HOSTILE[:3], "plain"]}
COUNT = ".count"
DRAWN = "(document.querySelector('.js-plotly-plot')?.data ?? [])"
REACHED = f"(() => Math.max(-1, ...{DRAWN}.flatMap(line => line.x ?? [])))"
PLOT = ".main-svg >> nth=0"
SHOWS = {"Curves": PLOT, "Charts": PLOT, "Figures": "figure", "Failures": "details.group", "About": "table"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a sweep of hostile texts has run."""
    home = tmp_path_factory.mktemp("pages")
    spec = {"kind": "function", "name": "noisy", "function": "tests.support.pages:noisy", "axes": AXES}
    written = write_spec(home, {**spec, "description": HOSTILE[2]})
    command("run", str(written), "--out", "results/noisy", *LOCAL, cwd=home, check=1)
    return home


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with running_browser() as running:
        yield running


@pytest.fixture(scope="module")
def server(folder: Path, browser: Any) -> Iterator[Server]:
    with running_ui("results", cwd=folder) as running:
        yield running


@pytest.fixture
def looker(browser: Any, server: Server) -> Iterator[Looker]:
    """A page at the list of sweeps; nothing may go wrong on it."""
    with Looker(browser) as looking:
        looking.page.goto(server.url)
        looking.page.wait_for_selector(".card")
        yield looking
        assert not looking.wrong
        assert looking.page.evaluate("window.evil") is None and not looking.page.query_selector("evil")


@pytest.fixture
def rows(folder: Path) -> pd.DataFrame:
    return load(folder / "results" / "noisy").rows


def opened(looker: Looker) -> Any:
    looker.page.click("text=noisy")
    looker.page.wait_for_selector(".tbody .tr .key a")
    return looker.page


def test_sorting_and_filtering_give_the_right_rows_and_the_link_restores_them(
    looker: Looker, browser: Any, server: Server, rows: pd.DataFrame
) -> None:
    page = opened(looker)
    looker.until("() => document.querySelector('.count')?.textContent === '20 rows'")
    page.fill("input[data-column=x]", "0.7 .. 2.2")
    looker.until("() => document.querySelector('.count').textContent === '12 of 20 rows'")
    page.click(".th button:text-is('loss')")
    page.click(".th button:text-is('loss ▲')")
    page.fill("input[data-column=method]", "plain")
    looker.until("() => document.querySelector('.count').textContent === '3 of 20 rows'")
    wanted = rows[rows["x"].between(0.7, 2.2) & (rows["method"] == "plain")].sort_values("loss", ascending=False)
    expected = [key[:12] for key in wanted["key"]]
    looker.until("n => document.querySelectorAll('.tbody .tr').length === n", len(expected))
    assert looker.column("key") == expected
    assert looker.column("x") == ["2", "1.5", "1"]
    looker.keep("units")
    link = page.url
    with Looker(browser) as other:
        other.page.goto(server.url)
        other.page.goto(link)
        other.page.wait_for_selector(".tbody .tr .key a")
        assert other.column("key") == expected and other.page.inner_text(COUNT) == "3 of 20 rows"
        assert other.page.input_value("input[data-column=x]") == "0.7 .. 2.2" and not other.wrong
    with page.expect_download() as download:
        page.click("text=CSV")
    assert list(pd.read_csv(download.value.path())["key"]) == list(wanted["key"])
    with page.expect_download() as download:
        page.click("text=Parquet")
    assert list(pd.read_parquet(download.value.path())["loss"]) == list(wanted["loss"])


def test_a_filter_that_can_not_be_read_says_so_and_the_next_one_counts(looker: Looker) -> None:
    page = opened(looker)
    page.fill("input[data-column=x]", "< many")
    page.wait_for_selector("text=is no number")
    looker.wrong.clear()  # the browser notes the refusal
    page.fill("input[data-column=x]", "< 1")
    looker.until("() => document.querySelector('.count').textContent === '4 of 20 rows'")
    assert not page.query_selector("text=is no number")


def test_hostile_texts_are_texts_on_every_page(looker: Looker, rows: pd.DataFrame) -> None:
    page = opened(looker)
    assert {line(text) for text in AXES["method"]} == {*looker.column("method")}
    for tab in SHOWS:
        page.click(f".tabs >> text={tab}")
        page.wait_for_selector({"Failures": "details.group", "About": "table", "Figures": "figure"}.get(tab, PLOT))
    assert HOSTILE[2] in page.inner_text("pre >> nth=0")
    page.click(".tabs >> text=Failures")
    page.wait_for_selector("details.group")
    shown = page.inner_text("details.group pre")
    assert "<script>window.evil = 1</script>" in shown and "\\x1b[31m" in shown and "\u202e" not in shown
    page.click("details.group a")
    page.wait_for_selector("text=compute it again, alone")
    assert EVIL[-1000:] in page.inner_text("pre.error")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    looker.until("() => document.querySelector('main').innerText.includes('<b>bold</b>')")  # curves come last
    page.go_back()
    page.wait_for_selector("details.group")


@pytest.mark.slow
def test_one_unit_shows_its_row_and_its_curves(looker: Looker, rows: pd.DataFrame) -> None:
    page = opened(looker)
    row = rows[rows["method"] == "plain"].iloc[0]
    page.goto(page.url.replace("/sweep/", "/unit/") + f"/{row['key']}")
    page.wait_for_selector(".panels .main-svg")
    text = page.inner_text("main")
    assert row["key"] in text and "plain" in text and f"landsweep logs results/noisy --unit {row['key']}" in text


@pytest.mark.slow
def test_figures_are_those_of_the_report_and_can_be_saved(looker: Looker) -> None:
    page = opened(looker)
    page.click(".tabs >> text=Figures")
    page.wait_for_selector(PLOT)
    for words, begin in (("PNG", b"\x89PNG"), ("SVG", b"<?xml"), ("numbers as CSV", b"panel,mark")):
        with page.expect_download() as download:
            page.click(f"figure a:text-is('{words}') >> nth=0")
        assert Path(download.value.path()).read_bytes().startswith(begin)
    page.click(".tabs >> text=Charts")
    page.wait_for_selector(".axis .handle >> nth=0")
    for words, begin in (("PNG", b"\x89PNG"), ("SVG", b"<svg")):
        with page.expect_download() as download:
            page.click(f".files >> text={words}")
        assert Path(download.value.path()).read_bytes().startswith(begin)


@pytest.mark.slow
def test_an_axis_of_the_parallel_coordinates_filters(looker: Looker) -> None:
    """Even if the charts are drawn again while it is pulled, as those of a running sweep are."""
    page = opened(looker)
    page.click(".tabs >> text=Charts")
    handle = page.locator(".axis:has(.name:text-is('x')) .handle")
    handle.hover(position={"x": 14, "y": 130})  # x = 1.7
    page.mouse.down()
    page.evaluate("document.querySelector('.js-plotly-plot').on('plotly_react', () => (window.again = true))")
    page.select_option("select[aria-label=colour]", "-")
    looker.until("() => window.again")
    handle.hover(position={"x": 14, "y": 322}, force=True)
    page.mouse.up()
    page.wait_for_selector(".chip")
    page.click(".tabs >> text=Units")
    looker.until("() => document.querySelector('.count')?.textContent === '12 of 20 rows'")
    assert {*looker.column("x")} == {"0.5", "1", "1.5"}


def test_a_curve_appears_while_the_sweep_runs(browser: Any, tmp_path: Path) -> None:
    axes = {"i": [0, 1, 2], "folder": [str(tmp_path)]}
    spec = {"kind": "function", "name": "live", "function": "tests.support.pages:gated", "axes": axes}
    site = [
        "--site",
        "local",
        "site.tracking=off",
        "site.workers=1",
        "site.commit_seconds=0.000001",
        "site.shard_seconds=0.01",
    ]
    words = [*LANDSWEEP, "run", str(write_spec(tmp_path, spec)), "--out", "results/live", *site]
    (tmp_path / "results").mkdir()
    with running_ui("results", cwd=tmp_path) as server, Looker(browser) as looker:
        looker.page.goto(server.url)
        looker.page.wait_for_selector("text=There are no sweeps")
        run = subprocess.Popen(words, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)})
        try:
            looker.page.click("text=live")
            looker.page.click(".tabs >> text=Curves")
            looker.page.wait_for_selector(".badge.running")
            looker.page.wait_for_selector("text=and 1 that still run")
            looker.page.wait_for_selector(".scatterlayer .trace")
            looker.until(f"() => {REACHED}() >= 0")  # the plot may be on its way to be drawn again
            most = looker.page.evaluate(f"{REACHED}()")
            looker.until(f"most => {REACHED}() > most", most)  # it grows while its unit runs
            (tmp_path / "go-0").touch()
            looker.page.wait_for_selector("text=The first 1 units")
            (tmp_path / "go-1").touch()
            looker.page.wait_for_selector("text=The first 2 units")
            looker.until("() => document.querySelectorAll('.scatterlayer .trace').length === 3")
            (tmp_path / "go-2").touch()
            looker.page.wait_for_selector(".badge.done")
            looker.until("() => document.querySelectorAll('.scatterlayer .trace').length === 3")
            assert run.wait(60) == 0
        finally:
            run.kill()
            run.wait()
        assert not looker.wrong


@pytest.mark.slow
def test_a_link_with_a_question_does_not_run_it(looker: Looker, server: Server) -> None:
    pytest.importorskip("duckdb", reason="DuckDB is not installed: pip install 'landsweep[ui]'")
    asked: list[str] = []
    looker.page.on("request", lambda request: asked.append(request.url))
    link = f"{server.base}/sql?q=select+41+%2B+1+as+answer"
    looker.page.goto(link)
    looker.page.wait_for_selector("dl")
    assert looker.page.input_value("textarea") == "select 41 + 1 as answer"
    assert not [url for url in asked if "/api/sql?" in url]
    looker.page.click("button:text-is('Run')")
    looker.page.wait_for_selector("td:text-is('42')")
    looker.page.reload()  # one that was run in this tab is run again
    looker.page.wait_for_selector("td:text-is('42')")
    looker.page.goto(link.replace("41", "1"))
    looker.page.wait_for_selector("dl")
    assert looker.page.query_selector("td") is None


def test_a_page_of_another_site_learns_nothing(looker: Looker, server: Server) -> None:
    """The browser has the cookie; another origin on the same host, so the nearest there is, tries all ways to ask."""
    target = f"{server.base}/api/sweeps"
    attack = f"""<!doctype html><iframe src="{server.base}/"></iframe><img src="{server.base}/static/icon.svg"
        onerror="window.image = 'refused'" onload="window.image = 'shown'"><script>
        Promise.all(['cors', 'no-cors'].map(mode => fetch({target!r}, {{mode, credentials: 'include'}})
            .then(a => a.text(), () => 'refused'))).then(a => window.learnt = a)</script>"""

    class Attacker(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(attack.encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Attacker) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        try:
            looker.page.goto(f"http://127.0.0.1:{other.server_port}/")
            looker.until("() => window.learnt && window.image")
            learnt, image = looker.page.evaluate("[window.learnt, window.image]")
            frame = looker.page.frames[1]
            assert frame.query_selector("#page") is None
        finally:
            other.shutdown()
    assert image == "refused" and all(text in ("refused", "") for text in learnt), learnt
    looker.wrong.clear()  # the browser notes each refusal
    looker.page.goto(server.base)
    looker.page.wait_for_selector(".card")
