"""What the user's code may set for all of torch: it counts for the whole process, so for all other models too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, TypeAlias

import torch
from torch import backends
from torch.backends import cuda, cudnn

__all__ = ["settings_kept"]

_Setting: TypeAlias = tuple[Callable[[], Any], Callable[[Any], object]]


def _attribute(owner: ModuleType, name: str) -> _Setting:
    return lambda: getattr(owner, name), lambda value: setattr(owner, name, value)


def _set_device(device: torch.device) -> None:
    torch.set_default_device(None if device.type == "cpu" else device)  # any other slows down each call


_SETTINGS: tuple[_Setting, ...] = (
    (torch.get_default_device, _set_device),
    (torch.get_default_dtype, torch.set_default_dtype),
    (torch.get_num_threads, torch.set_num_threads),
    (torch.is_grad_enabled, torch.set_grad_enabled),
    (torch.is_anomaly_enabled, torch.set_anomaly_enabled),
    (torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode),
    (cuda.flash_sdp_enabled, cuda.enable_flash_sdp),
    (cuda.mem_efficient_sdp_enabled, cuda.enable_mem_efficient_sdp),
    (cuda.math_sdp_enabled, cuda.enable_math_sdp),
    (cuda.cudnn_sdp_enabled, cuda.enable_cudnn_sdp),
    *(_attribute(cudnn, name) for name in ("enabled", "benchmark", "deterministic")),
    *([_attribute(backends, "fp32_precision")] if hasattr(backends, "fp32_precision") else []),  # since torch 2.9
    (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    _attribute(cudnn, "allow_tf32"),
)


@contextmanager
def settings_kept() -> Iterator[None]:
    """At the end torch's settings are what they were; this takes some 10 µs.

    For code that may be the user's: functions that give networks, data and losses, networks, and optimizers.
    """
    before = _all()
    try:
        yield
    finally:
        for (_, put), was, now in zip(_SETTINGS, before, _all(), strict=True):
            if was is not _UNKNOWN and now != was:
                put(was)


_UNKNOWN = object()


def _all() -> list[Any]:
    return [_asked(get) for get, _ in _SETTINGS]


def _asked(get: Callable[[], Any]) -> object:
    try:
        return get()
    except RuntimeError:  # set in torch's new way and in its old way, which it does not answer
        return _UNKNOWN
