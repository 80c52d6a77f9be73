"""Noised images: what is on the way to noise, that it is drawn anew in each step, and the least loss in closed form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from landsweep.sweeps.lab.data import Denoising, Digits
from landsweep.sweeps.lab.data.denoising import Times, drawn, renewed
from landsweep.sweeps.lab.training.samples import Samples
from tests.sweeps.lab.training.cases import recipe

PLAIN = Digits(source="digits").load(Path()).splits
NOISED = {"source": "denoising", "of": {"source": "digits"}}


def parts(inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Images, noise and times, from the straight way alone."""
    t = inputs[:, -1:]
    velocity = targets.view(inputs[:, :-1].shape)
    return inputs[:, :-1] - t * velocity, inputs[:, :-1] + (1 - t) * velocity, t[:, 0, 0, 0]


def test_inputs_and_targets_tell_the_image_and_the_noise() -> None:
    source = Denoising.model_validate(NOISED)
    data = source.load(Path())
    told = source.dimensions()
    assert (told.shape, told.outputs, told.regression) == (data.shape, data.outputs, True) == ((2, 8, 8), 64, True)
    for name, split in data.splits.items():
        images, noise, t = parts(split.inputs, split.targets)
        torch.testing.assert_close(images, PLAIN[name].inputs, rtol=0, atol=1e-5)
        assert abs(float(noise.mean())) < 0.02 and abs(float(noise.std()) - 1) < 0.02
        assert bool((split.inputs[:, -1] == t[:, None, None]).all())
        assert float(t.logit().std()) == pytest.approx(1, abs=0.1)
    again = Denoising.model_validate({**NOISED, "seed": 1}).load(Path())
    assert not torch.equal(again.splits["test"].inputs, data.splits["test"].inputs)


@pytest.mark.parametrize("times", ["uniform", "logit_normal"])
def test_noise_is_new_in_each_step_and_images_stay(times: Times) -> None:
    """By seed and step alone: what a model sees does not depend on what trains beside it."""
    each = [recipe(s, data=NOISED, augment={"noise": times}, steps=4, batch_size=100) for s in (0, 1)]
    data = each[0].data.load(Path())
    both, alone = Samples(each, data), Samples(each[1:], data)
    seen = []
    for step in (0, 14):  # the first of two epochs
        inputs, targets = both.batch(step)
        assert torch.equal(alone.batch(step)[0][0], inputs[1]) and torch.equal(alone.batch(step)[1][0], targets[1])
        images, noise, t = parts(inputs[0], targets[0])
        gaps = (images[:, None] - PLAIN["train"].inputs[None]).flatten(2).abs().amax(2).amin(1)
        assert float(gaps.max()) < 1e-5
        seen.append(noise)
        assert float(t.min()) > 0 and float(t.max()) < 1
    assert abs(float((seen[0] * seen[1]).mean())) < 0.05


@pytest.mark.parametrize("deviation", [0.5, 2.0])
def test_gaussian_images_have_the_least_loss_of_a_linear_predictor(deviation: float) -> None:
    """Of normal images of deviation s: E (v - k(t) x_t)^2 = 1 + s^2 - (t - (1 - t) s^2)^2 / ((1 - t)^2 s^2 + t^2)."""
    source, s2 = torch.Generator().manual_seed(0), deviation**2
    images = deviation * torch.randn(20000, 1, 4, 4, generator=source, dtype=torch.float64)
    first = drawn(images, "uniform", source)
    again = renewed(*first, "uniform", source)
    grid = (np.arange(1000) + 0.5) / 1000
    wanted = 1 + s2 - (grid - (1 - grid) * s2) ** 2 / ((1 - grid) ** 2 * s2 + grid**2)
    for inputs, targets in (first, again):
        t = inputs[:, -1:]
        best = (t - (1 - t) * s2) / ((1 - t) ** 2 * s2 + t**2) * inputs[:, :-1]
        loss = float((best.flatten(1) - targets).square().mean())
        assert loss == pytest.approx(float(wanted.mean()), rel=0.02)
        assert float((0.9 * best.flatten(1) - targets).square().mean()) > loss


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"augment": {"noise": "uniform"}}, "augment.noise: is for denoising data, not for digits"),
        ({"data": NOISED, "augment": {"flip": True}}, "can't be shifted or flipped"),
        ({"data": NOISED, "augment": {"noise": "uniform", "shift": 1}}, "leave shift and flip out"),
        ({"data": {"source": "denoising", "of": {"source": "digits", "validation": 9}}}, "no such split"),
    ],
)
def test_what_does_not_fit_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        recipe(**fields)
