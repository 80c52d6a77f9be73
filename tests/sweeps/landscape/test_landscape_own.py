"""Landscapes of sequence models, of networks with dropout, and of users' own networks, data and losses."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from safetensors.torch import save_model
from torch import Tensor, nn
from torch.func import functional_call

from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.kind import Workbench
from landsweep.orchestrator.spec import parse
from landsweep.sweeps.lab.data import Markov
from landsweep.sweeps.landscape.kind import LandscapeSpec
from tests.support.landscapes import KIND, directions_of, landscape_rows, model_state, prepare

pytestmark = pytest.mark.usefixtures("torch_threads")
HERE = __name__
DATA = {"source": "callable", "path": f"{HERE}:blobs"}


def own_spec(models: dict[str, Any], data: dict[str, Any], **fields: Any) -> LandscapeSpec:
    base = {"kind": "landscape", "name": "t", "axes": {"x": [-1, 0, 0.5]}, "models": models, "data": data}
    return parse(LandscapeSpec, copy.deepcopy({**base, **fields}), "test")


def landscape(spec: LandscapeSpec, folder: Path = Path()) -> tuple[pd.DataFrame, dict[str, Any]]:
    KIND.check(spec, Workbench(folder=folder))
    made = prepare(spec, folder)
    return landscape_rows(spec, made, folder), made


def blobs(dtype: str = "float32", label: int | None = None) -> dict[str, tuple[Any, Any]]:
    source = np.random.default_rng(0)
    found = {}
    for name, n in (("train", 90), ("test", 40)):
        y = source.integers(0, 3, n)
        x = source.normal(size=(n, 4)) + 2 * np.eye(4)[y]
        found[name] = (x.astype(dtype), y)
    if label is not None:
        found["test"][1][7] = label
    return found


def column(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs, targets, reduction="none")[:, None]


def averaged(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs, targets)


def pair(outputs: Tensor, targets: Tensor) -> Any:
    return F.cross_entropy(outputs, targets, reduction="none"), outputs


def number(outputs: Tensor, targets: Tensor) -> float:
    return float(F.cross_entropy(outputs, targets))


def unreduced(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs - F.one_hot(targets, 3)).square()


def broken(outputs: Tensor, targets: Tensor) -> Tensor:
    raise AttributeError("no such thing")


def margin(outputs: Tensor, targets: Tensor) -> Tensor:
    right = outputs.gather(1, targets[:, None])[:, 0]
    return outputs.scatter(1, targets[:, None], -torch.inf).amax(1) - right


def double() -> nn.Module:
    return nn.Linear(4, 3).double()


def halved() -> nn.Module:
    return nn.Linear(4, 3).bfloat16()


class Tied(nn.Module):
    """A part that is called as DataParallel's, and two layers with one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.module, self.again, self.head = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3)
        self.again.weight = self.module.weight

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(torch.tanh(self.again(torch.tanh(self.module(x)))))
        return out


GPT = {"net": "gpt", "width": 8, "depth": 1, "heads": 2}
MARKOV = {"source": "markov", "states": 5, "context": 6, "train": 40, "test": 30}


def test_a_landscape_of_sequences_means_over_all_positions() -> None:
    spec = own_spec(
        {"gpt": {**GPT, "train": {"epochs": 2, "optimizer": "adamw", "learning_rate": 0.01}}},
        MARKOV,
        batch_size=7,
        evaluators={
            "test": {"split": "test"},
            "few": {"split": "test", "first": 11},
            "error": {"split": "test", "loss": "error"},
            "squares": {"split": "train", "loss": "mse"},
        },
    )
    rows, made = landscape(spec)
    data = Markov.model_validate(MARKOV).load(Path())
    module = spec.models["gpt"].make(data.shape, data.outputs, Path()).eval()
    centre, direction = model_state(made, "gpt"), directions_of(made, "x", "directions-gpt-0")["x"]
    for row in rows.itertuples():
        weights = {k: v + row.x * direction[k] if k in direction else v for k, v in centre.items()}
        with torch.no_grad():
            z = {k: functional_call(module, weights, s.inputs).double() for k, s in data.splits.items()}
        y = {k: s.targets for k, s in data.splits.items()}
        each = -z["test"].log_softmax(-1).gather(2, y["test"][..., None])[..., 0]
        assert row.test_loss == pytest.approx(float(each.mean()), rel=1e-5)
        assert row.few_loss == pytest.approx(float(each[:11].mean()), rel=1e-5)
        assert row.test_loss_se == pytest.approx(float(each.mean(1).std()) / 30**0.5, rel=1e-5)
        right = (z["test"].argmax(-1) == y["test"]).double()
        assert row.test_accuracy == pytest.approx(float(right.mean()))
        assert row.error_loss == pytest.approx(1 - float(right.mean()))
        assert row.squares_loss == pytest.approx(
            float((z["train"] - F.one_hot(y["train"], 5)).square().mean()), rel=1e-5
        )
        assert (row.test_n, row.few_n, row.squares_n) == (30, 11, 40)
    history = made["model-gpt"]["history/accuracy"]
    assert 0 < history[-1] <= 1


