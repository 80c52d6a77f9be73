"""Cross entropy of few classes: torch's own, bit for bit."""

import pytest
import torch
from torch import Tensor, nn

from landsweep.sweeps.lab import few_classes
from landsweep.sweeps.lab.few_classes import cross_entropies

_ODD = [float("inf"), float("-inf"), float("nan"), 1e30, -1e30, 0.0, 1e-40, 88.8, -104.0, 3e38]


def reference(outputs: Tensor, targets: Tensor) -> Tensor:
    losses: Tensor = nn.functional.cross_entropy(outputs, targets, reduction="none")
    return losses


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("classes", [1, 2, 3, 7, 8, 10, 15, 16, 40])
def test_the_bits_are_those_of_torch(dtype: torch.dtype, classes: int) -> None:
    g = torch.Generator().manual_seed(classes)
    for n in (1, 5, 63, 64, 397, 5000):
        for size in (0.01, 1.0, 40.0):
            outputs = size * torch.randn(n, classes, generator=g, dtype=dtype)
            targets = torch.randint(0, classes, (n,), generator=g)
            with torch.inference_mode():
                assert torch.equal(cross_entropies(outputs, targets), reference(outputs, targets))


@pytest.mark.parametrize("classes", [2, 10])
def test_what_is_not_finite_stays_so(classes: int) -> None:
    g = torch.Generator().manual_seed(0)
    outputs = torch.tensor(_ODD)[torch.randint(0, len(_ODD), (3000, classes), generator=g)]
    targets = torch.randint(0, classes, (3000,), generator=g)
    with torch.inference_mode():
        ours, theirs = cross_entropies(outputs, targets), reference(outputs, targets)
    assert torch.equal(ours.nan_to_num(7.5, 8.5, 9.5), theirs.nan_to_num(7.5, 8.5, 9.5))


def test_where_bits_differ_torch_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(few_classes, "_AGREE", {})
    monkeypatch.setattr(few_classes, "_side_by_side", lambda outputs, targets: reference(outputs, targets) + 1e-6)
    outputs, targets = torch.randn(9, 3), torch.arange(9) % 3
    with torch.inference_mode():
        assert torch.equal(cross_entropies(outputs, targets), reference(outputs, targets))
    assert not few_classes._AGREE[3, torch.float32]


def test_gradients_are_torchs() -> None:
    outputs, targets = torch.randn(9, 3, requires_grad=True), torch.arange(9) % 3
    ours, theirs = (torch.autograd.grad(f(outputs, targets).sum(), outputs)[0] for f in (cross_entropies, reference))
    assert torch.equal(ours, theirs)


def test_a_class_that_there_is_not_is_an_error() -> None:
    with torch.inference_mode(), pytest.raises(IndexError, match="out of bounds"):
        cross_entropies(torch.randn(4, 3), torch.tensor([0, 1, 2, 3]))
