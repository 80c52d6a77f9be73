"""The drill: a synthetic sweep during which workers, a node and the driver are killed, and a verdict at the end.

Workers end themselves (`orchestrator.testing.mortality`); the driver is `landsweep run`, killed from here at drawn
places of the sweep, and started again. What must hold afterwards is read from the results alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import yaml

from cluster.launcher import Check
from orchestrator.errors import LandsweepError, UsageError
from orchestrator.ledger import Ledger, Store, read_status
from orchestrator.site import Site, load_site
from orchestrator.sweep import Sweep
from orchestrator.testing.mortality import FOLDER

__all__ = ["Drill", "Outcome", "spec_of"]

_UNIT_SECONDS = 0.5
_LOOK_SECONDS = 0.5
_PATIENCE = 150.0  # s, until Ray's last processes are gone, or resources are free
_GONE = (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError)  # psutil lets the last two through in races
_TAIL = 30  # lines of a driver's output that are shown when it failed


@dataclass(frozen=True)
class Drill:
    """What is tried.

    Attributes:
        site: name or file of the site.
        changes: `field=value` changes of the site.
        out: results, a path or URL that holds nothing yet.
        seconds: how long the units would take on the site's workers if nobody died.
        units: how many; None: as many as units of half a second fit.
        life: mean life of a worker, s.
        drivers: how often the driver is killed.
        nodes: whether one node other than the head may be killed.
        seed: of the driver's deaths.
    """

    site: str | None
    changes: Sequence[str]
    out: str
    seconds: float
    units: int | None = None
    life: float = 20.0
    drivers: int = 2
    nodes: bool = False
    seed: int = 0

    def run(self, say: Callable[[str], None]) -> Outcome:
        """Do it.

        Raises:
            UsageError: the results folder is in use, or the site can't be used.
            LandsweepError: a driver failed by itself.
        """
        store = Store.at(self.out)
        if Ledger.exists(store):
            raise UsageError(f"{self.out} holds a sweep already; a drill needs results of its own: --out")
        site = load_site(self.site, self.changes)
        held = _held(site)
        spec = spec_of(self, _workers(site))
        units = int(spec["axes"]["i"]["range"])
        say(f"{units:,} units of {spec['fixed']['seconds']:.2g} s; results in {self.out}")
        rng = random.Random(self.seed)
        deaths = sorted(int(units * rng.uniform(0.1, 0.85)) for _ in range(self.drivers))
        outcome = Outcome(store, units, spec["fixed"]["seconds"])
        with tempfile.TemporaryDirectory(prefix="landsweep-drill-") as folder:
            file = Path(folder) / "drill.yaml"
            file.write_text(yaml.safe_dump(spec), encoding="utf-8")
            while not self._drive(file, Path(folder) / "driver.log", deaths, outcome, say):
                pass
        outcome.seconds = time.monotonic() - outcome.began
        outcome.left = _still_held(site, held, outcome.processes)
        return outcome

    def _drive(self, spec: Path, log: Path, deaths: list[int], outcome: Outcome, say: Callable[[str], None]) -> bool:
        """One life of the driver; whether the sweep has ended."""
        site = [*(["--site", self.site] if self.site else []), "site.tracking=off"]
        changes = [f"site.{c.removeprefix('site.')}" for c in self.changes]
        words = ["run", str(spec), *site, *changes, "--out", self.out]
        code = "from orchestrator.cli import main; main()"
        with log.open("wb") as output:
            driver = subprocess.Popen([sys.executable, "-c", code, *words], stdout=output, stderr=subprocess.STDOUT)
        try:
            while driver.poll() is None:
                time.sleep(_LOOK_SECONDS)
                outcome.look(driver.pid)
                if deaths and outcome.done >= deaths[0]:
                    before = set(Ledger.open(outcome.store).keys())
                    driver.kill()
                    driver.wait()
                    after = set(Ledger.open(outcome.store).keys())
                    outcome.lost += len(before - after)
                    outcome.drivers += 1
                    del deaths[0]
                    say(f"{time.monotonic() - outcome.began:.0f} s: driver killed after {len(after):,} rows")
                    return False
        finally:
            if driver.poll() is None:  # the drill itself was interrupted
                driver.send_signal(signal.SIGINT)
                driver.wait()
        if driver.returncode not in (0, 1):
            tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL:])
            kind = UsageError if driver.returncode == UsageError.exit_code else LandsweepError
            raise kind(f"the driver ended by itself with exit code {driver.returncode}:\n{tail}")
        return True


@dataclass
class Outcome:
    """What has happened, and what is left of it in the results.

    Attributes:
        store: the results.
        units: of the sweep.
        unit_seconds: of each.
        began: monotonic time.
        seconds: from the beginning to the end.
        done: rows, as the status last said.
        workers: most that were alive at once.
        drivers: how many were killed.
        lost: rows that were there before a driver was killed, and not afterwards.
        processes: of the drivers and what they started on this machine.
        left: what has not been given back.
    """

    store: Store
    units: int
    unit_seconds: float
    began: float = field(default_factory=time.monotonic)
    seconds: float = 0.0
    done: int = 0
    workers: int = 0
    drivers: int = 0
    lost: int = 0
    processes: set[psutil.Process] = field(default_factory=set)
    left: str = ""

    def look(self, pid: int) -> None:
        """Take note of where the sweep stands."""
        status = read_status(self.store) or {}
        self.done, self.workers = status.get("done", 0), max(self.workers, status.get("workers", 0))
        with contextlib.suppress(*_GONE):
            self.processes.update(psutil.Process(pid).children(recursive=True))

    def deaths(self) -> Counter[str]:
        """What died, by what it was; a worker's death is written down by itself."""
        told = Counter(json.loads(self.store.read(f"{FOLDER}/{name}"))["what"] for name, _ in self.store.list(FOLDER))
        return told + Counter({"driver": self.drivers} if self.drivers else {})

    def checks(self) -> list[Check]:
        """The verdict, an invariant each."""
        sweep = Sweep(Ledger.open(self.store))
        found = sweep.ledger.verify(sweep.keys())
        rows = sweep.rows().reindex(columns=["i", "status", "square", "sees_results", "host"])
        right = int(((rows["status"] == "ok") & (rows["square"] == rows["i"] ** 2)).sum())
        blind = sorted(set(rows.loc[~rows["sees_results"].fillna(True).astype(bool), "host"]))
        missing, twice = len(found.missing), len(found.duplicates)
        return [
            Check("somebody died", sum(self.deaths().values()) > 0, _counted(self.deaths()), "give it more --seconds"),
            Check(
                "each unit once", not missing and not twice, f"{found.rows:,} rows, {missing} missing, {twice} twice"
            ),
            Check("nothing lost", self.lost == 0, f"{self.lost} committed rows vanished with a driver"),
            Check(
                "results right", right == self.units, f"{right:,} of {self.units:,} are ok and have the right number"
            ),
            Check("files sound", found.sound, f"{len(found.damaged)} damaged files"),
            Check(
                "results seen by all nodes",
                not blind,
                f"not by {', '.join(blind)}" if blind else "yes",
                "kinds that keep weights need a shared folder or an object store",
            ),
            Check("resources returned", not self.left, self.left or "all"),
        ]

    def loss(self) -> str:
        """Time that the deaths, the starts and the engine have cost."""
        ideal = self.units * self.unit_seconds / max(1, self.workers)
        number = sum(self.deaths().values())
        each = f", {(self.seconds - ideal) / number:.1f} s per death" if number else ""
        return (
            f"{self.seconds:.0f} s for work of {ideal:.0f} s on {self.workers} workers: "
            f"{self.seconds - ideal:.0f} s for deaths and starts{each}"
        )


