"""Directions: groups, norms, closed forms of the curvature along them."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.weight_space.directions import (
    GroupRule,
    RandomDirections,
    direction_table,
    geometry,
    group_table,
    interpolate,
    random_directions,
)


class Zoo(nn.Module):
    """One of each layer whose groups differ."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(5, 3)
        self.conv = nn.Conv2d(2, 4, 3)
        self.depthwise = nn.Conv2d(6, 6, 3, groups=6, bias=False)
        self.up = nn.ConvTranspose2d(3, 4, 2, bias=False)
        self.up_grouped = nn.ConvTranspose2d(4, 6, 2, groups=2, bias=False)
        self.embedding = nn.Embedding(7, 3)
        self.norm = nn.BatchNorm2d(4)
        self.position = nn.Parameter(torch.randn(1, 9, 3))
        self.scale = nn.Parameter(torch.tensor(2.0))


@pytest.fixture
def zoo() -> Zoo:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = Zoo()
    nn.init.zeros_(module.conv.weight.data[1])  # a dead filter
    return module


def arrays(module: nn.Module) -> dict[str, np.ndarray]:
    return {k: p.detach().numpy().astype(np.float64) for k, p in module.named_parameters()}


def slices(name: str, x: np.ndarray) -> list[np.ndarray]:
    """Groups cut out by hand, one by one, as the layers use them."""
    if name == "up.weight":  # [in, out, k, k]: one output channel
        return [x[:, o] for o in range(4)]
    if name == "up_grouped.weight":  # [4, 6 / 2, k, k]: channels 0 to 2 see inputs 0 and 1, 3 to 5 see inputs 2 and 3
        return [x[2 * g : 2 * g + 2, j] for g in range(2) for j in range(3)]
    return list(x)


NAMES = ["linear.weight", "conv.weight", "depthwise.weight", "up.weight", "up_grouped.weight", "embedding.weight"]


@pytest.mark.parametrize("name", NAMES)
def test_each_filter_gets_the_norm_of_its_weights(zoo: Zoo, name: str) -> None:
    spec = RandomDirections(kind="random")
    groups = group_table(zoo, spec)
    w = arrays(zoo)
    d = random_directions(w, groups, spec, 0, ["x"])["x"]
    ours, theirs = slices(name, d[name]), slices(name, w[name])
    assert len(ours) == next(g for g in groups if g.name == name).count
    for a, b in zip(ours, theirs, strict=True):
        assert np.linalg.norm(a) == pytest.approx(np.linalg.norm(b), rel=1e-12, abs=1e-300)
    assert np.isfinite(d[name]).all()


