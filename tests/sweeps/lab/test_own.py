"""What users bring along, networks and data: what is accepted, what is refused, and where their draws come from."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.data import Data, OwnData, Split
from landsweep.sweeps.lab.models import OwnNet
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.streams import seeded
from landsweep.sweeps.lab.training import Ended, train_pack
from landsweep.sweeps.landscape.train import TrainSpec, train

X, Y = torch.ones(4, 3), torch.tensor([0, 1, 2, 1])
TOKENS, PADDED = torch.ones(2, 3, dtype=torch.long), torch.tensor([[1, 2, -100], [0, -100, -100]])
GIVEN: dict[str, Any] = {
    "arrays in a dictionary": {"train": {"x": X, "y": Y}},
    "a dictionary as inputs": {"train": ({"x": X}, Y)},
    "ragged": {"train": ([[1.0], [1.0, 2.0]], [0, 1])},
    "texts": {"train": (["a", "b"], [0, 1])},
    "a number": {"train": (3.0, 1)},
    "a data set": {"train": torch.utils.data.TensorDataset(X, Y)},
    "complex": {"train": (X.to(torch.complex64), Y)},
    "sparse": {"train": (X.to_sparse(), Y)},
    "other shapes": {"train": (X, Y), "test": (X[:, :2], Y)},
    "other kinds": {"train": (X, Y), "test": (X, Y.float())},
    "ignored": {"train": (X, Y), "test": (X, torch.tensor([0, -100, 1, 2]))},
    "padding": {"train": (TOKENS, PADDED)},
    "unsigned": {"train": (np.zeros((2, 3), np.float16), np.array([0, 255], np.uint8))},
}


def given(which: str) -> Any:
    return GIVEN[which]


@pytest.mark.parametrize(
    ("which", "message"),
    [
        (
            "arrays in a dictionary",
            r"split 'train' .* must be a pair: return \{'train': \(inputs, targets\).* it is dict",
        ),
        ("a dictionary as inputs", r"inputs of split 'train' .* can't be read as numbers: dict of length 1.*return"),
        ("ragged", r"inputs of split 'train' .* can't be read as numbers: list of length 2"),
        ("texts", r"inputs of split 'train' .* can't be read as numbers"),
        ("a number", r"inputs of split 'train' .* dense real numbers \[n, \.\.\.\], got float64 \[\]"),
        ("a data set", r"must be a pair: .* it is TensorDataset of length 4"),
        ("complex", r"must be dense real numbers \[n, \.\.\.\], got complex64 \[4, 3\]"),
        ("sparse", r"must be dense real numbers \[n, \.\.\.\], got float32 \[4, 3\]"),
        ("other shapes", r"inputs .* differ: split 'train' has float32 \[n, 3\], 'test' float32 \[n, 2\]"),
        ("other kinds", r"targets .* differ: split 'train' has int64 \[n\], 'test' float32 \[n\]"),
        ("ignored", r"labels of split 'test' must be whole numbers from 0 to 2, but -100 .* must not be in the data"),
        ("padding", r"labels of split 'train' must be whole numbers from 0 to 2, but -100"),
        ("nonsense", r"raised KeyError: 'nonsense' .*test_own.py, line \d+"),
    ],
)
def test_data_that_is_none_says_what_it_must_be(which: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        OwnData(source="callable", path=f"{__name__}:given", args={"which": which}).load(Path())


def test_arguments_that_a_data_function_does_not_take_are_named() -> None:
    with pytest.raises(SpecError, match=r"raised TypeError: .*unexpected keyword argument 'size'"):
        OwnData(source="callable", path=f"{__name__}:given", args={"size": 3}).load(Path())


def test_arrays_of_any_number_type_are_read() -> None:
    data = OwnData(source="callable", path=f"{__name__}:given", args={"which": "unsigned"}).load(Path())
    assert data.classes == 256
    assert data.splits["train"].targets.tolist() == [0, 255]
    assert data.cast(torch.float64).splits["train"].inputs.dtype == torch.float64


def test_a_label_that_a_source_has_no_class_for_is_refused() -> None:
    """The same check serves all sources; here one that says beforehand how many classes there are."""
    with pytest.raises(SpecError, match="from 0 to 4, but 5 is among them"):
        Data.of({"train": Split(torch.ones(3, 2), torch.tensor([0, 5, 4]))}, 5)
    assert Data.of({"train": Split(torch.tensor([[-3, 2]]), torch.zeros(1, 1))}).classes == 0  # whole features


def drawn() -> dict[str, tuple[Tensor, Any]]:
    labels = np.random.randint(0, 3, 6)  # noqa: NPY002 - users do
    order = list(range(6))
    random.shuffle(order)
    return {"train": (torch.rand(6, 2)[order], labels)}


@pytest.mark.parametrize("seed", range(3))
def test_a_data_function_that_draws_gives_all_workers_the_same(seed: int) -> None:
    spec = OwnData(source="callable", path=f"{__name__}:drawn")
    first = spec.load(Path()).splits["train"]
    perturb(seed)
    states = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # type: ignore[index]  # noqa: NPY002
    second = spec.load(Path()).splits["train"]
    assert torch.equal(first.inputs, second.inputs) and torch.equal(first.targets, second.targets)
    assert torch.equal(states[0], torch.get_rng_state())  # and its own state is given back
    assert (states[1], states[2]) == (np.random.get_state()[1].tolist(), random.getstate())  # type: ignore[index]  # noqa: NPY002


def perturb(seed: int) -> None:
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    random.seed(seed)


@pytest.fixture(autouse=True)
def states() -> Iterator[None]:
    with seeded(0):
        yield


class Drawing(nn.Module):
    """Drops by a function, adds noise, and now and then leaves out a layer: each from another global state."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(64, 8), nn.Linear(8, 10)
        self.alpha = nn.AlphaDropout(0.2)
        with torch.no_grad():
            self.first.weight.mul_(1 + 0.1 * float(np.random.rand()) + 0.1 * random.random())  # noqa: NPY002

    def forward(self, x: Tensor) -> Tensor:
        hidden = F.dropout(torch.relu(self.first(x.flatten(1))), 0.5, self.training)
        if self.training:
            hidden = self.alpha(hidden) + 0.1 * torch.randn_like(hidden) * float(np.random.rand())  # noqa: NPY002
            hidden = hidden * (random.random() < 0.8)
        out: Tensor = self.second(hidden)
        return out