def test_a_sequence_has_no_class_of_its_own() -> None:
    spec = own_spec({"gpt": {**GPT, "train": {"epochs": 0}}}, MARKOV, evaluators={"a": {"classes": [1]}})
    with pytest.raises(SpecError, match=r"evaluators\.a\.classes: a sequence has a class at every position"):
        KIND.check(spec, Workbench())


@pytest.mark.parametrize("net", [{"net": "mlp", "hidden": [8], "dropout": 0.5}, {**GPT, "dropout": 0.3}])
def test_training_with_dropout_gives_the_same_landscape_again(net: dict[str, Any]) -> None:
    data = MARKOV if net["net"] == "gpt" else {"source": "digits"}
    spec = own_spec({"net": {**net, "train": {"epochs": 1}}}, data, evaluators={"test": {"split": "test"}})
    tables = []
    for seed in range(3):
        torch.manual_seed(seed)
        tables.append(landscape(spec)[0])
    pd.testing.assert_frame_equal(tables[0], tables[1], check_exact=True)
    pd.testing.assert_frame_equal(tables[0], tables[2], check_exact=True)
    other = own_spec({"net": {**net, "train": {"epochs": 1, "seed": 1}}}, data, evaluators={"test": {"split": "test"}})
    assert landscape(other)[0]["test_loss"].iloc[1] != tables[0]["test_loss"].iloc[1]


@pytest.mark.parametrize("label", [-100, -1])
def test_labels_that_are_no_classes_are_refused(label: int) -> None:
    models = {"net": {"net": "mlp", "hidden": [4], "train": {"epochs": 0}}}
    odd = {**DATA, "args": {"label": label}}
    told = f"labels of split 'test' must be whole numbers from 0 to 2, but {label} is among them"
    with pytest.raises(SpecError, match=told):
        KIND.check(own_spec(models, odd), Workbench())
    with pytest.raises(SpecError, match=told):
        KIND.check(own_spec(models, DATA, evaluators={"odd": {"data": odd}}), Workbench())


@pytest.mark.parametrize(
    ("loss", "gave"),
    [
        ("column", r"it gave a tensor \[40, 1\]"),
        ("averaged", r"it gave a tensor \[\]"),
        ("pair", "it gave a tuple"),
        ("number", "it gave a float"),
        ("unreduced", r"it gave a tensor \[40, 3\]"),
        ("broken", "raised AttributeError: no such thing"),
    ],
)
def test_own_losses_of_another_shape_are_refused_before_the_grid(loss: str, gave: str) -> None:
    models = {"net": {"net": "mlp", "hidden": [4], "train": {"epochs": 0}}}
    spec = own_spec(models, DATA, evaluators={"own": {"loss": f"{HERE}:{loss}"}})
    with pytest.raises(SpecError, match=rf"models\.net and the evaluators .*the loss of own .*{gave}"):
        KIND.check(spec, Workbench())


def test_an_own_loss_of_each_sample_is_averaged() -> None:
    models = {"net": {"net": "own", "build": f"{HERE}:Tied", "train": {"epochs": 2}}}
    rows, made = landscape(own_spec(models, DATA, evaluators={"own": {"loss": f"{HERE}:margin"}}))
    module, (x, y) = Tied(), blobs()["test"]
    module.load_state_dict(model_state(made))
    with torch.no_grad():
        wanted = float(margin(module(torch.from_numpy(x)), torch.from_numpy(y)).mean())
    assert rows.loc[rows["x"] == 0, "own_loss"].tolist() == [pytest.approx(wanted, rel=1e-5)]


