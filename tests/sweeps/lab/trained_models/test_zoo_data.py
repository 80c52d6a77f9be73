"""The zoo as a data set: reader, split, permutations, torch data set, card, export, import, commands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from torch import Tensor, nn
from typer.testing import CliRunner

from landsweep import Zoo
from landsweep.orchestrator.errors import SpecError, UsageError
from landsweep.orchestrator.testing.kind_suite import run_example
from landsweep.sweeps.lab.data import Digits
from landsweep.sweeps.lab.training_units.split import SHARES, split_of
from landsweep.sweeps.zoo.export import export_zoo
from landsweep.sweeps.zoo.kind import ZooKind
from tests.support.app import app
from tests.support.published import small_cnn_zoo

KIND = ZooKind()


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Zoo:
    """The example's results."""
    folder = tmp_path_factory.mktemp("zoo")
    run_example(KIND, KIND.example(), folder)
    return Zoo(folder)


def test_weights_are_those_that_gave_the_stored_accuracy(zoo: Zoo) -> None:
    test = Digits(source="digits").load(Path()).splits["test"]
    for member in zoo:
        with torch.no_grad():
            right = member.module()(test.inputs).argmax(1) == test.targets
        assert float(right.double().mean()) == pytest.approx(member.row["test_accuracy"], abs=1e-6)


def test_lazy_slices_equal_the_whole_file(zoo: Zoo) -> None:
    for member in zoo:
        row = member.row
        whole = load_file(zoo.files.path(row["weights_file"]))
        for label in ("step-000000", "step-000020", "last"):
            for name, tensor in member.state(label).items():
                stacked = whole[f"{row['weights_pack']}/{label}/{name}"]
                assert np.array_equal(stacked[row["weights_slot"]], tensor.numpy())
        assert member.labels == ("step-000000", "step-000020", "last")
        assert len(member.vector()) == row["parameters"]


def test_a_zoo_and_its_models_say_what_they_are_in_a_line(zoo: Zoo) -> None:
    assert repr(zoo) == f"Zoo({zoo.where!r}): 16 models, 16 of them with weights"
    row = zoo[3].row
    settings = f"net.hidden.0={row['net.hidden.0']}, optimizer.learning_rate={row['optimizer.learning_rate']}"
    assert repr(zoo[3]) == f"Member({row['key'][:8]}: ok; {settings}, seed={row['seed']})"


def test_models_are_found_by_position_key_and_first_digits(zoo: Zoo) -> None:
    assert len(zoo) == 16 == len(list(zoo)) == len(zoo.rows)
    key = zoo.keys[5]
    assert zoo[5].key == zoo[key].key == zoo[key[:12]].key == key
    with pytest.raises(UsageError, match=r"'zzz' is not in the zoo.*no key begins with it; keys are such as"):
        zoo["zzz"]
    with pytest.raises(UsageError, match="no checkpoint 'best'; it has step-000000, step-000020, last"):
        zoo[0].state("best")
    with pytest.raises(UsageError, match=r"\[310, 610\].*one shape"):
        zoo.vectors()


def test_series_hold_the_evaluations(zoo: Zoo) -> None:
    part = zoo.series().query("key == @zoo.keys[0] and metric == 'test_accuracy'")
    assert list(part["step"]) == [20, 40]
    assert part["value"].iloc[-1] == zoo[0].row["test_accuracy"]


def test_a_part_that_there_is_not_is_refused(zoo: Zoo) -> None:
    with pytest.raises(UsageError, match="no part 'training'; the parts are train, val, test"):
        zoo.part("training")  # type: ignore[arg-type]


def test_no_seed_is_in_two_parts_and_growth_moves_none(zoo: Zoo) -> None:
    parts = {name: set(zoo.part(name).rows["seed"]) for name in SHARES}
    assert not (parts["train"] & parts["test"] or parts["train"] & parts["val"] or parts["val"] & parts["test"])
    assert sum(len(zoo.part(name)) for name in SHARES) == len(zoo)
    assert [split_of(s) for s in range(10)] == [
        "train", "test", "train", "train", "val", "train", "test", "train", "train", "val"
    ]  # fmt: skip
    for start in (0, 1000, 123_456):
        found = [split_of(s) for s in range(start, start + 400)]
        assert {p: found.count(p) / 400 for p in SHARES} == pytest.approx(SHARES, abs=0.02)


def test_the_torch_data_set_gives_vectors_and_targets(zoo: Zoo) -> None:
    part = zoo.select(zoo.rows["net.hidden.0"] == 4)
    data = part.dataset("test_accuracy", labels=("step-000020", "last"))
    assert len(data) == 16
    vectors, targets = next(iter(torch.utils.data.DataLoader(data, batch_size=16)))
    assert torch.equal(vectors[1::2], part.vectors()) and torch.equal(vectors[0::2], part.vectors("step-000020"))
    assert targets[1::2].tolist() == pytest.approx(list(part.rows["test_accuracy"]))
    shuffled = part.dataset(permute=3)
    first = shuffled[0]
    assert torch.equal(first, shuffled[0]) and not torch.equal(first, part[0].vector())
    shuffled.set_epoch(1)
    assert not torch.equal(first, shuffled[0])
    assert torch.equal(part.dataset(canonical=True)[0].sort().values, part[0].vector().sort().values)
    with pytest.raises(UsageError, match="no column 'accuracy'; the rows have"):
        zoo.dataset("accuracy")


