"""Batch normalisation folded into the layer before it, against the module itself."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from landsweep.orchestrator.kind import Workbench
from landsweep.sweeps.lab.models import Cnn, Mlp, Net, ResNet, ResNet18
from landsweep.sweeps.lab.weight_space import folding
from landsweep.sweeps.lab.weight_space.folding import FoldedModule, Shortcut, foldable
from landsweep.sweeps.lab.weight_space.row_convolution import row_by_row
from tests.support.landscapes import KIND, landscape_rows, landscape_spec, prepare
from tests.support.pretend import PretendGpu

TRIALS = folding._TRIALS
IMAGES = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def settled(module: nn.Module, seed: int = 0) -> nn.Module:
    """In evaluation mode, with random weights and statistics."""
    generator = torch.Generator().manual_seed(seed)
    for name, t in (*module.named_parameters(), *module.named_buffers()):
        if t.is_floating_point():
            drawn = torch.randn(t.shape, generator=generator, dtype=t.dtype)
            t.data.copy_(drawn.abs() + 0.5 if name.endswith("var") else drawn * 0.3)
    return module.eval()


class Block(nn.Module):
    """A convolution, a normalisation and whatever `use` does with both."""

    def __init__(self, use: Callable[[nn.Module, nn.Module, Tensor], Tensor], **changes: nn.Module) -> None:
        super().__init__()
        self.conv: nn.Module = changes.get("conv", nn.Conv2d(3, 3, 3, padding=1))
        self.norm: nn.Module = changes.get("norm", nn.BatchNorm2d(3))
        self.use = use

    def forward(self, x: Tensor) -> Tensor:
        return self.use(self.conv, self.norm, x)


class Doubled(nn.Conv2d):
    """Looks like a convolution and is none."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


def hooked() -> nn.Module:
    conv = nn.Conv2d(3, 3, 3, padding=1)
    conv.register_forward_hook(lambda module, given, output: output + 1)
    return conv


def shared() -> nn.Module:
    norm = nn.BatchNorm2d(3)
    return nn.Sequential(nn.Conv2d(3, 3, 1), norm, nn.ReLU(), nn.Conv2d(3, 3, 1), norm)


SUITED: dict[str, tuple[Callable[[], nn.Module], Tensor, int]] = {
    "plain": (lambda: Block(lambda conv, norm, x: norm(conv(x)).relu()), IMAGES, 1),
    "no bias": (lambda: Block(lambda conv, norm, x: norm(conv(x)), conv=nn.Conv2d(3, 3, 3, bias=False)), IMAGES, 1),
    "not affine": (lambda: Block(lambda conv, norm, x: norm(conv(x)), norm=nn.BatchNorm2d(3, affine=False)), IMAGES, 1),
    "groups": (lambda: Block(lambda conv, norm, x: norm(conv(x)), conv=nn.Conv2d(3, 3, 3, groups=3)), IMAGES, 1),
    "linear": (lambda: nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.ReLU()), torch.randn(7, 5), 1),
    "one dimension": (lambda: nn.Sequential(nn.Conv1d(2, 4, 3), nn.BatchNorm1d(4)), torch.randn(7, 2, 9), 1),
    "three dimensions": (lambda: nn.Sequential(nn.Conv3d(2, 4, 2), nn.BatchNorm3d(4)), torch.randn(2, 2, 4, 4, 4), 1),
}
UNSUITED: dict[str, Callable[[], nn.Module]] = {
    "normalised first": lambda: Block(lambda conv, norm, x: conv(norm(x))),
    "something between": lambda: Block(lambda conv, norm, x: norm(conv(x).relu())),
    "a subclass": lambda: Block(lambda conv, norm, x: norm(conv(x)), conv=Doubled(3, 3, 3)),
    "a hook": lambda: Block(lambda conv, norm, x: norm(conv(x)), conv=hooked()),
    "a parametrization": lambda: Block(
        lambda conv, norm, x: norm(conv(x)), conv=parametrizations.weight_norm(nn.Conv2d(3, 3, 3))
    ),
    "layer called twice": lambda: Block(lambda conv, norm, x: norm(conv(conv(x)))),
    "norm called twice": shared,
    "batch statistics": lambda: Block(
        lambda conv, norm, x: norm(conv(x)), norm=nn.BatchNorm2d(3, track_running_stats=False)
    ),
}
WRONG: dict[str, Callable[[], nn.Module]] = {  # they look foldable, and only comparing shows that they are not
    "output used twice": lambda: Block(lambda conv, norm, x: norm(y := conv(x)) + y),
    "weight used again": lambda: Block(lambda conv, norm, x: norm(conv(x)) + conv.weight.mean()),
    "statistics used": lambda: Block(lambda conv, norm, x: norm(conv(x)) * conv.bias.mean()),
}


