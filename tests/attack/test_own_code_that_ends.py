"""Networks and data of one's own that end the process in which they are checked, or never come back."""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
import yaml

from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.kind import Workbench, kind_named
from landsweep.orchestrator.row import Outcome
from landsweep.orchestrator.run.checking import check_apart, runs_apart
from landsweep.orchestrator.run.messages import WorkerConfig
from landsweep.orchestrator.run.start import run_sweep
from landsweep.orchestrator.run.sweep import Sweep
from landsweep.orchestrator.site import Site
from landsweep.orchestrator.testing.kind_suite import QuietWatch
from landsweep.orchestrator.trust import also_search, reading
from landsweep.sweeps.lab.data.own import OwnData
from landsweep.sweeps.lab.models.own import OwnNet
from tests.attack.folders import landsweep
from tests.support.cli import LANDSWEEP
from tests.support.zoos import KIND

MINE = """
import ctypes, os, signal, sys, time
import torch
from torch import nn

WAYS = {
    "abort": os.abort,
    "exit": lambda: os._exit(0),
    "segfault": lambda: ctypes.string_at(0),
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "hang": lambda: time.sleep(1000),
    "sys.exit": lambda: sys.exit(7),
    "closes all": lambda: (os.closerange(0, 100), os.abort()),
    "child": lambda: os.fork() or os._exit(3),
    "fork": os.fork,
    "never": lambda: None,
    "memory": lambda: (_ for _ in ()).throw(MemoryError("no room")),
}

class Net(nn.Module):
    def __init__(self, width, way, when):
        super().__init__()
        self.inner, self.outer = nn.Linear(6, width), nn.Linear(width, 2)
        self.way = way if width == 7 else "never"
        if when == "built":
            self.end()
    def end(self):
        print("the last words", flush=True)
        WAYS[self.way]()
    def forward(self, x):
        self.end()
        return self.outer(torch.relu(self.inner(x)))

def table(way):
    WAYS[way]()
    x = torch.ones(16, 6)
    return {"train": (x, x[:, 0].long()), "test": (x, x[:, 0].long())}
"""
NET = {"net": "own", "build": "mine_ends:Net"}
DATA = {"source": "sparse_parity", "bits": 6, "relevant": 2, "train": 32, "test": 16}


def spec_of(way: str = "never", when: str = "called", **recipe: Any) -> dict[str, Any]:
    net = {**NET, "args": {"width": 4, "way": way, "when": when}}
    optimizer = {"method": "sgd", "learning_rate": 0.1}
    fields = {"data": DATA, "net": net, "optimizer": optimizer, "steps": 2, "batch_size": 8, **recipe}
    return {"kind": "zoo", "name": "ends", "recipe": fields, "axes": {"net.args.width": [4, 7, 8]}}


def check(folder: Path, spec: dict[str, Any], limit: float | None = 60) -> None:
    (folder / "mine_ends.py").write_text(MINE, encoding="utf-8")
    check_apart(WorkerConfig("zoo", spec, str(folder), imports=(str(folder),), check_timeout=limit), "cpu")


