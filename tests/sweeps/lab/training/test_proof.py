"""Back-ends that would compute another function: passed over where they were chosen, refused where they were pinned."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook

from landsweep import Zoo
from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.kind import Workbench
from landsweep.orchestrator.run.start import run_sweep
from landsweep.orchestrator.site import Site
from landsweep.orchestrator.testing.kind_suite import QuietWatch
from landsweep.sweeps.lab.data import Data, Split
from landsweep.sweeps.lab.training import Evaluated, choose, proof, train_pack
from landsweep.sweeps.lab.training.backends import BACKENDS, Bmm, Vmap
from landsweep.sweeps.lab.training.dropout import MaskedDropout, with_masks
from landsweep.sweeps.lab.training.samples import Samples
from landsweep.sweeps.lab.training_units.calibration import Choices, calibrated
from landsweep.sweeps.lab.training_units.session import check_recipes
from landsweep.sweeps.zoo.kind import ZooKind, ZooSpec
from tests.support.traps import Scaled, Shortcut
from tests.sweeps.lab.training.cases import digits, distance, ends, finals, recipe, run

HERE = "tests.sweeps.lab.training.test_proof"


def own(function: str, **args: Any) -> dict[str, Any]:
    return {"net": "own", "build": f"{HERE}:{function}", "args": args}


@pytest.fixture(scope="module")
def data() -> Data:
    return digits()


def ten_times(kind: str = "subclass") -> nn.Module:
    layers: dict[str, nn.Module] = {
        "subclass": Scaled(64, 12),
        "plain": nn.Linear(64, 12),
        "hook": nn.Linear(64, 12),
        "shortcut": nn.Sequential(nn.Linear(64, 12), Shortcut(nn.Linear(12, 12))),
    }
    layer = layers[kind]
    if kind == "hook":
        layer.register_forward_hook(lambda module, given, out: 10 * out)
    return nn.Sequential(nn.Flatten(), layer, nn.ReLU(), nn.Linear(12, 10))


@pytest.mark.parametrize("kind", ["subclass", "hook", "shortcut"])
def test_what_only_looks_like_a_perceptron_is_not_read_as_one(kind: str, data: Data) -> None:
    recipes = [recipe(s, net=own("ten_times", kind=kind), steps=3) for s in range(4)]
    found, wanted = run(recipes, data, "auto"), run(recipes, data, "loop")
    assert train_pack(recipes, data).backend != "bmm"
    for i in range(4):
        assert ends(found)[i].metrics["test_loss"] == pytest.approx(ends(wanted)[i].metrics["test_loss"], rel=1e-5)
    with pytest.raises(SpecError, match=r"the back-end bmm can't train this network: .*; use auto, vmap or loop"):
        train_pack(recipes, data, backend="bmm")


class OverTheBatch(nn.Module):
    """Something that a sample's output owes to the other samples of its batch, or to a draw of the batch."""

    def __init__(self, habit: str) -> None:
        super().__init__()
        self.habit, self.out = habit, nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        if self.habit == "centred":
            x = x - x.mean(0)
        elif self.habit == "sorted":
            x = x + 0.1 * x.sort(0).values
        elif self.habit == "draws" and self.training:
            x = x * (torch.rand(len(x), 1) < 0.5)
        y: Tensor = self.out(x)
        return y


@pytest.mark.parametrize("habit", ["centred", "sorted", "draws"])
def test_a_batch_in_parts_must_be_the_batch(habit: str, data: Data) -> None:
    """No layer tells that these networks look at a batch as a whole, so that parts of it have other gradients."""
    net = own("OverTheBatch", habit=habit)
    run([recipe(net=net, steps=2)], data, "loop")
    parts = recipe(net=net, steps=2, micro_batch=5)
    with pytest.raises(SpecError, match=r"differs, with micro_batch 5, from that of the network itself"):
        train_pack([parts], data, backend="loop")
    with pytest.raises(SpecError, match="micro_batch 5"):
        check_recipes([parts], ("train", "test"), "auto", Workbench("cpu", 1, Path()))


