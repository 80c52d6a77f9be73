"""A small network of every family, with weights and statistics that are all different."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from landsweep.sweeps.lab.models.cnn import Cnn
from landsweep.sweeps.lab.models.gpt import Gpt
from landsweep.sweeps.lab.models.mlp import Mlp
from landsweep.sweeps.lab.models.resnet import ResNet
from landsweep.sweeps.lab.models.resnet18 import ResNet18
from landsweep.sweeps.lab.models.small_cnn import SmallCnn
from landsweep.sweeps.lab.models.vit import Vit
from landsweep.sweeps.lab.models.zoo_cnn import ZooCnn

__all__ = ["NETWORKS", "network", "scrambled"]

_VECTOR, _IMAGE, _TOKENS = (12,), (2, 8, 8), (6,)
NETWORKS = {
    "mlp": (Mlp(net="mlp", hidden=(9, 8, 7)), _VECTOR),
    "mlp_batch": (Mlp(net="mlp", hidden=(9, 8), norm="batch"), _VECTOR),
    "cnn": (Cnn(net="cnn", channels=(5, 6, 7)), _IMAGE),
    "small_cnn": (SmallCnn(net="small_cnn", width=6), (2, 16, 16)),
    "cnn_s": (ZooCnn(net="cnn_s"), (1, 20, 20)),
    "resnet_batch": (ResNet(net="resnet", depth=14, width=4), _IMAGE),
    "resnet_layer": (ResNet(net="resnet", depth=8, width=4, norm="layer"), _IMAGE),
    "resnet_none": (ResNet(net="resnet", depth=8, width=4, norm="none"), _IMAGE),
    "resnet_without_shortcuts": (ResNet(net="resnet", depth=8, width=4, skip=False), _IMAGE),
    "resnet18": (ResNet18(net="resnet18", width=3), _IMAGE),
    "vit": (Vit(net="vit", patch=4, width=12, heads=3, depth=2), _IMAGE),
    "gpt": (Gpt(net="gpt", width=12, heads=4, depth=2), _TOKENS),
    "gpt_rms": (Gpt(net="gpt", width=12, heads=3, depth=1, norm="rms", qk_norm=True), _TOKENS),
}
"""Small networks of every family, and the shape of one input."""
_CLASSES = 5


def network(name: str, seed: int = 0, samples: int = 6) -> tuple[nn.Module, Tensor]:
    """One of `NETWORKS` with weights and statistics that are all different, in evaluation mode; and some inputs."""
    net, shape = NETWORKS[name]
    module = scrambled(net.build(shape, _CLASSES, seed), seed)
    generator = torch.Generator().manual_seed(seed)
    if shape == _TOKENS:
        return module, torch.randint(_CLASSES, (samples, *shape), generator=generator)
    return module, torch.randn(samples, *shape, generator=generator)


def scrambled(module: nn.Module, seed: int) -> nn.Module:
    """A module whose parameters and statistics have been moved a little at random; variances stay above 0."""
    generator = torch.Generator().manual_seed(seed)
    trained = {name for name, _ in module.named_parameters()}
    for name, t in module.state_dict().items():
        noise = 0.3 * torch.rand(t.shape, generator=generator)
        if name in trained:
            t.add_(noise - 0.15)
        elif name.endswith(("running_mean", "running_var")):
            t.add_(noise)
    return module.eval()
