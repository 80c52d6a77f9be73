"""A table of a million rows in a real browser: until its first rows are seen, filtered, sorted, scrolled.

    python -m tests.benchmarks.ui [--quick] [--rows 1000000] [--repeats 5]

A time is that from the click or the last key to the painted rows, the pause after a key (80 ms) included. `--quick`
takes 50,000 rows and two repeats.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from landsweep.orchestrator.row import Column, RowMaker
from landsweep.orchestrator.run.manifest import new_manifest
from landsweep.orchestrator.run.sweep import spec_from
from landsweep.orchestrator.storage.ledger import Ledger, Store
from tests.support.ui import SECONDS, Looker, Server, running_browser, running_ui

PART = 50_000
OPTIMIZERS = ("sgd", "adam", "adamw", "lion")


def write_rows(where: Path, count: int) -> None:
    """A sweep with so many rows of 5 params, 5 metrics and the meters."""
    spec = {
        "kind": "function", "name": "large", "function": "landsweep.sweeps.function.examples:descend",
        "axes": {"learning_rate": [0.1], "width": [8], "momentum": [0.9], "optimizer": ["sgd"], "seed": [0]},
    }  # fmt: skip
    kind, parsed = spec_from(spec, [], "spec", where)
    where.mkdir(parents=True)
    ledger = Ledger.create(Store.at(where), new_manifest(kind, parsed, where))
    params = [
        Column("learning_rate", ""), Column("width", "", type="int"), Column("momentum", ""),
        Column("optimizer", "", type="text"), Column("seed", "", type="int"),
    ]  # fmt: skip
    names = ("train_loss", "test_loss", "test_accuracy", "grad_norm", "sharpness")
    schema = RowMaker(params, [Column(name, "") for name in names]).schema()
    draw = np.random.default_rng(0)
    with ledger.writing() as writer:
        for first in range(0, count, PART):
            n = min(PART, count - first)
            numbers = [draw.gamma(2.0, 0.3, n) for _ in names]
            columns: list[Any] = [
                [f"{i:016x}{i:016x}" for i in draw.integers(2**62, size=n)],
                10 ** draw.uniform(-4, 0, n), 2 ** draw.integers(3, 11, n), draw.choice(10, n) * 0.1,
                draw.choice(OPTIMIZERS, n), np.arange(first, first + n), *numbers,
                ["ok"] * n, [None] * n, [None] * n, np.ones(n, int), [f"host-{i % 8}" for i in range(n)],
                1.7e9 + np.arange(first, first + n), draw.gamma(2.0, 1.0, n), draw.gamma(2.0, 1.0, n), [512.0] * n,
            ]  # fmt: skip
            arrays = [pa.array(c, type=f.type) for c, f in zip(columns, schema, strict=True)]
            writer.append(pa.RecordBatch.from_arrays(arrays, schema=schema))
            writer.commit()


def timed(looker: Looker, act: Callable[[], object], seen: str, argument: object = None) -> float:
    """Seconds from an act until something is seen; looked at every frame."""
    began = time.perf_counter()
    act()
    while not looker.page.evaluate(seen, argument):
        if time.perf_counter() - began > SECONDS:
            raise TimeoutError(f"not seen: {seen}, {argument}")
    looker.page.evaluate("() => new Promise(requestAnimationFrame)")
    return time.perf_counter() - began


ROWS = "() => document.querySelectorAll('.tbody .tr .key a').length > 10"
COUNT = "was => { const now = document.querySelector('.count').textContent; return now && now !== was; }"
FIRST = "was => { const now = document.querySelector('.tbody .tr .key a'); return now && now.textContent !== was; }"

SCROLL = "share => { const grid = document.querySelector('.grid'); grid.scrollTop = grid.scrollHeight * share; }"


def measure(server: Server, browser: Any, repeats: int) -> dict[str, list[float]]:
    """Seconds of each act, several times; the first opening reads the rows if the server has not done so yet."""
    times: dict[str, list[float]] = {}
    with Looker(browser) as looker:
        page = looker.page
        page.goto(server.url)
        page.wait_for_selector(".card")
        times["open, at once after the start"] = [timed(looker, lambda: page.click("text=large"), ROWS)]
        for i in range(repeats):
            page.click(".home")
            page.wait_for_selector(".card")
            times.setdefault("open", []).append(timed(looker, lambda: page.click("text=large"), ROWS))
            for column, value in (("test_loss", f"< 0.{i + 1}1"), ("optimizer", "adam"), ("key", f"a{i}")):
                was = page.inner_text(".count")
                act = lambda column=column, value=value: page.fill(f"input[data-column={column}]", value)  # noqa: E731
                times.setdefault(f"filter {column}", []).append(timed(looker, act, COUNT, was))
                was = page.inner_text(".count")
                timed(looker, lambda column=column: page.fill(f"input[data-column={column}]", ""), COUNT, was)
            for column in ("sharpness", "optimizer"):
                was = looker.column("key")[0]
                act = lambda column=column: page.click(f".th button:text-is('{column}')")  # noqa: E731
                times.setdefault(f"sort by {column}", []).append(timed(looker, act, FIRST, was))
            was = looker.column("key")[0]
            act = lambda share=0.2 + 0.1 * i: page.evaluate(SCROLL, share)  # noqa: E731
            times.setdefault("scroll far", []).append(timed(looker, act, FIRST, was))
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="50,000 rows, two repeats")
    parser.add_argument("--rows", type=int)
    parser.add_argument("--repeats", type=int)
    given = parser.parse_args()
    rows, repeats = given.rows or (50_000 if given.quick else 1_000_000), given.repeats or (2 if given.quick else 5)
    with tempfile.TemporaryDirectory() as folder:
        write_rows(Path(folder) / "results" / "large", rows)
        with running_browser() as browser, running_ui("results", cwd=Path(folder)) as server:
            for name, seconds in measure(server, browser, repeats).items():
                spread = f"{min(seconds):.3f} to {max(seconds):.3f}, n = {len(seconds)}"
                print(f"{name}: median {statistics.median(seconds):.3f} s ({spread})")


if __name__ == "__main__":
    main()