@pytest.mark.parametrize("name", SUITED)
def test_a_folded_module_follows_the_one_that_moves(name: str) -> None:
    make, batch, count = SUITED[name]
    module = settled(make()).double()
    batch = batch.double()
    pairs = foldable(module, batch)
    assert len(pairs) == count
    folded = FoldedModule(module, pairs)
    for seed in range(3):
        settled(module, seed)  # in place
        folded.fold()
        with torch.no_grad():
            torch.testing.assert_close(folded.forward(batch), module(batch), rtol=1e-12, atol=1e-12)


NETS: dict[str, Net] = {
    "mlp": Mlp(net="mlp", hidden=(7, 5), norm="batch"),
    "cnn": Cnn(net="cnn", channels=(4, 6), norm="batch"),
    "resnet": ResNet(net="resnet", depth=8, width=4, norm="batch"),
    "resnet18": ResNet18(net="resnet18", width=2),
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", NETS)
def test_networks_of_the_catalogue(name: str, seed: int) -> None:
    module = settled(NETS[name].build((3, 8, 8), 5, seed=0), seed).double()
    pairs = foldable(module, IMAGES.double())
    norms = [n for n, m in module.named_modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    assert set(pairs) == set(norms)
    folded = FoldedModule(module, pairs)
    folded.fold()
    with torch.no_grad():
        torch.testing.assert_close(folded.forward(IMAGES.double()), module(IMAGES.double()), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["cnn", "resnet", "resnet18", "cnn without norm"])
def test_networks_with_convolutions_by_rows(name: str) -> None:
    net = NETS.get(name, Cnn(net="cnn", channels=(4, 6), norm="none"))
    module = settled(net.build((3, 8, 8), 5, seed=0)).double()
    folded = FoldedModule(module, foldable(module, IMAGES.double()), rows=True)
    folded.fold()
    assert not [m for m in folded._module.modules() if row_by_row(m)], "none is left"
    with torch.no_grad():
        torch.testing.assert_close(folded.forward(IMAGES.double()), module(IMAGES.double()), rtol=1e-9, atol=1e-9)


def counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock by which convolutions of the library take a second each, and nothing else any time."""
    calls = itertools.count()
    now = [0.0]
    plain = nn.Conv2d._conv_forward

    def convolve(*args: Any) -> Tensor:
        now[0] = 1.0 + next(calls)
        return plain(*args)

    monkeypatch.setattr(nn.Conv2d, "_conv_forward", convolve)
    monkeypatch.setattr(folding.time, "process_time", lambda: now[0])


def test_the_fastest_way_is_taken_and_its_difference_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    counted(monkeypatch)
    module = settled(NETS["cnn"].build((3, 8, 8), 5, seed=0))
    shortcut = Shortcut(module, module, IMAGES)
    for passes in range(TRIALS + 2):
        shortcut.move()
        with torch.inference_mode():
            outputs, own = shortcut.forward(IMAGES), module(IMAGES)
        assert torch.equal(outputs, own) is not shortcut.taken
        torch.testing.assert_close(outputs, own, rtol=1e-5, atol=1e-5)
        assert shortcut.taken is (passes >= TRIALS)
        assert (shortcut.difference is None) is not shortcut.taken
    assert shortcut.difference is not None and 0 < shortcut.difference < 1e-5


def test_networks_that_need_their_own_order_of_memory_keep_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """`view` of outputs that lie in another order raises; the network itself goes on."""
    counted(monkeypatch)
    module = settled(Block(lambda conv, norm, x: conv(x).view(len(x), -1)))
    shortcut = Shortcut(module, module, IMAGES)
    for _ in range(TRIALS + 2):
        shortcut.move()
        with torch.inference_mode():
            assert torch.equal(shortcut.forward(IMAGES), module(IMAGES))
        assert not shortcut.taken and shortcut.difference is None


@pytest.mark.parametrize("name", UNSUITED)
def test_what_is_not_foldable_stays_as_it_is(name: str) -> None:
    module = settled(UNSUITED[name]())
    assert foldable(module, IMAGES) == {}
    assert not module.training


@pytest.mark.parametrize("name", WRONG)
def test_a_folded_module_that_differs_is_given_up(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folding.time, "process_time", lambda: 0.0)  # it would be taken, for it is no slower
    module = settled(WRONG[name]())
    assert foldable(module, IMAGES)
    shortcut = Shortcut(module, module, IMAGES)
    for _ in range(TRIALS + 2):
        shortcut.move()
        with torch.inference_mode():
            assert torch.equal(shortcut.forward(IMAGES), module(IMAGES))
        assert not shortcut.taken


def test_on_a_gpu_both_ways_are_timed_to_their_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU computes on when a call has returned: the clock is read when it has done all, until the choice is made."""
    waits: list[object] = []
    module = settled(SUITED["plain"][0]())
    with PretendGpu(), torch.no_grad():
        monkeypatch.setattr(torch.cuda, "synchronize", waits.append)
        monkeypatch.setattr(folding.time, "perf_counter", lambda: 0.0)
        images = IMAGES.to("cuda:0")
        shortcut = Shortcut(module.to("cuda:0"), module, images)
        for _ in range(TRIALS):
            shortcut.move()
            shortcut.forward(images)
        assert len(waits) == 3 + (TRIALS - 1) * (2 + 4)  # of the first trial only the beginnings, and then both ends
        shortcut.move()
        shortcut.forward(images)
        assert shortcut.taken and len(waits) == 3 + (TRIALS - 1) * (2 + 4)
        monkeypatch.undo()


@pytest.mark.parametrize("mode", ["fixed", "reestimate"])
def test_rows_of_a_landscape_agree_to_rounding(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folding.time, "process_time", lambda: 0.0)
    spec = landscape_spec(f"batch_norm={mode}", axes={"x": [-1, -0.5, 0, 0.5, 1], "y": [-1, 0.5]})
    made = prepare(spec)
    exact = landscape_rows(spec, made)
    assert exact["folded"].isna().all(), "without the setting rows are as they were"
    assert exact["shortcut_difference"].isna().all()
    session = KIND.open(spec, made, Workbench(shortcuts=True))
    metrics: list[Any] = [dict(o.metrics) for o in session.evaluate(KIND.planner(spec).ask(100))]
    session.close()
    assert [m["folded"] for m in metrics] == [False] * TRIALS + [True] * (10 - TRIALS)
    assert [m["shortcut_difference"] is None for m in metrics] == [True] * TRIALS + [False] * (10 - TRIALS)
    assert all(m["shortcut_difference"] < 1e-5 for m in metrics[TRIALS:])
    losses = [m["test_loss"] for m in metrics]
    assert losses == pytest.approx(exact["test_loss"].tolist(), rel=1e-5)
    assert losses[:TRIALS] == exact["test_loss"].tolist()[:TRIALS]
