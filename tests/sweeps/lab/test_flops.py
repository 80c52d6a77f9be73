"""Counts of parameters and operations against torch's own counter and against built modules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from pydantic import TypeAdapter
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from landsweep.sweeps.lab.flops import count, measured, training_flops
from landsweep.sweeps.lab.models import NetSpec, parameter_count
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.training.assembly import assemble
from landsweep.sweeps.lab.training.backends import Loop
from landsweep.sweeps.lab.training.calendar import Calendar, samples_seen
from landsweep.sweeps.lab.training.stepper import Stepper
from landsweep.sweeps.scaling.kind import ScalingKind
from landsweep.sweeps.scaling.ladder import Ladder

NETS: TypeAdapter[Any] = TypeAdapter(NetSpec)
CASES: list[tuple[dict[str, Any], tuple[int, ...], int]] = [
    ({"net": "mlp", "hidden": []}, (7,), 3),
    ({"net": "mlp", "hidden": [5]}, (7,), 3),
    ({"net": "mlp", "hidden": [16, 8, 4], "norm": "layer"}, (1, 8, 8), 10),
    ({"net": "mlp", "hidden": [6, 6], "norm": "batch", "dropout": 0.1}, (4,), 2),
    ({"net": "gpt", "width": 16, "depth": 3, "heads": 4}, (12,), 29),
    ({"net": "gpt", "width": 8, "depth": 1, "heads": 1, "ratio": 2, "norm": "rms"}, (5,), 256),
    ({"net": "gpt", "width": 8, "depth": 2, "heads": 2, "norm": "none", "logits": "last"}, (3,), 11),
    ({"net": "vit", "width": 8, "depth": 2, "heads": 2, "patch": 4}, (3, 8, 8), 10),
    ({"net": "cnn"}, (1, 8, 8), 10),
    ({"net": "resnet", "depth": 8, "width": 4}, (3, 16, 16), 10),
    ({"net": "resnet18", "width": 2}, (1, 8, 8), 10),
    ({"net": "small_cnn", "width": 3}, (1, 28, 28), 10),
    ({"net": "cnn_s"}, (1, 28, 28), 10),
    ({"net": "gpt", "width": 8, "depth": 2, "heads": 2, "qk_norm": True}, (6,), 13),
    ({"net": "dit", "width": 8, "depth": 2, "heads": 2}, (2, 8, 8), 64),
    ({"net": "encdec", "width": 8, "depth": 2, "encoder_depth": 1, "heads": 2, "source": 4}, (10,), 13),
    ({"net": "gru", "width": 8, "depth": 2}, (5,), 13),
    ({"net": "mlp", "hidden": [6], "harmonic": 4.0}, (5,), 3),
    ({"net": "gpt", "width": 8, "heads": 2, "depth": 1, "harmonic": 4.0}, (6,), 5),
]


@pytest.mark.parametrize(("net", "shape", "outputs"), CASES, ids=lambda v: v["net"] if isinstance(v, dict) else "")
def test_counts_equal_those_of_a_real_training_step(net: dict[str, Any], shape: tuple[int, ...], outputs: int) -> None:
    spec, batch = NETS.validate_python(net), 3
    told = count(spec, shape, outputs)
    module = spec.build(shape, outputs, 0)
    tokens = net["net"] in ("gpt", "encdec", "gru")
    inputs = torch.randint(outputs, (batch, *shape)) if tokens else torch.randn(batch, *shape)
    assert told.parameters == parameter_count(module) == sum(p.numel() for p in module.parameters())
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        out = module(inputs)
    assert counter.get_total_flops() == batch * told.forward
    with FlopCounterMode(display=False) as counter:
        out = module(inputs)
        F.cross_entropy(out.flatten(0, -2), torch.zeros(out.flatten(0, -2).shape[0], dtype=torch.long)).backward()
    assert counter.get_total_flops() == batch * told.training


@pytest.mark.parametrize(("net", "shape", "outputs"), CASES[:7], ids=lambda v: v["net"] if isinstance(v, dict) else "")
def test_closed_forms_equal_the_dry_run(net: dict[str, Any], shape: tuple[int, ...], outputs: int) -> None:
    spec = NETS.validate_python(net)
    assert count(spec, shape, outputs) == measured(spec, shape, outputs)


def test_embedding_body_and_head_are_what_the_names_say() -> None:
    spec = NETS.validate_python({"net": "gpt", "width": 16, "depth": 2, "heads": 2})
    module, told = spec.build((10,), 50, 0), count(spec, (10,), 50)
    assert told.embedding == sum(parameter_count(m) for m in module.modules() if isinstance(m, nn.Embedding))
    assert told.head == parameter_count(module.get_submodule("out"))
    assert told.body == sum(p.numel() for n, p in module.named_parameters() if n.startswith(("blocks", "norm")))


def test_the_cost_of_a_large_transformer_comes_near_to_six_per_parameter_and_token() -> None:
    spec = NETS.validate_python({"net": "gpt", "width": 4096, "depth": 32, "heads": 32})
    told = count(spec, (1024,), 50_000)
    assert told.training / 1024 / (told.body + told.head) == pytest.approx(6, rel=0.05)


MARKOV = {"source": "markov", "states": 5, "context": 6, "train": 50, "test": 8}
DIGITS = {"source": "callable", "path": f"{__name__}:few_digits"}


def few_digits() -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    source = torch.Generator().manual_seed(0)
    return {name: (torch.randn(50, 1, 8, 8, generator=source), torch.arange(50) % 10) for name in ("train", "test")}


def own() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(72, 10))


@pytest.mark.parametrize("optimizer", [{"method": "sgd"}, {"method": "sam"}, {"method": "adam"}])
@pytest.mark.parametrize(
    "net",
    [
        {"net": "mlp", "hidden": [8, 6]},
        {"net": "cnn", "channels": [4]},
        {"net": "resnet", "depth": 8, "width": 2},
        {"net": "gpt", "width": 8, "depth": 1, "heads": 2},
        {"net": "own", "build": f"{__name__}:own"},
    ],
    ids=lambda n: n["net"],
)
def test_a_training_is_counted_as_torch_counts_it_while_it_runs(net: dict[str, Any], optimizer: dict[str, Any]) -> None:
    """Over an epoch that ends with a smaller batch, and into the next."""
    data = MARKOV if net["net"] == "gpt" else DIGITS
    fields = {"data": data, "net": net, "optimizer": optimizer, "steps": 6, "batch_size": 16, "evaluate": {"first": 1}}
    recipe = Recipe.model_validate(fields)
    loaded = recipe.data.load(Path())
    stepper = Stepper(assemble([recipe], loaded, Loop, "cpu", Path()), [recipe], loaded, total=6)
    with FlopCounterMode(display=False) as counter:
        for _ in range(6):
            stepper.make_step()
    told = training_flops(recipe, loaded) * samples_seen(recipe, 50, 6)
    assert counter.get_total_flops() == told
    assert samples_seen(recipe, 50, 6) == 50 + 2 * 16


def test_samples_of_whole_batches_alone() -> None:
    recipe = Recipe.model_validate(
        {"data": DIGITS, "net": {"net": "mlp"}, "steps": 6, "batch_size": 16, "drop_last": True}
    )
    assert [samples_seen(recipe, 50, steps) for steps in (0, 2, 3, 4)] == [0, 32, 48, 64]


@pytest.mark.parametrize(("batch", "drop_last", "beyond"), [(16, False, 14 * 2), (16, True, 0), (10, False, 0)])
def test_a_study_counts_whole_batches(batch: int, drop_last: bool, beyond: int) -> None:
    """Of 50 samples: 14 too many in each epoch that ends with a smaller batch, none where all batches are whole."""
    fields = {"data": DIGITS, "net": {"net": "mlp"}, "steps": 9, "batch_size": batch, "drop_last": drop_last}
    recipe = Recipe.model_validate(fields)
    steps = 2 * Calendar.of(recipe, 50).per_epoch + 1
    assert steps * batch - samples_seen(recipe, 50, steps) == beyond
    assert 3 * batch == samples_seen(recipe, 50, 3), "within the first epoch the count is exact"


def test_a_study_counts_a_step_as_a_search_does() -> None:
    spec = ScalingKind().example()
    assert spec.recipe is not None
    for optimizer in ({"method": "adam"}, {"method": "sam"}):
        recipe = Recipe.model_validate({**spec.recipe.model_dump(mode="json"), "optimizer": optimizer, "steps": 1})
        size = Ladder(spec.model_copy(update={"recipe": recipe})).size(8)
        sized = recipe.model_copy(update={"net": size.net})
        assert size.step_flops == training_flops(sized, recipe.data.load(Path())) * recipe.batch_size