def spec_of(drill: Drill, workers: int) -> dict[str, Any]:
    """The sweep of a drill as a spec, for `landsweep run`."""
    units = drill.units or max(50, int(drill.seconds * workers / _UNIT_SECONDS))
    store = Store.at(drill.out)
    return {
        "kind": "function",
        "name": "drill",
        "function": "orchestrator.testing.mortality:unit",
        "fixed": {
            "seconds": round(drill.seconds * workers / units, 4),
            "life": drill.life,
            "results": store.where if store.path is None else str(store.path),
            "nodes": drill.nodes,
        },
        "columns": {
            "square": {"doc": "of the unit's number"},
            "sees_results": {"doc": "whether the worker can read the results folder", "type": "bool"},
            "host": {"doc": "name of the worker's machine", "type": "text"},
        },
        "axes": {"i": {"range": units}},
    }


def _counted(deaths: Counter[str]) -> str:
    return ", ".join(f"{n} x {what}" for what, n in sorted(deaths.items())) or "nobody"


def _workers(site: Site) -> int:
    if site.executor == "local":
        raise UsageError("site: a drill needs workers that can die, and `executor: local` has none; use executor: ray")
    if site.workers != "auto":
        return site.workers
    if site.address == "local":
        return max(1, int(len(os.sched_getaffinity(0)) / max(site.cpus, 1e-9)))
    with _looking(site) as executor:
        return max(1, int(executor.capacity()))


def _held(site: Site) -> dict[str, float]:
    """What is in use on a cluster of others; nothing for one that does not run yet."""
    if site.address == "local":
        return {}
    with _looking(site) as executor:
        return dict(executor.held())


@contextlib.contextmanager
def _looking(site: Site) -> Iterator[Any]:
    from orchestrator.executors.ray import RayExecutor  # costs seconds, and only clusters of others need it

    executor = RayExecutor(site)
    try:
        yield executor
    finally:
        executor.close()


def _still_held(site: Site, before: dict[str, float], processes: set[psutil.Process]) -> str:
    """What has not been given back within the patience."""
    deadline = time.monotonic() + _PATIENCE
    if site.address == "local":
        while (alive := [p for p in processes if _lives(p)]) and time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)
        return ", ".join(f"process {p.pid}" for p in alive)
    while True:
        more = {name: n - before.get(name, 0) for name, n in _held(site).items()}
        kept = {name: n for name, n in more.items() if n > 1e-6}
        if not kept or time.monotonic() > deadline:
            return ", ".join(f"{n:g} {name}" for name, n in sorted(kept.items()))
        time.sleep(2)


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except _GONE:
        return False
