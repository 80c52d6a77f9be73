"""Markov sources of which some states have one successor: closed forms, splits, and a transformer on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.special import xlogy

from landsweep.sweeps.lab.data import Markov
from tests.sweeps.lab.training.cases import finals, recipe, run

SIZES = {"states": 8, "context": 6, "train": 64, "test": 400}


@pytest.mark.parametrize("seed", range(20))
def test_certain_states_have_one_successor_and_the_loss_is_that_of_the_others(seed: int) -> None:
    source = Markov(source="markov", **SIZES, seed=seed, certain=0.5)
    plain = Markov(source="markov", **SIZES, seed=seed)
    p, pi = source.transition(), source.stationary()
    assert source.certain_states == 4 and np.array_equal(p[:4].max(1), np.ones(4))
    assert bool((p[:4].argmax(1) >= 4).all()) and np.array_equal(p[4:], plain.transition()[4:])
    np.testing.assert_allclose(pi @ p, pi, atol=1e-12)
    assert source.entropy_rate() == pytest.approx(-float((pi[4:, None] * xlogy(p, p)[4:]).sum()), rel=1e-12)
    split = source.load(Path()).splits["train"]
    sure = split.inputs < 4
    assert np.array_equal(split.targets[sure], p.argmax(1)[split.inputs[sure]])


@pytest.mark.parametrize("certain", [0.3, 0.99])
def test_the_last_target_alone_and_its_test_sets(certain: float) -> None:
    each = Markov(source="markov", **SIZES, certain=certain)
    last = each.model_copy(update={"target": "last"})
    data, whole = last.load(Path()), each.load(Path())
    assert (data.kind, data.sequence, data.outputs) == ("tokens", False, 8)
    assert list(data.splits) == ["train", "test", "test_certain", "test_uncertain"]
    for name in ("train", "test"):
        assert np.array_equal(data.splits[name].inputs, whole.splits[name].inputs)
        assert np.array_equal(data.splits[name].targets, whole.splits[name].targets[:, -1])
    sizes = [len(data.splits[f"test_{kind}"]) for kind in ("certain", "uncertain")]
    assert sum(sizes) == 400 and min(sizes) > 0
    assert int(data.splits["test_certain"].inputs[:, -1].max()) < each.certain_states
    assert int(data.splits["test_uncertain"].inputs[:, -1].min()) >= each.certain_states


def test_a_source_without_them_is_the_old_one_and_a_transformer_trains_on_one() -> None:
    assert not {"certain", "target"} & set(Markov(source="markov").model_dump())
    net = {"net": "gpt", "width": 8, "depth": 1, "heads": 2, "logits": "last"}
    r = recipe(data={"source": "markov", **SIZES, "certain": 0.5, "target": "last"}, net=net, steps=2)
    assert finals(run([r], r.data.load(Path()), "loop"))[0]