SORTS = [
    ("abort", "called", "by the signal SIGABRT"),
    ("exit", "built", "with the exit code 0"),
    ("hang", "called", r"did not come back within 1 s \(site.check_timeout\)"),
    pytest.param("segfault", "called", "by the signal SIGSEGV", marks=pytest.mark.slow),
    pytest.param("kill", "built", "by the signal SIGKILL, .* because memory ran out", marks=pytest.mark.slow),
    pytest.param("sys.exit", "called", "with the exit code 7", marks=pytest.mark.slow),
    pytest.param("closes all", "called", "by the signal SIGABRT", marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("way", "when", "end"), SORTS)
def test_a_network_that_ends_its_process_is_named(way: str, when: str, end: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=rf"the network mine_ends:Net with net.args.width=7, .*{end}") as caught:
        check(tmp_path, spec_of(way, when), limit=1 if way == "hang" else 60)
    assert "It printed last:\n" in str(caught.value) and str(caught.value).endswith("the last words")


def test_a_network_that_finds_no_memory_is_named(tmp_path: Path) -> None:
    wanted = (
        r"the network mine_ends:Net with .*net.args.width=7, .* met MemoryError: no room \(.*mine_ends.py, line \d+\)"
    )
    with pytest.raises(SpecError, match=wanted):
        check(tmp_path, spec_of("memory"))


@pytest.mark.parametrize("when", ["called", pytest.param("built", marks=pytest.mark.slow)])
def test_a_network_that_forks_and_goes_on_in_both_processes_is_named(when: str, tmp_path: Path) -> None:
    wanted = r"the network mine_ends:Net with net.args.width=7, .*: forks off a process .* that comes back"
    with pytest.raises(SpecError, match=wanted):
        check(tmp_path, spec_of("fork", when))


SETTINGS = """
import torch
torch.set_default_dtype(torch.float64)
def build():
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    torch.set_num_threads(torch.get_num_threads() + 1)
    torch.set_grad_enabled(False)
    return torch.nn.Linear(2, 2)
def table():
    build()
    return {"train": (torch.ones(4, 2, device="cpu"), torch.ones(4, device="cpu").long())}
"""


def settings() -> tuple[object, ...]:
    return (
        torch.get_default_dtype(), torch.get_default_device(), torch.get_num_threads(), torch.is_grad_enabled(),
        torch.are_deterministic_algorithms_enabled(), torch.get_float32_matmul_precision(),
    )  # fmt: skip


def test_what_own_code_sets_for_all_of_torch_does_not_reach_other_models(tmp_path: Path) -> None:
    (tmp_path / "mine_settings.py").write_text(SETTINGS, encoding="utf-8")
    before = settings()
    net = OwnNet.model_validate({"net": "own", "build": "mine_settings:build"})
    for _ in range(2):
        module = net._module((2,), 2, tmp_path)
        assert next(module.parameters()).dtype == torch.float64, "what it sets for itself counts for itself"
        assert settings() == before
    OwnData.model_validate({"source": "callable", "function": "mine_settings:table"}).load(tmp_path)
    assert settings() == before


CHANGES = """
import torch
from torch import nn

def change():
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(torch.get_num_threads() + 1)
    torch.use_deterministic_algorithms(True)
    torch.backends.cuda.matmul.fp32_precision = "tf32"

class Net(nn.Linear):
    def __init__(self, changes):
        super().__init__(6, 2)
        self.changes = changes
    def forward(self, x):
        outputs = super().forward(x)
        if self.changes == "device":
            torch.set_default_device("meta")  # what it trains itself can't be computed then
        elif self.changes:
            change()
        return outputs

class Method(torch.optim.SGD):
    def __init__(self, params, lr, changes):
        super().__init__(params, lr=lr)
        self.changes = changes
    def step(self, closure=None):
        super().step()
        if self.changes:
            change()
            torch.set_default_device("meta")
            torch.set_grad_enabled(False)
"""


def test_what_networks_and_optimizers_set_for_all_of_torch_while_they_train_does_not_reach_others(
    tmp_path: Path,
) -> None:
    """Neither other packs of the worker, nor, of optimizers, other models of their pack."""
    (tmp_path / "mine_changes.py").write_text(CHANGES, encoding="utf-8")
    torch.set_num_threads(1)  # as of the worker
    also_search(tmp_path)
    before = settings()

    def losses(variants: dict[str, Any]) -> dict[str, Any]:
        net, optimizer = {"net": "mlp", "hidden": [4]}, {"method": "sgd"}
        recipe = {"data": DATA, "net": net, "optimizer": optimizer, "steps": 3, "batch_size": 8}
        fields = {"kind": "zoo", "name": "changes", "recipe": recipe, "recipes": variants, "backend": "loop"}
        spec, bench = KIND.parse(fields, "spec"), Workbench(folder=tmp_path)
        KIND.check(spec, bench)
        units = {unit.key: unit.params["recipe"] for unit in KIND.planner(spec).ask(10)}
        assert settings() == before
        session = KIND.open(spec, {}, bench)
        given = [item for item in session.evaluate(KIND.planner(spec).ask(10)) if isinstance(item, Outcome)]
        assert settings() == before
        return {units[outcome.key]: outcome.metrics["test_loss"] for outcome in given}

    def net(*, changes: bool) -> dict[str, Any]:
        return {"net": {"net": "own", "build": "mine_changes:Net", "args": {"changes": changes}}}

    def method(*, changes: bool) -> dict[str, Any]:
        args = {"method": "class", "name": "mine_changes:Method", "learning_rate": 0.1, "args": {"changes": changes}}
        return {"optimizer": args}

    changing = {"a": net(changes=True), "b": method(changes=True)}
    others = {"c": {}, "d": net(changes=False), "e": method(changes=False)}
    beside, alone = losses(changing | others), losses(others)
    assert {name: beside[name] for name in others} == alone and len(beside) == 5


def test_a_network_that_sets_a_device_that_can_not_compute_fails_alone(tmp_path: Path) -> None:
    (tmp_path / "mine_device.py").write_text(CHANGES, encoding="utf-8")
    also_search(tmp_path)
    net = {"net": "own", "build": "mine_device:Net"}
    recipe = {"data": DATA, "net": net, "optimizer": {"method": "sgd"}, "steps": 3, "batch_size": 8}
    axes = {"net.args.changes": [False, "device"]}
    spec = KIND.parse({"kind": "zoo", "name": "device", "recipe": recipe, "axes": axes, "seeds": {"range": 2}}, "spec")
    before = settings()
    run_sweep(KIND, spec, Site(executor="local"), tmp_path / "out", folder=tmp_path, watch=QuietWatch())
    rows = Sweep.at(tmp_path / "out").rows()
    assert set(zip(rows["net.args.changes"], rows["status"], strict=True)) == {("false", "ok"), ("device", "failed")}
    assert settings() == before


@pytest.mark.slow
def test_data_that_end_the_process_are_named(tmp_path: Path) -> None:
    data = {"source": "callable", "function": "mine_ends:table", "args": {"way": "abort"}}
    with pytest.raises(SpecError, match=r"the data mine_ends:table with data.args.way='abort': .* SIGABRT"):
        check(tmp_path, spec_of(data=data))


def test_a_command_ends_with_one_line_and_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "mine_ends.py").write_text(MINE, encoding="utf-8")
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(spec_of("abort")), encoding="utf-8")
    done = landsweep("run", "spec.yaml", "--out", "out", "site.executor=local", "site.tracking=false", cwd=tmp_path)
    assert done.returncode == 2
    assert re.search(r"^error: the network mine_ends:Net with .*net.args.width=7", done.stderr, re.MULTILINE)
    assert "Traceback" not in done.stderr and not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_check_that_hangs_ends_with_its_command(tmp_path: Path) -> None:
    """Also when that is killed."""
    (tmp_path / "mine_ends.py").write_text(MINE, encoding="utf-8")
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(spec_of("hang")), encoding="utf-8")
    words = [*LANDSWEEP, "run", "spec.yaml", "site.executor=local", "site.tracking=false"]
    with subprocess.Popen(words, cwd=tmp_path, stderr=subprocess.DEVNULL) as command:
        while not (children := psutil.Process(command.pid).children()):
            time.sleep(0.1)
        time.sleep(10)  # it hangs by now, or will: both must end it
        command.kill()
    psutil.wait_procs(children, timeout=120)
    assert not any(child.is_running() for child in children)