def test_transposed_groups_are_what_makes_one_output_channel() -> None:
    """Scaling one group of a grouped transposed convolution must scale exactly one output channel."""
    layer = nn.ConvTranspose2d(4, 6, 2, groups=2, bias=False)
    x = torch.randn(1, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    before = layer(x).detach()
    for channel, (g, j) in enumerate((g, j) for g in range(2) for j in range(3)):
        changed = nn.ConvTranspose2d(4, 6, 2, groups=2, bias=False)
        changed.load_state_dict(layer.state_dict())
        with torch.no_grad():
            changed.weight[2 * g : 2 * g + 2, j] *= 3
        ratio = (changed(x).detach() / before).mean((0, 2, 3))
        assert [round(float(r), 4) for r in ratio] == [3.0 if c == channel else 1.0 for c in range(6)]


def test_zero_filter_gives_zero_direction(zoo: Zoo) -> None:
    for normalise in ("filter", "layer", "weight"):
        spec = RandomDirections(kind="random", normalise=normalise)  # type: ignore[arg-type]
        w = {**arrays(zoo), "linear.weight": np.zeros((3, 5))}
        d = random_directions(w, group_table(zoo, spec), spec, 0, ["x"])["x"]
        assert not d["linear.weight"].any()
        assert np.isfinite(d["conv.weight"]).all()
        assert d["conv.weight"][1].any() == (normalise == "layer")


@pytest.mark.parametrize("policy", ["zero", "raw", "normalise"])
def test_one_dimensional_parameters_follow_their_policy(zoo: Zoo, policy: str) -> None:
    spec = RandomDirections(kind="random", one_dimensional=policy)  # type: ignore[arg-type]
    w = arrays(zoo)
    d = random_directions(w, group_table(zoo, spec), spec, 0, ["x"])["x"]
    for name in ("linear.bias", "conv.bias", "norm.weight", "norm.bias", "scale"):
        if policy == "zero":
            assert not d[name].any()
        elif policy == "normalise":
            assert np.linalg.norm(d[name]) == pytest.approx(np.linalg.norm(w[name]))
        else:
            assert d[name].any()
            assert not np.allclose(d[name], w[name])  # not the weight itself, the trap of other tools


def test_whole_norm_is_the_weights_norm(zoo: Zoo) -> None:
    w = arrays(zoo)
    matrices = {k: v for k, v in w.items() if v.ndim > 1}
    for normalise in ("filter", "layer"):
        spec = RandomDirections(kind="random", normalise=normalise)  # type: ignore[arg-type]
        d = random_directions(w, group_table(zoo, spec), spec, 3, ["x"])["x"]
        wanted = math.sqrt(sum(float((v**2).sum()) for v in matrices.values()))
        assert geometry([d])[0][0] == pytest.approx(wanted, rel=1e-12)


def test_weight_and_no_normalisation(zoo: Zoo) -> None:
    w = arrays(zoo)
    raw, scaled = (
        random_directions(w, group_table(zoo, s), s, 0, ["x"])["x"]
        for s in (RandomDirections(kind="random", normalise=n) for n in ("none", "weight"))  # type: ignore[arg-type]
    )
    np.testing.assert_array_equal(scaled["conv.weight"], raw["conv.weight"] * w["conv.weight"])
    assert abs(raw["embedding.weight"].std() - 1) < 0.5


def test_directions_are_pinned_across_machines_and_plans(zoo: Zoo) -> None:
    spec = RandomDirections(kind="random", normalise="none")
    w, groups = arrays(zoo), group_table(zoo, spec)
    one = random_directions(w, groups, spec, 2, ["x"])
    more = random_directions(w, groups, spec, 2, ["y", "x", "z"])
    for name in w:
        np.testing.assert_array_equal(one["x"][name], more["x"][name])
    assert not np.allclose(more["x"]["conv.weight"], more["y"]["conv.weight"])
    assert not np.allclose(one["x"]["conv.weight"], random_directions(w, groups, spec, 1, ["x"])["x"]["conv.weight"])
    # Numbers of another machine and day: NumPy promises PCG64's stream, and keys must not drift.
    np.testing.assert_allclose(one["x"]["linear.weight"][0], GOLDEN, rtol=1e-12)


GOLDEN = [-1.5176638384040761, -0.6059544628319083, 0.9100969550185265, -0.6784411290265395, 0.9141345958560951]


def test_orthogonal_is_exact_only_before_normalising(zoo: Zoo) -> None:
    w = arrays(zoo)
    cosines = {}
    for normalise in ("none", "filter"):
        for orthogonal in (True, False):
            spec = RandomDirections(kind="random", normalise=normalise, orthogonal=orthogonal)  # type: ignore[arg-type]
            d = random_directions(w, group_table(zoo, spec), spec, 0, ["x", "y", "z"])
            c = geometry(list(d.values()))[1]
            cosines[normalise, orthogonal] = np.abs(c - np.eye(3)).max()
    assert cosines["none", True] < 1e-14
    assert cosines["none", False] > 1e-3
    assert cosines["filter", True] > 1e-6  # said in the docs: normalising undoes it in part


def test_rules_and_table(zoo: Zoo) -> None:
    rules = {"position": GroupRule(dimension=1), "embedding.*": GroupRule(policy="zero"), "scale": GroupRule()}
    spec = RandomDirections(kind="random", rules=rules)
    groups = {g.name: g for g in group_table(zoo, spec)}
    assert groups["position"].count == 9
    d = random_directions(arrays(zoo), list(groups.values()), spec, 0, ["x"])["x"]
    assert not d["embedding.weight"].any()
    for i in range(9):
        wanted = np.linalg.norm(zoo.position.detach().numpy()[0, i])
        assert np.linalg.norm(d["position"][:, i]) == pytest.approx(wanted)
    plain = RandomDirections(kind="random")
    table = direction_table("zoo", group_table(zoo, plain), plain)
    unusual = [line for line in table.lines if line[-1]]
    assert [line[0] for line in unusual] == ["position", "up.weight", "up_grouped.weight", "embedding.weight"]
    assert unusual[1][1:5] == ("3x4x2x2", "normalise", "dim 1", 4)
    assert "normalise filter" in table.caption
    with pytest.raises(SpecError, match=r"'heads\.\*' fits no parameter"):
        group_table(zoo, RandomDirections(kind="random", rules={"heads.*": GroupRule()}))
    with pytest.raises(SpecError, match="has no dimension 3"):
        group_table(zoo, RandomDirections(kind="random", rules={"linear.weight": GroupRule(dimension=3)}))


def test_frozen_parameters_stay_unless_a_rule_names_them(zoo: Zoo) -> None:
    for p in (zoo.linear.weight, zoo.norm.weight, zoo.scale):
        p.requires_grad_(False)
    for rules, moving in (({}, False), ({"linear.*": {"policy": "raw"}}, True)):
        spec = RandomDirections.model_validate({"kind": "random", "one_dimensional": "raw", "rules": rules})
        found = random_directions(arrays(zoo), group_table(zoo, spec), spec, 0, ["x"])["x"]
        assert bool(found["linear.weight"].any()) == moving
        assert not found["norm.weight"].any() and not found["scale"].any()
        assert found["norm.bias"].any() and found["conv.weight"].any()


def test_filter_normalised_curvature_identity() -> None:
    """E[d'Hd] = sum over groups of |w_g|^2 / n_g * tr(H_gg), for a full random H; five standard errors."""
    random = np.random.default_rng(4)
    layer = nn.Linear(6, 4, bias=False)
    w = {"weight": random.standard_normal((4, 6))}
    root = random.standard_normal((24, 24))
    hessian = root @ root.T
    trace = np.diag(hessian).reshape(4, 6).sum(1)
    wanted = float(((w["weight"] ** 2).sum(1) / 6 * trace).sum())
    spec = RandomDirections(kind="random")
    groups = group_table(layer, spec)
    draws = [random_directions(w, groups, spec, i, ["x"])["x"]["weight"].ravel() for i in range(3000)]
    curvatures = np.array([d @ hessian @ d for d in draws])
    error = curvatures.std(ddof=1) / math.sqrt(len(curvatures))
    assert error < 0.02 * wanted
    assert abs(curvatures.mean() - wanted) < 5 * error


def test_interpolation_leads_from_start_to_end() -> None:
    a, b = {"w": np.array([1.0, 2.0], np.float32)}, {"w": np.array([4.0, 0.0], np.float32)}
    np.testing.assert_array_equal(interpolate(a, b)["w"], [3, -2])
    with pytest.raises(SpecError, match="differ in shape or name of v, w"):
        interpolate({"v": a["w"], "w": a["w"]}, {"w": np.zeros(3)})


def test_geometry_of_known_vectors() -> None:
    d = [{"a": np.array([3.0, 0.0]), "b": np.array([4.0])}, {"a": np.array([0.0, 1.0]), "b": np.array([1.0])}]
    norms, cosines = geometry([*d, {"a": np.zeros(2), "b": np.zeros(1)}])
    np.testing.assert_allclose(norms, [5, math.sqrt(2), 0])
    assert cosines[0, 1] == pytest.approx(4 / (5 * math.sqrt(2)))
    assert np.isnan(cosines[0, 2])
