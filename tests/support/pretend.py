"""A pretend GPU: tensors that say `cuda:0`, hold real numbers, and complain as CUDA would.

What it sees: tensors of two devices in one operation, generators of the wrong device, Python lists as positions,
`.numpy()` of a tensor on the GPU; and it counts, by the line of this project that asks for it, kernels, waits of the
host for the GPU, and copies. CUDA graphs are in `pretend_graph.py`.
What it can't see: memory, speed, the numerics of CUDA's kernels, compiled code.

    with PretendGpu() as gpu:
        recipe.data.load(folder).to("cuda:0") ...
        gpu.syncs   # "training.py:168" -> how often

How it works: a tensor on the GPU is a subclass whose storage is `meta` and that holds its numbers as a tensor on the
CPU; a dispatch mode takes every operation, checks the devices of its arguments, and computes on the CPU.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_flatten, tree_map

from tests.support.pretend_graph import CaptureError, PretendCudaGraph, PretendStream, Recording

__all__ = ["GPU", "DeviceMistake", "OnGpu", "PretendGpu", "numbers_of"]

GPU = torch.device("cuda:0")
_NAME = "Pretend GPU"

# Operations that give another look at the same memory: no kernel runs.
_VIEWS = re.compile(
    "_?(unsafe_)?view|expand|transpose|permute|slice|select|t|squeeze|unsqueeze|split|split_with_sizes|detach|alias"
    "|as_strided|unbind|_reshape_alias|view_as_real|diagonal|unfold|lift_fresh|narrow|chunk|movedim"
)
# Operations whose result has a size, or is a number, that the host needs: it waits for the GPU.
_WAITING = re.compile(
    "nonzero|masked_select|_unique2|unique_dim|unique_consecutive|_local_scalar_dense|is_nonzero|equal|bincount"
)
# Operations that ask the GPU whether they have succeeded; they do no harm but in a capture.
_ASKING = re.compile("_?linalg_(eigh|qr|svd|inv_ex|solve_ex|cholesky_ex)|geqrf|ormqr|linalg_householder_product")
_PRODUCTS = ("mm", "addmm", "bmm", "baddbmm")
_INDEXING = re.compile("_?index|_?(unsafe_)?index(_put(_impl)?)?_?|_unsafe_index(_put)?")


_SILENT = ("synchronize", "empty_cache", "set_rng_state", "manual_seed", "reset_peak_memory_stats")


class DeviceMistake(RuntimeError):
    """What CUDA would have refused."""


class OnGpu(Tensor):
    """A tensor that says it is on the GPU.

    Attributes:
        held: its numbers, on the CPU.
    """

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> OnGpu:
        with _disable_current_modes():
            meta = torch.empty_strided(held.size(), held.stride(), dtype=held.dtype, device="meta")
            self: Any = Tensor._make_subclass(cls, meta, False, dispatch_device=False)  # type: ignore[attr-defined]
        self.held = held
        return self

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return GPU

    @property
    def is_cuda(self) -> bool:  # type: ignore[override]
        return True

    @property
    def is_meta(self) -> bool:  # type: ignore[override]
        return False

    @property
    def data(self) -> OnGpu:  # type: ignore[override]
        return OnGpu(self.held)

    @data.setter
    def data(self, other: OnGpu) -> None:
        if not isinstance(other, OnGpu):
            raise DeviceMistake("incompatible tensor type: data of a tensor on cuda:0 can't be on the CPU")
        self.held = other.held

    def numpy(self, *args: Any, **options: Any) -> Any:
        raise DeviceMistake("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first")

    def __repr__(self, **options: Any) -> str:  # type: ignore[override]
        return f"OnGpu({self.held!r})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise DeviceMistake(f"{func}: a tensor of a pretend GPU is used after the GPU is gone")


def numbers_of(tensor: Tensor) -> Tensor:
    """A tensor on the CPU with the same numbers, without counting a copy."""
    return tensor.held if isinstance(tensor, OnGpu) else tensor


def _up(value: Any) -> Any:
    return OnGpu(value) if isinstance(value, Tensor) and not isinstance(value, OnGpu) else value


def _down(value: Any) -> Any:
    return value.held if isinstance(value, OnGpu) else value


class PretendGpu(TorchDispatchMode):
    """While this lasts, there is one GPU.

    Attributes:
        kernels: launched, by operation.
        syncs: waits of the host for the GPU, by place; copies to the host are among them.
        uploads: copies of pageable memory to the GPU, by place; the host waits for these too.
        products: of matrices, by whether they may be in TF32.
        recording: of the step that is being captured; None: none is. A replay counts as one kernel.
    """

    def __init__(self) -> None:
        super().__init__()
        self.recording: Recording | None = None
        self._refuses_waits = False
        self.reset()

    def reset(self) -> None:
        """Count from 0."""
        self.kernels: Counter[str] = Counter()
        self.syncs: Counter[str] = Counter()
        self.uploads: Counter[str] = Counter()
        self.products: Counter[bool] = Counter()

    def __enter__(self) -> PretendGpu:
        self._patches = [
            mock.patch.object(Tensor, "tolist", self._tolist(Tensor.tolist)),
            mock.patch.object(torch.cuda, "_lazy_init", lambda *a: None),
            *(mock.patch.object(torch.cuda, name, lambda *a, **k: None) for name in _SILENT),
            mock.patch.object(torch.cuda, "get_rng_state", lambda *a: torch.get_rng_state()),
            mock.patch.object(torch.cuda, "device", lambda *a: nullcontext()),
            mock.patch.object(torch.cuda, "is_available", lambda: True),
            mock.patch.object(torch.cuda, "device_count", lambda: 1),
            mock.patch.object(torch.cuda, "get_device_name", lambda *a: _NAME),
            mock.patch.object(torch.cuda, "max_memory_allocated", lambda *a: 0),
            mock.patch.object(torch.cuda, "CUDAGraph", lambda: PretendCudaGraph(lambda: self._launched("replay"))),
            mock.patch.object(torch.cuda, "get_sync_debug_mode", lambda: 2 if self._refuses_waits else 0),
            mock.patch.object(torch.cuda, "set_sync_debug_mode", self._refuse_waits),
            mock.patch.object(torch.cuda, "graph", lambda graph, **options: graph.captured(self)),
            mock.patch.object(torch.cuda, "Stream", PretendStream),
            mock.patch.object(torch.cuda, "current_stream", lambda *a: PretendStream()),
            mock.patch.object(torch.cuda, "stream", lambda *a: nullcontext()),
            # Subclasses have no version counters in inference mode, and decorators have made theirs long before.
            mock.patch.object(torch.inference_mode, "__enter__", torch.no_grad.__enter__),
            mock.patch.object(torch.inference_mode, "__exit__", torch.no_grad.__exit__),
        ]
        for patch in self._patches:
            patch.start()
        self._lifts = torch._C._only_lift_cpu_tensors()  # `torch.tensor(values, device=...)` comes here as a copy
        torch._C._set_only_lift_cpu_tensors(True)
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        torch._C._set_only_lift_cpu_tensors(self._lifts)
        for patch in reversed(self._patches):
            patch.stop()

    def _tolist(self, plain: Callable[[Tensor], Any]) -> Callable[[Tensor], Any]:
        def tolist(tensor: Tensor) -> Any:
            if isinstance(tensor, OnGpu):
                self._waits()
                return plain(tensor.held)
            return plain(tensor)

        return tolist

    def _launched(self, name: str) -> None:
        if self.recording is None:
            self.kernels[name] += 1

    def _refuse_waits(self, mode: int | str) -> None:
        self._refuses_waits = mode in ("error", 2)

    def _waits(self) -> None:
        if self._refuses_waits:
            raise RuntimeError(f"called a synchronizing CUDA operation\n{_place()}")
        if self.recording is not None:
            raise CaptureError(f"the host waits for the GPU at {_place()}")
        self.syncs[_place()] += 1

    def _uploads(self, copies: int = 1) -> None:
        if copies and self._refuses_waits:
            raise RuntimeError(f"called a synchronizing CUDA operation\n{_place()}")
        if copies and self.recording is not None:
            raise CaptureError(f"memory of the host is copied to the GPU at {_place()}")
        self.uploads[_place()] += copies

    def _run(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Compute on the numbers; while a step is captured, only note what would be."""
        if self.recording is not None:
            return self.recording.run(func, args, kwargs)
        return func(*tree_map(_down, args), **tree_map(_down, kwargs))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.ops.prim.device.default:
            return torch.device("meta")  # what C++ asks for; else it would look for a driver
        name = func._schema.name.split("::")[1]
        ours = any(isinstance(t, OnGpu) for t in tree_flatten((args, kwargs))[0])
        device = torch.device(kwargs["device"]) if kwargs.get("device") is not None else None
        dry = name == "_to_copy" and device is not None and device.type == "meta" and _dry_run()
        if dry and kwargs.get("dtype") in (None, args[0].dtype):
            return func(*tree_map(_down, args), **kwargs)  # for a dry run, which asks for it
        if device is not None and device.type == "meta" and (ours or not _dry_run()):
            device = kwargs["device"] = GPU  # C++ asks for the device that it takes the inputs to be on
        if name == "_to_copy" and device is not None and (ours or device.type == "cuda"):
            return self._moved(func, args, kwargs, device)
        if name == "copy_" and ours:
            return self._copied(func, args, kwargs)
        if not ours and not (device is not None and device.type == "cuda"):
            return func(*args, **kwargs)
        return self._computed(func, name, args, kwargs, device)

    def _computed(self, func: Any, name: str, args: Any, kwargs: Any, device: torch.device | None) -> Any:
        self._check(func, name, args, kwargs)
        if device is not None:
            kwargs["device"] = torch.device("cpu")
        if _WAITING.fullmatch(name) or (_INDEXING.fullmatch(name) and _by_mask(args[1])):
            self._waits()
        if self.recording is not None and _ASKING.fullmatch(name):
            raise CaptureError(f"{name} asks the GPU whether it has succeeded, at {_place()}")
        if name == "_local_scalar_dense":
            return func(args[0].held)
        if not _VIEWS.fullmatch(name):
            self._launched(name)
        if name in _PRODUCTS:
            self.products[torch.backends.cuda.matmul.allow_tf32] += 1
        result = self._run(func, args, kwargs)
        if device is not None and device.type == "cpu":
            return result
        return _as_given(func, args, kwargs, result)

    def _moved(self, func: Any, args: Any, kwargs: Any, device: torch.device) -> Any:
        source = args[0]
        options = {k: v for k, v in kwargs.items() if k != "device"}
        if device.type == "cpu":
            if isinstance(source, OnGpu):
                self._waits()
            return func(_down(source), *args[1:], **options)
        if not isinstance(source, OnGpu):
            self._uploads()
            return _up(func(source, *args[1:], **options))
        self._launched("_to_copy")
        return _up(self._run(func, args, options))

    def _copied(self, func: Any, args: Any, kwargs: Any) -> Any:
        target, source = args[:2]
        if not isinstance(source, OnGpu):
            self._uploads()
        elif not isinstance(target, OnGpu):
            self._waits()
        else:
            self._launched("copy_")
        self._run(func, args, kwargs)
        return target

    def _check(self, func: Any, name: str, args: Any, kwargs: Any) -> None:
        tensors = [t for t in tree_flatten((args, kwargs))[0] if isinstance(t, Tensor)]
        generator = kwargs.get("generator")
        if generator is not None and generator.device.type != "cuda":
            raise DeviceMistake(f"{func}: expected a 'cuda' generator, found '{generator.device.type}', at {_place()}")
        if any(t.device.type == "meta" for t in tensors):  # C++ asks for memory there, and its numbers are lost
            raise DeviceMistake(
                f"{func}: a Python list can't be positions on a pretend GPU; give a tensor, at {_place()}"
            )
        strangers = [t for t in tensors if not isinstance(t, OnGpu) and t.ndim]
        if strangers and _INDEXING.fullmatch(name) and isinstance(args[0], OnGpu):
            self._uploads(len(strangers))  # torch moves positions itself, but no values
            if not name.startswith(("index_put", "_index_put")) or isinstance(args[2], OnGpu) or not args[2].ndim:
                return
        lone = name in ("cat", "stack", "index_select", "gather")  # where not even a number may be elsewhere
        if strangers or (lone and not all(isinstance(t, OnGpu) for t in tensors)):
            raise DeviceMistake(f"{func}: all tensors must be on one device, found cuda:0 and cpu, at {_place()}")


