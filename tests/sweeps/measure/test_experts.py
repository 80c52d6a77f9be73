"""Mixtures of experts against the losses of the experts, a sum written out, and Jensen's bound."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import nn

from landsweep.sweeps.lab.losses import LOSSES
from landsweep.sweeps.measure.experts import mixture_of_experts
from landsweep.sweeps.measure.measures.own import OwnMeasure
from landsweep.sweeps.measure.subject import Subject
from tests.support.subjects import samples_of, subject_of

NAMES = ("a", "b", "c")


def group(seed: int) -> Subject:
    torch.manual_seed(seed)
    samples = samples_of(torch.randn(11, 4), torch.randint(3, (11,)), "cross_entropy")
    subjects = [subject_of(nn.Linear(4, 3), samples=samples) for _ in NAMES]
    models = [dataclasses.replace(s.models[0], row={"recipe": n}) for s, n in zip(subjects, NAMES, strict=True)]
    return dataclasses.replace(subjects[0], models=tuple(models))


@pytest.mark.parametrize("seed", range(20))
def test_the_mixture_is_the_weighted_sum_of_probabilities(seed: int) -> None:
    subject = group(seed)
    (name, samples), *_ = subject.samples.items()
    weights = dict(zip(NAMES, torch.rand(3, dtype=torch.float64).tolist(), strict=True))
    total = sum(weights.values())
    values = mixture_of_experts(subject, weights)
    found = values[f"mixed_{name}"]
    assert [values[f"weight_{n}"] for n in NAMES] == pytest.approx([w / total for w in weights.values()])
    outputs = [model.build()(samples.inputs).detach() for model in subject.models]
    wanted, bound = 0.0, 0.0
    for i, target in enumerate(samples.targets.tolist()):
        p = [float(torch.softmax(o[i].double(), 0)[target]) for o in outputs]
        wanted -= math.log(sum(weights[n] * q for n, q in zip(NAMES, p, strict=True)) / total) / 11
        bound -= sum(weights[n] * math.log(q) for n, q in zip(NAMES, p, strict=True)) / total / 11
    assert found == pytest.approx(wanted, rel=1e-6) and found <= bound + 1e-9
    alone = mixture_of_experts(subject, {"a": 0.0, "b": 2.0, "c": 0.0})[f"mixed_{name}"]
    assert alone == pytest.approx(float(LOSSES["cross_entropy"](outputs[1], samples.targets).mean()), rel=1e-5)


def test_a_function_is_given_the_evaluators_that_it_names() -> None:
    fields = {"measure": "own", "function": "m:f", "evaluator": "a", "values": {"x": {}}}
    alone, more = (OwnMeasure.model_validate({**fields, **also}) for also in ({}, {"also": ["b", "a"]}))
    assert alone.evaluators() == ("a",) and more.evaluators() == ("a", "b")
    assert "also" not in alone.model_dump(), "units of earlier sweeps keep their keys"


def test_weights_that_fit_no_model_are_refused() -> None:
    for weights, words in (
        ({"a": 1.0, "b": 1.0}, "one for each model"),
        ({"a": 1.0, "b": 1.0, "d": 1.0}, "given a, b, d; recipe has a, b, c"),
        ({"a": 1.0, "b": -1.0, "c": 1.0}, "0 or more"),
        ({"a": 0.0, "b": 0.0, "c": 0.0}, "sum above 0"),
    ):
        with pytest.raises(ValueError, match=words):
            mixture_of_experts(group(0), weights)
