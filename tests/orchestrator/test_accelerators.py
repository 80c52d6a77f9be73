"""Errors of accelerators: which end a worker, which are a matter of memory, and which are a unit's own."""

import pytest
import torch

from landsweep.orchestrator.accelerators import check_devices, device_failure, free_memory, out_of_memory
from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.faults import cause_of
from landsweep.orchestrator.kind import Workbench
from landsweep.orchestrator.row import Cause
from landsweep.orchestrator.site import parse_site


class AcceleratorError(RuntimeError):
    """As torch calls it, of a version that this test need not have."""


BROKEN = [
    torch.AcceleratorError("CUDA error: an illegal memory access was encountered\nCUDA kernel errors might ..."),
    AcceleratorError("hardware fault"),
    RuntimeError("CUDA error: device-side assert triggered"),
    RuntimeError("CUDA error: uncorrectable ECC error encountered"),
    RuntimeError("CUDA error: unspecified launch failure"),
    RuntimeError("HIP error: the operation cannot be performed in the present state"),
    RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
    RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"),
]
SOUND = [
    RuntimeError("CUDA error: invalid device ordinal"),
    RuntimeError("CUDA error: no kernel image is available for execution on the device"),
    RuntimeError("CUDA error: invalid configuration argument"),
    RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
    ValueError("CUDA error: a text of the user's"),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("CUDA error: out of memory"),
]


@pytest.mark.parametrize("error", BROKEN, ids=str)
def test_a_failed_device_is_known_by_its_errors(error: RuntimeError) -> None:
    assert device_failure(error) == str(error).splitlines()[0]
    wrapped = ValueError("the unit did not end")
    wrapped.__cause__ = error
    assert device_failure(wrapped) == str(error).splitlines()[0], "also where the user's code says it in its own words"
    while_handled = KeyError("while it was handled")
    while_handled.__context__ = wrapped
    assert device_failure(while_handled) is not None


@pytest.mark.parametrize("error", SOUND, ids=str)
def test_after_other_errors_the_device_computes_on(error: Exception) -> None:
    assert device_failure(error) is None


def test_errors_in_a_circle_are_looked_at_once() -> None:
    a, b = RuntimeError("a"), RuntimeError("b")
    a.__cause__, b.__cause__ = b, a
    assert device_failure(a) is None


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (MemoryError(), Cause.oom),
        (torch.OutOfMemoryError("CUDA out of memory"), Cause.oom),
        (RuntimeError("CUDA error: out of memory"), Cause.oom),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), Cause.oom),
        (RuntimeError("CUDA driver error: out of memory"), Cause.oom),
        (ValueError("CUDA error: out of memory"), Cause.error),
        (RuntimeError("no memory of it"), Cause.error),
    ],
    ids=str,
)
def test_memory_that_ran_out_is_a_cause_of_its_own(error: Exception, cause: Cause) -> None:
    assert cause_of(error) is cause
    assert out_of_memory(error) == (cause is Cause.oom)


def test_memory_is_given_back_where_there_is_no_accelerator() -> None:
    free_memory()


@pytest.mark.parametrize("gpus", [1.5, 2.25, -1])
def test_a_worker_has_whole_gpus_or_a_share_of_one(gpus: float) -> None:
    with pytest.raises(SpecError, match="gpus"):
        parse_site({"gpus": gpus}, "site")


def test_devices_of_a_worker_are_listed() -> None:
    assert Workbench().devices == ("cpu",)
    assert Workbench("cuda:0", gpus=0.25).devices == ("cuda:0",)
    assert Workbench("cuda:0", gpus=2).devices == ("cuda:0", "cuda:1")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU, so nothing is refused")
def test_gpus_that_are_not_there_are_refused() -> None:
    check_devices(0)
    with pytest.raises(SpecError, match=r"gpus is 0\.25, but torch sees 0 GPUs"):
        check_devices(0.25)
