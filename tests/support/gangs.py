"""Sweeps whose models several processes train together, and their members, which tests kill."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import psutil

from landsweep.orchestrator.run.progress import Snapshot
from landsweep.orchestrator.run.start import run_sweep
from landsweep.orchestrator.run.sweep import Sweep
from landsweep.orchestrator.site import Site
from landsweep.orchestrator.testing.kind_suite import QuietWatch
from tests.support.zoos import KIND, zoo_spec

_SAID: dict[Path, list[list[str]]] = {}  # by folder, what each run said
DEADLINE = 300.0  # s, for what takes seconds: a hang fails a test, a busy machine does not
NETS: dict[str, dict[str, Any]] = {
    "mlp": {"data": {"source": "digits"}, "net": {"net": "mlp", "hidden": [16]}},
    "gpt": {
        "data": {"source": "markov", "states": 16, "context": 16, "train": 2000, "test": 128},
        "net": {"net": "gpt", "width": 16, "depth": 1, "heads": 2},
    },
}


def recipe(of: str = "mlp", **changes: Any) -> dict[str, Any]:
    return {
        **NETS[of],
        "optimizer": {"method": "adamw", "learning_rate": 0.003},
        "steps": 50,
        "batch_size": 33,  # which two members can't share evenly
        "evaluate": {"every_steps": 10},
        **changes,
    }


def run_gangs(
    folder: Path, site: Site, *, seeds: int = 1, until: Callable[[], bool] | None = None, **changes: Any
) -> Snapshot:
    """A zoo without axes, run in this process, within a deadline; stopped as soon as `until` holds."""
    spec = zoo_spec(
        **{"axes": {}, "seeds": {"range": seeds}, "devices": 2, "backend": "loop", "recipe": recipe(), **changes}
    )
    stop, watch = threading.Event(), QuietWatch()
    _SAID.setdefault(folder, []).append(watch.said)
    timer = threading.Timer(DEADLINE, stop.set)
    timer.start()
    if until is not None:
        when(until, stop.set)
    try:
        end = run_sweep(KIND, spec, site, str(folder), folder=Path(), watch=watch, stop=stop)
    finally:
        timer.cancel()
    assert until is not None or end.phase == "done", f"not done after {DEADLINE:g} s: {end}\n{story(folder)}"
    return end


def story(folder: Path) -> str:
    """What there is to know of a run that came out wrong: what it said, how its units ended, which states are left."""
    said = [f"run {n}: {text}" for n, texts in enumerate(_SAID.get(folder, []), 1) for text in texts]
    names = ["status", "cause", "error", "attempt", "devices", "resumed_at"]
    ends = [str(row) for row in rows(folder).reindex(columns=names).to_dict("records")]
    left = [path.name for path in (folder / "states").glob("*")]
    return "\n".join([*said, *ends, f"states: {', '.join(sorted(left)) or 'none'}"])


def rows(folder: Path) -> pd.DataFrame:
    return Sweep.at(str(folder)).rows()


def losses(folder: Path) -> pd.Series:
    """Every loss of the series, by unit, step and metric."""
    series = Sweep.at(str(folder)).series()
    series = series[series["metric"].str.endswith("_loss")]
    return series.set_index(["key", "step", "metric"])["value"].sort_index()


def members() -> list[psutil.Process]:
    """Members of gangs of processes that this process has started, the first ones first."""
    processes = []
    for child in psutil.Process().children():
        try:
            if any("executors.member" in word for word in child.cmdline()):
                processes.append(child)
        except psutil.Error:  # it has just ended
            continue
    return sorted(processes, key=psutil.Process.create_time)


def when(condition: Callable[[], bool], act: Callable[[], None]) -> threading.Thread:
    """Do something, once, as soon as a condition holds."""

    def wait() -> None:
        end = time.monotonic() + DEADLINE
        while time.monotonic() < end:
            if condition():
                act()
                return
            time.sleep(0.02)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def has_state(folder: Path) -> bool:
    return any((folder / "states").glob("*.index.safetensors"))


def kill(process: psutil.Process) -> None:
    os.kill(process.pid, signal.SIGKILL)
