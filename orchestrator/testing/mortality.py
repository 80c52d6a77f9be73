"""The unit of a drill: it waits, gives a number that can be checked, and now and then takes its worker with it.

Deaths come from inside, so that no cluster needs to let anybody in: a worker draws how long it lives, and ends itself
in the middle of a unit, without notice or with one. Where nobody outside can kill the driver, the first unit from a
drawn number on that runs beside it does. Each death is written down in the results first.
"""

from __future__ import annotations

import json
import os
import platform
import random
import signal
import time
import uuid
from collections.abc import Sequence
from functools import cache

import psutil

from landsweep.orchestrator.storage.ledger import driver_here
from landsweep.orchestrator.storage.store import Store

__all__ = ["FOLDER", "unit"]

FOLDER = "drill"
_NOTICE = 0.3  # share of deaths that are announced by SIGTERM, as on spot machines
_NOTICE_SECONDS = 1.0


def unit(
    i: int, seconds: float, life: float, results: str, nodes: bool, drivers: Sequence[int] = ()
) -> dict[str, float | bool | str]:
    """Wait, or die.

    Args:
        i: number of the unit.
        seconds: how long it takes.
        life: mean life of a worker, s.
        results: folder of the sweep, as path or URL.
        nodes: whether one death may be that of a node other than the head.
        drivers: numbers of units; from each of them on, one unit that runs on the driver's machine kills the driver.
    """
    for number in drivers:
        if i >= number:
            _kill_driver(Store.at(results), number)
    now = time.monotonic()
    if (last := _end_of_life(life)) < now + seconds:
        time.sleep(max(0.0, last - now))
        _die(Store.at(results), nodes)
    time.sleep(seconds)
    return {"square": float(i * i), "sees_results": _sees(results), "host": platform.node()}


@cache
def _end_of_life(life: float) -> float:
    """When this process dies: drawn once, from the machine's own randomness, for a repeated unit must not die again."""
    return time.monotonic() + random.SystemRandom().expovariate(1 / life)


@cache
def _sees(results: str) -> bool:
    return any(name == "sweep.json" for name, _ in Store.at(results).list(""))


def _die(store: Store, nodes: bool) -> None:
    raylet = psutil.Process().parent()
    about = {"host": platform.node(), "pid": os.getpid(), "at": time.time()}
    node = nodes and raylet is not None and _may_fall(raylet)
    if node and store.create(f"{FOLDER}/node.json", json.dumps({**about, "what": "node"}).encode()):  # one node, ever
        psutil.Process(os.getppid()).kill()
        time.sleep(60)  # its workers end with it
    announced = random.SystemRandom().random() < _NOTICE
    what = "worker, announced" if announced else "worker"
    store.create(f"{FOLDER}/{uuid.uuid4().hex}.json", json.dumps({**about, "what": what}).encode())
    if announced:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(_NOTICE_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)


def _kill_driver(store: Store, number: int) -> None:
    """SIGKILL to the driver, if it runs here and no other unit has done so for this number."""
    if number in _seen or (driver := driver_here(store)) is None:
        return
    about = {"host": platform.node(), "pid": driver.pid, "at": time.time(), "what": "driver"}
    if store.create(f"{FOLDER}/driver-{number}.json", json.dumps(about).encode()):
        psutil.Process(driver.pid).kill()
    _seen.add(number)


_seen: set[int] = set()  # numbers whose driver is dead already


def _may_fall(raylet: psutil.Process) -> bool:
    """Whether this is the raylet of a node other than the head."""
    words = " ".join(raylet.cmdline())
    return raylet.name() == "raylet" and "--head" not in words and "__internal_head__" not in words
