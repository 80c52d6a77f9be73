"""Changes of criteria between two data sets against the measures that give each alone."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

from landsweep.sweeps.measure.measures.lla import Lla
from landsweep.sweeps.measure.shifted import criterion_changes
from tests.support.subjects import samples_of, subject_of


def test_changes_are_differences_of_what_each_set_gives() -> None:
    torch.manual_seed(0)
    x, y = torch.randn(60, 5), torch.randint(3, (60,))
    module = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3))
    clean = dataclasses.replace(samples_of(x, y), name="clean")
    noisy = dataclasses.replace(samples_of(x + torch.randn(60, 5), y), name="noisy")
    subject = dataclasses.replace(subject_of(module), samples={"clean": clean, "noisy": noisy})
    found = criterion_changes(subject, "clean", "noisy", steps=20)
    alone = [
        next(iter(Lla(measure="lla", evaluator=name, steps=20).compute([subject]))).values for name in subject.samples
    ]
    for column in ("re", "khn"):
        assert found[f"{column}_change"] == pytest.approx(alone[1][f"lla_{column}"] - alone[0][f"lla_{column}"])
    with torch.no_grad():
        right = [float((module(s.inputs).argmax(1) == y).double().mean()) for s in (clean, noisy)]
    assert found["accuracy_change"] == pytest.approx(right[1] - right[0])
    same = criterion_changes(subject, "noisy", "noisy", steps=20)
    assert set(same.values()) == {0.0}
