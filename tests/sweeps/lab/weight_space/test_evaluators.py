"""Evaluators: one pass, right numbers, honest errors; batch normalisation's modes."""

import copy
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.data import Data, OwnData, Split
from landsweep.sweeps.lab.weight_space.batch_norm import reestimate
from landsweep.sweeps.lab.weight_space.evaluators import Evaluators, EvaluatorSpec, evaluator_columns


@pytest.fixture
def data() -> Data:
    g = torch.Generator().manual_seed(0)
    splits = {}
    for name, n in (("train", 50), ("test", 21)):
        inputs, targets = torch.randn(n, 4, generator=g), torch.randint(0, 3, (n,), generator=g)
        splits[name] = Split(inputs, targets)
    return Data.of(splits)


def other() -> dict[str, tuple[Tensor, Tensor]]:
    g = torch.Generator().manual_seed(9)
    return {"test": (torch.randn(8, 4, generator=g), torch.arange(8) % 3)}


def margin(outputs: Tensor, targets: Tensor) -> Tensor:
    return outputs.max(1).values - outputs.gather(1, targets[:, None])[:, 0]


def scalar(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs.argmax(1) - targets).float().mean()


class Counting(nn.Linear):
    """Counts the samples it sees."""

    seen = 0

    def forward(self, x: Tensor) -> Tensor:
        self.seen += len(x)
        return super().forward(x)


@pytest.fixture
def net() -> Counting:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return Counting(4, 3)


SPECS = {
    "train": EvaluatorSpec(split="train"),
    "few": EvaluatorSpec(split="train", first=10),
    "twos": EvaluatorSpec(split="train", classes=(2,)),
    "squares": EvaluatorSpec(split="train", loss="mse"),
    "error": EvaluatorSpec(split="test", loss="error"),
    "own": EvaluatorSpec(split="test", loss=f"{__name__}:margin"),
    "else": EvaluatorSpec(split="test", data=OwnData(source="callable", path=f"{__name__}:other")),
    "some": EvaluatorSpec(split="test", classes=(0, 1), first=5),
}


def evaluators(specs: dict[str, EvaluatorSpec], data: Data, batch_size: int = 16) -> Evaluators:
    return Evaluators(specs, data, lambda d: d.load(Path()), batch_size, Path())


def test_one_pass_equals_separate_passes_and_forwards_each_sample_once(data: Data, net: Counting) -> None:
    together = evaluators(SPECS, data)(net)
    assert net.seen == 50 + 21 + 8
    for name, spec in SPECS.items():
        alone = evaluators({name: spec}, data)(net)
        assert alone == pytest.approx({k: v for k, v in together.items() if k in alone}, rel=1e-6)
    assert together.keys() == {c.name for c in evaluator_columns(list(SPECS))}


def test_only_the_samples_in_use_are_forwarded(data: Data, net: Counting) -> None:
    evaluators({"a": EvaluatorSpec(split="train", first=7), "b": EvaluatorSpec(split="train", first=9)}, data)(net)
    assert net.seen == 9


def test_subsets_that_interleave_keep_their_own_samples(data: Data, net: Counting) -> None:
    specs = {f"class{c}": EvaluatorSpec(split="train", classes=(c,)) for c in (1, 2)}
    together = evaluators(specs, data)(net)
    assert net.seen == int((data.splits["train"].targets > 0).sum())
    for name, spec in specs.items():
        alone = evaluators({name: spec}, data)(net)
        assert alone == pytest.approx({k: v for k, v in together.items() if k in alone}, rel=1e-6)


def test_numbers_against_numpy(data: Data, net: Counting) -> None:
    found = evaluators(SPECS, data, batch_size=7)(net)
    x, y = (t.numpy() for t in (data.splits["train"].inputs, data.splits["train"].targets))
    w, b = (p.detach().double().numpy() for p in (net.weight, net.bias))
    z = x @ w.T + b
    losses = np.log(np.exp(z).sum(1)) - z[np.arange(50), y]
    assert found["train_loss"] == pytest.approx(losses.mean(), rel=1e-6)
    assert found["train_loss_se"] == pytest.approx(losses.std(ddof=1) / math.sqrt(50), rel=1e-6)
    assert found["train_accuracy"] == (z.argmax(1) == y).mean()
    assert found["few_loss"] == pytest.approx(losses[:10].mean(), rel=1e-6)
    assert found["twos_loss"] == pytest.approx(losses[y == 2].mean(), rel=1e-6)
    assert found["twos_n"] == (y == 2).sum()
    assert found["squares_loss"] == pytest.approx(((z - np.eye(3)[y]) ** 2).mean(), rel=1e-6)
    assert found["error_loss"] == pytest.approx(1 - found["error_accuracy"])  # type: ignore[operator]
    assert found["own_loss"] >= 0  # type: ignore[operator]