@pytest.mark.parametrize("backend", ["loop", "vmap"])
def test_an_own_network_may_train_in_parts(backend: str, data: Data) -> None:
    nets = own("OverTheBatch", habit="none")
    weights = [finals(run([recipe(net=nets, steps=3, **part)], data, backend))[0] for part in ({}, {"micro_batch": 5})]
    assert distance(*weights) < 1e-5


def test_hooks_on_all_modules_are_seen(data: Data) -> None:
    module = with_masks(recipe().net.build(data.shape, data.outputs, 0))
    assert Bmm.serves(module) is None
    handle = register_module_forward_hook(lambda m, given, out: None)
    try:
        assert "hooks on all modules" in str(Bmm.serves(module))
    finally:
        handle.remove()


ODD: dict[str, tuple[nn.Module, str]] = {
    "eps": (nn.LayerNorm(12, elementwise_affine=False), "has no weight and bias"),
    "flatten": (nn.Flatten(0), "flattens other axes"),
    "extra": (nn.Sequential(nn.Linear(12, 12)), "a parameter of its own"),
    "dropout": (type("Noise", (nn.Dropout,), {})(0.5), "no rule for Noise"),
}


@pytest.mark.parametrize("name", ODD)
def test_layers_that_are_not_what_they_seem_are_not_served(name: str) -> None:
    layer, reason = ODD[name]
    if name == "extra":
        layer.register_parameter("scale", nn.Parameter(torch.ones(1)))
    module = with_masks(nn.Sequential(nn.Flatten(), nn.Linear(64, 12), layer))
    assert reason in str(Bmm.serves(module))


