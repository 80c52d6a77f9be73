"""The web application as a user starts it, in a process of its own, and a real browser that looks at it."""

from __future__ import annotations

import http.client
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import pytest

from tests.support.cli import LANDSWEEP
from tests.support.paths import ROOT

SECONDS = 180  # generous: what is waited for comes as soon as the machine gets to it
_CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


Answer: TypeAlias = tuple[int, dict[str, str], bytes]


@dataclass(frozen=True)
class Server:
    """A running `landsweep ui`.

    Attributes:
        url: as it was printed, with the token.
        process: its process.
    """

    url: str
    process: subprocess.Popen[str]

    @property
    def base(self) -> str:
        """The address without the token."""
        return self.url.partition("/?")[0]

    @property
    def port(self) -> int:
        return int(self.base.rpartition(":")[2])

    def ask(
        self, path: str, headers: Mapping[str, str] | None = None, method: str = "GET"
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of an answer."""
        connection = http.client.HTTPConnection(urlsplit(self.base).hostname or "", self.port, timeout=SECONDS)
        try:
            connection.putrequest(method, path, skip_host="host" in (headers or {}))
            for name, value in (headers or {}).items():
                connection.putheader(name, value)
            connection.endheaders()
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def cookie(self) -> str:
        """What the browser gets for the token."""
        _, headers, _ = self.ask(self.url.removeprefix(self.base))
        return headers["set-cookie"].partition(";")[0]


@contextmanager
def running_ui(*words: str, cwd: Path, port: int = 0) -> Iterator[Server]:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    command = [*LANDSWEEP, "ui", *words, "--port", str(port)]
    with (cwd / "ui-errors.txt").open("w") as errors:
        process = subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, stderr=errors, text=True, env=env)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url, (cwd / "ui-errors.txt").read_text()
        yield Server(url, process)
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


@contextmanager
def running_browser() -> Iterator[Any]:
    """A headless Chromium of this machine; without one, or without Playwright, the test is skipped."""
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: no browser is driven")
    path = next(filter(None, map(shutil.which, _CHROMIUMS)), None)
    if path is None:
        pytest.skip("no Chromium on this machine (apt-get install chromium): no page is looked at")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


class Looker:
    """A page of the browser that notes whatever goes wrong on it."""

    def __init__(self, browser: Any, **options: Any) -> None:
        self.context = browser.new_context(viewport={"width": 1280, "height": 860}, **options)
        self.page = self.context.new_page()
        self.page.set_default_timeout(SECONDS * 1000)
        self.wrong: list[str] = []
        self.page.on("console", lambda m: self.wrong.append(m.text) if m.type == "error" else None)
        self.page.on("pageerror", lambda e: self.wrong.append(str(e)))
        self.page.on("dialog", lambda d: (self.wrong.append(f"dialog: {d.message}"), d.dismiss()))

    def __enter__(self) -> Looker:
        return self

    def __exit__(self, *error: object) -> None:
        self.context.close()

    def keep(self, name: str) -> None:
        """Keep a picture of the page, to be looked at, where LANDSWEEP_SCREENSHOTS names a folder for them."""
        if folder := os.environ.get("LANDSWEEP_SCREENSHOTS"):
            self.page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)

    def column(self, name: str) -> list[str]:
        """The cells of a column of the table of units, from the top, of the rows that are drawn, once there are any.

        The table is drawn again as its page takes shape, and has no rows for a moment.
        """
        script = """name => {
            const heads = [...document.querySelectorAll('.thead .tr:first-child .th')];
            const place = heads.findIndex(h => h.textContent.replace(/ [▲▼]$/, '') === name);
            return [...document.querySelectorAll('.tbody .tr')]
                .sort((a, b) => a.ariaRowIndex - b.ariaRowIndex).map(r => r.children[place].textContent);
        }"""
        cells: list[str] = []
        end = time.monotonic() + SECONDS
        while not cells and time.monotonic() < end:
            cells = self.page.evaluate(script, name)
            self.page.wait_for_timeout(50)
        return cells

    def until(self, script: str, argument: object = None) -> None:
        """Wait until a condition holds on the page, whose policy forbids the browser's own way to wait for one."""
        end = time.monotonic() + SECONDS
        while not self.page.evaluate(script, argument):
            assert time.monotonic() < end, (script, argument, self.page.inner_text("body")[:3000])
            self.page.wait_for_timeout(50)