def test_data_take_the_number_type_of_each_network() -> None:
    """Data of double precision with a network of single precision, with one of double precision, and both at once."""
    models: dict[str, Any] = {
        "mlp": {"net": "mlp", "hidden": [4], "train": {"epochs": 1}},
        "double": {"net": "own", "build": f"{HERE}:double", "train": {"epochs": 1}},
        "half": {"net": "own", "build": f"{HERE}:halved", "train": {"epochs": 1}},
    }
    single, _ = landscape(own_spec(models, DATA, evaluators={"test": {}, "else": {"data": DATA, "first": 9}}))
    wide = {**DATA, "args": {"dtype": "float64"}}
    rows, made = landscape(own_spec(models, wide, evaluators={"test": {}, "else": {"data": wide, "first": 9}}))
    assert made["model-double"]["state/weight"].dtype == np.float64
    assert set(rows["status"]) == {"ok"}
    np.testing.assert_array_equal(rows["test_loss"][:3], single["test_loss"][:3])  # both are the same float32
    np.testing.assert_allclose(rows["test_loss"], single["test_loss"], rtol=1e-5)
    assert (rows["test_loss"][3:6] != single["test_loss"][3:6]).all()  # double precision is not rounded on the way


def test_a_tied_network_with_a_part_called_module_comes_from_its_file(tmp_path: Path) -> None:
    module = Tied()
    save_model(module, str(tmp_path / "tied.safetensors"))
    torch.save({f"module.{k}": v for k, v in module.state_dict().items()}, tmp_path / "parallel.pt")
    own = {"net": "own", "build": f"{HERE}:Tied"}
    models = {"a": {**own, "checkpoint": "tied.safetensors"}, "b": {**own, "checkpoint": "parallel.pt"}}
    rows, _ = landscape(own_spec(models, DATA, evaluators={"test": {}}, batch_size=40), tmp_path)
    x, y = blobs()["test"]
    with torch.no_grad():
        wanted = float(F.cross_entropy(module(torch.from_numpy(x)), torch.from_numpy(y)))
    assert rows.loc[rows["x"] == 0, "test_loss"].tolist() == [pytest.approx(wanted, rel=1e-6)] * 2


class Clamps(nn.Module):
    """Changes its inputs, from a size on."""

    def __init__(self, above: float) -> None:
        super().__init__()
        self.linear, self.above = nn.Linear(4, 3), above

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.clamp_(max=0.1) if float(x.max()) > self.above else x)


def clamps(above: float) -> nn.Module:
    return Clamps(above)


def doubled(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs.mul_(2), targets.clamp_(max=1), reduction="none")


def test_a_network_that_writes_into_its_inputs_is_refused() -> None:
    models = {"a": {"net": "own", "build": f"{HERE}:clamps", "args": {"above": -99.0}}}
    with pytest.raises(SpecError, match=r"models\.a: the network writes into its inputs"):
        KIND.check(own_spec(models, DATA), Workbench())


def test_no_model_is_judged_by_inputs_that_another_has_changed() -> None:
    """It does not write into the few samples that it is checked with, but into later ones."""
    highest = [float(x[:2].max()) for x, _ in blobs().values()]
    models = {
        "a": {"net": "own", "build": f"{HERE}:clamps", "args": {"above": max(highest)}},
        "z": {"net": "mlp", "hidden": [3], "train": {"epochs": 1}},
    }
    spec = own_spec(models, DATA, batch_size=2)
    KIND.check(spec, Workbench())
    session = KIND.open(spec, prepare(spec), Workbench())
    units = KIND.planner(spec).ask(10)
    assert {unit.params["model"] for unit in units} == {"a", "z"}
    for unit in units:
        with pytest.raises(ValueError, match="has written into its inputs"):
            list(session.evaluate([unit]))


def test_a_loss_that_writes_into_what_it_is_given_changes_no_other() -> None:
    models = {"z": {"net": "mlp", "hidden": [3], "train": {"epochs": 1}}}
    own = {"a": {"split": "test", "loss": f"{HERE}:doubled"}, "b": {"split": "test"}}
    both = landscape(own_spec(models, DATA, evaluators=own))[0]
    alone = landscape(own_spec(models, DATA, evaluators={"b": {"split": "test"}}))[0]
    assert both["b_loss"].tolist() == alone["b_loss"].tolist()
    assert both["b_accuracy"].tolist() == alone["b_accuracy"].tolist()
    assert both["a_loss"].tolist() != both["b_loss"].tolist()
