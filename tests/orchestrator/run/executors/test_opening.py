"""A Ray that dies or stands still, while it starts and later: in a stated time there is a word and an exit code."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import psutil
import pytest

from landsweep.orchestrator.run.executors.ray.opening import Opening, OwnProcesses
from tests.support.cli import LANDSWEEP, write_spec
from tests.support.paths import ROOT

SPEC = {"kind": "function", "name": "n", "function": f"{__name__}:waits", "axes": {"x": {"linear": [0, 1, 900]}}}


def waits(x: float) -> dict[str, float]:
    time.sleep(0.5)
    return {"y": x}


def test_what_init_raises_is_raised() -> None:
    def init() -> None:
        raise RuntimeError("no room")

    with pytest.raises(RuntimeError, match="no room"):
        Opening(init).wait(lambda: "", 60)


@pytest.mark.parametrize(("why", "seconds", "said"), [("gone", 60, "^gone$"), ("", 0.1, "no answer within 0.1 s")])
def test_a_ray_that_never_answers_is_given_up(why: str, seconds: float, said: str) -> None:
    answer = threading.Event()
    opening = Opening(answer.wait)
    with pytest.raises(ConnectionError, match=said):
        opening.wait(lambda: why, seconds)
    assert opening.stuck
    answer.set()
    opening.wait(lambda: "", 60)
    assert not opening.stuck
    opening.end()


def test_the_thread_that_started_ray_lives_until_it_is_over() -> None:
    """The kernel ends what a thread has started when that thread ends, if it was asked to."""
    threads: list[threading.Thread] = []
    opening = Opening(lambda: threads.append(threading.current_thread()))
    opening.wait(lambda: "", 60)
    assert threads[0].is_alive()
    opening.end()
    threads[0].join(60)
    assert not threads[0].is_alive()


def test_a_process_of_ours_that_has_ended_is_named(tmp_path: Path) -> None:
    program = tmp_path / "gcs_server"
    program.symlink_to("/bin/sleep")
    processes = OwnProcesses()
    with subprocess.Popen([program, "60"]) as process:
        deadline = time.monotonic() + 60
        while psutil.Process(process.pid).name() != "gcs_server":  # before, it is a copy of this one
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert processes.loss() == ""
        processes.kill()
        process.wait(60)
        assert processes.loss() == "its gcs_server has ended"


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
@pytest.mark.parametrize("when", ["starting", "running"])
def test_a_gcs_of_ours_that_ends_or_stands_still(tmp_path: Path, when: str, number: signal.Signals) -> None:
    write_spec(tmp_path, SPEC)
    words = [*LANDSWEEP, "run", "spec.yaml", "site.workers=2", "site.tracking=off", "site.start_timeout=60"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(words, cwd=tmp_path, env=env, stderr=subprocess.PIPE, text=True) as process:
        try:
            ready = Path.exists if when == "running" else lambda path: True
            gcs, deadline = None, time.monotonic() + 180
            while gcs is None or not ready(tmp_path / "results/n/rows"):
                assert process.poll() is None and time.monotonic() < deadline
                children = psutil.Process(process.pid).children()
                gcs = next((child for child in children if child.name() == "gcs_server"), None)
                time.sleep(0.05)
            gcs.send_signal(number)
            assert process.stderr is not None
            said = process.stderr.read()
            code = process.wait(180)
        finally:
            process.kill()
    assert code == (3 if when == "running" else 2), said
    assert "Traceback" not in said
    assert ("could not start a local Ray" if when == "starting" else "the same command goes on") in said
