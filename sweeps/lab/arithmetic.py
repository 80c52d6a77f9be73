"""In which arithmetic a network is computed: float32 as it is, or in parts with fewer bits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from landsweep.orchestrator.errors import SpecError

__all__ = ["Precision", "arithmetic", "backward_arithmetic", "check_precision", "wide"]

Precision: TypeAlias = Literal["float32", "tf32", "bf16", "fp16"]
_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@contextmanager
def arithmetic(precision: Precision, device: torch.device) -> Iterator[None]:
    """While this lasts, products and convolutions are computed so; weights stay as they are.

    Args:
        precision: `float32`; `tf32`: inputs of products have 10 bits of mantissa, on a GPU, elsewhere as float32;
            `bf16` and `fp16`: by torch's autocast.
        device: that computes.
    """
    if precision == "tf32" and device.type == "cuda":
        before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
        try:
            yield
        finally:
            torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before
    elif precision in _TYPES:
        with torch.autocast(device.type, _TYPES[precision]):
            yield
    else:
        yield


def backward_arithmetic(precision: Precision, device: torch.device) -> AbstractContextManager[None]:
    """The same around a backward pass: torch notes for it what autocast did, but not in how many bits products were."""
    return arithmetic("tf32" if precision == "tf32" else "float32", device)


def wide(numbers: Tensor) -> Tensor:
    """The same numbers in a type in which losses and steps can be computed: at least float32, which NumPy knows too."""
    return numbers.float() if numbers.dtype in (torch.bfloat16, torch.float16) else numbers


def check_precision(precision: Precision, device: str) -> None:
    """Refuse what a device does not compute in its own circuits.

    Raises:
        SpecError: so it is; says what is possible.
    """
    if precision != "bf16" or torch.device(device).type != "cuda":
        return
    if not torch.cuda.is_bf16_supported(including_emulation=False):
        name = torch.cuda.get_device_name(torch.device(device))
        raise SpecError(f"precision: {name} does not compute in bf16; take fp16, or float32")
