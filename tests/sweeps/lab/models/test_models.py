"""Networks: shapes, keys, initialisation, training."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from landsweep.sweeps.lab.data import Digits, Split
from landsweep.sweeps.lab.models import parameter_count
from landsweep.sweeps.lab.streams import stream
from landsweep.sweeps.landscape.models import LandscapeModel
from landsweep.sweeps.landscape.train import TrainSpec, rate, train

SPECS: list[dict[str, Any]] = [
    *({"net": "mlp", "hidden": [12, 7], "norm": norm} for norm in ("none", "batch", "layer")),
    *({"net": "cnn", "channels": [4, 6], "norm": norm} for norm in ("none", "batch", "layer")),
    *(
        {"net": "resnet", "depth": 14, "width": 4, "norm": norm, "skip": skip}
        for norm in ("none", "batch", "layer")
        for skip in (True, False)
    ),
]


def make(spec: dict[str, Any], shape: tuple[int, ...] = (1, 8, 8), **recipe: object) -> nn.Module:
    model = LandscapeModel.model_validate({"train": {"epochs": 0, **recipe}, **spec})
    return model.make(shape, 10, Path())


@pytest.mark.parametrize("spec", SPECS, ids=str)
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32)], ids=str)
def test_gives_ten_outputs_per_image(spec: dict[str, Any], shape: tuple[int, ...]) -> None:
    assert make(spec, shape).eval()(torch.zeros(3, *shape)).shape == (3, 10)


@pytest.mark.parametrize("norm", ["none", "batch", "layer"])
def test_keys_and_weights_do_not_depend_on_skip(norm: str) -> None:
    on, off = (make({"net": "resnet", "depth": 20, "width": 4, "norm": norm, "skip": s}) for s in (True, False))
    assert list(on.state_dict()) == list(off.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(on.parameters(), off.parameters(), strict=True))
    x = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert not torch.allclose(on.eval()(x), off.eval()(x))


def test_resnet20_has_the_papers_size() -> None:
    """0.27 million parameters for CIFAR-10 (arXiv 1512.03385, table 6); exactly as counted layer by layer."""
    w, convs = 16, 0
    convs += 3 * w * 9 + 6 * w * w * 9
    convs += w * 2 * w * 9 + 5 * (2 * w) ** 2 * 9 + 2 * w * 4 * w * 9 + 5 * (4 * w) ** 2 * 9
    norms = 2 * (7 * w + 6 * 2 * w + 6 * 4 * w)
    module = make({"net": "resnet", "depth": 20, "width": 16}, (3, 32, 32))
    assert parameter_count(module) == convs + norms + 64 * 10 + 10
    assert round(parameter_count(module), -4) == 270_000


def test_a_block_adds_its_input() -> None:
    """With all convolutions of the blocks at 0, shortcuts carry the stem: every second pixel, new channels 0."""
    module = make({"net": "resnet", "depth": 8, "width": 2, "norm": "none"})
    for name, p in module.named_parameters():
        if name.startswith("blocks"):
            nn.init.zeros_(p)
    x = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    stem = module.act(module.norm(module.conv(x)))  # type: ignore[operator]
    thin = stem[:, :, ::4, ::4].mean((2, 3))
    padded = torch.cat([thin, torch.zeros(2, 6)], 1)
    torch.testing.assert_close(module(x), module.linear(padded))  # type: ignore[operator]


def test_initialisation_belongs_to_the_seed_and_leaves_global_state() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, same, other = (make(SPECS[0], seed=seed) for seed in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    weights = [torch.cat([p.flatten() for p in m.parameters()]) for m in (first, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert stream(0, "init") != stream(0, "order")


def test_he_deviation() -> None:
    layer = make({"net": "mlp", "hidden": [400]}, (200,)).hidden[0].linear  # type: ignore[index,union-attr]
    weight = layer.weight.detach()
    assert float(weight.std()) == pytest.approx(math.sqrt(2 / 200), rel=0.02)
    assert float(weight.mean()) == pytest.approx(0, abs=4 * math.sqrt(2 / 200 / 80_000))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"net": "resnet", "depth": 21, "train": {"epochs": 1}}, "nearest are 20 and 26"),
        ({"net": "mlp"}, "needs one of `recipe`, `train` and `checkpoint`, got none"),
        ({"net": "mlp", "train": {"epochs": 1}, "checkpoint": "x.pt"}, "got train and checkpoint"),
        ({"net": "mlp", "train": {"epochs": 1, "momentum": 0, "nesterov": True}}, "momentum above 0"),
    ],
)
def test_bad_specs_say_why(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        LandscapeModel.model_validate(spec)


def test_training_is_deterministic_and_learns() -> None:
    data = Digits(source="digits").load(Path()).splits["train"]
    histories, weights = [], []
    for seed in (0, 0, 1):
        module = make({"net": "mlp", "hidden": [32]}, seed=seed)
        histories.append(list(train(module, data, TrainSpec(epochs=3, seed=seed))))
        weights.append(torch.cat([p.detach().flatten() for p in module.parameters()]))
        assert not module.training
    assert histories[0] == histories[1]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert histories[0][-1].accuracy > 0.9 > histories[0][0].accuracy
    assert [e.epoch for e in histories[0]] == [1, 2, 3]


def test_full_batch_step_is_gradient_descent() -> None:
    """One step of plain SGD on all samples: w - rate * gradient, whatever the order."""
    data = Split(torch.randn(6, 4, generator=torch.Generator().manual_seed(1)), torch.tensor([0, 1, 2, 0, 1, 2]))
    module = nn.Linear(4, 3)
    w = module.weight.detach().clone().requires_grad_()
    b = module.bias.detach().clone()
    (grad,) = torch.autograd.grad(nn.functional.cross_entropy(data.inputs @ w.T + b, data.targets), w)
    spec = TrainSpec(epochs=1, batch_size=6, learning_rate=0.3, momentum=0, schedule="constant")
    (epoch,) = train(module, data, spec)
    torch.testing.assert_close(module.weight.detach(), (w - 0.3 * grad).detach())
    before = nn.functional.cross_entropy(data.inputs @ w.detach().T + b, data.targets)
    assert epoch.loss == pytest.approx(float(before))


def test_schedule_rises_and_falls() -> None:
    spec = TrainSpec(epochs=10, learning_rate=1.0, warmup=2)
    rates = [rate(spec, step, 5) for step in range(50)]
    assert rates[:10] == pytest.approx([(i + 1) / 11 for i in range(10)])
    assert rates[10] == 1
    assert rates[30] == pytest.approx(0.5)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] < 0.01
