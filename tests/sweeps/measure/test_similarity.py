"""CKA and disagreement: invariances, an independent implementation, planted tables."""

from __future__ import annotations

import copy
import itertools
import math
from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.measure.measures.cka import Cka
from landsweep.sweeps.measure.measures.disagreement import Disagreement
from landsweep.sweeps.measure.subject import Samples
from tests.support.subjects import samples_of, subject_of

CKA = Cka(measure="cka")


def network(seed: int, width: int = 12) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(6, width), nn.Tanh(), nn.Linear(width, 4)).double()


def some(n: int = 40, batch: int = 40, seed: int = 0) -> Samples:
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 6, generator=g, dtype=torch.float64)
    return samples_of(x, torch.randint(0, 4, (n,), generator=g), batch_size=batch)


def slow_hsic(k: np.ndarray, m: np.ndarray) -> float:
    """The unbiased estimate by its definition: means over tuples of different samples."""
    n = len(k)
    pairs = np.mean([k[i, j] * m[i, j] for i, j in itertools.permutations(range(n), 2)])
    triples = np.mean([k[i, j] * m[i, q] for i, j, q in itertools.permutations(range(n), 3)])
    four = np.mean([k[i, j] * m[q, r] for i, j, q, r in itertools.permutations(range(n), 4)])
    return float(pairs + four - 2 * triples)


@pytest.mark.parametrize("seed", range(5))
def test_unbiased_cka_is_that_of_means_over_tuples(seed: int) -> None:
    samples = some(8, 8, seed)
    a, b = network(seed), network(seed + 100, 5)
    with torch.no_grad():
        k, m = ((f @ f.T).numpy() for f in (a[0](samples.inputs), b[0](samples.inputs)))
    measured = CKA.of_one(subject_of(a, b, samples=samples))
    expected = slow_hsic(k, m) / math.sqrt(slow_hsic(k, k) * slow_hsic(m, m))
    assert measured.curves["cka_along_layers"][0] == pytest.approx(expected, rel=1e-9)
    assert measured.values["cka_layers"] == 2


def test_minibatches_average_before_the_ratio_and_drop_a_short_end() -> None:
    whole, parts = some(27, 8), [some(27, 8).inputs[i : i + 8] for i in (0, 8, 16)]
    a, b = network(1), network(2)
    sums = np.zeros(3)
    with torch.no_grad():
        for x in parts:
            k, m = ((f @ f.T).numpy() for f in (a(x), b(x)))
            sums += [slow_hsic(k, m), slow_hsic(k, k), slow_hsic(m, m)]
    value = CKA.of_one(subject_of(a, b, samples=whole)).values["cka_last"]
    assert value == pytest.approx(sums[0] / math.sqrt(sums[1] * sums[2]), rel=1e-9)


@pytest.mark.parametrize("estimate", ["unbiased", "biased"])
def test_rotation_scale_and_shift_of_a_layer_change_nothing(estimate: str) -> None:
    a = network(3)
    b = copy.deepcopy(a)
    rotation, _ = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    with torch.no_grad():
        b[2].weight.copy_(3 * rotation @ a[2].weight)
        b[2].bias.add_(7)
    measured = Cka(measure="cka", estimate=estimate).of_one(subject_of(a, b, samples=some()))  # type: ignore[arg-type]
    assert measured.curves["cka_along_layers"] == pytest.approx([1, 1], abs=1e-9)