@pytest.fixture
def wrong_relu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A back-end with a wrong formula: the proof has to find what no reading can."""
    from landsweep.sweeps.lab.training import calibrate
    from landsweep.sweeps.lab.training.backends.rules import RULES

    monkeypatch.setattr(proof, "_VERDICTS", {})
    monkeypatch.setattr(proof, "_EXACT", {})
    monkeypatch.setattr(calibrate, "_CHOICES", {})
    rule = RULES[nn.ReLU]

    def leaky(layer: nn.Module, x: Tensor, alone: bool) -> Any:
        y, pullback = rule(layer, x, alone)
        return y, lambda d: pullback(d) * (1 + 1e-5)

    monkeypatch.setitem(RULES, nn.ReLU, leaky)


def test_a_wrong_formula_is_passed_over_and_said(wrong_relu: None, data: Data, tmp_path: Path) -> None:
    """Off by 1e-5: below what float32 can show, and above what double precision allows."""
    choice = choose(recipe(), data)
    assert choice.backend != "bmm"
    assert choice.note.startswith("not bmm: the gradient of hidden.0.linear.") and "by 1e-05" in choice.note
    with pytest.raises(SpecError, match=r"bmm can't train this network: the gradient of hidden\.0\.linear"):
        train_pack([recipe()], data, backend="bmm")
    with pytest.raises(SpecError, match=r"bmm can't train this network: the gradient of hidden\.0\.linear"):
        check_recipes([recipe()], ["train", "test"], "bmm", Workbench())
    arrays = calibrated("auto", recipe(), Workbench())
    key = recipe().pack_key()
    kept = Choices("auto", {f"pack-{key}": arrays}, Workbench()).of(recipe(), data, key)
    assert kept.note == choice.note and kept.backend == choice.backend


def test_rows_and_screen_say_why_a_backend_was_passed_over(wrong_relu: None, tmp_path: Path) -> None:
    example = ZooKind().example().model_dump(mode="json", by_alias=True)
    spec = ZooSpec.model_validate({**example, "backend": "auto", "axes": {"optimizer.learning_rate": [0.1]}})
    watch = QuietWatch()
    run_sweep(ZooKind(), spec, Site(executor="local"), tmp_path, folder=Path.cwd(), watch=watch)
    assert any("trains it, not bmm: the gradient of hidden.0.linear" in line for line in watch.said), watch.said
    rows = Zoo(tmp_path).rows
    assert set(rows["backend"]) <= {"vmap", "loop"}
    assert rows["backend_note"].str.startswith("not bmm: the gradient of hidden.0").all()


def test_only_the_samples_of_two_batches_are_copied(data: Data) -> None:
    """Data of gigabytes would not survive a copy in double precision."""
    few, batches = proof._small(recipe(augment={"shift": 1}, train_fraction=0.5, label_noise=0.2), data)
    assert len(batches.splits["train"]) == 64
    assert few.train_fraction == 1 and few.augment is None and not few.label_noise
    known = {tuple(row.flatten().tolist()) for row in data.splits["train"].inputs}
    plain = proof._small(recipe(), data)[1].splits["train"]
    assert {tuple(row.flatten().tolist()) for row in plain.inputs} <= known


@pytest.mark.parametrize("backend", ["vmap", "bmm"])
def test_exact_rows_are_claimed_where_they_were_tried_out(
    backend: str, data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proof, "_EXACT", {})
    assert proof.exact_rows(BACKENDS[backend], recipe(), data, "cpu", Path())
    monkeypatch.setattr(proof, "_EXACT", {})
    wise = BACKENDS[backend].gradients

    def by_number(self: Vmap, inputs: Tensor, targets: Tensor, masks: Mapping[str, Tensor], out: Tensor) -> Tensor:
        losses = wise(self, inputs, targets, masks, out)
        out *= 1 + len(inputs) * 2**-20
        return losses

    monkeypatch.setattr(BACKENDS[backend], "gradients", by_number)
    assert not proof.exact_rows(BACKENDS[backend], recipe(), data, "cpu", Path())


@pytest.mark.usefixtures("torch_threads")
@pytest.mark.parametrize("threads", [2, 1])
def test_exact_rows_are_claimed_for_one_thread_only(threads: int, data: Data) -> None:
    torch.set_num_threads(threads)
    assert proof.exact_rows(BACKENDS["bmm"], recipe(), data, "cpu", Path()) == (threads == 1)


@pytest.mark.parametrize("kind", ["hook", "subclass"])
def test_exact_rows_are_not_claimed_for_what_is_not_read(kind: str) -> None:
    assert not Vmap.exact_rows(ten_times(kind)) and Vmap.exact_rows(ten_times("plain"))


def part_frozen(what: str = "weight") -> nn.Module:
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.ReLU(), nn.Linear(12, 12), nn.ReLU(), nn.Linear(12, 10))
    chosen = [module[1].weight] if what == "weight" else list(module[1].parameters())
    for p in chosen if what != "all" else module.parameters():
        p.requires_grad_(False)
    return module


METHODS: list[dict[str, Any]] = [
    {"method": "sgd", "learning_rate": 0.1, "momentum": 0.9, "weight_decay": 0.1},
    {"method": "adamw", "learning_rate": 0.01, "weight_decay": 0.5},
    {"method": "sam", "learning_rate": 0.1, "rho": 0.5, "weight_decay": 0.1},
    {"method": "muon", "learning_rate": 0.02, "weight_decay": 0.1},
    {"method": "prodigy", "first": 1e-3, "weight_decay": 0.1},
    {"method": "class", "name": "torch.optim:SGD", "learning_rate": 0.1, "weight_decay": 0.1},
]


@pytest.mark.parametrize("method", METHODS, ids=lambda m: str(m["method"]))
@pytest.mark.parametrize("what", ["weight", "layer"])
def test_frozen_weights_stay_in_every_backend(method: dict[str, Any], what: str, data: Data) -> None:
    more = {"clip": 0.5, "averaging": {"average": "exponential", "decay": 0.9}, "checkpoints": {"at_steps": [0]}}
    recipes = [recipe(s, net=own("part_frozen", what=what), optimizer=method, steps=4, **more) for s in range(2)]
    backends = ["loop"] if method["method"] == "class" else ["loop", "vmap", "bmm"]
    first = None
    for backend in backends:
        events = run(recipes, data, backend)
        start = {e.index: e.state for e in events if getattr(e, "label", "") == "step-000000"}
        last = finals(events)
        first = first or last
        for i in range(2):
            assert torch.equal(start[i]["1.weight"], last[i]["1.weight"])
            assert torch.equal(start[i]["1.bias"], last[i]["1.bias"]) == (what == "layer")
            assert not torch.equal(start[i]["5.weight"], last[i]["5.weight"])
            assert distance(last[i], first[i]) < 1e-5


def test_a_network_without_weights_to_train_is_refused(data: Data) -> None:
    with pytest.raises(SpecError, match="depends on no parameter that trains"):
        train_pack([recipe(net=own("part_frozen", what="all"))], data, backend="loop")


def strange(kind: str) -> nn.Module:
    if kind == "lazy":
        return nn.Sequential(nn.Flatten(), nn.LazyLinear(10))
    if kind == "same":
        return _ONE
    if kind == "accumulates":
        module = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
        module[1].weight.register_post_accumulate_grad_hook(lambda p: None)
        return module
    if kind == "writes":
        return nn.Sequential(nn.Flatten(), nn.ReLU(inplace=True), nn.Linear(64, 10))
    if kind == "dropout twice":
        drop = nn.Dropout(0.5)
        return nn.Sequential(nn.Flatten(), drop, nn.Linear(64, 10), drop)
    if kind == "one memory":
        module = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, 10))
        module[2].weight = nn.Parameter(module[1].weight.data)
        return module
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10), Wandering(kind))


_ONE = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


class Wandering(nn.Module):
    """Draws random numbers, or uses a parameter now and then."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.calls = kind, 0
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "draws in evaluation":
            return self.scale * x + torch.randn_like(x)
        if self.kind == "numpy" and self.training:
            return self.scale * x * float(np.random.rand())  # noqa: NPY002
        if self.kind == "draws" and self.training:
            return self.scale * (x + torch.randn_like(x))
        self.calls += self.training
        if self.kind == "counts":
            return self.scale * x * self.calls
        return self.scale * x if self.kind != "now and then" or self.calls < 3 else x


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("lazy", "1.weight has no shape yet"),
        ("same", "gave the same module twice"),
        ("writes", "writes into its inputs"),
        ("dropout twice", "dropout layer 1 is used more than once"),
        ("one memory", "1.weight and 2.weight are two tensors in one memory"),
        ("draws in evaluation", "draws random numbers when it is evaluated"),
        ("accumulates", "a hook that runs after its gradient is accumulated"),
        ("now and then", "depends on 2.scale in some steps only"),
    ],
)
def test_networks_that_can_not_be_trained_rightly_are_refused(kind: str, said: str, data: Data) -> None:
    before = data.splits["train"].inputs.clone()
    for backend in ("auto", "loop"):
        with pytest.raises(SpecError, match=said):
            run([recipe(s, net=own("strange", kind=kind), steps=6) for s in range(2)], data, backend)
    assert torch.equal(before, data.splits["train"].inputs)


