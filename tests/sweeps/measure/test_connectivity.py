"""Measures of connectivity: closed forms, permuted copies on every family, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.report.parts import Figure
from landsweep.sweeps.lab.losses import LOSSES
from landsweep.sweeps.lab.matching.symmetry import find_symmetry, shuffled
from landsweep.sweeps.measure.connectivity import StraightThrough
from landsweep.sweeps.measure.measures.barrier import Barrier
from landsweep.sweeps.measure.measures.base import Measure
from landsweep.sweeps.measure.measures.curve import Curve
from landsweep.sweeps.measure.measures.dropout_stability import DropoutStability
from landsweep.sweeps.measure.profiles import profile_figures
from landsweep.sweeps.measure.subject import Samples, Subject
from tests.support.small_networks import NETWORKS, network
from tests.support.subjects import samples_of, subject_of


def subject(
    modules: Sequence[nn.Module], inputs: Tensor, targets: Tensor, loss: str = "cross_entropy", seed: int = 0
) -> Subject:
    """Models under one evaluator, `train`; its inputs are also those of batch normalisation."""
    return subject_of(*modules, samples=samples_of(inputs, targets, loss), batches=inputs.split(64), seed=seed)


def values(measure: Measure, given: Subject) -> dict[str, Any]:
    (measured,) = measure.compute([given])
    assert list(measured.values) == [column.name for column in measure.columns()]
    return dict(measured.values)


def labels(module: nn.Module, inputs: Tensor) -> Tensor:
    """Classes that the module gives itself, so that its error is 0."""
    with torch.no_grad():
        return module(inputs).argmax(-1)


class Parabola(nn.Module):
    """Its output is its one weight: with the loss `mse` to 0 the loss is w^2."""

    def __init__(self, w: float) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor([[w]], dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return self.w.expand(len(x), 1)


def parabolas(a: float, b: float) -> Subject:
    zeros = torch.zeros(3, 1, dtype=torch.float64)
    return subject([Parabola(a), Parabola(b)], zeros, zeros, "mse")


def test_a_quadratic_has_no_barrier_between_equal_ends() -> None:
    """L = w^2 between -w and w: excess over the chord is -4 w^2 t (1 - t), which is highest, 0, at the ends."""
    found = values(Barrier(points=11), parabolas(-1.5, 1.5))
    assert found["barrier_loss_line"] == found["barrier_loss_mean"] == 0
    assert found["barrier_loss_signed"] == pytest.approx(2.25)  # the middle is lower than the ends by all their loss
    assert found["barrier_loss_middle"] == pytest.approx(0, abs=1e-24)
    assert found["barrier_distance"] == pytest.approx(3)
    assert found["barrier_error_line"] is None


@pytest.mark.parametrize(("a", "b"), [(0.0, 3.0), (1.0, 4.0), (-1.0, 2.0)])
def test_definitions_differ_where_the_ends_do(a: float, b: float) -> None:
    found = values(Barrier(points=25), parabolas(a, b))
    mean = (a * a + b * b) / 2
    assert found["barrier_loss_line"] == 0  # convex: the line is never above the chord
    assert found["barrier_loss_mean"] == pytest.approx(max(a * a, b * b) - mean)
    lowest = 0.0 if a * b < 0 else min(a * a, b * b)
    farthest = lowest if mean - lowest > max(a * a, b * b) - mean + 1e-9 else None
    if farthest is not None:
        assert found["barrier_loss_signed"] == pytest.approx(mean - farthest, abs=0.02)


class Product(nn.Module):
    """A linear net with one hidden unit, y = u v x: (1, 1) and (-1, -1) are one function, half-way is 0."""

    def __init__(self, u: float, v: float) -> None:
        super().__init__()
        self.first, self.last = (nn.Linear(1, 1, bias=False, dtype=torch.float64) for _ in range(2))
        self.first.weight.data.fill_(u)
        self.last.weight.data.fill_(v)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x))


def test_a_linear_net_has_the_barrier_of_its_closed_form() -> None:
    """At t both weights are 1 - 2t: the loss is ((1 - 2t)^2 - 1)^2 E[x^2], 1 at the middle. Alone a layer has 4."""
    x = torch.tensor([[1.0], [-1.0]], dtype=torch.float64)
    given = subject([Product(1, 1), Product(-1, -1)], x, x.clone(), "mse")
    (measured,) = Barrier(points=9, layers="each").compute([given])
    wanted = [((1 - 2 * t) ** 2 - 1) ** 2 for t in np.linspace(0, 1, 9)]
    assert measured.curves["line_loss"] == pytest.approx(wanted)
    assert measured.values["barrier_loss_line"] == pytest.approx(1)
    assert measured.values["barrier_loss_signed"] == pytest.approx(-1)
    assert measured.values["barrier_loss_highest"] == 0.5
    # One layer alone: weight 1 - 2t, loss (2t)^2 from 0 to 4: convex, so the chord is never passed.
    assert measured.curves["layer_loss"] == pytest.approx([0, 0], abs=1e-12)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("match", ["weights", "activations"])
def test_a_permuted_copy_comes_back_to_barrier_zero(name: str, match: str) -> None:
    module, inputs = network(name, samples=64)
    copy = network(name)[0]
    units = find_symmetry(module, inputs[:4]).units
    copy.load_state_dict(shuffled(module.state_dict(), units, torch.Generator().manual_seed(1)))
    given = subject([module, copy], inputs, labels(module, inputs))
    before = values(Barrier(points=5), given)
    after = values(Barrier(points=5, match=match), given)
    assert before["barrier_distance"] > 0.1 and abs(before["barrier_loss_signed"]) > 1e-4
    assert after["barrier_distance"] == 0
    assert [abs(after[f"barrier_loss_{k}"]) < 1e-6 for k in ("line", "mean", "signed")] == [True] * 3
    assert after["barrier_error_line"] == 0


def test_statistics_of_batch_normalisation_are_mixed_or_estimated_anew() -> None:
    (a, inputs), (b, _) = network("resnet_batch", 0, samples=40), network("resnet_batch", 1)
    given = subject([a, b], inputs, labels(a, inputs))
    mixed, anew = values(Barrier(points=3), given), values(Barrier(points=3, repair="reset"), given)
    assert (mixed["barrier_batch_norm"], anew["barrier_batch_norm"]) == ("interpolate", "reestimate")
    assert mixed["barrier_error_start"] == 0
    half = network("resnet_batch")[0].train()
    states = a.state_dict(), b.state_dict()
    half.load_state_dict({k: (v + states[1][k]) / 2 if v.is_floating_point() else v for k, v in states[0].items()})
    with torch.no_grad():  # one batch in training mode is normalised by its own statistics
        loss = nn.functional.cross_entropy(half(inputs), given.samples["train"].targets)
    assert anew["barrier_loss_middle"] == pytest.approx(float(loss), rel=0.02)  # running variances are unbiased
    repaired = values(Barrier(points=3, repair="repair"), given)
    assert repaired["barrier_repair"] == "reset" and repaired["barrier_loss_middle"] == anew["barrier_loss_middle"]


def test_repair_keeps_the_ends_and_changes_the_middle() -> None:
    (a, inputs), (b, _) = network("mlp", 0, samples=40), network("mlp", 1)
    given = subject([a, b], inputs, labels(a, inputs))
    plain, repaired = values(Barrier(points=3), given), values(Barrier(points=3, repair="repair"), given)
    for end in ("start", "end"):
        assert repaired[f"barrier_loss_{end}"] == pytest.approx(plain[f"barrier_loss_{end}"], rel=1e-5)
    assert repaired["barrier_loss_middle"] != pytest.approx(plain["barrier_loss_middle"], rel=1e-3)
    assert repaired["barrier_batch_norm"] == "none"


def test_a_loss_that_is_not_finite_is_an_infinite_barrier() -> None:
    found = values(Barrier(points=3), parabolas(1e200, -1e200))
    assert found["barrier_loss_line"] == found["barrier_loss_mean"] == math.inf
    assert found["barrier_loss_signed"] == -math.inf


@pytest.mark.parametrize(
    "measure",
    [
        Barrier(points=5, match="straight_through", straight_through=StraightThrough(steps=4)),
        Barrier(points=5, match="weights", repair="reset", layers="each"),
        Curve(points=5, steps=20),
    ],
    ids=["straight-through", "weights, reset", "curve"],
)
def test_values_do_not_depend_on_the_company(measure: Measure) -> None:
    """A unit is computed alone or with others of its architecture: the same bits."""
    modules = [network("mlp_batch", seed, samples=40)[0] for seed in range(4)]
    inputs = network("mlp_batch", samples=40)[1]
    targets = labels(modules[0], inputs)
    pairs = [subject(modules[i : i + 2], inputs, targets, seed=i) for i in range(3)]
    together = [m.values for m in measure.compute(pairs)]
    assert together == [next(iter(measure.compute([p]))).values for p in pairs]
    assert together == [m.values for m in measure.compute(pairs[::-1])][::-1]


@pytest.mark.parametrize(
    ("measure", "names", "message"),
    [
        (Barrier(repair="reset"), ("mlp", "mlp"), "this network has none; use `repair: repair`"),
        (Barrier(), ("mlp",), "takes pairs"),
        (Curve(match="weights"), ("mlp", "cnn"), "only networks of one architecture"),
    ],
)
def test_what_is_not_defined_is_refused_before_work_begins(
    measure: Measure, names: tuple[str, ...], message: str
) -> None:
    inputs = network(names[0], samples=5)[1]
    given = subject([network(n)[0] for n in names], inputs, torch.zeros(5, dtype=torch.long))
    with pytest.raises(SpecError, match=message):
        measure.check(given)
    with pytest.raises(SpecError, match=message):
        list(measure.compute([given]))


def test_estimating_anew_needs_training_inputs() -> None:
    module, inputs = network("mlp_batch", samples=5)
    given = subject([module, module], inputs, torch.zeros(5, dtype=torch.long))
    bare = Subject(given.models, given.samples, (), 0)
    for measure in (Barrier(repair="reset"), Curve()):
        with pytest.raises(SpecError, match="needs training inputs"):
            measure.check(bare)


@pytest.mark.parametrize("fields", [{"points": 6}, {"bends": 0}, {"shape": "line"}, {"steps": 0}])
def test_curves_refuse_fields_that_do_not_fit(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Curve(**fields)
    with pytest.raises(ValidationError, match="REPAIR corrects whole networks"):
        Barrier(layers="each", repair="repair")


def trained(seed: int, x: Tensor, y: Tensor, width: int = 24) -> nn.Module:
    torch.manual_seed(seed)
    module = nn.Sequential(nn.Linear(2, width), nn.ReLU(), nn.Linear(width, 2))
    optimizer = torch.optim.Adam(module.parameters(), lr=0.03)
    for _ in range(150):
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(x), y).backward()
        optimizer.step()
    return module


@pytest.mark.parametrize("shape", ["bezier", "polygon"])
def test_a_trained_curve_passes_below_the_line(shape: str) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(200, 2, generator=generator)
    y = (x[:, 0] * x[:, 1] > 0).long()
    given = subject([trained(s, x, y) for s in (0, 1)], x, y)
    line = values(Barrier(), given)
    curve = values(Curve(shape=shape, steps=300, points=13, learning_rate=0.1), given)
    assert line["barrier_loss_line"] > 0.1
    assert curve["curve_loss_line"] < line["barrier_loss_line"] / 3
    for end in ("start", "end"):
        assert curve[f"curve_loss_{end}"] == line[f"barrier_loss_{end}"]
    assert curve["curve_length"] > curve["curve_distance"] == pytest.approx(line["barrier_distance"])
    assert abs(curve["curve_connectivity"]) <= 0.1


def test_the_quarters_are_what_the_taxonomy_looks_at() -> None:
    """Errors at t = 0, 1/4, 1/2, 3/4, 1 alone: the same from 5 points and from 21."""
    module, inputs = network("mlp", samples=30)
    other, _ = network("mlp", 1)
    given = subject([module, other], inputs, labels(module, inputs))
    few, many = (values(Curve(points=n, steps=1, learning_rate=1e-9), given) for n in (5, 21))
    assert few["curve_connectivity"] == many["curve_connectivity"] == few["curve_error_signed"]


def test_dropping_copies_of_a_unit_changes_nothing() -> None:
    """Every hidden unit is the same: whichever half is kept, doubled outgoing weights give the same function."""
    module = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 2)).double()
    for p in module.parameters():
        if p.ndim == 2:
            p.data[:] = p.data[:1, :1] if p.shape[0] > 2 else p.data[:, :1]
        elif len(p) > 2:
            p.data[:] = 0.3
    x = torch.randn(20, 2, dtype=torch.float64)
    found = values(DropoutStability(draws=4), subject([module], x, torch.randint(2, (20,))))
    assert found["dropout_loss_change"] == pytest.approx(0, abs=1e-12)
    assert found["dropout_layers"] == 2


def test_units_that_are_not_kept_are_gone_and_the_rest_is_scaled() -> None:
    """One linear hidden layer of four units that give x each, half kept: w is 2 (w_i + w_j) over the pairs i, j."""
    module = nn.Sequential(nn.Linear(1, 4, bias=False), nn.Identity(), nn.Linear(4, 1, bias=False)).double()
    module[0].weight.data.fill_(1.0)
    w = torch.tensor([1.0, 10.0, 100.0, 1000.0], dtype=torch.float64)
    module[2].weight.data.copy_(w[None])
    x = torch.ones(1, 1, dtype=torch.float64)
    (measured,) = DropoutStability(draws=30).compute([subject([module], x, torch.zeros_like(x), "mse")])
    possible = {(2 * float(w[i] + w[j])) ** 2 for i in range(4) for j in range(i)}
    assert set(measured.curves["dropout_loss"]) == possible
    assert measured.values["dropout_loss_change_best"] == pytest.approx(22.0**2 - 1111.0**2)
    assert measured.values["dropout_error_change"] is None


@pytest.mark.parametrize(("name", "layers"), [("resnet_batch", 6), ("vit", 2), ("cnn", 3)])
def test_residual_streams_keep_their_units(name: str, layers: int) -> None:
    module, inputs = network(name, samples=8)
    found = values(DropoutStability(draws=2), subject([module], inputs, labels(module, inputs)))
    assert found["dropout_layers"] == layers


def test_a_network_without_hidden_layers_is_refused() -> None:
    x = torch.randn(4, 3)
    given = subject([nn.Linear(3, 2)], x, torch.zeros(4, dtype=torch.long))
    with pytest.raises(SpecError, match="no hidden units"):
        DropoutStability().check(given)


def test_matching_names_the_evaluator_that_it_lacks() -> None:
    module, inputs = network("mlp", samples=4)
    targets = torch.zeros(4, dtype=torch.long)
    given = subject([module, module], inputs, targets)
    test = Samples("test", inputs, targets, LOSSES["error"], 4)
    given = Subject(given.models, {**given.samples, "test": test}, (), 0)
    measure = Barrier(match="activations", match_evaluator="validation")
    assert measure.evaluators() == ("train", "validation")
    with pytest.raises(SpecError, match="no evaluator 'validation'; there are train, test"):
        list(measure.compute([given]))


def test_profiles_of_measures_stand_side_by_side() -> None:
    """Two widths under two measures: a figure each for loss and error, with a panel for each width."""
    rows = pd.DataFrame(
        [
            {"key": f"{m}{w}{i}", "measure": m, "width": w, "seed_a": i}
            for m in ("line", "matched")
            for w in (4, 8)
            for i in range(3)
        ]
    )
    series = pd.DataFrame(
        [
            {"key": key, "step": step, "metric": metric, "value": float(step)}
            for key in [*rows["key"], "failed"]
            for metric in ("line_loss", "line_error", "layer_loss")
            for step in range(5)
        ]
    )
    loss, error = profile_figures(["width", "seed_a"], rows, series)
    assert isinstance(loss, Figure) and isinstance(error, Figure)
    assert (loss.name, error.name) == ("profiles_loss", "profiles_error")
    titles = [axes.get_title() for axes in loss.picture.axes]
    assert titles == ["width 4", "width 8"]
    lines = [line for axes in loss.picture.axes for line in axes.get_lines()]
    assert len(lines) == 4 and list(lines[0].get_xdata()) == [0, 0.25, 0.5, 0.75, 1]
    assert list(lines[0].get_ydata()) == [0, 1, 2, 3, 4]
    assert profile_figures(["width"], rows, series.iloc[:0]) == []
    assert profile_figures(["width"], rows, series[series["metric"] == "layer_loss"]) == []
