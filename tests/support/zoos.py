"""Zoos that tests share: small ones, ones that train long enough to be killed, ones with branches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from landsweep import Zoo
from landsweep.orchestrator.run.start import run_sweep
from landsweep.orchestrator.site import Site
from landsweep.orchestrator.testing.kind_suite import QuietWatch
from landsweep.sweeps.lab.training_units import pack_run as pack
from landsweep.sweeps.zoo.kind import ZooKind, ZooSpec
from tests.support.paths import ROOT

KIND = ZooKind()


def zoo_spec(**changes: Any) -> ZooSpec:
    """The example with other fields."""
    example = KIND.example()
    data = {"kind": "zoo", "name": "zoo", **example.model_dump(mode="json", exclude={"kind", "name"})}
    return KIND.parse({**data, **changes}, "spec")


SMALL_RECIPE = {
    "data": {"source": "digits"},
    "net": {"net": "mlp", "hidden": [8]},
    "optimizer": {"method": "sgd", "momentum": 0.9},
    "steps": 40,
    "batch_size": 32,
    "evaluate": {"every_steps": 20},
    "checkpoints": {"at_steps": [0, 20]},
}


BRANCHED_RECIPE: dict[str, Any] = {
    "data": {"source": "digits"},
    "net": {"net": "mlp", "hidden": [8]},
    "optimizer": {"method": "adamw"},
    "schedule": {"shape": "constant", "warmup_steps": 5},
    "steps": 40,
    "batch_size": 32,
    "evaluate": {"every_steps": 10},
}
BRANCHES = {"early": {"at": 15, "steps": 5}, "late": {"at": 30, "steps": 12, "decay": "linear"}}


def branched_zoo_spec(**changes: Any) -> ZooSpec:
    data = {"kind": "zoo", "name": "branches", "recipe": BRANCHED_RECIPE, "backend": "bmm", "branches": BRANCHES}
    return KIND.parse({**data, "seeds": {"range": 2}, **changes}, "spec")


@contextmanager
def resumed_packs() -> Iterator[list[bool]]:
    """For each pack that begins meanwhile, whether it goes on from a state."""
    went_on: list[bool] = []
    original = pack.train_pack

    def watched(*args: Any, **options: Any) -> Any:
        went_on.append(options["resume"] is not None)
        return original(*args, **options)

    pack.train_pack = watched
    try:
        yield went_on
    finally:
        pack.train_pack = original


def train_zoo(spec: ZooSpec, folder: Path) -> None:
    """In this process, with a state kept at every beat."""
    site = Site(executor="local", state_seconds=0.0, tracking=False)
    run_sweep(KIND, spec, site, folder, folder=ROOT, watch=QuietWatch())


def assert_same_zoos(a: Path, b: Path) -> None:
    """Bit for bit."""
    one, other = Zoo(a), Zoo(b)
    assert sorted(one.keys) == sorted(other.keys)
    for key in one.keys:
        for label in one[key].labels:
            assert all(torch.equal(w, other[key].state(label)[n]) for n, w in one[key].state(label).items())
    told = ["key", "test_loss", "test_accuracy", "best_step", "steps_done"]
    tables = [zoo.rows[told].sort_values("key", ignore_index=True) for zoo in (one, other)]
    pd.testing.assert_frame_equal(*tables)


def long_zoo_spec(steps: int = 3000, seeds: int = 4, **changes: Any) -> ZooSpec:
    """Models whose training takes long enough to be killed."""
    net = changes.pop("net", SMALL_RECIPE["net"])
    recipe = {**SMALL_RECIPE, "net": net, "steps": steps, "evaluate": {"every_steps": steps // 6}}
    recipe["checkpoints"] = {"at_steps": [0, steps // 3]}
    return zoo_spec(recipe=recipe, axes={"optimizer.learning_rate": [0.05]}, seeds={"range": seeds}, **changes)
