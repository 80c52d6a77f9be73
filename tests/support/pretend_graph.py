"""CUDA graphs of a pretend GPU: what is captured is a list of operations on fixed memory, and only it is replayed.

As on a GPU, nothing is computed while a step is captured: memory that was there before keeps its numbers, and what the
capture made holds nan until the first replay. A replay runs the same operations on the very same memory; no line of
Python that led to them runs again, so whatever it had computed is frozen. Waits for the GPU, and copies between it and
the host, are refused while a capture lasts, as CUDA refuses them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils._pytree import tree_flatten, tree_map

__all__ = ["CaptureError", "PretendCudaGraph", "PretendStream", "Recording"]


class CaptureError(RuntimeError):
    """What CUDA says where a stream that is captured can't do something."""

    def __init__(self, what: str) -> None:
        super().__init__(f"CUDA error: operation not permitted when stream is capturing\n{what}")


class Recording:
    """Operations in the order in which they were launched, with the memory that they read and write."""

    def __init__(self) -> None:
        self._launches: list[Callable[[], None]] = []
        self._before: dict[int, tuple[torch.UntypedStorage, torch.UntypedStorage]] = {}  # what was there, by address
        self._made: dict[int, Tensor] = {}

    def run(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Note an operation on tensors of the CPU, and give a result of the right shape."""
        args, kwargs = tree_map(_frozen, args), tree_map(_frozen, kwargs)
        for t in _written(func, args, kwargs):
            storage = t.untyped_storage()
            if storage.data_ptr() not in self._made:
                self._before.setdefault(storage.data_ptr(), (storage, storage.clone()))
        given = {_address(t) for t in _tensors((args, kwargs))}
        result = func(*args, **kwargs)
        results = _tensors(result)
        fresh = [_address(t) not in given for t in results]
        self._made |= {_address(t): t for t, is_fresh in zip(results, fresh, strict=True) if is_fresh}
        if any(fresh) or _written(func, args, kwargs):  # else another look at the same memory

            def launch() -> None:
                again = _tensors(func(*args, **kwargs))
                for t, new, is_fresh in zip(results, again, fresh, strict=True):
                    if is_fresh:
                        t.copy_(new)

            self._launches.append(launch)
        return result

    def end(self) -> None:
        """Take back what seeing the shapes has computed."""
        with _disable_current_modes():
            for storage, numbers in self._before.values():
                storage.copy_(numbers)
            for t in self._made.values():
                if t.is_floating_point():
                    t.fill_(torch.nan)

    @torch.no_grad()
    def replay(self) -> None:
        with _disable_current_modes():
            for launch in self._launches:
                launch()


class PretendStream:
    """The one stream there is."""

    def wait_stream(self, other: PretendStream) -> None:
        pass


class PretendCudaGraph:
    """As `torch.cuda.CUDAGraph`; `counts` is told of each replay."""

    def __init__(self, counts: Callable[[], None]) -> None:
        self._counts = counts
        self._recording: Recording | None = None

    def replay(self) -> None:
        assert self._recording is not None, "nothing has been captured"
        self._counts()
        self._recording.replay()

    @contextmanager
    def captured(self, gpu: Any) -> Iterator[None]:
        """While this lasts, operations on the GPU are recorded instead of launched."""
        assert gpu.recording is None, "only one capture at a time"
        recording = gpu.recording = Recording()
        try:
            yield
        except Exception as e:  # the end of such a capture fails too
            raise RuntimeError("CUDA error: operation failed due to a previous error during capture") from e
        else:
            self._recording = recording
        finally:
            gpu.recording = None
            recording.end()


def _tensors(values: Any) -> list[Tensor]:
    return [t for t in tree_flatten(values)[0] if isinstance(t, Tensor)]


def _address(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _frozen(value: Any) -> Any:
    """The numbers of a tensor on the GPU, in their memory; those of the host are part of a launch."""
    if isinstance(value, Tensor):
        held = getattr(value, "held", None)
        return value.clone() if held is None else held
    return value


def _written(func: Any, args: Any, kwargs: Any) -> list[Tensor]:
    """The tensors that an operation writes to."""
    arguments = func._schema.arguments
    pairs = [*zip(arguments, args, strict=False), *((a, kwargs[a.name]) for a in arguments if a.name in kwargs)]
    return [t for a, value in pairs if a.alias_info is not None and a.alias_info.is_write for t in _tensors(value)]
