"""All that trains also does so on a GPU: the same bits on a pretend one, and hardly ever a wait for it."""

from pathlib import Path
from typing import Any

import pytest
import torch

from landsweep.orchestrator.kind import SweepKind
from landsweep.orchestrator.run.start import run_sweep
from landsweep.orchestrator.site import Site
from landsweep.orchestrator.testing.kind_suite import QuietWatch, metrics_of, same
from landsweep.sweeps.lab.data import Data, Split
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.training import BranchPoint, Checkpoint, Ended, Evaluated, proof, train_pack
from landsweep.sweeps.landscape.kind import LandscapeKind
from landsweep.sweeps.scaling.kind import ScalingKind
from landsweep.sweeps.search.kind import SearchKind
from landsweep.sweeps.transfer.kind import TransferKind
from landsweep.sweeps.zoo.kind import ZooKind
from tests.support.paths import ROOT
from tests.support.pretend import DeviceMistake, PretendGpu, numbers_of
from tests.sweeps.lab.training.cases import OPTIMIZERS, label

PROBES = [{"probe": name} for name in ("activations", "attention", "logits")]
MLP: dict[str, Any] = {"net": {"net": "mlp", "hidden": [6]}}
TEXT = {"source": "markov", "states": 5, "context": 6}
GPT: dict[str, Any] = {"data": TEXT, "net": {"net": "gpt", "width": 8, "heads": 2, "depth": 1}}
CNN: dict[str, Any] = {"net": {"net": "cnn", "channels": [2, 3]}}


def fields(**more: Any) -> dict[str, Any]:
    return {
        "data": {"source": "digits"},
        "optimizer": {"method": "sgd", "momentum": 0.9, "learning_rate": 0.05},
        "steps": 4,
        "batch_size": 8,
        "evaluate": {"every_steps": 2, "first": 12, "start": True},
        **MLP,
        **more,
    }


CASES: dict[str, tuple[str, dict[str, Any]]] = {
    **{f"bmm-{label(o)}": ("bmm", {"optimizer": o}) for o in OPTIMIZERS},
    "bmm-mup": ("bmm", {"parametrization": {"scheme": "mup", "base_width": 4}, "optimizer": {"method": "adamw"}}),
    "bmm-dropout": ("bmm", {"net": {"net": "mlp", "hidden": [6], "dropout": 0.2, "norm": "layer"}}),
    "bmm-one-cycle": ("bmm", {"schedule": {"shape": "one_cycle"}}),
    "bmm-clip": ("bmm", {"clip": 0.1, "checkpoints": {"every_steps": 1, "best": "test_loss"}}),
    "bmm-labels": ("bmm", {"label_noise": 0.3, "train_fraction": 0.5, "drop_last": True}),
    "bmm-averages": ("bmm", {"averaging": {"average": "exponential"}, "loss": "mse"}),
    "bmm-double": ("bmm", {"dtype": "float64", "z_loss": 1e-4}),
    "vmap-batch-norm": ("vmap", {"net": {"net": "mlp", "hidden": [6], "norm": "batch"}}),
    "vmap-cnn": ("vmap", {**CNN, "augment": {"shift": 1}}),
    "loop-class": ("loop", {"optimizer": {"method": "class", "name": "torch.optim:AdamW", "learning_rate": 0.01}}),
    "loop-gpt": ("loop", GPT),
    "vmap-gpt-probes": ("vmap", {**GPT, "evaluate": {"probes": PROBES, "first": 12}}),
    "vmap-vit-muon": (
        "vmap",
        {"net": {"net": "vit", "width": 8, "heads": 2, "depth": 1, "patch": 4}, "optimizer": {"method": "muon"}},
    ),
    "vmap-resnet": ("vmap", {"net": {"net": "resnet", "depth": 8, "width": 2}, "steps": 2}),
}
FAST = ("bmm-adamw", "bmm-soap", "vmap-batch-norm", "loop-gpt", "vmap-gpt-probes")
PROVED = ("bmm-adamw",)  # whose back-end is proved too; that is the slower part