class Chain(nn.Module):
    """A chain of two layers, or one with a shortcut that no weight tells of."""

    def __init__(self, shortcut: bool) -> None:
        super().__init__()
        self.first, self.second, self.shortcut = nn.Linear(64, 64), nn.Linear(64, 10), shortcut

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        hidden = self.first(x).relu()
        return self.second(hidden + x if self.shortcut else hidden)


@pytest.mark.parametrize("swept", ["axis", "recipes"])
@pytest.mark.parametrize("first", [False, True])
def test_permutations_of_one_network_are_not_taken_for_those_of_another(
    tmp_path: Path, swept: str, first: bool
) -> None:
    recipe: dict[str, Any] = {
        "data": {"source": "digits"},
        "net": {"net": "own", "build": "tests.sweeps.lab.trained_models.test_zoo_data:Chain", "args": {}},
        "optimizer": {"method": "sgd", "learning_rate": 0.1}, "steps": 2, "batch_size": 8,
        "evaluate": {"every_steps": 2},
    }  # fmt: skip
    spec: dict[str, Any] = {"name": "zoo", "recipe": recipe, "seeds": {"range": 1}, "backend": "loop"}
    recipe["net"]["args"] = {"shortcut": False}
    if swept == "axis":
        spec["axes"] = {"recipe.net.args.shortcut": [first, not first]}
    else:
        spec["recipes"] = {"plain": {}, "shortcut": {"net.args.shortcut": True}}
    run_example(KIND, ZooKind.spec.model_validate(spec), tmp_path)
    zoo = Zoo(tmp_path, trust=True)
    with_shortcut = [model.recipe().net.args["shortcut"] for model in zoo]  # type: ignore[attr-defined]
    assert sorted(with_shortcut) == [False, True]
    for i in sorted(range(2), key=lambda i: with_shortcut[i] != first):  # which comes first must not matter
        if with_shortcut[i]:
            with pytest.raises(
                SpecError, match="no hidden units of this network can change places; take its weights as they are"
            ):
                zoo[i].permuted(0)
            with pytest.raises(
                SpecError, match="no hidden units of this network can change places; take its weights as they are"
            ):
                zoo.dataset(permute=0)[i]
        else:
            assert zoo[i].permuted(0)


@pytest.mark.parametrize(
    ("data", "net"),
    [
        ({"source": "digits"}, {"net": "resnet", "depth": 8, "width": 4}),
        (
            {"source": "markov", "states": 5, "context": 6, "train": 16, "test": 16},
            {"net": "gpt", "width": 8, "depth": 1, "heads": 2},
        ),
    ],
    ids=["shortcuts", "tokens"],
)
def test_models_with_shortcuts_and_attention_are_shuffled(
    tmp_path: Path, data: dict[str, Any], net: dict[str, Any]
) -> None:
    optimizer = {"method": "sgd", "learning_rate": 0.1}
    recipe = {"data": data, "net": net, "optimizer": optimizer, "steps": 2, "batch_size": 8}
    spec = {"name": "zoo", "recipe": {**recipe, "evaluate": {"every_steps": 2}}, "seeds": {"range": 1}}
    run_example(KIND, ZooKind.spec.model_validate(spec), tmp_path)
    model = Zoo(tmp_path)[0]
    shape, outputs = model.shape
    inputs = torch.rand(3, *shape) if data["source"] == "digits" else torch.randint(outputs, (3, *shape))
    module = model.module()
    with torch.no_grad():
        before = module(inputs)
        for state in (model.permuted(1), model.canonical()):
            assert any(not torch.equal(t, state[k]) for k, t in module.state_dict().items())
            module.load_state_dict(state)
            assert torch.allclose(module(inputs), before, atol=1e-5 * float(before.abs().max()))


def test_a_selection_shares_the_files_and_leaves_the_zoo_as_it_is(zoo: Zoo) -> None:
    before = list(zoo.keys)
    some = zoo.select(zoo.rows.index < 5)
    again = some.select(some.rows.index % 2 == 0)
    assert again.keys == before[:5:2] and zoo.keys == before and len(zoo.rows) == 16
    assert again.models is some.models is zoo.models and again.head is zoo.head
    assert len(zoo.select(zoo.rows.index < 0)) == 0 and zoo.select(zoo.rows.index < 0).vectors().shape == (0, 0)
    with pytest.raises(UsageError, match="no key begins with it"):
        again[before[1]]


