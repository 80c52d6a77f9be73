"""The drill of a long training: its worker is killed in the middle, and what is lost of it is measured."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from typing import Any

from landsweep.cluster.drill.outcome import DrillOutcome
from landsweep.cluster.launchers.launcher import Check
from landsweep.orchestrator.errors import UsageError
from landsweep.orchestrator.run.sweep import Sweep
from landsweep.orchestrator.storage.ledger import Store
from landsweep.orchestrator.testing.mortality import FOLDER

__all__ = ["RECORD", "TrainingOutcome", "training_spec"]

RECORD = f"{FOLDER}/training.json"
"""What the network writes down before it dies: `steps` made, and `began`, how long ago each step did, by its number."""

_STEP_SECONDS = 0.01
_WRITING = 3.0  # s, until a state is written that is due: the beat before it, and the store
_SHORTEST = 3.0  # times the time between two states


@dataclass
class TrainingOutcome(DrillOutcome):
    """What has happened to a training.

    Attributes:
        state_seconds: of the site.
    """

    state_seconds: float = 60.0

    def results(self, sweep: Sweep) -> list[Check]:
        rows = sweep.rows().reindex(columns=["status", "steps_done", "resumed_at"])
        steps = _steps(self.unit_seconds)
        done = [int(n) for n in rows.loc[rows["status"] == "ok", "steps_done"]]
        right = Check("all steps made", done == [steps], f"{', '.join(map(str, done)) or 'none'} of {steps:,}")
        return [right, self._lost(None if rows["resumed_at"].isna().all() else int(rows["resumed_at"].max()))]

    def _lost(self, resumed_at: int | None) -> Check:
        """How much of the training was done again."""
        what, allowed = "steps lost", self.state_seconds + _WRITING
        if not self.recorded_deaths():
            return Check(what, None, "the training ended before its worker was to die")
        record: dict[str, Any] = json.loads(self.store.read(RECORD))
        if resumed_at is None:
            return Check(what, False, f"all {record['steps']:,}: it began anew", "look at states/ in the results")
        seconds = record["began"].get(str(resumed_at), float("inf"))
        return Check(
            what,
            seconds <= allowed,
            f"{record['steps'] - resumed_at:,} of {record['steps']:,}, {seconds:.1f} s; allowed are {allowed:g} s: "
            f"site.state_seconds and {_WRITING:g} s until a state is written",
            "a slower store needs a longer site.state_seconds",
        )


def training_spec(out: str, seconds: float, state_seconds: float, rng: random.Random) -> dict[str, Any]:
    """A sweep of one training, for `landsweep run`.

    Args:
        out: results, a path or URL.
        seconds: how long the training takes.
        state_seconds: time between two of its states.
        rng: draws when its worker dies.

    Raises:
        UsageError: it is over before a state is kept.
    """
    if seconds < _SHORTEST * max(state_seconds, 1.0):
        raise UsageError(
            f"--seconds: a training of {seconds:g} s keeps too few states, one each {state_seconds:g} s; take at least "
            f"{_SHORTEST * max(state_seconds, 1.0):g}, or a shorter site.state_seconds"
        )
    store = Store.at(out)
    where = store.where if store.path is None else str(store.path)
    after = rng.uniform(0.4, 0.7) * seconds  # when a state has been kept, and long before the end
    args = {"results": where, "after": round(after, 2), "step_seconds": _STEP_SECONDS}
    recipe = {
        "data": {"source": "digits"},
        "net": {"net": "own", "build": "landsweep.cluster.drill.mortal_network:network", "args": args},
        "optimizer": {"method": "sgd", "learning_rate": 0.01, "momentum": 0.9},
        "steps": _steps(seconds),
        "batch_size": 8,
        "evaluate": {"first": 100},
    }
    return {"kind": "zoo", "name": "drill", "recipe": recipe, "seeds": {"range": 1}, "backend": "loop"}


def _steps(seconds: float) -> int:
    return round(seconds / _STEP_SECONDS)
