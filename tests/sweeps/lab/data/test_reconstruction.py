"""Images to be given back: a linear autoencoder is worth what principal components leave."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from pydantic import TypeAdapter

from landsweep.sweeps.lab.data import Reconstruction
from landsweep.sweeps.lab.losses import LOSSES
from landsweep.sweeps.lab.models import Net, NetSpec


@pytest.mark.parametrize("kept", [1, 3, 10])
def test_the_least_loss_of_a_linear_autoencoder_is_that_of_principal_components(kept: int) -> None:
    data = Reconstruction(source="reconstruction").load(Path())
    split = data.splits["train"].cast(torch.float64)
    mean, images = split.inputs.flatten(1).mean(0), split.inputs.flatten(1)
    values, vectors = torch.linalg.eigh(torch.cov(images.T, correction=0))
    net: Net = TypeAdapter(NetSpec).validate_python({"net": "mlp", "hidden": [kept], "activation": "identity"})
    module = net.build(data.shape, data.outputs, 0).double()
    axes = vectors[:, -kept:]
    best = {
        "hidden.0.linear.weight": axes.T,
        "hidden.0.linear.bias": -axes.T @ mean,
        "out.weight": axes,
        "out.bias": mean,
    }
    module.load_state_dict(best, strict=False)  # the rest are those of no normalisation
    loss = LOSSES["mse"](module(split.inputs), split.targets).mean()
    assert float(loss.detach()) == pytest.approx(float(values[:-kept].sum()) / 64, rel=1e-10)
    for slope in torch.autograd.grad(loss, list(module.parameters())):  # a minimum: nothing pulls
        assert float(slope.abs().max()) < 1e-10


def test_dimensions_tell_what_loading_gives() -> None:
    source = Reconstruction(source="reconstruction")
    told, data = source.dimensions(), source.load(Path())
    assert (told.shape, told.outputs, told.regression) == (data.shape, data.outputs, True) == ((1, 8, 8), 64, True)