def test_sums_are_in_double_precision(net: Counting) -> None:
    """A huge loss beside many small ones: float32 sums would lose the small ones."""
    inputs = torch.zeros(20_001, 4)
    inputs[0] = 1e9
    many = Data.of({"test": Split(inputs, torch.zeros(20_001, dtype=torch.int64))})
    spec = {"test": EvaluatorSpec(split="test", loss=f"{__name__}:total")}
    found = evaluators(spec, many, batch_size=20_001)(net)["test_loss"]
    assert found == (4e9 + 20_000.0) / 20_001


def total(outputs: Tensor, targets: Tensor) -> Tensor:
    del targets
    losses = torch.ones(len(outputs))
    losses[0] = 4e9
    return losses


def test_one_sample_has_no_standard_error(data: Data, net: Counting) -> None:
    assert evaluators({"one": EvaluatorSpec(first=1)}, data)(net)["one_loss_se"] is None


def test_regression_targets(net: Counting) -> None:
    split = Split(torch.ones(3, 4), torch.zeros(3, 3))
    regression = Data.of({"test": split})
    found = evaluators({"test": EvaluatorSpec(loss="mse")}, regression)(net)
    assert found["test_loss"] == pytest.approx(float((net(split.inputs) ** 2).mean().detach()))
    assert found["test_accuracy"] is None
    with pytest.raises(SpecError, match="targets are no classes"):
        evaluators({"test": EvaluatorSpec()}, regression)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (EvaluatorSpec(split="valid"), r"no split 'valid'; there are \['train', 'test'\]"),
        (EvaluatorSpec(classes=(7,)), r"no sample of \[7\]; its classes are 0 to 2"),
        (EvaluatorSpec(first=22), "asks for 22 samples, but there are only 21"),
    ],
)
def test_an_empty_subset_is_refused(data: Data, spec: EvaluatorSpec, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        evaluators({"mine": spec}, data)


def test_what_does_not_fit_together_is_found_on_one_batch(data: Data, net: Counting) -> None:
    evaluators(SPECS, data).attempt(net)
    with pytest.raises(ValueError, match="there are 2 outputs, but the targets have a class 2"):
        evaluators(SPECS, data).attempt(nn.Linear(4, 2))
    with pytest.raises(ValueError, match="must give one number per sample"):
        evaluators({"bad": EvaluatorSpec(loss=f"{__name__}:scalar")}, data)(net)


def test_reestimated_statistics_are_the_mean_over_batches() -> None:
    net = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Dropout(0.9), nn.Linear(3, 2)).eval()
    x = torch.randn(30, 4, generator=torch.Generator().manual_seed(0))
    batches = torch.split(x, 10)
    torch.manual_seed(0)
    reestimate(net, [5 * x[:7]])  # what was there before must not shine through
    reestimate(net, batches)
    hidden = [net[0](b).detach() for b in batches]
    mean = torch.stack([h.mean(0) for h in hidden]).mean(0)
    variance = torch.stack([h.var(0, unbiased=True) for h in hidden]).mean(0)
    layer = net[1]
    assert isinstance(layer, nn.BatchNorm1d)
    torch.testing.assert_close(layer.running_mean, mean)
    torch.testing.assert_close(layer.running_var, variance)
    assert layer.momentum == 0.1
    assert not any(m.training for m in net.modules())


def moved(net: nn.Module, points: int) -> list[nn.Module]:
    """Copies of a network with other weights; one of them gives losses that are not finite."""
    copies = [copy.deepcopy(net) for _ in range(points)]
    with torch.no_grad():
        for i, other in enumerate(copies):
            for p in other.parameters():
                p.mul_(1 + i).add_(math.inf if i == 2 else 0)
    return copies


@pytest.mark.parametrize("points", [1, 2, 5])
def test_points_that_are_judged_together_have_the_bits_of_those_alone(data: Data, net: Counting, points: int) -> None:
    specs = {k: v for k, v in SPECS.items() if k != "own"}
    specs |= {loss: EvaluatorSpec(loss=loss) for loss in ("hinge", "squentropy", "stablemax", "outputs")}
    judges, nets = evaluators(specs, data), moved(net, points)
    alone = [judges(n) for n in nets]
    outputs = [judges.outputs(n) for n in nets]
    assert judges.keeps
    for _ in range(2):  # the second time nothing is compared any more
        assert repr(judges.judge(outputs)) == repr(alone)
    assert points == 1 or judges._agree == {points: True}


def test_points_whose_bits_depend_on_company_are_judged_alone(
    data: Data, net: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    judges = evaluators({"test": EvaluatorSpec()}, data)
    outputs = [judges.outputs(n) for n in moved(net, 2)]
    alone = [judges.judge([o])[0] for o in outputs]
    monkeypatch.setattr(judges, "_together", lambda points: [{"test_loss": 0.1} for _ in points])
    assert [judges.judge(outputs) for _ in range(2)] == [alone, alone]


@pytest.mark.parametrize(("loss", "keeps"), [("mse", True), (f"{__name__}:margin", False)])
def test_outputs_are_kept_for_the_losses_that_are_known(data: Data, loss: str, keeps: bool) -> None:
    assert evaluators({"test": EvaluatorSpec(loss=loss)}, data).keeps is keeps
