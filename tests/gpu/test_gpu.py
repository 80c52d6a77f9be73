"""What only a GPU can tell: `make bench-gpu` runs these first, `make test` skips them where there is none."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from landsweep.orchestrator.errors import DeviceFailed
from landsweep.orchestrator.kind import Workbench
from landsweep.orchestrator.run.start import run_sweep
from landsweep.orchestrator.site import Site
from landsweep.orchestrator.testing.kind_suite import QuietWatch, metrics_of
from landsweep.sweeps.lab.device import check_device, settle
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.training import Checkpoint, Training, graphs, proof, train_pack
from landsweep.sweeps.lab.training.assembly import assemble
from landsweep.sweeps.lab.training.backends import BACKENDS
from landsweep.sweeps.lab.training.stepper import Stepper
from landsweep.sweeps.zoo.kind import ZooKind
from tests.support.paths import ROOT
from tests.sweeps.lab.training.device_cases import CASES, close, few, fields, trained

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU in this process")
GPU = "cuda:0"


@pytest.fixture(autouse=True)
def settled() -> Iterator[None]:
    threads = torch.get_num_threads()
    settle(Workbench(GPU, threads))
    yield
    torch.cuda.empty_cache()


@pytest.mark.parametrize("case", CASES)
def test_a_gpu_gives_what_the_cpu_gives(case: str) -> None:
    backend, more = CASES[case]
    recipe = fields(**more)
    close(trained(GPU, backend, recipe), trained("cpu", backend, recipe), relative=1e-3)


@pytest.mark.parametrize("case", ["bmm-adamw", "vmap-batch-norm", "loop-gpt", "vmap-cnn"])
def test_the_same_training_gives_the_same_bits_twice(case: str) -> None:
    backend, more = CASES[case]
    recipe = fields(**more)
    assert repr(trained(GPU, backend, recipe)) == repr(trained(GPU, backend, recipe))


@pytest.mark.parametrize("case", [*CASES, "vmap-bf16-weights"])
def test_captured_steps_are_those_that_are_launched(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same bits, by a graph wherever the settings allow one: no capture fails, and none computes other bits."""
    monkeypatch.setattr(graphs, "_PAYS", 8)
    backend, more = CASES.get(case, ("vmap", {"precision": "bf16", "bf16_weights": True}))
    recipe = {**fields(**more), "steps": 24, "evaluate": {"every_steps": 8, "first": 12}, "checkpoints": {"last": True}}
    recipes = [Recipe.model_validate({**recipe, "seed": seed}) for seed in range(3 if backend == "loop" else 8)]

    def kept(training: Training) -> list[dict[str, torch.Tensor]]:
        return [dict(event.state) for event in training if isinstance(event, Checkpoint)]

    data = few(recipes[0]).to(GPU)
    launched = kept(train_pack(recipes, data, device=GPU, backend=backend))
    training = train_pack(recipes, data, device=GPU, backend=backend, graphs=True)
    captured = kept(training)
    assert len(launched) == len(captured) == len(recipes)
    for one, other in zip(launched, captured, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)
    assert "can't be captured" not in training.note and "other bits" not in training.note
    if case in ("bmm-adamw", "bmm-mup", "bmm-one-cycle", "bmm-averages", "vmap-batch-norm", "loop-gpt"):
        assert training.note == "CUDA graphs from step 8"


@pytest.mark.parametrize("case", ["bmm-adamw", "bmm-mup", "bmm-soap", "loop-gpt", "vmap-batch-norm"])
def test_the_parts_of_a_step_never_wait_for_the_gpu(case: str) -> None:
    """The wait that a step is allowed lies between its parts: for the losses."""
    backend, more = CASES[case]
    recipes = [Recipe.model_validate({**fields(**more), "drop_last": True, "seed": seed}) for seed in range(8)]
    data = few(recipes[0]).to(GPU)
    stepper = Stepper(assemble(recipes, data, BACKENDS[backend], GPU, Path()), recipes, data, 20)
    stepper.make_step()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(4):
            stepper.gradients()
            stepper.update()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("net", [{"net": "mlp", "hidden": [16]}, {"net": "mlp", "hidden": [96, 32]}])
def test_rows_that_are_called_exact_are_exact(net: dict[str, Any]) -> None:
    """What `exact_rows` tried out with five models holds for many: cuBLAS chooses kernels by their number."""
    recipes = [Recipe.model_validate({**fields(net=net), "seed": seed}) for seed in range(512)]
    data = few(recipes[0]).to(GPU)
    if not proof.exact_rows(BACKENDS["bmm"], recipes[0], data, GPU, Path()):
        pytest.skip("bmm is not exact on this GPU, and says so")
    weights = []
    for models in (3, 64, 512):
        stepper = Stepper(assemble(recipes[:models], data, BACKENDS["bmm"], GPU, Path()), recipes[:models], data, 20)
        for _ in range(3):
            stepper.make_step()
        weights.append(stepper.tensors()["weights"][:3].cpu())
    assert torch.equal(weights[0], weights[1]) and torch.equal(weights[0], weights[2])


def test_packs_that_do_not_fit_are_halved_and_a_share_is_a_share(tmp_path: Path) -> None:
    """With a hundredth of the card's memory; rows are those of the whole card."""
    recipe = {**fields(net={"net": "mlp", "hidden": [2048, 2048]}), "steps": 2}
    spec = ZooKind().parse(
        {"kind": "zoo", "name": "large", "recipe": recipe, "backend": "bmm", "seeds": {"range": 64}}, "spec"
    )
    try:
        site = Site(executor="local", gpus=0.02, tracking=False, shard_seconds=1000)
        run_sweep(ZooKind(), spec, site, tmp_path / "share", folder=ROOT, watch=QuietWatch())
        used = torch.cuda.max_memory_allocated() / torch.cuda.get_device_properties(0).total_memory
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert {row["status"] for row in metrics_of(tmp_path / "share").values()} == {"ok"}
    assert used <= 0.02


@pytest.mark.parametrize("precision", ["float32", "tf32", "bf16", "fp16"])
def test_precision_is_what_is_asked_for(precision: str) -> None:
    """Products of float32 are exact to 1e-6, those with fewer bits are not."""
    recipe = fields(precision=precision, net={"net": "mlp", "hidden": [64]})
    backend = "vmap"
    given, exact = trained(GPU, backend, recipe), trained("cpu", backend, fields(net={"net": "mlp", "hidden": [64]}))
    close(given, exact, relative={"float32": 1e-4, "tf32": 1e-2, "bf16": 0.1, "fp16": 0.1}[precision])
    if precision != "float32":
        with pytest.raises(AssertionError):
            close(given, exact, relative=1e-6)


def test_a_sound_gpu_passes_its_test() -> None:
    check_device(GPU)
    with pytest.raises((DeviceFailed, RuntimeError)):
        check_device("cuda:99")
