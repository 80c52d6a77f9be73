"""The device of a worker as sessions set it up."""

from pathlib import Path

import pytest
import torch

from landsweep.orchestrator.errors import DeviceFailed, SpecError
from landsweep.orchestrator.kind import Workbench
from landsweep.orchestrator.run.start import run_sweep
from landsweep.orchestrator.site import Site
from landsweep.orchestrator.testing.kind_suite import QuietWatch
from landsweep.sweeps.lab.arithmetic import check_precision
from landsweep.sweeps.lab.device import check_device, device_name, settle
from tests.support.paths import ROOT
from tests.support.zoos import KIND, zoo_spec


def test_a_cpu_is_left_as_it_is() -> None:
    flags = torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic
    settle(Workbench(threads=torch.get_num_threads()))
    assert (torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic) == flags
    assert device_name("cpu") == "cpu"


def test_a_device_that_does_not_compute_is_no_device() -> None:
    with pytest.raises(DeviceFailed, match=r"meta of .* does not compute"):
        check_device("meta")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="torch sees no GPU"):
        settle(Workbench("cuda:0"))
    with pytest.raises(SpecError, match="torch sees 0 GPUs"):
        site = Site(executor="local", gpus=1, tracking=False)
        run_sweep(KIND, zoo_spec(), site, tmp_path / "zoo", folder=ROOT, watch=QuietWatch())
    assert not (tmp_path / "zoo" / "rows").exists()


def test_bf16_is_refused_where_a_device_has_no_circuits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: including_emulation)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tesla T4")
    with pytest.raises(SpecError, match="precision: Tesla T4 does not compute in bf16; take fp16, or float32"):
        check_precision("bf16", "cuda:0")
    check_precision("fp16", "cuda:0")
    check_precision("bf16", "cpu")