def lazy() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(10))


def normalised() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.LazyBatchNorm1d())


OWN = OwnNet(net="own", build=f"{__name__}:Drawing")


@pytest.mark.parametrize("seed", range(3))
def test_initial_weights_come_from_the_seed_whatever_they_are_drawn_from(seed: int) -> None:
    first = OWN.build((1, 8, 8), 10, 5).state_dict()
    perturb(seed)
    again, other = OWN.build((1, 8, 8), 10, 5).state_dict(), OWN.build((1, 8, 8), 10, 6).state_dict()
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert not torch.equal(first["first.weight"], other["first.weight"])


def recipes(*seeds: int) -> list[Recipe]:
    fields = {"data": {"source": "digits"}, "net": {"net": "own", "build": f"{__name__}:Drawing"}, "steps": 6}
    return [Recipe.model_validate({**fields, "seed": s}) for s in seeds]


@pytest.mark.parametrize("seed", range(3))
def test_what_own_networks_draw_in_packs_comes_from_their_seeds(seed: int) -> None:
    """Not from the process's state, nor from the models beside them."""
    perturb(seed)
    together = ended(*recipes(0, 1, 2, 0))
    assert together[0] == together[3]
    assert together[0] != together[1]
    perturb(seed + 100)
    assert ended(*recipes(1)) == [pytest.approx(together[1], rel=1e-6)]
    assert ended(*recipes(0, 1, 2, 0)) == together


def ended(*given: Recipe) -> list[float]:
    data = given[0].data.load(Path())
    events = list(train_pack(given, data, backend="loop"))
    found = {e.index: e.metrics["train_loss"] for e in events if isinstance(e, Ended)}
    return [found[i] for i in range(len(given))]


@pytest.mark.parametrize("seed", range(3))
def test_what_networks_draw_in_the_reference_loop_comes_from_the_seed(seed: int) -> None:
    split = recipes(0)[0].data.load(Path()).splits["train"]
    histories = []
    for spec in (TrainSpec(epochs=2, seed=3), TrainSpec(epochs=2, seed=3), TrainSpec(epochs=2, seed=4)):
        perturb(seed + len(histories))
        before = torch.get_rng_state()
        histories.append([e.loss for e in train(OWN.build((1, 8, 8), 10, 0), split, spec)])
        assert torch.equal(before, torch.get_rng_state())
    assert histories[0] == histories[1] != histories[2]


@pytest.mark.parametrize(("build", "name"), [("lazy", "1.weight"), ("normalised", "2.weight")])
def test_layers_without_a_shape_are_refused_with_what_to_do(build: str, name: str) -> None:
    with pytest.raises(SpecError, match=rf"{build} gives a network whose {name} has no shape yet; give its layers"):
        OwnNet(net="own", build=f"{__name__}:{build}").build((1, 8, 8), 10, 0)


def with_dropout() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 6), nn.ReLU(), nn.Dropout(0.5), nn.Linear(6, 10))


def without_dropout() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 6), nn.ReLU(), nn.Linear(6, 10))


def test_an_own_network_with_dropout_trains_alike_in_all_back_ends() -> None:
    fields = {"data": {"source": "digits"}, "optimizer": {"method": "sgd", "learning_rate": 0.1}, "steps": 8}

    def loss_of(function: str, backend: str) -> float:
        net = {"net": "own", "function": f"{__name__}:{function}"}
        recipes = [Recipe.model_validate({**fields, "net": net, "seed": seed}) for seed in range(2)]
        data = recipes[0].data.load(Path())
        ended = [e for e in train_pack(recipes, data, backend=backend) if isinstance(e, Ended)]
        return ended[0].metrics["train_loss"]

    losses = [loss_of("with_dropout", backend) for backend in ("loop", "vmap", "bmm")]
    assert losses[1:] == pytest.approx([losses[0]] * 2, rel=1e-5)
    assert abs(loss_of("without_dropout", "loop") - losses[0]) > 1e-3
