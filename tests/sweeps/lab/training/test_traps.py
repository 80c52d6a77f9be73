"""Random networks full of traps, in every back-end and every reader, against plain torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from landsweep import Zoo
from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.testing.kind_suite import run_example
from landsweep.sweeps.lab.data import Data
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.training import Checkpoint, Ended, Evaluated, TrainingEvent, train_pack
from landsweep.sweeps.lab.weight_space.rig import MovableModule, state_arrays
from landsweep.sweeps.zoo.audit import regenerate
from landsweep.sweeps.zoo.kind import ZooKind, ZooSpec
from tests.support.traps import LOOP_ONLY, PARTS, TRAPS, build

pytestmark = pytest.mark.filterwarnings("ignore")  # torch warns of what it can't stack, and of deprecated hooks

FEATURES, SAMPLES, STEPS, CLIP = 4, 16, 4, 0.5
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "sgd": {"method": "sgd", "learning_rate": 0.1, "momentum": 0.9, "weight_decay": 0.1},
    "adamw": {"method": "adamw", "learning_rate": 0.02, "weight_decay": 0.5},
}
names = st.lists(st.sampled_from([*PARTS, *TRAPS]), min_size=1, max_size=3)
State = Mapping[str, Tensor]


def recipe_of(parts: list[str], method: str = "sgd", seed: int = 0, **fields: Any) -> Recipe:
    base = {
        "data": {"source": "teacher_student", "features": FEATURES, "hidden": [3], "train": SAMPLES, "test": 8},
        "net": {"net": "own", "build": "tests.support.traps:build", "args": {"parts": parts}},
        "optimizer": OPTIMIZERS[method],
        "steps": STEPS,
        "batch_size": SAMPLES,  # the whole split: then the order of the samples does not matter
        "clip": CLIP,
        "dtype": "float64",
        "seed": seed,
        "evaluate": {"every_steps": STEPS},
        "checkpoints": {"at_steps": [0]},
    }
    return Recipe.model_validate(base | fields)


@pytest.fixture(scope="module")
def data() -> Data:
    return recipe_of(["linear"]).data.load(Path())


def restored(parts: list[str], state: State) -> nn.Module:
    module = build(parts).double()
    module.load_state_dict(dict(state))
    return module


def slowly(parts: list[str], method: str, start: State, x: Tensor, y: Tensor) -> nn.Module:
    """The reference: torch alone, one model, as in any tutorial."""
    module = restored(parts, start)
    s = OPTIMIZERS[method]
    optimizer: torch.optim.Optimizer
    if method == "sgd":
        optimizer = torch.optim.SGD(
            module.parameters(), s["learning_rate"], momentum=s["momentum"], weight_decay=s["weight_decay"]
        )
    else:
        optimizer = torch.optim.AdamW(module.parameters(), s["learning_rate"], weight_decay=s["weight_decay"])
    for _ in range(STEPS):
        module.train()
        optimizer.zero_grad()
        torch.autograd.backward(F.mse_loss(module(x), y))
        nn.utils.clip_grad_norm_(module.parameters(), CLIP)
        optimizer.step()
    return module.eval()


def halves(data: Data, name: str) -> tuple[Tensor, Tensor]:
    return data.splits[name].inputs.double(), data.splits[name].targets.double()


def assert_same(state: State, wanted: State, tolerance: float = 1e-8) -> None:
    assert state.keys() == wanted.keys()
    for name, t in wanted.items():
        torch.testing.assert_close(state[name], t, rtol=tolerance, atol=tolerance, msg=lambda m, n=name: f"{n}: {m}")


def by_label(events: Sequence[TrainingEvent], label: str) -> dict[int, State]:
    return {e.index: e.state for e in events if isinstance(e, Checkpoint) and e.label == label}


BARE = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
READ = {"frozen", "frozen_weight", "in_place_relu", *PARTS} - {"batch_norm"}  # parts that bmm reads as they are


@settings(BARE, max_examples=12)
@given(parts=names, method=st.sampled_from(sorted(OPTIMIZERS)))
def test_every_backend_trains_as_torch_does(parts: list[str], method: str, data: Data) -> None:
    recipes = [recipe_of(parts, method, seed) for seed in range(2)]
    wanted: dict[int, nn.Module] = {}
    served = []
    for backend in ("loop", "vmap", "bmm"):
        try:
            events = list(train_pack(recipes, data, backend=backend))
        except SpecError as e:
            assert f"the back-end {backend} can't train this network" in str(e)
            continue
        served.append(backend)
        ends = {e.index: e for e in events if isinstance(e, Ended)}
        for i, state in by_label(events, "last").items():
            if i not in wanted:
                wanted[i] = slowly(parts, method, by_label(events, "step-000000")[i], *halves(data, "train"))
            assert_same(state, wanted[i].state_dict())
            test_loss = float(F.mse_loss(wanted[i](halves(data, "test")[0]), halves(data, "test")[1]).detach())
            assert ends[i].metrics["test_loss"] == pytest.approx(test_loss)
    assert ("loop" in served, "vmap" in served) == (True, not LOOP_ONLY.intersection(parts))
    assert ("bmm" in served) == READ.issuperset(parts)


@pytest.mark.slow
def test_compiled_trains_as_torch_does(data: Data) -> None:
    events = list(train_pack([recipe_of(["hooked", "frozen_weight"])], data, backend="compiled"))
    wanted = slowly(["hooked", "frozen_weight"], "sgd", by_label(events, "step-000000")[0], *halves(data, "train"))
    assert_same(by_label(events, "last")[0], wanted.state_dict())


NO_HESSIAN = {"backhooked", "pulled", "weight_norm", "old_weight_norm"}
"""Hooks that change gradients alone; and torch's derivative of the gradient of weight_norm is wrong."""


