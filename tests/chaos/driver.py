"""A driver process for tests that kill: `python -m tests.chaos.driver RESULTS JSON`.

The JSON holds `units` or a whole `spec`, `site`, and optionally `point`, `nth`, `after`: where to kill this process.
With `rerun` the failed rows are computed again. The first line that is printed says that the imports are done.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

from landsweep.orchestrator.kind import kind_named
from landsweep.orchestrator.run.start import run_sweep
from landsweep.orchestrator.site import Site
from landsweep.orchestrator.spec import parse
from landsweep.orchestrator.storage.ledger import Ledger, Store
from landsweep.orchestrator.testing.chaos import kill_at
from landsweep.orchestrator.testing.kind_suite import QuietWatch


def work(i: int, seconds: float = 0.0) -> Generator[dict[str, float], None, dict[str, float]]:
    """A unit with a series and a result that depend on its params, and a time."""
    for step in range(2):
        yield {"step": step, "half": i / 2 + step}
        time.sleep(seconds / 2)
    return {"square": float(i * i), "root": i**0.5}


def spec_data(units: int, seconds: float) -> dict[str, Any]:
    return {
        "kind": "function",
        "name": "chaos",
        "function": "tests.chaos.driver:work",
        "fixed": {"seconds": seconds},
        "axes": {"i": {"range": units}},
    }


def failed(where: str) -> list[str]:
    rows = Ledger.open(Store.at(where)).rows(["key", "status"]).to_pylist()
    return [row["key"] for row in rows if row["status"] == "failed"]


def main() -> None:
    where, told = sys.argv[1], json.loads(sys.argv[2])
    data = told.get("spec") or spec_data(told["units"], told.get("seconds", 0.0))
    kind = kind_named(data["kind"])
    spec = parse(kind.spec, data, "chaos")
    hook = kill_at(told["point"], told.get("nth", 1), told.get("after", 0.0)) if "point" in told else None
    site = Site(**{"tracking": False, **told.get("site", {})})
    again = failed(where) if told.get("rerun") else ()
    print("begun", flush=True)
    end = run_sweep(kind, spec, site, where, folder=Path.cwd(), watch=QuietWatch(), hook=hook, again=again)
    print(json.dumps({"phase": end.phase, "new": end.new, "done": end.done}))


if __name__ == "__main__":
    main()
