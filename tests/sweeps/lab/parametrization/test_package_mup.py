"""muP beside the package `mup` of PyPI; skipped where that is not installed."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from landsweep.sweeps.lab.recipe import Recipe
from tests.sweeps.lab.parametrization.cases import recipe_of, tensors_of
from tests.sweeps.lab.training.cases import digits, finals, recipe, run


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_mup_equals_the_package_mup(optimizer: str) -> None:
    """Same initial outputs and first updates as the PyPI package (pip install --no-deps mup), at twice the width."""
    mup = pytest.importorskip("mup", reason="pip install --no-deps mup")

    class Peer(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(64, width), nn.Linear(width, width)
            self.out = mup.MuReadout(width, 10)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(torch.relu(self.second(torch.relu(self.first(x.flatten(1))))))

    names = {"first": "hidden.0.linear", "second": "hidden.1.linear", "out": "out"}
    settings = {"learning_rate": 0.1} if optimizer == "sgd" else {"learning_rate": 1e-2, "eps": 1e-8}
    for width in (16, 32):
        net = {"net": "mlp", "hidden": [width, width], "init": {"method": "lecun_normal"}}
        r = recipe(net=net, optimizer={"method": optimizer, **settings}, steps=3, batch_size=1400, dtype="float64")
        r = Recipe.model_validate({**r.model_dump(), "parametrization": {"scheme": "mup", "base_width": 16}})
        assert r.parametrization is not None
        peer = Peer(width).double()
        mup.set_base_shapes(peer, Peer(16), delta=Peer(24), rescale_params=False)
        start = {n: p.detach().double() for n, p in r.build((1, 8, 8), 10).named_parameters()}
        table = tensors_of(r)
        with torch.no_grad():
            for name, p in peer.named_parameters():
                ours = names[name.split(".")[0]] + "." + name.split(".")[1]
                p.copy_(start[ours] / table[ours].multiplier)
        data = digits().splits["train"]
        with torch.no_grad():
            outputs = r.build((1, 8, 8), 10).double()(data.inputs.double())
            torch.testing.assert_close(peer(data.inputs.double()), outputs, rtol=1e-12, atol=1e-12)
        made_by = mup.MuSGD if optimizer == "sgd" else mup.MuAdam
        steps = made_by(peer.parameters(), lr=settings["learning_rate"])
        for _ in range(3):
            steps.zero_grad()
            F.cross_entropy(peer(data.inputs.double()), data.targets).backward()
            steps.step()
        ended = finals(run([r], digits(), "loop"))[0]
        for name, p in peer.named_parameters():
            ours = names[name.split(".")[0]] + "." + name.split(".")[1]
            assert not torch.allclose(ended[ours], start[ours])
            torch.testing.assert_close(ended[ours], p.detach() * table[ours].multiplier, rtol=1e-9, atol=1e-10)


def test_the_initial_deviations_equal_those_of_the_package_mup() -> None:
    """Drawn by `mup.init` for a layer of three times the base width; both within the error of a sample's deviation."""
    mup = pytest.importorskip("mup", reason="pip install --no-deps mup")

    def peer(width: int) -> nn.ModuleList:
        return nn.ModuleList([nn.Linear(64, width), nn.Linear(width, width), mup.MuReadout(width, 10)])

    wide = peer(768)
    mup.set_base_shapes(wide, peer(256), delta=peer(512), rescale_params=False)
    base = {i: 1 / math.sqrt(fan) for i, fan in enumerate((64, 256, 256))}
    net = {"net": "mlp", "hidden": [768, 768], "init": {"method": "lecun_normal"}}
    table = tensors_of(recipe_of(net, {"scheme": "mup", "base_width": 256}))
    for i, name in enumerate(("hidden.0.linear.weight", "hidden.1.linear.weight", "out.weight")):
        mup.init.normal_(wide[i].weight, std=base[i])
        assert float(wide[i].weight.detach().std()) == pytest.approx(table[name].init_std, rel=0.05)
