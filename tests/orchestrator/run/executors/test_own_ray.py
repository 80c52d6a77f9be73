"""A Ray of our own: closed to other users, gone when its run is gone; and clusters that are not what they should be."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path

import grpc
import psutil
import pytest
import ray

from landsweep.orchestrator.errors import SpecError, Unreachable
from landsweep.orchestrator.run.executors.private import OwnFolder
from landsweep.orchestrator.run.executors.ray import RayExecutor, connection
from landsweep.orchestrator.site import Site
from landsweep.orchestrator.storage.ledger import Ledger, Store
from landsweep.orchestrator.testing.executor_suite import config
from tests.support.cli import command, write_spec
from tests.support.paths import ROOT

NOBODY = """
import json, os, socket, sys
os.setgroups([]); os.setgid(65534); os.setuid(65534)
done = []
for path in json.load(sys.stdin):
    for what, attempt in {
        "list": lambda: os.listdir(path),
        "read": lambda: open(path, "rb").read(1),
        "write": lambda: open(os.path.join(path, "mine"), "w"),
        "append": lambda: open(path, "ab"),
        "rename": lambda: os.rename(path, path + "-mine"),
        "connect": lambda: socket.socket(socket.AF_UNIX).connect(path),
    }.items():
        try:
            attempt()
            done.append([what, path])
        except OSError:
            pass
print(json.dumps(done))
"""
DRIVER = """
from landsweep.orchestrator.run.executors.ray import RayExecutor
from landsweep.orchestrator.site import Site
from landsweep.orchestrator.testing.executor_suite import config
ex = RayExecutor(Site(workers=1, cpus=0.5))
ex.open(config())
while not ex.free_workers():
    ex.poll(0.1)
