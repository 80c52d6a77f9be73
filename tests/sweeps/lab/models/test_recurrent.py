"""Recurrent networks against torch's own with the same weights, in packs, and what they fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter
from torch import nn

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.data import Digits, Markov
from landsweep.sweeps.lab.models import Net, NetSpec, check_fit
from tests.sweeps.lab.training.cases import finals, recipe, run

CELLS: dict[str, type[nn.RNNBase]] = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
WORDS: dict[str, Any] = {"source": "markov", "states": 5, "context": 4, "train": 64, "test": 8}


def net(**fields: Any) -> Net:
    return TypeAdapter(NetSpec).validate_python(fields)  # type: ignore[no-any-return]


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("seed", range(5))
def test_equals_torch_s_layers_with_the_same_weights(cell: str, seed: int) -> None:
    module = net(net=cell, width=6, depth=2, init={"bias_std": 0.5}).build((9,), 7, seed).double()
    theirs = CELLS[cell](6, 6, num_layers=2, batch_first=True).double()
    with torch.no_grad():
        for i in range(2):
            for name, key in (("weight_ih", "input.weight"), ("weight_hh", "state.weight"), ("bias_ih", "input.bias")):
                getattr(theirs, f"{name}_l{i}").copy_(module.get_parameter(f"layers.{i}.{key}"))
            getattr(theirs, f"bias_hh_l{i}").zero_()
    tokens = torch.randint(7, (3, 9), generator=torch.Generator().manual_seed(seed))
    wanted = module.get_submodule("out")(theirs(module.get_submodule("token")(tokens))[0])
    torch.testing.assert_close(module(tokens), wanted, rtol=0, atol=1e-12)
    last = net(net=cell, width=6, depth=2, logits="last").build((9,), 7, seed).double()
    last.load_state_dict(module.state_dict())
    torch.testing.assert_close(last(tokens), module(tokens)[:, -1], rtol=0, atol=1e-12)
    torch.testing.assert_close(
        module(tokens[:, :5]), module(tokens)[:, :5], rtol=0, atol=1e-12
    )  # it does not look ahead


@pytest.mark.parametrize("cell", CELLS)
def test_packs_train_as_each_network_alone(cell: str) -> None:
    fields = {"net": {"net": cell, "width": 5, "depth": 2, "dropout": 0.2}, "steps": 3, "dtype": "float64"}
    each = [recipe(s, data=WORDS, **fields) for s in range(2)]
    data = each[0].data.load(Path())
    loop, vmap = (finals(run(each, data, backend)) for backend in ("loop", "vmap"))
    for index, state in loop.items():
        for key, tensor in state.items():
            torch.testing.assert_close(tensor, vmap[index][key], rtol=1e-9, atol=1e-11)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(SpecError, match="takes tokens, but the data gives images"):
        check_fit(net(net="lstm"), Digits(source="digits").load(Path()))
    with pytest.raises(SpecError, match="needs `logits: all`"):
        check_fit(net(net="gru", logits="last"), Markov.model_validate(WORDS).load(Path()))
    with pytest.raises(Exception, match=r"parametrization.*lstm"):
        recipe(data=WORDS, net={"net": "lstm"}, parametrization={"scheme": "mup", "base_width": 8})
