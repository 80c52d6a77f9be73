"""What a drill has seen, and its verdict: what must hold is read from the results alone."""

from __future__ import annotations

import contextlib
import json
import time
from collections import Counter
from dataclasses import dataclass, field

import psutil

from landsweep.cluster.launchers.launcher import Check
from landsweep.orchestrator.run.sweep import Sweep
from landsweep.orchestrator.storage.ledger import Ledger, Store, read_status
from landsweep.orchestrator.testing.mortality import FOLDER

__all__ = ["GONE", "DrillOutcome"]

GONE = (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError)  # psutil lets the last two through in races


@dataclass
class DrillOutcome:
    """What has happened, and what is left of it in the results.

    Attributes:
        store: folder of the results.
        units: how many the sweep has.
        unit_seconds: how long each of them takes, s.
        began: when the drill began, monotonic time, s.
        seconds: how long the drill took, s.
        done: rows, as the status last said.
        workers: most that were alive at once.
        drivers: how many were killed from here.
        lost: rows that were there before a driver was killed, and not afterwards.
        spared: what should have died and did not, with the reason.
        seen_keys: keys of the rows that were seen.
        processes: of the drivers and what they started on this machine.
        not_returned: CPUs, GPUs or processes that are still in use; None: that can't be seen from here.
        ended: how the last job ended, by its scheduler.
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
    seen_keys: set[str] = field(default_factory=set)
    processes: set[psutil.Process] = field(default_factory=set)
    not_returned: str | None = ""
    ended: str = ""
    spared: dict[str, str] = field(default_factory=dict)
    _recorded: dict[str, str] = field(default_factory=dict)

    def observe(self, pid: int | None = None) -> None:
        """Note how far the sweep is, and which processes a driver of this machine has started."""
        status = read_status(self.store) or {}
        self.done, self.workers = status.get("done", 0), max(self.workers, status.get("workers", 0))
        if pid is not None:
            with contextlib.suppress(*GONE):
                self.processes.update(psutil.Process(pid).children(recursive=True))

    def note_rows(self) -> int:
        """Note the rows that are there now, of which none may be missing later; gives how many they are."""
        keys = set(Ledger.open(self.store).keys()) if Ledger.exists(self.store) else set()
        self.lost += len(self.seen_keys - keys)
        self.seen_keys = keys
        return len(keys)

    def recorded_deaths(self) -> dict[str, str]:
        """Deaths that units wrote down before they caused them: name of the file, and what died."""
        names = [name for name, _ in self.store.list(FOLDER)]
        self._recorded |= {
            n: json.loads(self.store.read(f"{FOLDER}/{n}"))["what"] for n in names if n not in self._recorded
        }
        return dict(self._recorded)

    def deaths(self) -> Counter[str]:
        """What died, by what it was."""
        return Counter(self.recorded_deaths().values()) + Counter({"driver": self.drivers} if self.drivers else {})

    def checks(self) -> list[Check]:
        """The verdict, an invariant each."""
        sweep = Sweep(Ledger.open(self.store))
        findings = sweep.verify()
        missing, twice = len(findings.missing), len(findings.duplicates)
        return [
            Check("somebody died", sum(self.deaths().values()) > 0, _counted(self.deaths()), "give it more --seconds"),
            *(Check(f"death of {what}", None, why) for what, why in self.spared.items()),
            Check(
                "each unit once", not missing and not twice, f"{findings.rows:,} rows, {missing} missing, {twice} twice"
            ),
            Check("nothing lost", self.lost == 0, f"{self.lost} committed rows vanished with a driver"),
            *self.results(sweep),
            Check("files sound", findings.sound, f"{len(findings.damaged)} damaged files"),
            self._returned(),
        ]

    def results(self, sweep: Sweep) -> list[Check]:
        """What the rows must say."""
        rows = sweep.rows().reindex(columns=["i", "status", "square", "sees_results", "host"])
        right = int(((rows["status"] == "ok") & (rows["square"] == rows["i"] ** 2)).sum())
        blind = sorted(set(rows.loc[~rows["sees_results"].fillna(True).astype(bool), "host"]))
        return [
            Check(
                "results right", right == self.units, f"{right:,} of {self.units:,} are ok and have the right number"
            ),
            Check(
                "results seen by all nodes",
                not blind,
                f"not by {', '.join(blind)}" if blind else "yes",
                "kinds that keep weights need a shared folder or an object store",
            ),
        ]

    def _returned(self) -> Check:
        if self.not_returned is None:
            return Check(
                "resources returned", None, f"the job is over ({self.ended}); its nodes are not seen from here"
            )
        return Check("resources returned", not self.not_returned, self.not_returned or "all")

    def loss(self) -> str:
        """Time that the deaths, the starts and the engine have cost."""
        ideal = self.units * self.unit_seconds / max(1, self.workers)
        number = sum(self.deaths().values())
        each = f", {(self.seconds - ideal) / number:.1f} s per death" if number else ""
        return (
            f"{self.seconds:.0f} s for work of {ideal:.0f} s on {self.workers} workers: "
            f"{self.seconds - ideal:.0f} s for deaths and starts{each}"
        )


def _counted(deaths: Counter[str]) -> str:
    return ", ".join(f"{n} x {what}" for what, n in sorted(deaths.items())) or "nobody"
