"""Convolutions computed row by row, against torch's own."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from landsweep.sweeps.lab.weight_space.row_convolution import RowConvolution, row_by_row


def any_convolution(source: random.Random) -> tuple[nn.Conv2d, Tensor]:
    """A layer and inputs that it takes, in float64; images may be smaller than the kernel, padding larger than both."""
    kernel = source.randint(1, 5), source.randint(1, 5)
    padding = source.randint(0, 4), source.randint(0, 4)
    height, width = (max(1, k - 2 * p) + source.randint(0, 6) for k, p in zip(kernel, padding, strict=True))
    channels, outputs, n = source.randint(1, 5), source.randint(1, 5), source.randint(1, 6)
    stride = source.randint(1, 3), source.randint(1, 3)
    layer = nn.Conv2d(channels, outputs, kernel, stride, padding, bias=source.random() < 0.5, dtype=torch.float64)
    return layer, torch.randn(n, channels, height, width, dtype=torch.float64)


@pytest.mark.parametrize("seed", range(20))
def test_any_convolution_gives_what_torch_gives(seed: int) -> None:
    source = random.Random(seed)
    with torch.random.fork_rng(), torch.inference_mode():
        torch.manual_seed(seed)
        for _ in range(20):
            layer, images = any_convolution(source)
            assert row_by_row(layer)
            torch.testing.assert_close(RowConvolution(layer)(images), layer(images), rtol=1e-12, atol=1e-12)


ORDERS: dict[str, Callable[[Tensor], Tensor]] = {
    "channels last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "samples last": lambda x: x.permute(2, 1, 3, 0).contiguous().permute(3, 1, 0, 2),
    "rows of larger images": lambda x: (
        torch.cat([x, x], 2).permute(2, 1, 3, 0).contiguous().permute(3, 1, 0, 2)[:, :, 6:]
    ),
    "every second sample": lambda x: x.repeat_interleave(2, 0)[::2],
    "transposed": lambda x: x.transpose(2, 3).contiguous().transpose(2, 3),
}


@pytest.mark.parametrize("order", ORDERS)
def test_inputs_may_lie_in_any_order(order: str) -> None:
    layer, images = nn.Conv2d(3, 4, 3, padding=1).double(), torch.randn(5, 3, 6, 7, dtype=torch.float64)
    with torch.inference_mode():
        given = RowConvolution(layer)(ORDERS[order](images))
        torch.testing.assert_close(given, layer(images), rtol=1e-12, atol=1e-12)


def test_weights_are_shared_with_the_layer() -> None:
    layer, images = nn.Conv2d(2, 3, 3).double(), torch.randn(4, 2, 5, 5, dtype=torch.float64)
    with torch.inference_mode():
        rows = RowConvolution(layer)
        layer.weight.data.mul_(2)
        assert layer.bias is not None
        layer.bias.data.add_(1)
        torch.testing.assert_close(rows(images), layer(images), rtol=1e-12, atol=1e-12)


def test_the_order_is_kept_by_what_follows() -> None:
    """Else each layer would begin with a copy."""
    with torch.inference_mode():
        out = RowConvolution(nn.Conv2d(3, 4, 3, padding=1))(torch.randn(5, 3, 6, 6))
        assert out.permute(2, 1, 3, 0).is_contiguous()
        assert (out.relu() + out).stride() == out.stride()


@pytest.mark.parametrize("shape", [(2, 3, 2, 9), (2, 3, 9, 2), (3, 6, 6), (2, 4, 6, 6)])
def test_inputs_that_do_not_fit_are_refused_as_by_torch(shape: tuple[int, ...]) -> None:
    layer, images = nn.Conv2d(3, 4, 3), torch.randn(shape)
    if images.ndim == 3:
        assert torch.equal(RowConvolution(layer)(images), layer(images)), "one image alone"
        return
    with pytest.raises(RuntimeError) as theirs:
        layer(images)
    with pytest.raises(RuntimeError) as ours:
        RowConvolution(layer)(images)
    assert str(ours.value) == str(theirs.value)


class Doubled(nn.Conv2d):
    """Looks like a convolution and is none."""


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(4, 4, 3, groups=2),
        nn.Conv2d(4, 4, 3, dilation=2),
        nn.Conv2d(4, 4, 3, padding="same"),
        nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular"),
        nn.Conv1d(4, 4, 3),
        nn.ConvTranspose2d(4, 4, 3),
        Doubled(4, 4, 3),
        nn.Conv2d(4, 4, 3, device="meta"),
    ],
    ids=lambda layer: f"{layer}",
)
def test_other_layers_stay_as_they_are(layer: nn.Module) -> None:
    assert not row_by_row(layer)