def few(recipe: Recipe) -> Data:
    """A few samples of its data: everything is done there that is done on all of it."""
    data = recipe.data.load(Path())
    splits = {name: Split(s.inputs[:40], s.targets[:40]) for name, s in data.splits.items()}
    return Data(splits, data.classes, data.shape)


def trained(device: str, backend: str, recipe: dict[str, Any], models: int = 3) -> list[Any]:
    recipes = [Recipe.model_validate({**recipe, "seed": seed}) for seed in range(models)]
    branches = () if recipe["optimizer"]["method"] == "class" else (2,)
    events = list(
        train_pack(recipes, few(recipes[0]).to(device), device=device, backend=backend, branch_steps=branches)
    )
    given: list[Any] = []
    for event in events:
        match event:
            case Evaluated() | Ended():
                given.append((type(event).__name__, event.index, event.step, dict(event.metrics)))
            case Checkpoint() | BranchPoint():
                given.append((event.index, event.step, {n: numbers_of(t).tolist() for n, t in event.state.items()}))
    return given


@pytest.fixture(autouse=True)
def proofs(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if not any(f"[{case}]" in request.node.name for case in PROVED):
        monkeypatch.setattr(proof, "_verdict", lambda *given: None)
        monkeypatch.setattr(proof, "_same_bits", lambda *given: True)
    monkeypatch.setattr(proof, "_VERDICTS", {})
    monkeypatch.setattr(proof, "_EXACT", {})


@pytest.mark.parametrize("case", [pytest.param(c, marks=() if c in FAST else pytest.mark.slow) for c in CASES])
def test_a_gpu_gives_what_the_cpu_gives(case: str) -> None:
    backend, more = CASES[case]
    recipe = fields(**more)
    expected = trained("cpu", backend, recipe)
    with PretendGpu() as gpu:
        given = trained("cuda:0", backend, recipe)
    assert repr(given) == repr(expected)  # nan equals nan
    assert gpu.kernels


def counted(backend: str, recipe: dict[str, Any], steps: int) -> PretendGpu:
    """What a training of so many steps asks of the GPU, with nothing but its end to be evaluated."""
    with PretendGpu() as gpu:
        trained("cuda:0", backend, {**recipe, "steps": 2, "evaluate": {"first": 12}})  # proofs are remembered
        gpu.reset()
        trained("cuda:0", backend, {**recipe, "steps": steps, "evaluate": {"first": 12}})
    return gpu


BUDGET = {  # waits and copies in each step; a wait is for the losses, of which a model may end that has diverged
    "bmm-adamw": (1, 0),
    "bmm-soap": (1, 0),
    "bmm-mup": (1, 0),
    "bmm-clip": (1, 0),
    "bmm-dropout": (1, 2),  # masks, which a generator of the CPU draws, and positions
    "loop-gpt": (1, 0),
    "loop-class": (1, 0),
    "vmap-batch-norm": (1, 0),
}


@pytest.mark.parametrize("case", [pytest.param(c, marks=() if c in FAST else pytest.mark.slow) for c in BUDGET])
def test_a_step_waits_for_the_gpu_once(case: str) -> None:
    """More waits or copies than its budget mean that somebody asks the GPU for what the host could know."""
    backend, more = CASES[case]
    recipe = fields(**{**more, "checkpoints": {"last": False}, "drop_last": True})
    few_steps, more_steps = (counted(backend, recipe, steps) for steps in (10, 20))
    waits = sum(more_steps.syncs.values()) - sum(few_steps.syncs.values())
    copies = sum(more_steps.uploads.values()) - sum(few_steps.uploads.values())
    assert waits <= 10 * BUDGET[case][0], more_steps.syncs
    assert copies <= 10 * BUDGET[case][1], more_steps.uploads


@pytest.mark.parametrize("backend", ["bmm", "loop"])
def test_a_model_is_copied_from_the_gpu_at_once(backend: str) -> None:
    recipe = fields(evaluate={"first": 12})
    without, kept = (counted(backend, {**recipe, "checkpoints": {"last": last}}, 4) for last in (False, True))
    assert sum(kept.syncs.values()) - sum(without.syncs.values()) <= 3 * (1 + 5)  # weights, and the keys of NoNorm


SHORT = {"steps": 4, "batch_size": 32, "evaluate": {"every_steps": 2}, "checkpoints": {"last": True}}
KINDS: dict[str, tuple[SweepKind[Any], dict[str, Any]]] = {
    "zoo": (ZooKind(), {"recipe": SHORT, "axes": {"net.hidden.0": [4]}, "seeds": {"range": 2}}),
    "landscape": (LandscapeKind(), {"axes": {"x": {"linear": [-1, 1, 3]}}}),
    "search": (SearchKind(), {"recipe": SHORT, "budget": {"units": 4}, "generation": 2}),
    "transfer": (TransferKind(), {"recipe": SHORT, "rates": [0.01, 0.02, 0.04], "seeds": [0], "sharpness": None}),
    "scaling": (ScalingKind(), {"widths": [2, 3, 4, 6, 8, 12], "budgets": [2e5], "validate": None}),
}


def smaller(kind: SweepKind[Any], changes: dict[str, Any]) -> Any:
    """A kind's example with other fields; those of its recipe are merged."""
    example = {"kind": kind.name, **kind.example().model_dump(mode="json", exclude={"kind"}, exclude_unset=True)}
    merged = {**example.get("recipe", {}), **changes.get("recipe", {})}
    fields = {**example, **changes, **({"recipe": merged} if merged else {})}
    return kind.parse({name: value for name, value in fields.items() if value is not None}, "spec")


@pytest.mark.parametrize("name", [pytest.param(k, marks=() if k == "zoo" else pytest.mark.slow) for k in KINDS])
def test_a_sweep_on_a_gpu_gives_the_rows_of_the_cpu(name: str, tmp_path: Path) -> None:
    kind, changes = KINDS[name]
    spec = smaller(kind, changes)
    run_sweep(kind, spec, Site(executor="local", tracking=False), tmp_path / "cpu", folder=ROOT, watch=QuietWatch())
    with PretendGpu() as gpu:
        site = Site(executor="local", gpus=1, tracking=False)
        run_sweep(kind, spec, site, tmp_path / "gpu", folder=ROOT, watch=QuietWatch())
    assert gpu.kernels
    given, expected = metrics_of(tmp_path / "gpu"), metrics_of(tmp_path / "cpu")
    assert given.keys() == expected.keys()
    assert all(same(given[key], expected[key]) for key in expected)


def test_the_pretend_gpu_notices_mistakes() -> None:
    """It could not fail otherwise."""
    with PretendGpu() as gpu:
        there, here = torch.ones(3, device="cuda:0"), torch.ones(3)
        assert there.device.type == "cuda" and there.is_cuda and (there + there).device == there.device
        for mistake in (
            lambda: there + here,
            lambda: torch.cat([there, here]),
            lambda: torch.rand(2, device="cuda:0", generator=torch.Generator()),
            lambda: there.numpy(),
            lambda: torch.nn.functional.linear(there, here),
            lambda: there.index_select(0, torch.tensor([0])),
        ):
            with pytest.raises(DeviceMistake):
                mistake()
        gpu.reset()
        assert float(there.sum()) == 3.0 and bool((there > 0).all()) and there.tolist() == [1.0] * 3
        assert sum(gpu.syncs.values()) == 3
        (there * 2).cpu(), there[torch.tensor([0])], there.nonzero(), there[there > 0]
        assert sum(gpu.syncs.values()) == 6 and sum(gpu.uploads.values()) == 1
    with pytest.raises(DeviceMistake, match="after the GPU is gone"):
        there + there