def test_what_the_check_finds_is_the_same_in_its_own_process(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A sound network passes, also past children that it forks; modules beside the user replace nothing there."""
    for name in ("random", "json", "yaml", "numpy", "torch", "signal", "landsweep"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'has-run')!r}, 'a').write({name!r})\n")
    check(tmp_path, spec_of("child"))
    assert not (tmp_path / "has-run").exists()
    assert "the last words" in capfd.readouterr().err
    with pytest.raises(SpecError, match=r"recipe.batch_size: 99 is more than the 32 samples"):
        check(tmp_path, spec_of(batch_size=99))


def test_only_the_users_own_code_is_checked_apart() -> None:
    kind = kind_named("zoo")

    def apart(spec: dict[str, Any], *, pdb: bool = False) -> bool:
        return runs_apart(kind, kind.parse(spec, "spec"), pdb=pdb)

    poisson = {"net": "own", "build": "landsweep.sweeps.lab.models.poisson:poisson"}
    assert apart(spec_of()) and not apart(spec_of(), pdb=True)
    assert not apart({**spec_of(net={"net": "mlp", "hidden": [4]}), "axes": {}})
    assert not apart({**spec_of(net=poisson), "axes": {}})
    with reading("a stranger's folder"):
        assert not apart(spec_of()), "there nothing of it is imported at all"
    function = kind_named("function")
    spec = {"kind": "function", "name": "f", "function": "mine_ends:f", "axes": {"x": [1.0]}}
    assert not runs_apart(function, function.parse(spec, "spec"), pdb=False), "it is imported there, and not called"
