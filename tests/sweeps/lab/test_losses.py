"""Losses of classes: of packs and of one network against torch's and the papers' formulas."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

from landsweep import Zoo
from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.kind import Workbench
from landsweep.orchestrator.storage.artifacts import Artifacts
from landsweep.sweeps.lab.data import TeacherStudent
from landsweep.sweeps.lab.losses import LOSSES, OF_CLASSES, LossName, TrainingLoss, sample_losses
from landsweep.sweeps.lab.training import Evaluated
from landsweep.sweeps.zoo.audit import reevaluate
from tests.support.zoos import SMALL_RECIPE, train_zoo, zoo_spec
from tests.sweeps.lab.training.cases import finals, recipe, run

NEW: list[LossName] = ["hinge", "squentropy", "stablemax"]
EACH = [(name, seed) for name in NEW for seed in range(20)]


def written_out(name: str, f: Tensor, y: int) -> float:
    """Loss of one sample by the definition, number by number."""
    values = f.tolist()
    wrong = [v for j, v in enumerate(values) if j != y]
    if name == "hinge":
        return sum(max(0.0, 1 - values[y] + v) for v in wrong) / len(values)
    if name == "squentropy":
        return float(F.cross_entropy(f, torch.tensor(y))) + sum(v * v for v in wrong) / len(wrong)
    sizes = [v + 1 if v >= 0 else 1 / (1 - v) for v in values]
    return float(-torch.tensor(sizes[y] / sum(sizes), dtype=torch.float64).log())


@pytest.mark.parametrize(("name", "seed"), EACH)
def test_packs_and_single_networks_follow_the_definition(name: LossName, seed: int) -> None:
    source = torch.Generator().manual_seed(seed)
    outputs = torch.randn(2, 7, 4, generator=source, dtype=torch.float64) * 3
    targets = torch.randint(4, (2, 7), generator=source)
    wanted = [
        [written_out(name, f, int(y)) for f, y in zip(a, b, strict=True)] for a, b in zip(outputs, targets, strict=True)
    ]
    expected = torch.tensor(wanted, dtype=torch.float64)
    torch.testing.assert_close(sample_losses(name, outputs, targets), expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(LOSSES[name](outputs[0], targets[0]), expected[0], rtol=1e-12, atol=1e-12)
    if name == "hinge":
        torch.testing.assert_close(expected[0], F.multi_margin_loss(outputs[0], targets[0], reduction="none"))


@pytest.mark.parametrize("name", NEW)
def test_a_sequence_has_the_mean_over_its_positions(name: LossName) -> None:
    source = torch.Generator().manual_seed(0)
    outputs = torch.randn(2, 3, 5, 4, generator=source, dtype=torch.float64)
    targets = torch.randint(4, (2, 3, 5), generator=source)
    flat = sample_losses(name, outputs.reshape(2, 15, 4), targets.reshape(2, 15)).view(2, 3, 5).mean(2)
    torch.testing.assert_close(sample_losses(name, outputs, targets), flat)
    torch.testing.assert_close(LOSSES[name](outputs[1], targets[1]), flat[1])


def test_large_logits_stay_finite_with_their_gradients() -> None:
    for name in NEW:
        outputs = torch.tensor([[[1e4, -1e4, 3.0]]], requires_grad=True)
        loss = sample_losses(name, outputs, torch.tensor([[1]])).sum()
        (slopes,) = torch.autograd.grad(loss, outputs)
        assert bool(torch.isfinite(loss)) and bool(torch.isfinite(slopes).all())


@pytest.mark.parametrize("name", NEW)
def test_all_back_ends_lower_it_alike(name: LossName) -> None:
    recipes = [recipe(seed, loss=name, steps=4, dtype="float64") for seed in range(2)]
    data = recipes[0].data.load(Path())
    loop, *others = (finals(run(recipes, data, backend)) for backend in ("loop", "vmap", "bmm"))
    for other in others:
        for index, state in loop.items():
            for key, tensor in state.items():
                torch.testing.assert_close(tensor, other[index][key], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("backend", ["loop", "vmap", "bmm"])
@pytest.mark.parametrize("z_loss", [0.0, 0.3])
def test_smoothed_labels_are_torch_s_in_training_and_evaluation_is_plain(backend: str, z_loss: float) -> None:
    rate: dict[str, Any] = {"steps": 1, "batch_size": 1400, "dtype": "float64"}
    r = recipe(label_smoothing=0.2, z_loss=z_loss, optimizer={"method": "sgd", "learning_rate": 0.1}, **rate)
    data = r.data.load(Path())
    events = run([r], data, backend)
    module = r.net.build((1, 8, 8), 10, 0).double()
    train, test = (data.splits[name].cast(torch.float64) for name in ("train", "test"))
    outputs = module(train.inputs)
    smooth = F.cross_entropy(outputs, train.targets, label_smoothing=0.2)
    (smooth + z_loss * outputs.logsumexp(1).square().mean()).backward()  # type: ignore[no-untyped-call]
    for name, p in module.named_parameters():
        assert p.grad is not None
        wanted = p.detach() - 0.1 * p.grad
        torch.testing.assert_close(finals(events)[0][name], wanted, rtol=1e-9, atol=1e-11)
    module.load_state_dict(finals(events)[0])
    losses = [e.metrics["test_loss"] for e in events if isinstance(e, Evaluated) and e.step == 1]
    assert losses == [pytest.approx(float(F.cross_entropy(module(test.inputs), test.targets).detach()), rel=1e-9)]


def test_smoothed_labels_of_sequences_are_means_over_positions() -> None:
    source = torch.Generator().manual_seed(0)
    outputs = torch.randn(2, 3, 5, 4, generator=source, dtype=torch.float64)
    targets = torch.randint(4, (2, 3, 5), generator=source)
    each = F.cross_entropy(outputs.flatten(0, 2), targets.flatten(), label_smoothing=0.3, reduction="none")
    torch.testing.assert_close(
        TrainingLoss("cross_entropy", 0.0, 0.3)(outputs, targets), each.view(2, 3, 5).mean(2), rtol=1e-12, atol=1e-12
    )


def test_rows_are_what_the_audit_finds(tmp_path: Path) -> None:
    spec = zoo_spec(recipe=SMALL_RECIPE, axes={"loss": [*NEW, "mse"]}, seeds={"range": 1}, backend="bmm")
    train_zoo(spec, tmp_path / "zoo")
    assert len(Zoo(tmp_path / "zoo")) == 4
    zoo = Zoo(tmp_path / "zoo")
    assert reevaluate(zoo, zoo.rows, Workbench(artifacts=Artifacts(str(tmp_path / "zoo"))), 4) == []


def test_targets_that_are_no_classes_are_refused() -> None:
    assert set(get_args(LossName)) - {"mse", "outputs"} == OF_CLASSES
    data = TeacherStudent(source="teacher_student").load(Path())
    for name in NEW:
        with pytest.raises(SpecError, match=f"{name} needs classes"):
            recipe(loss=name).loss_on(data)
    with pytest.raises(SpecError, match=r"z_loss: 0\.1 is of cross_entropy, but the loss is hinge"):
        recipe(loss="hinge", z_loss=0.1).loss_on(recipe().data.load(Path()))
    with pytest.raises(SpecError, match=r"label_smoothing: 0\.2 is of cross_entropy, but the loss is mse"):
        recipe(loss="mse", label_smoothing=0.2).loss_on(recipe().data.load(Path()))
