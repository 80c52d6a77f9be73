"""What the engine knows of accelerators. It imports no torch: it asks the one that the process has loaded, if any."""

from __future__ import annotations

import gc
import importlib
import re
import sys
from collections.abc import Iterator

from landsweep.orchestrator.errors import SpecError

__all__ = ["check_devices", "device_failure", "free_memory", "of_the_machine", "out_of_memory"]

_MOST_LINKS = 100  # errors that led to an error, one after the other
_NO_MEMORY = re.compile(r"\b(CUDA|HIP)( driver)? error: out of memory|STATUS_ALLOC_FAILED", re.IGNORECASE)
_FAILED = re.compile(
    r"\b(CUDA|HIP)( driver)? error\b|device-side assert|illegal memory access|uncorrectable ECC"
    r"|\b(CUDNN|CUBLAS|CUBLASLT|CUSOLVER|CUFFT|CUSPARSE|MIOPEN|HIPBLAS)_STATUS_"
    r"(EXECUTION_FAILED|INTERNAL_ERROR|NOT_INITIALIZED|MAPPING_ERROR)",
    re.IGNORECASE,
)
# Of the errors of a call, those after which the device computes on: the call itself was wrong.
_HARMLESS = re.compile(
    r"error: (invalid (argument|value|configuration|device ordinal|device function|resource handle)"
    r"|no kernel image|operation not supported|feature not supported|peer access)",
    re.IGNORECASE,
)


def out_of_memory(error: BaseException) -> bool:
    """Whether memory of the host or of an accelerator ran out; the errors of accelerators have no common base."""
    names = {t.__name__ for t in type(error).__mro__}
    return bool(names & {"MemoryError", "OutOfMemoryError"}) or (
        isinstance(error, RuntimeError) and _NO_MEMORY.search(str(error)) is not None
    )


def device_failure(error: BaseException) -> str | None:
    """In one line how the device failed; None where it computes on.

    After an illegal access, a failed assertion or an error of the hardware each further call of a process fails: it has
    to end, whatever unit caused it. Errors that were raised because of such an error count too.
    """
    for link in _links(error):
        if isinstance(link, RuntimeError) and not out_of_memory(link):
            text = str(link)
            named = any(t.__name__ == "AcceleratorError" for t in type(link).__mro__)
            if (named or _FAILED.search(text)) and not _HARMLESS.search(text):
                return (text.strip().splitlines() or [type(link).__name__])[0]
    return None


def of_the_machine(error: BaseException) -> bool:
    """Whether an error says nothing of the code that raised it: memory ran out, or the device has failed."""
    return out_of_memory(error) or device_failure(error) is not None


def _links(error: BaseException) -> Iterator[BaseException]:
    """An error, and those that led to it."""
    link: BaseException | None = error
    for _ in range(_MOST_LINKS):
        if link is None:
            return
        yield link
        link = link.__cause__ or link.__context__


def free_memory() -> None:
    """Give back what nobody uses: objects in circles, and what torch has cached of the device's memory."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def check_devices(gpus: float) -> None:
    """Make sure that this process sees the GPUs that it is to use.

    Args:
        gpus: how many, or which share of one.

    Raises:
        SpecError: it does not.
    """
    if not gpus:
        return
    try:
        seen = importlib.import_module("torch").cuda.device_count()
    except ImportError:
        seen = 0
    if seen < gpus:
        raise SpecError(f"site: gpus is {gpus:g}, but torch sees {seen} GPUs in this process; set site.gpus=0")
