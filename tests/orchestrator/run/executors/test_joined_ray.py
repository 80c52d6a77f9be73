"""A cluster that was joined and dies: said in time, before Ray ends the process by an error of its own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path

import grpc
import pytest

from landsweep.orchestrator.errors import ClusterLost
from landsweep.orchestrator.run.executors.ray import connection, watch
from landsweep.orchestrator.site import Site

HEAD = """
import psutil, ray
where = ray.init(address="local", num_cpus=1, include_dashboard=False).address_info["gcs_address"]
pids = {p.name(): p.pid for p in psutil.Process().children()}
print(where, pids["gcs_server"], pids["raylet"], flush=True)
input()
"""
JOINED = """
import signal, os, sys
from landsweep.orchestrator.errors import ClusterLost
from landsweep.orchestrator.run.executors.ray import RayExecutor, watch
from landsweep.orchestrator.site import Site
from landsweep.orchestrator.testing.executor_suite import config
watch._SILENT = 6.0
ex = RayExecutor(Site(workers=1, cpus=0.5, address=sys.argv[1]))
ex.open(config())
while not ex.free_workers():
    ex.poll(0.1)
for pid in sys.argv[2:]:
    os.kill(int(pid), signal.SIGKILL)
try:
    while True:
        ex.free_workers()
        ex.poll(0.1)
except ClusterLost as e:
    print(e, flush=True)
ex.close()
sys.exit(3)
"""


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A folder with a short path."""
    path = Path(f"/tmp/j{os.getpid()}")
    path.mkdir()
    yield path
    shutil.rmtree(path)


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize(
    ("killed", "why"), [((0,), "its GCS gave no answer for "), ((0, 1), "its raylet on this machine has ended")]
)
def test_a_cluster_that_dies_is_said_and_left(temporary: Path, killed: tuple[int, ...], why: str) -> None:
    env = {**os.environ, "TMPDIR": str(temporary), "OMP_NUM_THREADS": "1", "RAY_AUTH_MODE": "disabled"}
    words, pipe = [sys.executable, "-c"], subprocess.PIPE
    with subprocess.Popen([*words, HEAD], stdin=pipe, stdout=pipe, text=True, env=env) as head:
        try:
            assert head.stdout is not None
            where, *pids = head.stdout.readline().split()
            joined = [*words, JOINED, where, *(pids[i] for i in killed)]
            done = subprocess.run(joined, capture_output=True, text=True, timeout=180, check=False, env=env)
        finally:
            for pid in map(int, pids):
                if Path(f"/proc/{pid}").exists():
                    os.kill(pid, signal.SIGKILL)
            head.kill()
    assert done.returncode == 3, done
    assert f"the Ray cluster at {where} has died or can't be reached ({why}" in done.stdout


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in {"_EACH": 0.05, "_PATIENCE": 0.2, "_SILENT": 1.0}.items():
        monkeypatch.setattr(watch, name, seconds)


def lost(looks: watch.Watch) -> str:
    deadline = time.monotonic() + 60
    while not (why := looks.loss()):
        assert time.monotonic() < deadline, "it is still taken to live"
        time.sleep(0.05)
    return why


def test_any_answer_is_one_and_an_end_of_the_answers_is_a_loss(quick: None) -> None:
    server = grpc.server(futures.ThreadPoolExecutor(1))  # knows no method, and says so
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    looks = watch.Watch(f"127.0.0.1:{port}")
    assert watch._answers(f"127.0.0.1:{port}")
    server.stop(None).wait()
    assert lost(looks).startswith("its GCS gave no answer for")
    looks.end()


def test_what_takes_connections_and_never_answers_is_lost_but_not_where_its_certificates_can_not_be_read(
    quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        where = f"127.0.0.1:{silent.getsockname()[1]}"
        looks = watch.Watch(where)
        assert lost(looks)
        looks.end()
        monkeypatch.setenv("RAY_USE_TLS", "1")
        assert watch._answers(where)
    assert not watch._answers(where)


def test_the_process_behind_a_socket_is_watched(temporary: Path) -> None:
    path = temporary / "raylet"
    code = (
        f"import socket as s; a = s.socket(s.AF_UNIX); a.bind({str(path)!r}); a.listen(); print(1, flush=True); input()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as listener:
        assert listener.stdout is not None and listener.stdout.readline()
        looks = watch.Watch("127.0.0.1:1")
        looks.watch_raylet(str(path))
        assert looks.raylet_lives() and not looks.loss()
        listener.kill()
        listener.wait()
        assert looks.loss() == "its raylet on this machine has ended"
        looks.end()
    gone = watch.Watch("127.0.0.1:1")
    gone.watch_raylet(str(temporary / "none"))
    assert gone.raylet_lives(), "what can't be seen is not taken to be dead"
    gone.end()


def test_a_question_without_an_answer_ends_with_the_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    into = connection.Connection(Site())
    never = threading.Event()
    assert into.ask(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        into.ask(lambda: 1 / 0)
    with pytest.raises(TimeoutError, match="its own"):
        into.ask(lambda: (_ for _ in ()).throw(TimeoutError("its own")))

    def check() -> None:
        raise ClusterLost("gone")

    monkeypatch.setattr(into, "check", check)
    with pytest.raises(ClusterLost, match="gone"):
        into.ask(never.wait)
    never.set()
