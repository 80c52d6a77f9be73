"""Small networks as subjects of measures, and their whole curvature matrices by autograd, without the lab."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn
from torch.autograd.functional import hessian, jacobian
from torch.func import functional_call

from landsweep.sweeps.lab.losses import LOSSES
from landsweep.sweeps.lab.models.gpt import Gpt
from landsweep.sweeps.measure.subject import Samples, StoredModel, Subject

__all__ = ["CASES", "Case", "dense", "flat", "subject", "subjects"]


@dataclass(frozen=True)
class Case:
    """A network, samples and a loss, all small; `build(seed)` gives other weights."""

    build: Callable[[int], nn.Module]
    inputs: Tensor
    targets: Tensor
    loss: str

    def module(self, seed: int = 0) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.build(seed).double().eval()


def _mlp(seed: int) -> nn.Module:
    return nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 3))


def _relu(seed: int) -> nn.Module:
    return nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))


def _cnn(seed: int) -> nn.Module:
    norm = nn.BatchNorm2d(3)
    norm.running_mean = torch.randn(3)
    norm.running_var = torch.rand(3) + 0.5
    return nn.Sequential(nn.Conv2d(1, 3, 3), norm, nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12, 3))


def _gpt(seed: int) -> nn.Module:
    return Gpt(net="gpt", width=4, depth=1, heads=2).build((4,), 5, seed)


def _linear(seed: int) -> nn.Module:
    return nn.Linear(5, 3, bias=False)


def _cases() -> dict[str, Case]:
    g = torch.Generator().manual_seed(5)
    x = torch.randn(23, 5, generator=g, dtype=torch.float64)
    images = torch.randn(17, 1, 6, 6, generator=g, dtype=torch.float64)
    classes = torch.randint(0, 3, (23,), generator=g)
    values = torch.randn(23, 3, generator=g, dtype=torch.float64)
    tokens = torch.randint(0, 5, (11, 5), generator=g)
    return {
        "mlp": Case(_mlp, x, classes, "cross_entropy"),
        "mlp_mse": Case(_mlp, x, values, "mse"),
        "relu": Case(_relu, x, classes, "cross_entropy"),
        "cnn_batch_norm": Case(_cnn, images, classes[:17], "cross_entropy"),
        "gpt": Case(_gpt, tokens[:, :4], tokens[:, 1:], "cross_entropy"),
        "linear": Case(_linear, x, values, "mse"),
        "softmax": Case(_linear, x, classes, "cross_entropy"),
    }


CASES = _cases()


def flat(module: nn.Module) -> Tensor:
    """All parameters in a row, [P]."""
    return torch.cat([p.detach().flatten() for p in module.parameters()])


def dense(case: Case, module: nn.Module, matrix: str = "hessian") -> Tensor:
    """The whole matrix [P, P] of the mean loss over all samples.

    `fisher` is that of labels drawn from the model: its mean is taken over all labels, for classification only.
    """
    shapes = {n: p.shape for n, p in module.named_parameters()}
    sizes = [p.numel() for p in module.parameters()]

    def outputs(w: Tensor) -> Tensor:
        parts = zip(shapes.items(), torch.split(w, sizes), strict=True)
        return functional_call(module, {n: part.view(s) for (n, s), part in parts}, (case.inputs,))

    def losses(outputs: Tensor) -> Tensor:
        return LOSSES[case.loss](outputs, case.targets)

    w, n = flat(module), len(case.targets)
    if matrix == "hessian":
        return hessian(lambda w: losses(outputs(w)).mean(), w, vectorize=True)
    if matrix == "empirical_fisher":
        each = jacobian(lambda w: losses(outputs(w)), w, vectorize=True)
        return each.T @ each / n
    slopes = jacobian(outputs, w, vectorize=True).flatten(0, -2)
    if matrix == "ggn":
        out = outputs(w)
        middle = hessian(lambda o: losses(o.view(out.shape)).mean(), out.flatten(), vectorize=True)
        return slopes.T @ middle @ slopes
    assert matrix == "fisher"
    out = outputs(w)
    total = torch.zeros(len(w), len(w), dtype=w.dtype)
    for label in range(out.shape[1]):
        labels = torch.full((n,), label)
        each = jacobian(lambda w, y=labels: F.cross_entropy(outputs(w), y, reduction="none"), w, vectorize=True)
        total += each.T @ (out.softmax(1)[:, label, None] * each) / n
    return total


def subject(case: Case, module: nn.Module, seed: int = 0, batch_size: int = 10) -> Subject:
    """A module as the subject of a measure, on all samples of the case as the evaluator `train`."""
    inputs = case.inputs.to(flat(module)) if case.inputs.is_floating_point() else case.inputs
    targets = case.targets.to(flat(module)) if case.targets.is_floating_point() else case.targets
    samples = Samples("train", inputs, targets, LOSSES[case.loss], batch_size)
    model = StoredModel(f"model{seed}", "last", None, {}, module.state_dict(), lambda: copy.deepcopy(module))
    return Subject((model,), {"train": samples}, (), seed)


def subjects(case: Case, count: int, dtype: torch.dtype = torch.float64) -> list[Subject]:
    """Models with other weights each."""
    return [subject(case, case.module(seed).to(dtype), seed) for seed in range(count)]