@pytest.mark.parametrize("kind", ["draws", "numpy"])
def test_random_numbers_of_a_network_come_from_the_seed(kind: str, data: Data) -> None:
    recipes = [recipe(s, net=own("strange", kind=kind), steps=6) for s in range(3)]
    state = torch.get_rng_state()
    together = finals(run(recipes, data, "auto"))
    torch.manual_seed(17)
    alone = finals(run(recipes[2:], data, "loop"))
    torch.set_rng_state(state)
    assert distance(together[2], alone[0]) == 0
    still = finals(run([recipe(2, net=own("strange", kind="draws not"), steps=6)], data, "loop"))
    assert distance(still[0], alone[0]) > 1e-3
    with pytest.raises(SpecError, match="vmap can't train this network: it draws random numbers"):
        train_pack(recipes, data, backend="vmap")


@pytest.mark.parametrize(("layer", "ndim"), [(nn.Dropout1d, 3), (nn.Dropout2d, 4), (nn.Dropout3d, 5), (nn.Dropout, 4)])
def test_channels_drop_as_a_whole_where_torch_drops_them(layer: type[nn.Module], ndim: int) -> None:
    x = torch.ones(6, 5, *[3] * (ndim - 2))
    torch.manual_seed(0)
    kept = (layer(0.5)(x) > 0).flatten(2)
    whole = bool((kept.all(2) | ~kept.any(2)).all())
    site = with_masks(nn.Sequential(layer(0.5)))[0]
    assert isinstance(site, MaskedDropout)
    site(x)
    assert (math.prod(site.shapes[0]) == 30) == whole == (layer is not nn.Dropout)


BASE: dict[str, Any] = {
    "net": {"net": "mlp", "hidden": [3], "activation": "tanh"},
    "dtype": "float64",
    "batch_size": 8,
    "steps": 2,
}