def test_independent_representations_have_none_and_the_biased_estimate_says_otherwise() -> None:
    inputs = torch.randn(64, 80, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    pair = [nn.Linear(80, 40, bias=False).double() for _ in range(2)]
    with torch.no_grad():
        for i, layer in enumerate(pair):
            layer.weight.copy_(torch.eye(80)[40 * i : 40 * i + 40])
    samples = samples_of(inputs, torch.zeros(64, dtype=torch.int64))
    biased = Cka(measure="cka", estimate="biased").of_one(subject_of(*pair, samples=samples)).values["cka"]
    unbiased = CKA.of_one(subject_of(*pair, samples=samples)).values["cka"]
    assert isinstance(biased, float) and isinstance(unbiased, float)
    assert biased > 0.3 and abs(unbiased) < 0.1


def test_named_layers_and_what_can_not_be_compared() -> None:
    a, samples = network(0), some()
    measured = Cka(measure="cka", layers=("1",)).of_one(subject_of(a, network(1), samples=samples))
    assert measured.values["cka_layers"] == 1
    with pytest.raises(SpecError, match="no module 'deep'; there are 0, 1, 2"):
        Cka(measure="cka", layers=("deep",)).of_one(subject_of(a, a, samples=samples))
    with pytest.raises(SpecError, match="4 samples or more"):
        CKA.of_one(subject_of(a, a, samples=some(3)))
    constant = nn.Sequential(nn.Linear(6, 2)).double()
    nn.init.zeros_(constant[0].weight)
    assert CKA.of_one(subject_of(constant, constant, samples=samples)).values["cka"] is None


class Scores(nn.Module):
    """Gives rows of a table."""

    def __init__(self, table: Tensor) -> None:
        super().__init__()
        self.table = nn.Parameter(table)

    def forward(self, x: Tensor) -> Tensor:
        return self.table[x[:, 0].long()]


def test_disagreement_of_a_planted_table() -> None:
    p = torch.tensor([[0.9, 0.1], [0.2, 0.8], [1.0, 0.0], [0.5, 0.5]], dtype=torch.float64)
    q = torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.0, 1.0], [0.5, 0.5]], dtype=torch.float64)
    samples = samples_of(torch.arange(4)[:, None], torch.tensor([0, 1, 1, 1]), batch_size=3)
    values = Disagreement(measure="disagreement").of_one(subject_of(Scores(p.log()), Scores(q.log()), samples=samples))

    def divergence(a: list[float], b: list[float]) -> float:
        mean = [(x + y) / 2 for x, y in zip(a, b, strict=True)]
        return sum(x * math.log(x / m) for d in (a, b) for x, m in zip(d, mean, strict=True) if x) / 2

    expected = [divergence(a, b) for a, b in zip(p.tolist(), q.tolist(), strict=True)]
    assert expected[2] == pytest.approx(math.log(2))
    assert values.values["disagreement"] == 0.5
    assert values.values["disagreement_of_errors"] == pytest.approx(2 / 3)  # wrong: 1, 2 and 3; unlike: 1 and 2
    assert values.values["js_divergence"] == pytest.approx(sum(expected) / 4)


def test_positions_of_sequences_count_as_samples() -> None:
    table = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    other = table.clone()
    other[0, 0] = -other[0, 0]
    samples = samples_of(torch.arange(3)[:, None], torch.zeros(3, 5, dtype=torch.int64))
    values = (
        Disagreement(measure="disagreement").of_one(subject_of(Scores(table), Scores(other), samples=samples)).values
    )
    assert values["disagreement"] == pytest.approx(1 / 15)


def test_numbers_as_targets_are_refused() -> None:
    samples = samples_of(torch.zeros(4, 6).double(), torch.zeros(4, 4), "mse")
    with pytest.raises(SpecError, match="'train' are numbers, not classes"):
        Disagreement(measure="disagreement").of_one(subject_of(network(0), network(1), samples=samples))


def test_the_company_changes_nothing() -> None:
    samples, models = some(), [network(i) for i in range(4)]
    subjects = [subject_of(models[i], models[i + 1], samples=samples) for i in range(3)]
    for measure in (CKA, Disagreement(measure="disagreement")):
        assert list(measure.compute(subjects)) == [m for s in subjects for m in measure.compute([s])]


def deeper(seed: int) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        parts = {
            "in": nn.Linear(6, 7),
            "act": nn.ReLU(),
            "mid": nn.Linear(7, 5),
            "act2": nn.ReLU(),
            "out": nn.Linear(5, 4),
        }
        return nn.Sequential(OrderedDict(parts)).double()


def test_layers_of_unlike_networks_are_paired_by_their_names() -> None:
    samples = some(9, 9)
    a, b = network(0), deeper(1)
    cka = Cka(layers=("0", "2"), layers_b=("mid", "out"))
    measured = cka.of_one(subject_of(a, b, samples=samples))
    with torch.no_grad():
        features = [(a[0](samples.inputs), b[:3](samples.inputs)), (a(samples.inputs), b(samples.inputs))]
    for value, pair in zip(measured.curves["cka_along_layers"], features, strict=True):
        k, m = ((f @ f.T).numpy() for f in pair)
        assert value == pytest.approx(slow_hsic(k, m) / math.sqrt(slow_hsic(k, k) * slow_hsic(m, m)), rel=1e-9)
    assert measured.values["cka_layers"] == 2


def test_layers_that_the_second_network_lacks_are_refused() -> None:
    pair = subject_of(network(0), deeper(1), samples=some())
    with pytest.raises(SpecError, match=r"second network of the pair has no layer '0'; give `layers` .* `layers_b`"):
        CKA.check(pair)
    with pytest.raises(SpecError, match=r"there is no module 'middle'; there are in, act, mid"):
        Cka(layers=("0",), layers_b=("middle",)).check(pair)
    with pytest.raises(ValueError, match=r"layers_b: 2 layers of the second network for 1 of the first"):
        Cka(layers=("0",), layers_b=("in", "mid"))
    assert "layers_b" not in CKA.model_dump()  # rows that are there keep their keys
