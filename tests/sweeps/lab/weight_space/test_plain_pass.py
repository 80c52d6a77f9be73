"""The pass without modules: the module's own outputs, wherever it is moved."""

import pytest
import torch
from torch import nn

from landsweep.sweeps.lab.models import Mlp, Net
from landsweep.sweeps.lab.weight_space.plain_pass import plain_pass

NETS: list[Net] = [
    Mlp(net="mlp", hidden=(16, 8), dropout=0.5),
    Mlp(net="mlp", hidden=(16,), norm="batch", activation="gelu"),
    Mlp(net="mlp", hidden=()),
]


@pytest.mark.parametrize("net", NETS, ids=["relu", "batch-gelu", "linear"])
def test_it_gives_the_modules_own_bits(net: Net) -> None:
    module = net.build((1, 8, 8), 10, 0).eval()
    forward = plain_pass(module)
    assert forward is not None
    batch = torch.randn(50, 1, 8, 8)
    for _ in range(2):
        given = batch.clone()
        with torch.inference_mode():
            assert torch.equal(forward(given), module(batch))
        assert torch.equal(given, batch)
        with torch.no_grad():
            for p in module.parameters():
                p += 0.1 * torch.randn_like(p)


def test_inputs_are_not_written_to() -> None:
    module = nn.Sequential(nn.ReLU(), nn.Flatten(), nn.ReLU(), nn.Linear(4, 3), nn.ReLU()).eval()
    forward, batch = plain_pass(module), torch.randn(5, 4)
    given = batch.clone()
    with torch.inference_mode():
        assert forward is not None and torch.equal(forward(given), module(batch))
    assert torch.equal(given, batch)


def test_more_axes_than_one_stay() -> None:
    module = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2, bias=False)).eval()
    forward, batch = plain_pass(module), torch.randn(5, 6, 4)
    with torch.inference_mode():
        assert forward is not None and torch.equal(forward(batch), module(batch))


def hooked() -> nn.Module:
    module = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    module[1].register_forward_hook(lambda *_: None)
    return module.eval()


class Own(nn.Linear):
    """May compute anything."""


@pytest.mark.parametrize(
    "module",
    [hooked(), nn.Sequential(Own(4, 3)).eval(), nn.Sequential(nn.Linear(4, 3), nn.Dropout()).train()],
    ids=["hook", "own class", "training"],
)
def test_what_may_compute_something_else_is_called(module: nn.Module) -> None:
    assert plain_pass(module) is None
