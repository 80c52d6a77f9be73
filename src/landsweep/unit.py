"""The unit that your code computes: what a sweep gives it and takes from it, beside arguments and result.

    from landsweep import unit

    def train(learning_rate):
        for step in range(1000):
            ...
            unit.report(step, loss=loss)
            if unit.should_stop():
                break

The same code runs as a function in a sweep, as a script that `command` starts, and alone: there reports and log lines
are printed, nothing wants it to stop, and checkpoints go to the folder `checkpoints` where it stands.

Use the module as it stands here: `from landsweep.unit import checkpoint_dir` would keep the folder of one unit.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from landsweep.sweeps.lab.callables.current import CurrentUnit

    checkpoint_dir: Path
    """For checkpoints: found again when the unit is tried again; removed when it has ended well, unless `keep()`."""
    device: str
    """`cpu`, or `cuda:0` where the worker has a GPU or a share of one."""
    devices: tuple[str, ...]
    """All devices of the worker, `device` first: more than one where `site.gpus` is more than 1."""
    key: str
    """Of the unit: 32 hexadecimal digits; empty outside of a sweep."""
    attempt: int
    """How often the unit was begun: 1, 2, ..., also by earlier runs of the sweep."""

__all__ = ["keep", "log", "report", "should_stop"]  # and the names above, which `__getattr__` gives


def report(step: int, **metrics: float) -> None:
    """Give metrics at a step; they become the unit's series, and a search may stop the unit because of them.

    Args:
        step: a whole number that rises.
        metrics: name to number.
    """
    if (unit := _unit()) is not None:
        unit.report(step, metrics)
    elif (path := os.environ.get("LANDSWEEP_METRICS")) is not None:
        numbers = {name: value.item() if hasattr(value, "item") else value for name, value in metrics.items()}
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **numbers}) + "\n")
    else:
        log(f"step {step}: " + ", ".join(f"{name} {value:.6g}" for name, value in metrics.items()))


def should_stop() -> bool:
    """Whether the unit should end early; what it returns then is its row, with the status `pruned`.

    A program is sent SIGTERM instead.
    """
    unit = _unit()
    return unit is not None and unit.should_stop()


def keep() -> None:
    """Keep the unit's checkpoints when it has ended well; programs say so by `keep` in the spec."""
    if (unit := _unit()) is not None:
        unit.kept = True


def log(text: str) -> None:
    """Add a line to the unit's log: `landsweep logs DIR --unit KEY` shows it."""
    if (unit := _unit()) is not None:
        unit.log(text)
    else:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()


def _unit() -> CurrentUnit | None:
    """The unit that this process computes; looked up like this, a script that runs alone imports nothing for it."""
    module = sys.modules.get("landsweep.sweeps.lab.callables.current")
    unit: CurrentUnit | None = None if module is None else module.current()
    return unit


def _device_here() -> str:
    torch = sys.modules.get("torch")
    return "cuda:0" if torch is not None and torch.cuda.is_available() else "cpu"


def __getattr__(name: str) -> object:
    unit = _unit()
    if name == "checkpoint_dir":
        folder = unit.checkpoints() if unit is not None else Path(os.environ.get("LANDSWEEP_DIR", ".")) / "checkpoints"
        folder.mkdir(parents=True, exist_ok=True)
        return folder
    if name == "device":
        return unit.device if unit is not None else os.environ.get("LANDSWEEP_DEVICE") or _device_here()
    if name == "devices":
        if unit is not None:
            return unit.devices
        return tuple((os.environ.get("LANDSWEEP_DEVICES") or str(__getattr__("device"))).split(","))
    if name == "key":
        return unit.key if unit is not None else os.environ.get("LANDSWEEP_KEY", "")
    if name == "attempt":
        return unit.place.attempt if unit is not None else int(os.environ.get("LANDSWEEP_ATTEMPT", "1"))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