print(ex._cluster._connection._folder.path, flush=True)
input()
ex.close()
"""


class Driver:
    """A process with a Ray of its own, whose worker is ready; `path` is that Ray's folder."""

    def __init__(self, temporary: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", DRIVER],
            env={**os.environ, "RAY_TMPDIR": str(temporary)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.path = Path(self._process.stdout.readline().strip())

    def end(self) -> None:
        """Let it end in order."""
        self._process.communicate("\n", timeout=120)
        assert self._process.returncode == 0

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a short path, open to everyone as /tmp is."""
    path = Path(f"/tmp/t{os.getpid()}")
    path.mkdir()
    path.chmod(0o1777)
    monkeypatch.setenv("RAY_TMPDIR", str(path))
    yield path
    shutil.rmtree(path)


@pytest.mark.ray
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_nobody_else_reaches_a_ray_of_our_own(temporary: Path) -> None:
    """Nothing below its folder, and nothing of /dev/shm, can be listed, read, written, moved or connected to."""
    driver = Driver(temporary)
    try:
        assert driver.path.parent == temporary
        paths = [str(driver.path), *(str(p) for p in driver.path.rglob("*"))]
        assert any("sockets/raylet" in p for p in paths), "it is in use"
        paths += [str(p) for p in Path("/dev/shm").iterdir() if "plasma" in p.name]
        tried = subprocess.run(
            [sys.executable, "-c", NOBODY], input=json.dumps(paths), capture_output=True, text=True, check=True
        )
        assert json.loads(tried.stdout) == []
    finally:
        driver.kill()


@pytest.mark.ray
@pytest.mark.slow
def test_the_folder_of_a_killed_run_is_removed_by_the_next_one_and_no_living_one(temporary: Path) -> None:
    living, killed = Driver(temporary), Driver(temporary)
    killed.kill()
    assert killed.path.is_dir()
    third = Driver(temporary)
    assert not killed.path.exists() and living.path.is_dir() and third.path.is_dir()
    for driver in (third, living):
        driver.end()
    assert list(temporary.iterdir()) == [], "a folder ends with its run"


def test_only_what_runs_of_ours_have_left_is_removed(temporary: Path) -> None:
    held = OwnFolder()
    abandoned, new, other, link = (temporary / f"landsweep-ray-{n}" for n in ("a", "new", "file", "link"))
    for folder in (abandoned, new):
        (folder / "session").mkdir(parents=True)
    (abandoned / "in-use").touch()
    other.touch()
    precious = temporary / "precious"
    precious.mkdir()
    (precious / "in-use").touch()
    link.symlink_to(precious)
    (abandoned / "session_latest").symlink_to(precious)
    second = OwnFolder()
    assert not abandoned.exists()
    assert all(p.exists() for p in (held.path, new, other, link, precious / "in-use", second.path))
    second.remove()
    held.remove()
    assert not held.path.exists() and not second.path.exists()


def test_a_folder_that_a_late_process_has_made_again_is_removed_once_nothing_uses_it(temporary: Path) -> None:
    """After a Ray that did not start, a process of it may come late; its folder has no lock."""
    again, named, opened, new = (temporary / f"landsweep-ray-{n}" for n in ("again", "named", "opened", "new"))
    for folder in (again, named, opened, new):
        (folder / "r" / "session" / "logs").mkdir(parents=True)
    for folder in (again, named, opened):
        os.utime(folder, (0, 0))
    by_name = subprocess.Popen(["tail", "-f", "/dev/null", f"--pid={os.getpid()}", str(named / "missing")])
    with (opened / "r" / "session" / "logs" / "raylet.out").open("w"):
        OwnFolder().remove()
    assert [f.exists() for f in (again, named, opened, new)] == [False, True, True, True]
    by_name.kill()
    by_name.wait()
    OwnFolder().remove()
    assert [f.exists() for f in (named, opened, new)] == [False, False, True], "the last may be just being made"


STOPPED = """
import signal, sys, psutil
from landsweep.orchestrator.run.executors.ray import RayExecutor, connection
from landsweep.orchestrator.site import Site
from landsweep.orchestrator.testing.executor_suite import config
connection._LEAVE = 2.0
ex = RayExecutor(Site(workers=1, cpus=0.5))
ex.open(config())
while not ex.free_workers():
    ex.poll(0.1)
raylet, = [p for p in psutil.Process().children() if p.name() == "raylet"]
raylet.send_signal(signal.SIGSTOP)
ex.close()
print("closed", raylet.is_running() and raylet.status() != psutil.STATUS_ZOMBIE, flush=True)
"""


@pytest.mark.ray
@pytest.mark.rotating
def test_a_ray_that_stands_still_is_ended(temporary: Path) -> None:
    """`ray.shutdown` waits for the raylet's answer, without end; so the raylet is killed after a while."""
    done = subprocess.run(
        [sys.executable, "-c", STOPPED], capture_output=True, text=True, timeout=180, check=False,
        env={**os.environ, "TMPDIR": str(temporary), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.stdout.split() == ["closed", "False"], done


HEAD = """
import psutil, ray
where = ray.init(address="local", num_cpus=1, include_dashboard=False).address_info["gcs_address"]
raylet, = [p.pid for p in psutil.Process().children() if p.name() == "raylet"]
print(where, raylet, flush=True)
input()
"""
JOINED = """
import os, signal, sys
from landsweep.orchestrator.run.executors.ray import RayExecutor, connection
from landsweep.orchestrator.site import Site
from landsweep.orchestrator.testing.executor_suite import config
connection._LEAVE = 2.0
ex = RayExecutor(Site(workers=1, cpus=0.5, address=sys.argv[1]))
ex.open(config())
while not ex.free_workers():
    ex.poll(0.1)
os.kill(int(sys.argv[2]), signal.SIGSTOP)
ex.close()
print("left", flush=True)
"""


@pytest.mark.ray
@pytest.mark.rotating
def test_a_cluster_that_stands_still_is_left(temporary: Path) -> None:
    """`ray.shutdown` waits for the raylet's answer, without end; and nobody may kill that of a cluster."""
    env = {**os.environ, "TMPDIR": str(temporary), "OMP_NUM_THREADS": "1", "RAY_AUTH_MODE": "disabled"}
    words, pipe = [sys.executable, "-c"], subprocess.PIPE
    with subprocess.Popen([*words, HEAD], stdin=pipe, stdout=pipe, text=True, env=env) as head:
        assert head.stdin is not None and head.stdout is not None
        where, raylet = head.stdout.readline().split()
        joined = [*words, JOINED, where, raylet]
        try:
            done = subprocess.run(joined, capture_output=True, text=True, timeout=120, check=False, env=env)
        finally:
            os.kill(int(raylet), signal.SIGCONT)
            head.stdin.close()
    assert done.stdout.split() == ["left"] and done.returncode == 0, done
    assert "it gave no answer within 2 s" in done.stderr


def test_an_own_folder_that_was_removed_from_outside_ends_in_order(temporary: Path) -> None:
    folder = OwnFolder()
    shutil.rmtree(folder.path)
    folder.remove()
    assert not list(temporary.iterdir())


def test_a_folder_is_closed_and_its_sockets_have_short_paths(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    long = tmp_path / ("x" * 60)
    long.mkdir()
    monkeypatch.setenv("RAY_TMPDIR", str(long))
    folder = OwnFolder()
    assert folder.path.parent == Path("/tmp"), "there, sockets would have no room"
    assert folder.path.stat().st_mode & 0o777 == 0o700
    inside = folder.inside / "session_2026-11-26_16-41-25_796413_1234567/sockets/plasma_store.9"
    assert len(str(inside)) <= 107
    folder.remove()


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def other_grpc() -> Iterator[int]:
    """The port of a server that speaks Ray's protocol and knows none of its methods."""
    server = grpc.server(futures.ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield port
    server.stop(None).wait()


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_what_is_no_ray_is_said_within_seconds(
    scheme: str, silent: int, other_grpc: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "_PATIENCE", 2.0)
    with pytest.raises(Unreachable, match="no Ray answered in 2 s"):
        RayExecutor(Site(address=f"{scheme}127.0.0.1:{silent}")).open(config())
    with pytest.raises(Unreachable, match="is not the Ray that was asked for"):
        RayExecutor(Site(address=f"{scheme}127.0.0.1:{other_grpc}")).open(config())
    assert not ray.is_initialized()


def test_an_address_that_a_dead_cluster_has_left_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(Unreachable, match=r"nothing answers at 127\.0\.0\.1:1"):
        RayExecutor(Site(address="auto")).open(config())


def test_a_ray_that_does_not_start_is_one_clear_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Ray's own time-out is a bare `Exception`; here its server of metadata can't be started at all."""
    write_spec(tmp_path, {"kind": "function", "name": "n", "function": "math:sin", "axes": {"x": [1]}})
    monkeypatch.setenv("RAY_TMPDIR", "/proc/self")  # no folder can be made there
    done = command("run", "spec.yaml", "site.tracking=off", cwd=tmp_path, check=2)
    assert "could not start a local Ray" in done.stderr and "site.executor=local" in done.stderr


@pytest.mark.parametrize(
    ("env", "complaint"),
    [
        ({"working_dir": "no/such/folder"}, "there is no folder no/such/folder"),
        ({"working_dir": str(ROOT / "mkdocs.yml")}, r"working_dir: .*\.yml is a file; give a folder, .* in \.zip, "),
        ({"py_modules": ["no/such/module"]}, "py_modules: there is no folder no/such/module"),
        ({"py_modules": ["/dev/null"]}, r"py_modules: /dev/null is a file; give a folder, .* in \.py, \.whl"),
        ({"py_modules": "module"}, r"py_modules: give a list, such as \['module'\]"),
        ({"pip": 7}, "Ray rejects it: runtime_env"),
        ({"env_vars": {"A": 1}}, "Ray rejects it"),
    ],
)
def test_an_environment_that_can_not_be_made_is_refused(env: dict[str, object], complaint: str) -> None:
    with pytest.raises(SpecError, match=complaint):
        RayExecutor(Site(runtime_env=env)).open(config())
    assert not ray.is_initialized()


@pytest.mark.ray
@pytest.mark.slow
def test_a_folder_of_the_users_travels_to_the_workers(tmp_path: Path) -> None:
    """A module and a file in it are found there, beside variables for the workers."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "number.txt").write_text("7", encoding="utf-8")
    (home / "users_module_that_travels.py").write_text(
        "import os\ndef f(x): return {'y': float(open('number.txt').read()), 'v': os.environ['V']}", encoding="utf-8"
    )
    spec = {"kind": "function", "name": "n", "function": "users_module_that_travels:f", "axes": {"x": [1]}}
    write_spec(tmp_path, spec)
    write_spec(tmp_path, {"workers": 1, "runtime_env": {"working_dir": "home", "env_vars": {"V": "v"}}}, "site.yaml")
    command("run", "spec.yaml", "--site", "site.yaml", "site.tracking=off", cwd=tmp_path)
    (row,) = Ledger.open(Store.at(tmp_path / "results/n")).rows().to_pylist()
    assert (row["y"], row["v"]) == (7.0, "v")


def starts_a_child(x: float) -> dict[str, float]:
    """A process that sleeps on; then the worker dies."""
    child = subprocess.Popen(["sleep", "3600"])
    Path(os.environ["CHILD"]).write_text(str(child.pid), encoding="utf-8")
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


@pytest.mark.ray
@pytest.mark.slow
def test_what_a_unit_has_started_ends_with_its_worker(tmp_path: Path) -> None:
    spec = {"kind": "function", "name": "n", "axes": {"x": [1]}}
    write_spec(tmp_path, spec | {"function": "tests.orchestrator.run.executors.test_own_ray:starts_a_child"})
    site = ["site.workers=1", "site.budgets.infra=0", f"site.runtime_env={{env_vars: {{CHILD: {tmp_path / 'pid'}}}}}"]
    command("run", "spec.yaml", "site.tracking=off", *site, cwd=tmp_path, check=1)
    pid = int((tmp_path / "pid").read_text(encoding="utf-8"))
    deadline = time.monotonic() + 60
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "it has outlived its worker"
        time.sleep(0.1)