def _by_mask(positions: Any) -> bool:
    return any(isinstance(p, Tensor) and p.dtype in (torch.bool, torch.uint8) for p in positions)


def _as_given(func: Any, args: Any, kwargs: Any, result: Any) -> Any:
    """Results as tensors on the GPU; what was written in place is the very object that was given."""
    written: dict[str, Any] = {}
    given = list(zip(func._schema.arguments, args, strict=False))
    given += [(a, kwargs[a.name]) for a in func._schema.arguments if a.name in kwargs]
    for argument, value in given:
        if argument.alias_info is not None and argument.alias_info.is_write:
            written |= dict.fromkeys(argument.alias_info.after_set, value)

    def back(returned: Any, value: Any) -> Any:
        if returned.alias_info is not None and returned.alias_info.is_write:
            for name in returned.alias_info.after_set:
                if name in written:
                    return written[name]
        return tree_map(_up, value)

    returns = list(func._schema.returns)
    if len(returns) == 1:
        return back(returns[0], result)
    if isinstance(result, tuple | list):
        return tuple(back(r, v) for r, v in zip(returns, result, strict=True))
    return result


def _dry_run() -> bool:
    """Whether somebody really wants tensors without memory: to see shapes, or to count operations."""
    if torch.utils._device.CURRENT_DEVICE is not None:
        return True
    frame = sys._getframe()
    while frame is not None:
        if frame.f_code.co_filename.endswith(("/fit.py", "/flops.py")):
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False


def _place() -> str:
    """The innermost line of this project's code that is running: `training.py:168`."""
    frame = sys._getframe()
    while frame is not None:
        path = frame.f_code.co_filename
        if "/sweeps/" in path and "/tests/" not in path:
            return f"{path.rpartition('/')[2]}:{frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]
    return "elsewhere"