def largest_curvature(module: nn.Module, x: Tensor, y: Tensor) -> float:
    """Largest eigenvalue of the dense Hessian of the loss by the weights that train."""
    leaves = [p for p in module.parameters() if p.requires_grad]
    grads = torch.autograd.grad(F.mse_loss(module(x), y), leaves, create_graph=True, allow_unused=True)
    used = [(p, g) for p, g in zip(leaves, grads, strict=True) if g is not None]
    rows = []
    for g in torch.cat([g.flatten() for _, g in used]):
        row = torch.autograd.grad(g, [p for p, _ in used], retain_graph=True, allow_unused=True)
        rows.append(
            torch.cat(
                [
                    torch.zeros_like(p).flatten() if r is None else r.flatten()
                    for (p, _), r in zip(used, row, strict=True)
                ]
            )
        )
    hessian = torch.stack(rows)
    return float(torch.linalg.eigvalsh((hessian + hessian.T) / 2)[-1])


@settings(BARE, max_examples=5)
@given(parts=names.filter(lambda parts: not NO_HESSIAN.intersection(parts)))
def test_sharpness_is_that_of_the_network_itself(parts: list[str], data: Data) -> None:
    probe = {"probe": "sharpness", "products": 200, "tolerance": 1e-12}
    recipes = [recipe_of(parts, seed=s, evaluate={"every_steps": STEPS, "probes": [probe]}) for s in range(2)]
    events = list(train_pack(recipes, data, backend="loop" if LOOP_ONLY.intersection(parts) else "vmap"))
    found = {e.index: e.metrics["sharpness"] for e in events if isinstance(e, Evaluated)}
    for i, state in by_label(events, "last").items():
        wanted = largest_curvature(restored(parts, state).eval(), *halves(data, "train"))
        assert found[i] == pytest.approx(wanted, rel=1e-6, abs=1e-9)


def test_second_derivatives_that_are_wrong_are_refused(data: Data) -> None:
    recipe = recipe_of(["weight_norm"], evaluate={"every_steps": STEPS, "probes": [{"probe": "sharpness"}]})
    with pytest.raises(SpecError, match="second derivatives of this network depend on their order"):
        list(train_pack([recipe], data, backend="loop"))


@settings(BARE, max_examples=8)
@given(parts=names, seed=st.integers(0, 2**16))
def test_a_moved_module_is_the_module_with_other_weights(parts: list[str], seed: int, data: Data) -> None:
    x, _ = halves(data, "test")
    generator = torch.Generator().manual_seed(seed)
    module = build(parts).double()
    moving = {n: torch.randn(p.shape, generator=generator, dtype=p.dtype) for n, p in module.named_parameters()}
    state = state_arrays(module)
    movable = MovableModule(module, state, {"x": {n: np.array(d) for n, d in moving.items()}}, "fixed", [], "cpu")
    for c in (0.0, 0.7, -0.2):
        plain = restored(parts, {n: torch.from_numpy(a) for n, a in state.items()}).eval()
        with torch.no_grad():
            for name, p in plain.named_parameters():
                p += c * moving[name]
            movable.move({"x": c})
            torch.testing.assert_close(movable.forward(x.clone()), plain(x.clone()), rtol=1e-10, atol=1e-10)
    movable.close()


def test_a_zoo_of_traps_reads_and_regenerates(tmp_path: Path, data: Data) -> None:
    """All traps, each with a plain layer before it: modules, outputs and the same weights once more."""
    everything = {name: {"net.args": {"parts": ["linear", name]}} for name in TRAPS}
    recipe = recipe_of(["linear"]).model_dump(mode="json", by_alias=True)
    spec = ZooSpec.model_validate(
        {
            "kind": "zoo",
            "name": "traps",
            "recipe": recipe,
            "recipes": everything,
            "seeds": {"range": 1},
            "backend": "loop",
        }
    )
    assert run_example(ZooKind(), spec, tmp_path).phase == "done"
    zoo = Zoo(tmp_path)
    assert len(zoo) == len(TRAPS)
    x, y = halves(data, "test")
    for member in zoo:
        name = str(member.row["recipe"])
        with torch.no_grad():
            plain = restored(["linear", name], member.state()).eval()(x)
            torch.testing.assert_close(member.module()(x), plain, rtol=0, atol=0)
        assert member.row["test_loss"] == pytest.approx(float(F.mse_loss(plain, y)))
    for name in ("old_weight_norm", "frozen", "replacing"):
        (row,) = zoo.rows[zoo.rows["recipe"] == name].to_dict("records")
        assert regenerate(zoo[row["key"]]).bitwise
