"""What it costs to start: processor time of whole commands, each in a process of its own.

`python -m tests.benchmarks.startup [--quick] [--repeats N] [--against COMMAND] [--json]` prints a table and, last, one
JSON line. All times are medians of user and system time of the command and its children; other work on the machine
changes them less than elapsed time, but by up to a half all the same.

- `status_seconds`, `kinds_seconds`, `plan_seconds`: `landsweep status`, `kinds`, and `plan` of a small function sweep.
- `plan_zoo_seconds`: `plan` of the digits zoo, which needs torch.
- `first_sweep_seconds`: `run` of 50 units of 10 ms with the local executor, report and MLflow; this user's first one.
- `small_sweep_seconds`: the same when the user has run a sweep before.

`--against` names the command `landsweep` of another version: both sides take turns, and the keys that end in `_ratio`
are theirs over ours. Each side runs once unmeasured, so that its files are compiled and in memory. `--quick` repeats
once.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

from tests.support.costs import of_a_command
from tests.support.paths import ROOT

WORK = """
import time

def burn(x, y):
    end = time.process_time() + 0.01
    while time.process_time() < end:
        pass
    return {"loss": (x - 1) ** 2 + (y + 1) ** 2, "product": x * y}
"""
SPEC = """
kind: function
name: small
function: "work:burn"
axes: {x: {linear: [-1, 1, 10]}, y: {linear: [-1, 1, 5]}}
"""
OURS = str(Path(sys.executable).with_name("landsweep"))


def seconds(words: list[str], folder: Path) -> float:
    """User and system time of a command and of the children that it has waited for."""
    state = {"XDG_STATE_HOME": str(folder / "state"), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": ""}
    return of_a_command(words, folder, state)["seconds"]


def once(command: str, folder: Path) -> dict[str, float]:
    """Each command once, in an empty folder."""
    (folder / "work.py").write_text(WORK, encoding="utf-8")
    (folder / "small.yaml").write_text(SPEC, encoding="utf-8")
    run = [command, "run", "small.yaml", "site.executor=local"]
    taken = {"first_sweep_seconds": seconds(run, folder)}
    shutil.rmtree(folder / "results")
    taken["small_sweep_seconds"] = seconds(run, folder)
    taken["status_seconds"] = seconds([command, "status", "results/small"], folder)
    taken["kinds_seconds"] = seconds([command, "kinds"], folder)
    taken["plan_seconds"] = seconds([command, "plan", "small.yaml"], folder)
    zoo = str(ROOT / "sweeps/specs/zoo_digits_hyper.yaml")
    taken["plan_zoo_seconds"] = seconds([command, "plan", zoo], folder)
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--against")
    parser.add_argument("--json", action="store_true", help="only the JSON line")
    options = parser.parse_args()
    sides = [OURS, *([options.against] if options.against else [])]
    taken: dict[str, list[dict[str, float]]] = {side: [] for side in sides}
    for _ in range(2 if options.quick else options.repeats + 1):
        for side in sides:
            with tempfile.TemporaryDirectory() as folder:
                taken[side].append(once(side, Path(folder)))
    taken = {side: runs[1:] for side, runs in taken.items()}
    result: dict[str, float] = {}
    for key in taken[OURS][0]:
        values = [one[key] for one in taken[OURS]]
        result[key] = statistics.median(values)
        line = f"{key:22} {result[key]:6.2f} ({min(values):.2f} to {max(values):.2f})"
        if options.against:
            theirs = [one[key] for one in taken[options.against]]
            ratio = result[key.replace("_seconds", "_ratio")] = statistics.median(theirs) / result[key]
            line += f"   against {statistics.median(theirs):6.2f} ({min(theirs):.2f} to {max(theirs):.2f}): {ratio:.2f}"
        if not options.json:
            print(line)
    print(json.dumps({name: round(value, 3) for name, value in result.items()}))


if __name__ == "__main__":
    main()