def test_a_network_that_counts_its_calls_trains_alike_at_every_place(data: Data) -> None:
    recipes = [recipe(s, net=own("strange", kind="counts"), steps=4) for s in (0, 1, 1, 0)]
    found = finals(run(recipes, data, "loop"))
    assert distance(found[0], found[3]) == distance(found[1], found[2]) == 0


def test_a_layer_whose_class_was_changed_is_found(data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    """No reading sees that: its type is torch's own."""
    net = {"net": "mlp", "hidden": [11], "activation": "silu"}
    monkeypatch.setattr(nn.SiLU, "forward", lambda self, x: 3 * F.silu(x))
    with pytest.raises(SpecError, match="bmm can't train this network: the output differs"):
        train_pack([recipe(net=net)], data, backend="bmm")
    assert train_pack([recipe(s, net=net) for s in range(4)], data).backend != "bmm"


def chosen(fields: dict[str, Any], data: Data, backend: str) -> list[dict[str, float]]:
    probe = {"probe": "sharpness", "products": 60, "tolerance": 1e-10}
    evaluate = {"splits": ["train"], "probes": [probe, {"probe": "logits"}]}
    recipes = [recipe(s, evaluate=evaluate, **BASE, **fields) for s in range(2)]
    events = train_pack(recipes, data, backend=backend)
    return [dict(e.metrics) for e in events if isinstance(e, Evaluated)]


@pytest.mark.parametrize("fields", [{}, {"label_noise": 0.3}])
@pytest.mark.parametrize("backend", ["loop", "vmap"])
def test_probes_look_at_the_samples_that_a_model_trains_on(fields: dict[str, Any], backend: str, data: Data) -> None:
    """A model of a share sees what a model of just those samples sees."""
    split = data.splits["train"]
    small = Data.of({"train": Split(split.inputs[:120], split.targets[:120]), "test": data.splits["test"]})
    share = {**fields, "train_fraction": 0.25, "drop_last": True}
    found = chosen(share, small, backend)
    everything = chosen({**fields, "drop_last": True}, small, backend)
    for s in range(2):
        samples = Samples([recipe(s, **share, batch_size=8, dtype="float64")], small)
        assert samples.member is not None
        mine = samples.member[0]
        targets = samples.targets[0] if samples.noisy else samples.targets
        sigma = curvature(trained(s, share, small, backend), split.inputs[:120][mine].double(), targets[mine])
        assert found[s]["sharpness"] == pytest.approx(sigma, rel=1e-5)
        assert found[s]["sharpness"] != pytest.approx(everything[s]["sharpness"], rel=1e-2)


def trained(seed: int, fields: dict[str, Any], data: Data, backend: str) -> nn.Module:
    recipes = [recipe(s, **BASE, **fields) for s in range(2)]
    module = recipes[seed].net.build(data.shape, data.outputs, 0).double().eval()
    module.load_state_dict(dict(finals(run(recipes, data, backend))[seed]))
    return module


def curvature(module: nn.Module, x: Tensor, y: Tensor) -> float:
    """Largest eigenvalue of the dense Hessian, by autograd over the module."""
    leaves = list(module.parameters())
    loss = F.cross_entropy(module(x), y)
    grads = torch.autograd.grad(loss, leaves, create_graph=True)
    size = sum(p.numel() for p in leaves)

    def product(v: Tensor) -> Tensor:
        dot = sum(
            (g.flatten() * part).sum()
            for g, part in zip(grads, torch.split(v, [p.numel() for p in leaves]), strict=True)
        )
        return torch.cat([t.flatten() for t in torch.autograd.grad(dot, leaves, retain_graph=True)])

    hessian = torch.stack([product(row) for row in torch.eye(size, dtype=torch.float64)])
    return float(torch.linalg.eigvalsh(hessian)[-1])


def test_a_share_without_samples_among_the_first_is_refused(data: Data) -> None:
    fields = {"train_fraction": 0.05, "evaluate": {"splits": ["train"], "first": 3}}
    with pytest.raises(SpecError, match="has none of its samples among the first 3"):
        run([recipe(s, **fields) for s in range(4)], data, "loop")
