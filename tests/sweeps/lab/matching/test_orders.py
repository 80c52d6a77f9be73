"""Shuffles of hidden units by seed and the canonical order: the same numbers for ever, and the same function."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from landsweep.sweeps.lab.matching.orders import canonical_order, permuted
from landsweep.sweeps.lab.matching.symmetry import Units
from landsweep.sweeps.lab.models import Cnn, Mlp, Net, SmallCnn, ZooCnn
from landsweep.sweeps.lab.trained_models.architecture import Architecture
from tests.support.small_networks import NETWORKS, network, scrambled
from tests.support.traps import Scaled, Shortcut

CHAINS: dict[str, tuple[Net, tuple[int, ...]]] = {
    "mlp": (Mlp(net="mlp", hidden=(13, 7)), (1, 8, 8)),
    "mlp_batch": (Mlp(net="mlp", hidden=(13, 7), norm="batch", activation="gelu"), (64,)),
    "mlp_layer": (Mlp(net="mlp", hidden=(9,), norm="layer", activation="tanh", dropout=0.5), (64,)),
    "mlp_thin": (Mlp(net="mlp", hidden=(1, 5, 1, 3)), (6,)),
    "linear": (Mlp(net="mlp", hidden=()), (6,)),
    "cnn_batch": (Cnn(net="cnn", channels=(5, 9), norm="batch"), (3, 8, 8)),
    "cnn_layer": (Cnn(net="cnn", channels=(5, 9), norm="layer"), (1, 8, 8)),
    "cnn_s": (ZooCnn(net="cnn_s"), (1, 28, 28)),
    "cnn_l": (ZooCnn(net="cnn_l"), (3, 32, 32)),
    "small_cnn": (SmallCnn(net="small_cnn"), (1, 28, 28)),
}
FROZEN = {
    "mlp": ("446dc25e096e", "0680b177821a", "4d4c855c844b"),
    "mlp_batch": ("38efe513ddeb", "2b16a1b65436", "e11a539b4f00"),
    "mlp_layer": ("33792d875608", "6bfeef550183", "2ee798873f80"),
    "mlp_thin": ("30df6f085439", "518537e91d3a", "b54030c563c2"),
    "linear": ("1a4edd5fea4d", "1a4edd5fea4d", "1a4edd5fea4d"),
    "cnn_batch": ("09d5a3d693fc", "70a3d5e7119a", "5eefd82ab7df"),
    "cnn_layer": ("d944c2f3df97", "6aebae9c73db", "0d204b36fa52"),
    "cnn_s": ("2e6f1a337480", "6de8c537b4bc", "ea9d2afabeba"),
    "cnn_l": ("57d24838419f", "cba5e39247a5", "67cab15c006d"),
    "small_cnn": ("0cd666dfed17", "5e0a48f8a599", "13654eef597a"),
}
"""Digests of the weights shuffled with seeds 0 and 123456789012345, and in the canonical order, before units were found
by following networks: whoever trained on shuffled weights must be able to get them again."""


def units_of(module: nn.Module, shape: tuple[int, ...]) -> tuple[Units, ...]:
    return Architecture(module, torch.rand(4, *shape, generator=torch.Generator().manual_seed(0))).units


def drawn(module: nn.Module) -> dict[str, Tensor]:
    """Weights and statistics that are the same on every machine; constants stay."""
    rng = np.random.Generator(np.random.Philox(11))
    batch_norms = [n for n, m in module.named_modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    names = {n for n, _ in module.named_parameters()}
    names |= {f"{n}.{b}" for n in batch_norms for b in ("running_mean", "running_var")}
    return {
        n: torch.from_numpy(rng.random(t.shape, np.float32)) if n in names else t
        for n, t in module.state_dict().items()
    }


def digest(state: Mapping[str, Tensor]) -> str:
    whole = hashlib.sha256()
    for name, t in state.items():
        whole.update(name.encode())
        whole.update(t.numpy().tobytes())
    return whole.hexdigest()[:12]


@pytest.mark.parametrize("name", CHAINS)
def test_seeds_give_the_shuffles_that_they_always_gave(name: str) -> None:
    net, shape = CHAINS[name]
    module = net.build(shape, 10, 0)
    state, units = drawn(module), units_of(module, shape)
    states = (permuted(state, units, 0), permuted(state, units, 123456789012345), canonical_order(state, units))
    assert tuple(digest(s) for s in states) == FROZEN[name]


@pytest.mark.parametrize("name", NETWORKS)
def test_shuffles_keep_the_function_and_the_canonical_order_forgets_them(name: str) -> None:
    module, inputs = network(name)
    module = module.double()  # so that rounding can't hide a mistake, nor look like one
    inputs = inputs.double() if inputs.is_floating_point() else inputs
    units = Architecture(module, inputs).units
    state = {k: t.clone() for k, t in module.state_dict().items()}
    before = module(inputs)
    shuffles = [permuted(state, units, seed) for seed in range(3)]
    ordered = canonical_order(state, units)
    for other in (*shuffles, ordered):
        module.load_state_dict(other)
        assert (module(inputs) - before).abs().max() <= 1e-9 * before.abs().max()
    for other in shuffles:
        assert any(not torch.equal(t, other[k]) for k, t in state.items())
        again = canonical_order(other, units)
        assert all(torch.equal(t, again[k]) for k, t in ordered.items())


class Skipping(nn.Module):
    """Looks like a chain, and is none."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.one(x))
        y: Tensor = self.three(x + torch.relu(self.two(x)))
        return y


def hooked() -> nn.Module:
    layer = nn.Linear(4, 6)
    layer.register_forward_hook(lambda module, given, out: 10 * out)
    return nn.Sequential(layer, nn.ReLU(), nn.Linear(6, 2))


@pytest.mark.parametrize(
    ("module", "sizes"),
    [
        (Skipping(), [6]),  # both layers write to one stream of six units
        (nn.Sequential(Scaled(4, 6), nn.ReLU(), nn.Linear(6, 2)), [6]),
        (hooked(), [6]),
        (nn.Sequential(nn.Linear(4, 6), Shortcut(nn.Linear(6, 6), nn.ReLU()), nn.Linear(6, 2)), [6]),
        (nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 2)), [6, 6]),
    ],
    ids=["skipping", "subclass", "hook", "shortcut", "chain"],
)
def test_what_only_looks_like_a_chain_is_shuffled_as_what_it_is(module: nn.Module, sizes: list[int]) -> None:
    module = scrambled(module, 0).double()
    units = units_of(module, (4,))
    assert [group.size for group in units] == sizes
    inputs = torch.rand(5, 4, dtype=torch.float64)
    before = module(inputs)
    module.load_state_dict(permuted(module.state_dict(), units, 1))
    assert (module(inputs) - before).abs().max() <= 1e-9 * before.abs().max()


def test_the_order_of_erased_units_does_not_depend_on_the_order_given() -> None:
    """Weight decay leaves units of norms such as 1e-10, beside which the constants of a missing normalisation are 1."""
    module = Mlp(net="mlp", hidden=(8,)).build((5,), 2, 0)
    state = {k: 1e-10 * t if k in dict(module.named_parameters()) else t for k, t in module.state_dict().items()}
    units = units_of(module, (5,))
    ordered = canonical_order(state, units)
    for seed in range(20):
        again = canonical_order(permuted(state, units, seed), units)
        assert all(torch.equal(t, again[k]) for k, t in ordered.items())
