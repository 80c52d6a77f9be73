"""Packs that do not fit into memory: freed, halved, and never tried again in that size."""

import gc
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from landsweep import Zoo
from landsweep.orchestrator.run.start import run_sweep
from landsweep.orchestrator.site import Site
from landsweep.orchestrator.testing.kind_suite import QuietWatch
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.training import train_pack
from landsweep.sweeps.zoo.kind import ZooKind
from tests.support.paths import ROOT

pytestmark = pytest.mark.rotating

ALIVE: "weakref.WeakSet[nn.Module]" = weakref.WeakSet()
LIMIT = [10_000]  # also where a process of its own checks the spec
CALLS: list[int] = []


class Greedy(nn.Module):
    """Fits into memory as long as not too many of its kind are alive, in whatever frame or traceback."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.out = nn.Linear(features, classes)
        ALIVE.add(self)

    def forward(self, x: Tensor) -> Tensor:
        if len(ALIVE) > LIMIT[0]:
            CALLS.append(len(ALIVE))
            raise torch.OutOfMemoryError(f"CUDA out of memory: {len(ALIVE)} modules")
        y: Tensor = self.out(x.flatten(1))
        return y


def build() -> nn.Module:
    return Greedy(64, 10)


def spec(backend: str, seeds: int, **more: Any) -> Any:
    recipe = {
        "data": {"source": "digits"},
        "net": {"net": "own", "function": f"{__name__}:build"},
        "optimizer": {"method": "sgd"},
        "steps": 4,
        "batch_size": 32,
        "evaluate": {"every_steps": 2},
    }
    data = {"kind": "zoo", "name": "greedy", "recipe": recipe, "backend": backend, "seeds": {"range": seeds}, **more}
    return ZooKind().parse(data, "spec")


def trained(backend: str, seeds: int, limit: int, folder: Path, **more: Any) -> list[dict[str, Any]]:
    ALIVE.clear()
    CALLS.clear()
    LIMIT[0] = limit
    site = Site(executor="local", tracking=False, shard_seconds=1000)
    run_sweep(ZooKind(), spec(backend, seeds, **more), site, folder, folder=ROOT, watch=QuietWatch())
    return Zoo(folder).rows.to_dict("records")


def test_a_pack_that_does_not_fit_is_freed_and_halved(tmp_path: Path) -> None:
    """If anything held the failed pack, not even a single model would fit beside it."""
    free = trained("vmap", 40, 10_000, tmp_path / "free")
    tight = trained("vmap", 40, 24, tmp_path / "tight")
    assert [r["status"] for r in tight] == ["ok"] * 40
    assert max(r["pack_size"] for r in free) > 20 >= max(r["pack_size"] for r in tight) >= 10
    assert len(CALLS) == 1, "the size that worked is remembered"
    losses = [{r["seed"]: r["test_loss"] for r in rows} for rows in (free, tight)]
    assert losses[0] == losses[1]


def test_a_pack_of_branches_that_does_not_fit_is_halved_too(tmp_path: Path) -> None:
    """It is computed as its main run, but its size is its own: the main runs had fitted."""
    mains = trained("vmap", 40, 10_000, tmp_path)
    rows = trained("vmap", 40, 24, tmp_path, branches={"early": {"at": 2, "steps": 2}})
    branches = [r for r in rows if r["branch"] == "early"]
    assert len(mains) == len(branches) == 40 and {r["status"] for r in rows} == {"ok"}
    assert 20 >= max(r["pack_size"] for r in branches) >= 10
    assert len(CALLS) == 1, "the size that worked is remembered"


@pytest.mark.parametrize("backend", ["loop", "vmap", "bmm"])
@pytest.mark.parametrize("method", ["adamw", "sam"])
def test_a_pack_that_has_ended_leaves_its_memory_at_once(backend: str, method: str) -> None:
    """Not when the garbage collector comes by: the next pack may not fit beside it."""
    data = {"source": "digits"}
    net = {"net": "mlp", "hidden": [4], "dropout": 0.1}
    fields = {"data": data, "net": net, "optimizer": {"method": method}, "steps": 3, "averaging": {"average": "latest"}}
    recipes = [Recipe.model_validate({**fields, "seed": seed}) for seed in range(4)]
    loaded = recipes[0].data.load(Path())
    for _ in train_pack(recipes, loaded, backend=backend):  # what is proved once is remembered
        pass
    gc.collect()
    gc.disable()
    try:
        training = train_pack(recipes, loaded, backend=backend)
        for _ in training:
            pass
        weights = weakref.ref(training._stepper._stack.weights)
        del training
        assert weights() is None
    finally:
        gc.enable()


@pytest.mark.parametrize(("net", "limit", "fits"), [("mlp", 9, 8), ("mlp", 0, None), ("batch_norm", 9, None)])
def test_a_model_that_does_not_fit_alone_takes_its_batches_in_parts(
    net: str, limit: int, fits: int | None, tmp_path: Path
) -> None:
    """The size that worked is remembered: a batch of 32, then 16 and 8 samples at a time, for all three models."""
    field = {"norm": "batch"} if net == "batch_norm" else {}
    recipe = {
        "data": {"source": "digits"},
        "net": {"net": "mlp", "hidden": [8], **field},
        "optimizer": {"method": "sgd"},
        "steps": 4,
        "batch_size": 32,
    }
    tried = []

    def full(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if module.training and torch.is_grad_enabled() and isinstance(module, nn.Linear) and len(inputs[0]) > limit:
            tried.append(len(inputs[0]))
            raise torch.OutOfMemoryError("CUDA out of memory")

    parsed = ZooKind().parse(
        {"kind": "zoo", "name": "tight", "recipe": recipe, "backend": "loop", "seeds": {"range": 3}}, "spec"
    )
    site = Site(executor="local", tracking=False, shard_seconds=1000, probe_seconds=0)
    run_sweep(ZooKind(), parsed, site, tmp_path / "free", folder=ROOT, watch=QuietWatch())
    hook = nn.modules.module.register_module_forward_pre_hook(full)
    try:
        run_sweep(ZooKind(), parsed, site, tmp_path / "tight", folder=ROOT, watch=QuietWatch())
    finally:
        hook.remove()
    rows, free = (Zoo(tmp_path / name).rows.sort_values("seed") for name in ("tight", "free"))
    if fits is None:
        assert set(rows["status"]) == {"failed"} and set(rows["cause"]) == {"oom"}
        return
    assert tried == [32, 16], "once each"
    assert set(rows["status"]) == {"ok"} and list(rows["key"]) == list(free["key"])
    assert rows["backend_note"].str.contains("8 samples at a time").all() and free["backend_note"].isna().all()
    assert (rows["test_loss"] - free["test_loss"]).abs().max() < 1e-6
