"""Which units can change places: on networks of every family, on own ones, and where nothing is known."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.matching.axes import Atom, equate, fix, fixed, free, length, parts
from landsweep.sweeps.lab.matching.symmetry import find_symmetry, permute, shuffled
from tests.support.small_networks import NETWORKS, network, scrambled

SIZES = {
    "mlp": [9, 8, 7],
    "mlp_batch": [9, 8],
    "cnn": [5, 6, 7],
    "small_cnn": [6, 6, 6],
    "cnn_s": [8, 6, 4, 20],
    "resnet_batch": [4, 4, 4, 8, 4, 8, 16, 8, 16],
    "resnet_layer": [4, 4, 8, 4, 16, 8],
    "resnet_none": [4, 4, 8, 4, 16, 8],
    "resnet_without_shortcuts": [4, 4, 4, 8, 8, 16, 16],
    "resnet18": [3, 3, 3, 6, 6, 6, 12, 12, 12, 24, 24, 24],
    "vit": [12, 3, 48, 3, 48],
    "gpt": [12, 4, 48, 4, 48],
    "gpt_rms": [12, 3, 48],
}
"""Of each network's units, by the sizes in its spec: layers, stages of the residual stream, heads, MLPs."""


@pytest.mark.parametrize("name", NETWORKS)
def test_units_of_every_family_are_found_and_keep_the_function(name: str) -> None:
    module, inputs = network(name)
    symmetry = find_symmetry(module, inputs)
    assert [u.size for u in symmetry.units] == SIZES[name]
    before = module.double()(inputs.double() if inputs.is_floating_point() else inputs)
    for seed in range(3):
        state = shuffled(module.state_dict(), symmetry.units, torch.Generator().manual_seed(seed))
        other = network(name)[0].double()
        other.load_state_dict(state)
        after = other(inputs.double() if inputs.is_floating_point() else inputs)
        assert (before - after).abs().max() < 1e-9 * before.abs().max()
        assert any(not torch.equal(t, state[k]) for k, t in module.state_dict().items())


def test_statistics_of_batch_normalisation_move_with_their_channels() -> None:
    module, inputs = network("resnet_batch")
    moving = {p.tensor for u in find_symmetry(module, inputs).units for p in u.places}
    buffers = {name for name, b in module.named_buffers() if b.is_floating_point()}
    assert buffers <= moving


def test_a_padded_shortcut_ties_the_first_channels_to_the_stage_before() -> None:
    """Stage two has width 8, of which the shortcut fills four from stage one; the other four are free."""
    module, inputs = network("resnet_batch")
    units = {u.name: u for u in find_symmetry(module, inputs).units}
    stage_one, new = units["conv"], units["blocks.2.conv2"]
    held = {(p.tensor, p.dim): (p.start, p.block) for p in stage_one.places}
    assert held[("blocks.2.conv2.weight", 0)] == (0, 1)
    assert {(p.tensor, p.dim): p.start for p in new.places}[("blocks.2.conv2.weight", 0)] == 4


def test_heads_move_as_blocks() -> None:
    module, inputs = network("gpt")
    heads = next(u for u in find_symmetry(module, inputs).units if u.name == "blocks.0.query")
    assert heads.size == 4
    assert {(p.tensor.split(".")[2], p.block) for p in heads.places} == {
        (layer, 3) for layer in ("query", "key", "value", "merge")
    }


def test_layers_are_linear_and_convolutional_ones_but_the_last() -> None:
    module, inputs = network("resnet_batch")
    layers = find_symmetry(module, inputs).layers
    convolutions = [name for name, m in module.named_modules() if isinstance(m, nn.Conv2d)]
    assert list(layers) == convolutions


class Fused(nn.Module):
    """Attention as in nanoGPT: one layer for queries, keys and values; torch's own attention; tied embeddings."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Embedding(7, 8)
        self.norm = nn.LayerNorm(8)
        self.qkv = nn.Linear(8, 24)
        self.merge = nn.Linear(8, 8)
        self.out = nn.Linear(8, 7, bias=False)
        self.out.weight = self.token.weight

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.token(tokens)
        n, t, _ = x.shape
        q, k, v = (y.view(n, t, 2, 4).transpose(1, 2) for y in self.qkv(self.norm(x)).split(8, dim=2))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(x + self.merge(y.transpose(1, 2).contiguous().view(n, t, 8)))


class Concatenating(nn.Module):
    """A dense block, a depthwise and a grouped convolution, and channels that are gated by their mean."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(1, 4, 3, padding=1)
        self.b = nn.Conv2d(4, 6, 3, padding=1)
        self.depthwise = nn.Conv2d(10, 10, 3, padding=1, groups=10)
        self.gate = nn.Linear(10, 10)
        self.grouped = nn.Conv2d(10, 8, 1, groups=2)
        self.norm = nn.GroupNorm(2, 8)
        self.out = nn.Linear(8 * 16, 3)

    def forward(self, x: Tensor) -> Tensor:
        a = F.relu(self.a(x))
        x = torch.cat([a, F.relu(self.b(a))], dim=1)
        x = F.silu(self.depthwise(x))
        x = x * torch.sigmoid(self.gate(x.mean((2, 3))))[:, :, None, None]
        return self.out(F.avg_pool2d(self.norm(self.grouped(x)), 2).flatten(1))