@pytest.mark.parametrize("per_model", [False, True])
def test_an_exported_zoo_reads_like_the_original(zoo: Zoo, tmp_path: Path, per_model: bool) -> None:
    assert export_zoo(zoo, tmp_path / "out", per_model=per_model) == 16
    copy = Zoo(tmp_path / "out")
    assert copy.keys == zoo.keys and len(copy.series()) == len(zoo.series())
    for member in zoo:
        for label in member.labels:
            state = copy[member.key].state(label)
            assert all(torch.equal(t, state[n]) for n, t in member.state(label).items())
    assert torch.equal(copy[3].vector(), zoo[3].vector())
    if per_model:
        plain = load_file(tmp_path / "out" / "models" / zoo.keys[0] / "last.safetensors")
        assert set(plain) == set(zoo[0].state())
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    for word in ("license: cc-by-4.0", "Zoo(", "16 models", "net.hidden.0", "figures/distribution.png"):
        assert word in card
    with pytest.raises(UsageError, match="not empty"):
        export_zoo(zoo, tmp_path / "out")


@pytest.mark.parametrize("moved", [0, 1, 4, 7])
def test_an_export_that_was_killed_while_its_files_moved_begins_again(
    zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moved: int
) -> None:
    """As a kill in the middle of the moves, after which nothing more is done."""
    really, moves = Path.rename, []

    def rename(path: Path, target: Path) -> Path:
        if path.parent.name == ".unfinished":
            if len(moves) == moved:
                raise KeyboardInterrupt
            moves.append(target)
        return really(path, target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(KeyboardInterrupt):
        export_zoo(zoo, tmp_path / "out")
    assert len(moves) == moved and not (tmp_path / "out" / "sweep.json").exists()
    monkeypatch.undo()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="not empty"):
        export_zoo(zoo, tmp_path / "out")
    (tmp_path / "out" / "mine.txt").unlink()
    export_zoo(zoo, tmp_path / "out")
    assert Zoo(tmp_path / "out").keys == zoo.keys and not (tmp_path / "out" / ".unfinished").exists()


def test_published_zoos_are_read_by_the_same_class(tmp_path: Path) -> None:
    table, weights = small_cnn_zoo(tmp_path)
    published = Zoo(tmp_path)
    assert len(published) == 3 and list(published.rows["learning_rate"]) == [0.1, 0.01, 0.001]
    member = published[1]
    assert member.labels == ("step-000000", "step-000020", "step-000086", "last")
    assert member.row["test_accuracy"] == table["test_accuracy"][5]
    state = member.state("step-000020")
    kernel = weights[4][16 : 16 + 144].reshape(3, 3, 1, 16)
    assert np.array_equal(state["conv1.weight"].numpy(), kernel.transpose(3, 2, 0, 1))
    assert np.array_equal(state["out.weight"].numpy(), weights[4][-160:].reshape(16, 10).T)
    x = torch.rand(2, 1, 28, 28)
    a, b = (published[i].module("step-000020") for i in (0, 1))
    hidden = torch.nn.functional.conv2d(x, state["conv1.weight"], state["conv1.bias"], stride=2).tanh()
    assert torch.equal(b.act1(b.conv1(x)), hidden) and isinstance(a.act1, nn.ReLU)
    assert published.vectors("last").shape == (3, 4970)
    assert set(published.rows["split"]) <= set(SHARES)
    with torch.no_grad():
        c = published[0].module()
        before = c(x)
        c.load_state_dict(published[0].permuted(1))
        assert torch.allclose(c(x), before, atol=1e-6 * float(before.abs().max()))


def test_damaged_or_foreign_zoos_are_refused_with_reasons(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"neither sweep.json .* nor metrics.csv.gz"):
        Zoo(tmp_path)
    small_cnn_zoo(tmp_path)
    np.save(tmp_path / "weights.npy", np.zeros((8, 4970), np.float32))
    with pytest.raises(UsageError, match=r"\(8, 4970\), but .* say \(9, 4970\)"):
        Zoo(tmp_path)
    (tmp_path / "weights.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(UsageError, match=r"weights.npy is damaged"):
        Zoo(tmp_path)
    (tmp_path / "layout.csv").unlink()
    with pytest.raises(UsageError, match=r"lacks layout.csv"):
        Zoo(tmp_path)


def test_the_commands_do_what_they_say(zoo: Zoo, tmp_path: Path) -> None:
    run, folder = CliRunner(), zoo.where
    told = run.invoke(app, ["regenerate", folder, zoo.keys[2][:12]])
    assert told.exit_code == 0 and "the same bits" in told.output, told.output
    told = run.invoke(app, ["verify", folder, "--reevaluate", "5"])
    assert told.exit_code == 0 and "all as in their rows" in told.output, told.output
    told = run.invoke(app, ["zoo-card", folder, "--to", str(tmp_path / "card")])
    assert told.exit_code == 0 and (tmp_path / "card" / "card.html").is_file(), told.output
    told = run.invoke(app, ["zoo-export", folder, "--to", str(tmp_path / "export")])
    assert told.exit_code == 0 and len(Zoo(tmp_path / "export")) == 16, told.output
    told = run.invoke(app, ["regenerate", folder, "zzzz"])
    assert isinstance(told.exception, UsageError)
