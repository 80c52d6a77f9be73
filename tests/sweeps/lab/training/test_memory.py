"""What a process remembers of back-ends: one answer for each pack key, folder, data shape and device, asked once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.data import Data, Split
from landsweep.sweeps.lab.models.base import parameter_count
from landsweep.sweeps.lab.models.catalogue import networks
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.training import calibrate, check_backend, choose, proof
from landsweep.sweeps.lab.training.assembly import layers_of, module_of
from landsweep.sweeps.lab.training.backends import BACKENDS, Bmm, Loop, Vmap
from tests.sweeps.lab.training.cases import recipe

FOLDER = Path()


def vectors(features: int, classes: int = 3) -> Data:
    inputs = torch.randn(96, features, generator=torch.Generator().manual_seed(0))
    return Data.of({"train": Split(inputs, torch.arange(96) % classes)}, classes)


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that has not been asked yet."""
    monkeypatch.setattr(proof, "_VERDICTS", {})
    monkeypatch.setattr(proof, "_EXACT", {})
    monkeypatch.setattr(calibrate, "_CHOICES", {})


def verdict(given: Recipe, data: Data, base: Path) -> object:
    return proof.disagreement(Vmap, given, data, "cpu", base)


def exactness(given: Recipe, data: Data, base: Path) -> object:
    return proof.exact_rows(Vmap, given, data, "cpu", base)


def choice(given: Recipe, data: Data, base: Path) -> object:
    return choose(given, data, base=base)


MEMORIES = [(verdict, proof, "_VERDICTS"), (exactness, proof, "_EXACT"), (choice, calibrate, "_CHOICES")]


@pytest.mark.parametrize(("ask", "module", "memory"), MEMORIES, ids=lambda m: getattr(m, "__name__", str(m)))
def test_an_answer_is_remembered_by_folder_and_shape_of_the_data(
    ask: Callable[[Recipe, Data, Path], object], module: Any, memory: str, tmp_path: Path
) -> None:
    mlp = recipe(net={"net": "mlp", "hidden": [4]}, evaluate={}, steps=9)
    first = ask(mlp, vectors(5), FOLDER)
    assert ask(mlp, vectors(5), FOLDER) is first and ask(mlp, vectors(5), FOLDER.resolve()) is first
    assert ask(mlp.model_copy(update={"seed": 9}), vectors(5), FOLDER) is first, "seeds share a pack key"
    assert len(getattr(module, memory)) == 1
    ask(mlp, vectors(6), FOLDER)
    ask(mlp, vectors(5, classes=4), FOLDER)
    ask(mlp, vectors(5), tmp_path)
    ask(recipe(net={"net": "mlp", "hidden": [5]}, evaluate={}, steps=9), vectors(5), FOLDER)
    assert len(getattr(module, memory)) == 5


NETWORK = """
from torch import nn


def net():
    return nn.Sequential(nn.Flatten(), nn.Linear(5, 3))
"""


@pytest.mark.parametrize("ask", [verdict, exactness, choice])
def test_a_network_of_the_same_name_in_another_folder_does_not_get_the_answer_of_the_first(
    ask: Callable[[Recipe, Data, Path], object], tmp_path: Path
) -> None:
    """One process can't hold two modules of one name: that is said, where a remembered answer would hide it."""
    name = f"two_nets_{ask.__name__}"
    for folder in ("one", "other"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"{name}.py").write_text(NETWORK)
    own = recipe(net={"net": "own", "build": f"{name}:net"}, evaluate={}, steps=9)
    first = ask(own, vectors(5), tmp_path / "one")
    assert ask(own, vectors(5), tmp_path / "other" / ".." / "one") is first
    with pytest.raises(SpecError, match="there are two modules"):
        ask(own, vectors(5), tmp_path / "other")


def sample(net: str) -> tuple[tuple[int, ...], dict[str, Any]]:
    """Shape of an input that a network takes, and its smallest fields."""
    shapes = dict.fromkeys(("gpt", "transformer", "encdec", "rnn", "gru", "lstm"), (6,))
    return shapes.get(net, (3, 32, 32)), {"net": net, **({"source": 2} if net == "encdec" else {})}


@pytest.mark.parametrize("net", [n for c in networks() for n in c.families() if n != "own"])
def test_a_skeleton_gives_the_answers_of_the_network(net: str) -> None:
    """Back-ends ask for layers, rows for the number of parameters: neither depends on the weights."""
    shape, fields = sample(net)
    data = Data.of({"train": Split(torch.zeros(4, *shape), torch.zeros(4, dtype=torch.int64))}, 10)
    for changes in ({}, {"dropout": 0.1}, {"norm": "batch"}, {"norm": "layer"}):
        try:
            given = recipe(net={**fields, **changes}, evaluate={})
        except (SpecError, ValueError):
            continue  # a network without such a field
        real, skeleton = module_of(given, data, FOLDER), layers_of(given, data, FOLDER)
        assert all(p.is_meta for p in skeleton.parameters()) and parameter_count(skeleton) == parameter_count(real)
        for backend in BACKENDS.values():
            assert backend.serves(skeleton) == backend.serves(real)
            assert backend.exact_rows(skeleton) == backend.exact_rows(real)


def test_a_skeleton_is_refused_as_the_network_is() -> None:
    cnn = recipe(net={"net": "cnn", "channels": [4]}, evaluate={})
    data = Data.of({"train": Split(torch.zeros(4, 1, 8, 8), torch.zeros(4, dtype=torch.int64))}, 10)
    with pytest.raises(SpecError, match="the back-end bmm can't train this network"):
        check_backend(Bmm.name, cnn, data)
    check_backend(Loop.name, cnn, data)