@pytest.mark.parametrize(
    ("build", "inputs"),
    [(Fused, torch.randint(7, (5, 6))), (Concatenating, torch.randn(5, 1, 8, 8))],
    ids=["fused attention", "concatenation and groups"],
)
def test_own_networks_need_no_list_of_layers(build: type[nn.Module], inputs: Tensor) -> None:
    module = scrambled(build(), 0)
    symmetry = find_symmetry(module, inputs)
    assert symmetry.units  # proved on the network before they are returned
    if build is Fused:
        assert [(u.size, u.name) for u in symmetry.units] == [(8, "token"), (2, "qkv")]
        heads = [p for p in symmetry.units[1].places if p.tensor == "qkv.weight"]
        assert [(p.start, p.block) for p in heads] == [(0, 4), (8, 4), (16, 4)]
        assert {p.tensor for p in symmetry.units[0].places} >= {"token.weight", "out.weight"}


class Odd(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.strange, self.last = nn.Linear(4, 6), nn.Module(), nn.Linear(6, 2)
        self.strange.forward = lambda x: torch.cumsum(x, 1)  # type: ignore[method-assign]

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.strange(self.first(x)))


def test_an_operation_without_a_rule_is_refused_with_its_layer() -> None:
    with pytest.raises(SpecError, match=r"no rule for what happens to hidden units in strange \(cumsum\)"):
        find_symmetry(Odd(), torch.randn(3, 4))


class Sneaky(nn.Module):
    """Changes its units in a way that no operation shows: an operation in place on a part of them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 6), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        x.numpy()[:, 0] *= 2
        return self.last(x)


def test_what_was_found_is_proved_before_it_is_used() -> None:
    with pytest.raises(SpecError, match="gives other outputs"):
        find_symmetry(Sneaky(), torch.randn(3, 4))


def test_a_linear_model_has_no_units() -> None:
    with pytest.raises(SpecError, match="no hidden units"):
        find_symmetry(nn.Linear(3, 2), torch.randn(3, 3))


def test_one_order_undoes_another() -> None:
    module, inputs = network("vit")
    units = find_symmetry(module, inputs).units
    orders = [torch.randperm(u.size, generator=torch.Generator().manual_seed(1)) for u in units]
    back = permute(permute(module.state_dict(), units, orders), units, [o.argsort() for o in orders])
    assert all(torch.equal(t, back[k]) for k, t in module.state_dict().items())


def sizes(axis: tuple[tuple[Atom, ...], ...]) -> list[list[int]]:
    return [[atom.size for atom in product] for product in parts(axis)]


def test_an_axis_is_cut_into_the_parts_of_all_that_it_equals() -> None:
    whole = free(12)
    equate(whole, (*free(4), *free(8)))
    assert sizes(whole) == [[4], [8]]
    equate(whole, (*free(6), *free(6)))
    assert sizes(whole) == [[4], [2], [6]]
    assert sum(map(length, parts(whole))) == 12


def test_a_product_known_later_is_known_everywhere() -> None:
    width = free(12)
    copy = free(12)
    equate(width, copy)
    equate(copy, ((Atom(3), Atom(4)),))
    assert sizes(width) == [[3, 4]]


def test_what_is_equal_to_something_fixed_is_fixed() -> None:
    a, b = free(6), ((Atom(2), Atom(3)),)
    equate(a, b)
    equate(a, fixed(6))
    assert all(atom.fixed for product in parts(a) for atom in product)
    c = free(5)
    fix(c)
    d = free(5)
    equate(d, c)
    assert all(atom.fixed for product in parts(d) for atom in product)


@pytest.mark.parametrize("seed", range(20))
def test_lengths_stay_whatever_is_equated(seed: int) -> None:
    """Random sums of products of one length, equated in a random order, keep it and end up equal or fixed."""
    generator = torch.Generator().manual_seed(seed)

    def random_axis(n: int) -> tuple[tuple[Atom, ...], ...]:
        cut = int(torch.randint(1, n, (), generator=generator))
        return tuple(_factored(m) for m in (cut, n - cut))

    def _factored(m: int) -> tuple[Atom, ...]:
        divisors = [d for d in range(1, m + 1) if m % d == 0]
        d = divisors[int(torch.randint(len(divisors), (), generator=generator))]
        return (Atom(d), Atom(m // d))

    axes = [random_axis(24) for _ in range(4)]
    for a, b in itertools.pairwise(axes):
        equate(a, b)
    for axis in axes:
        assert sum(math.prod(atom.size for atom in p) for p in parts(axis)) == 24
