"""A script in a sweep against the same script started by hand, side by side in one run; one worker.

`python -m tests.benchmarks.scripts [--quick] [--json]` prints a table and, last, one JSON line.

The script computes for a given time of its own processor, prints its loss and ends. By hand: one `subprocess.run` after
the other. Ours: a `command` session, which gives each unit a folder, follows what it prints, and guards its processes.
Both take turns, and the seconds that a unit takes more are divided by the unit's seconds.

- `command_overhead`: at units of 10 s: the median of the seconds that one unit takes more, over 10 s. The seconds per
  unit do not depend on the unit's length (the table shows both lengths), so they are measured on short ones.
- `units_per_second`: of `true`, through a whole sweep in this process, from the first unit to the last commit.
- `by_hand_per_second`: of `true`, by `subprocess.run`.
- `loop_ratio`: tokens/s of a recipe's language model over those of a plain loop, in turns (`big_model.py`): the median
  of the pairs' ratios, of which `loop_ratio_low` and `loop_ratio_high` are the quartiles.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from landsweep.orchestrator.kind import Workbench
from landsweep.orchestrator.spec import parse
from landsweep.orchestrator.storage.artifacts import Artifacts
from landsweep.orchestrator.testing.kind_suite import run_example
from landsweep.sweeps.command.kind import CommandKind, CommandSpec
from tests.benchmarks.big_model import paces, recipe_of

SCRIPT = """
import sys, time
end = time.monotonic() + float(sys.argv[1])
step = 0
while time.monotonic() < end:
    time.sleep(min(0.05, max(0.0, end - time.monotonic())))
    step += 1
    print(f"step {step} loss {1 / step}", flush=True)
"""
KIND = CommandKind()
LONG = 10.0  # s


def spec(run: list[str], units: int, metrics: dict[str, Any]) -> CommandSpec:
    command = {"run": [*run, "{unit}"], "metrics": metrics, "keep": "failed"}
    return parse(CommandSpec, {"name": "bench", "command": command, "axes": {"unit": {"range": units}}}, "bench")


def seconds_of(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def differences(folder: Path, seconds: float, units: int) -> list[float]:
    """Seconds that each unit takes more in a session than by hand, in turns."""
    script = folder / "script.py"
    script.write_text(SCRIPT)
    words = [sys.executable, "-I", "-S", str(script), str(seconds)]
    pattern = {"pattern": r"step (?P<step>\d+) loss (?P<loss>\S+)"}
    ours = spec(words, units + 1, pattern)
    session = KIND.open(ours, {}, Workbench(folder=folder, artifacts=Artifacts(str(folder / "results"))))
    first, *others = KIND.planner(ours).ask(units + 1)
    list(session.evaluate([first]))  # starts the guard
    more = []
    for unit in others:
        by_hand = seconds_of(lambda: subprocess.run([*words, "0"], check=True, capture_output=True))
        more.append(seconds_of(lambda unit=unit: list(session.evaluate([unit]))) - by_hand)
    return more


def rates(folder: Path, units: int) -> tuple[float, float]:
    """Trivial programs per second, in a sweep and by hand."""
    run = ["sh", "-c", "echo loss 1"]
    ours = spec(run, units, {"pattern": r"loss (?P<loss>\d+)"})
    sweep = seconds_of(lambda: run_example(KIND, ours, folder / "sweep"))
    by_hand = seconds_of(
        lambda: [subprocess.run([*run, str(n)], check=True, capture_output=True) for n in range(units)]
    )
    return units / sweep, units / by_hand


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true", help="only the JSON line")
    given = parser.parse_args()
    plan = [(0.2, 12), (1.0, 4)] if given.quick else [(0.2, 40), (2.0, 20), (LONG, 5)]
    with tempfile.TemporaryDirectory() as place:
        more = {seconds: differences(Path(place), seconds, units) for seconds, units in plan}
        ours, theirs = rates(Path(place), 100 if given.quick else 1000)
    steps, repeats = (5, 5) if given.quick else (20, 9)
    pace = paces(recipe_of(256, 3, batch=8, context=128, steps=steps, precision="float32"), repeats=repeats)
    low, ratio, high = statistics.quantiles(pace.ratios, n=4)
    everything = [m for values in more.values() for m in values]
    if not given.json:
        for seconds, values in more.items():
            least, middle, most = statistics.quantiles(values, n=4)
            quartiles = f"{middle * 1e3:6.1f} ms ({least * 1e3:.1f} to {most * 1e3:.1f})"
            print(f"units of {seconds:4.1f} s, n = {len(values):2d}: more by {quartiles}")
        print(
            f"tokens/s of a recipe: {pace.ours:.0f}, of a plain loop: {pace.plain:.0f} ({pace.parameters:,} parameters)"
        )
        print(f"ratio, n = {repeats}: {ratio:.3f} ({low:.3f} to {high:.3f})")
        print(f"trivial units: {ours:.1f}/s in a sweep, {theirs:.1f}/s by hand")
    figures = {
        "command_overhead": statistics.median(everything) / LONG,
        "units_per_second": ours,
        "by_hand_per_second": theirs,
        "loop_ratio": ratio,
        "loop_ratio_low": low,
        "loop_ratio_high": high,
    }
    print(json.dumps({name: round(value, 6) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
