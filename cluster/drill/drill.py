"""The drill: a synthetic sweep during which workers, a node and the driver are killed, and a verdict at the end.

Workers end themselves (`landsweep.orchestrator.testing.mortality`). Without a launcher the driver is `landsweep run`,
killed from here at drawn places of the sweep, and started again; through a launcher the sweep is submitted, and units
that run beside the driver kill it.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml

from landsweep.cluster.drill.outcome import GONE, DrillOutcome
from landsweep.cluster.drill.through_launcher import drill_jobs
from landsweep.cluster.drill.training import TrainingOutcome, training_spec
from landsweep.orchestrator.errors import LandsweepError, UsageError
from landsweep.orchestrator.site import Site, launcher_type, load_site
from landsweep.orchestrator.storage.ledger import Ledger, Store

__all__ = ["Drill", "drill_spec", "places_to_die"]

_UNIT_SECONDS = 0.5
_LOOK_SECONDS = 0.5
_PATIENCE = 150.0  # s, until Ray's last processes are gone, or resources are free
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
        seed: draws the times at which the driver is killed, or the worker of the training.
        training: whether it is one long training instead of many units.
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
    training: bool = False

    def run(self, say: Callable[[str], None]) -> DrillOutcome:
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
        spec, outcome, deaths = self._planned(store, site)
        say(
            f"{outcome.units:,} unit{'s' * (outcome.units != 1)} of {outcome.unit_seconds:.2g} s; results in {self.out}"
        )
        with tempfile.TemporaryDirectory(prefix="landsweep-drill-") as folder:
            file = Path(folder) / "drill.yaml"
            file.write_text(yaml.safe_dump(spec), encoding="utf-8")
            if site.launcher is not None:
                drill_jobs(file, self.site or "", self._changes(), self.out, outcome, say)
            else:
                while not self._drive(file, Path(folder) / "driver.log", deaths, outcome, say):
                    pass
        outcome.seconds = time.monotonic() - outcome.began
        outcome.not_returned = None if site.launcher is not None else _not_returned(site, held, outcome.processes)
        outcome.spared = self._spared(outcome)
        return outcome

    def _planned(self, store: Store, site: Site) -> tuple[dict[str, Any], DrillOutcome, list[int]]:
        """The sweep, what will be noted of it, and after how many rows the driver dies."""
        rng, workers = random.Random(self.seed), _workers(site)
        if self.training:
            spec = training_spec(self.out, self.seconds, site.state_seconds, rng)
            return spec, TrainingOutcome(store, 1, self.seconds, state_seconds=site.state_seconds), []
        spec = drill_spec(self, workers)
        units = int(spec["axes"]["i"]["range"])
        deaths = places_to_die(rng, units, self.drivers)
        if site.launcher is not None:
            spec["fixed"]["drivers"] = deaths
        return spec, DrillOutcome(store, units, spec["fixed"]["seconds"]), deaths

    def _changes(self) -> list[str]:
        return ["site.tracking=off", *(f"site.{c.removeprefix('site.')}" for c in self.changes)]

    def _spared(self, outcome: DrillOutcome) -> dict[str, str]:
        """What should have died and did not, with the reason."""
        deaths = outcome.deaths()
        spared = {}
        if deaths["driver"] < self.drivers and not self.training:
            lived = self.drivers - deaths["driver"]
            spared["driver"] = f"{lived} of {self.drivers} times not tried: no unit ran on the driver's machine then"
        if self.nodes and not deaths["node"]:
            spared["node"] = "not tried: no unit met its end on a node other than the head"
        return spared

    def _drive(
        self, spec: Path, log: Path, deaths: list[int], outcome: DrillOutcome, say: Callable[[str], None]
    ) -> bool:
        """One life of the driver; whether the sweep has ended."""
        site = ["--site", self.site] if self.site else []
        words = ["run", str(spec), *site, *self._changes(), "--out", self.out]
        code = "from landsweep.orchestrator.commands.cli import main; main()"
        with log.open("wb") as output:
            line = [sys.executable, "-P", "-c", code, *words]
            driver = subprocess.Popen(line, stdout=output, stderr=subprocess.STDOUT)
        try:
            while driver.poll() is None:
                time.sleep(_LOOK_SECONDS)
                outcome.observe(driver.pid)
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


def places_to_die(rng: random.Random, units: int, n: int) -> list[int]:
    """Numbers of units at which the driver dies, in order; no two are equal, for each notes its death by its number.

    Args:
        rng: draws them.
        units: of the sweep.
        n: deaths.

    Raises:
        UsageError: there are fewer units than deaths.
    """
    places = range(int(0.1 * units), max(1, int(0.85 * units)))
    if n > len(places):
        raise UsageError(f"the driver can't die {n} times within {units:,} units: ask for at most {len(places)} deaths")
    return sorted(rng.sample(places, n))


def drill_spec(drill: Drill, workers: int) -> dict[str, Any]:
    """The sweep of a drill as a spec, for `landsweep run`."""
    units = drill.units or max(50, int(drill.seconds * workers / _UNIT_SECONDS))
    store = Store.at(drill.out)
    return {
        "kind": "function",
        "name": "drill",
        "function": "landsweep.orchestrator.testing.mortality:unit",
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


def _workers(site: Site) -> int:
    if site.launcher is not None:
        return _workers_of_job(site)
    if site.executor == "local":
        raise UsageError("site: a drill needs workers that can die, and `executor: local` has none; use executor: ray")
    if site.workers != "auto":
        return site.workers
    if site.address == "local":
        return max(1, int(len(os.sched_getaffinity(0)) / max(site.cpus, 1e-9)))
    with _cluster(site) as cluster:
        return max(1, int(cluster.capacity()))


def _workers_of_job(site: Site) -> int:
    assert site.launcher is not None
    cpus = launcher_type(site.launcher.type, "site")(site.launcher).cpus
    if site.workers != "auto":
        return site.workers
    if cpus is None:
        raise UsageError("site.workers: give the number of workers that the cluster holds, such as site.workers=8")
    return max(1, int(cpus / max(site.cpus, 1e-9)))


def _held(site: Site) -> dict[str, float]:
    """What is in use on a cluster of others; nothing for one that does not run yet."""
    if site.launcher is not None or site.address == "local":
        return {}
    with _cluster(site) as cluster:
        return dict(cluster.held())


@contextlib.contextmanager
def _cluster(site: Site) -> Iterator[Any]:
    from landsweep.orchestrator.run.executors.ray import (
        RayCluster,  # costs seconds, and only clusters of others need it
    )

    cluster = RayCluster(site)
    try:
        yield cluster
    finally:
        cluster.close()


def _not_returned(site: Site, before: dict[str, float], processes: set[psutil.Process]) -> str:
    """What is still in use after the patience."""
    deadline = time.monotonic() + _PATIENCE
    if site.address == "local":
        while (alive := [p for p in processes if _alive(p)]) and time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)
        return ", ".join(f"process {p.pid}" for p in alive)
    while True:
        more = {name: n - before.get(name, 0) for name, n in _held(site).items()}
        in_use = {name: n for name, n in more.items() if n > 1e-6}
        if not in_use or time.monotonic() > deadline:
            return ", ".join(f"{n:g} {name}" for name, n in sorted(in_use.items()))
        time.sleep(2)


def _alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except GONE:
        return False
