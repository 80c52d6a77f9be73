"""Processes of programs: what ends them, and that none outlives its unit, whoever is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from landsweep.orchestrator.kind import Workbench
from landsweep.orchestrator.row import Cause, Outcome, Progress, Status
from landsweep.sweeps.lab.programs import process
from landsweep.sweeps.lab.programs.leftovers import end_orphans
from tests.support.paths import ROOT
from tests.support.programs import KIND, Programs, gone
from tests.support.sessions import without_lulls

# A program with a child that has left its session and ignores SIGTERM: what a script that forks would leave behind.
FAMILY = """
import signal, subprocess, sys, time
def child(code):
    return subprocess.Popen([sys.executable, "-I", "-S", "-c", code], start_new_session=True, stdout=subprocess.PIPE)
stubborn = child("import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True); time.sleep(600)")
stubborn.stdout.read(1)
daemon = child("import os, time; os.fork() and os._exit(0); os.setsid(); print(os.getpid(), flush=1); time.sleep(600)")
orphan = int(daemon.stdout.readline())
"""
FOREVER = "report(step=0, me=os.getpid(), stubborn=stubborn.pid, orphan=orphan)\nwhile True: time.sleep(1)"


def pids_of(progress: Progress) -> list[int]:
    return [int(progress.metrics[name]) for name in ("me", "stubborn", "orphan")]


def test_children_that_a_program_leaves_end_with_its_unit(programs: Programs) -> None:
    source = FAMILY + "report(stubborn=stubborn.pid, orphan=orphan)"
    outcome = programs.one(programs.spec(source, command={"grace": 0.2}))
    assert outcome.status is Status.ok, outcome.error
    assert gone([int(outcome.metrics[name] or 0) for name in ("stubborn", "orphan")], 0)


def test_a_program_past_its_time_is_ended_with_all_that_it_started(programs: Programs) -> None:
    source = FAMILY + "signal.signal(15, lambda *a: print('SIGTERM came', flush=True))\n" + FOREVER
    (outcome,), (progress,) = programs.run(programs.spec(source, command={"timeout": 1.5, "grace": 0.5}))
    assert (outcome.status, outcome.cause) == (Status.failed, Cause.timeout)
    assert "took longer than command.timeout=1.5 s" in str(outcome.error) and "SIGTERM came" in str(outcome.error)
    assert gone(pids_of(progress), 0)


def test_a_program_that_is_stopped_may_still_write_before_the_grace_period_ends(programs: Programs) -> None:
    source = """
    import signal, sys, time
    def end(*given):
        open(os.environ["LANDSWEEP_DIR"] + "/state", "w").write("saved")
        report(step=1, loss=0.5)
        sys.exit(0)
    signal.signal(signal.SIGTERM, end)
    report(step=0, loss=1.0)
    while True: time.sleep(1)
    """
    spec = programs.spec(source, command={"grace": 60})
    stopped: set[str] = set()
    unit = KIND.planner(spec).ask(1)
    given = without_lulls(KIND.open(spec, {}, programs.bench(stopped=stopped.__contains__)).evaluate(unit))
    first = next(given)
    assert isinstance(first, Progress) and first.step == 0
    stopped.add(unit[0].key)
    *progress, outcome = given
    assert [p.step for p in progress] == [1]
    assert isinstance(outcome, Outcome)
    assert (outcome.status, outcome.error) == (Status.pruned, "stopped after step 1")
    assert outcome.metrics["loss"] == 0.5
    assert programs.file(outcome, "files/state").read_text() == "saved"


def test_a_session_that_is_left_ends_its_program(programs: Programs) -> None:
    spec = programs.spec(FAMILY + FOREVER)
    given = without_lulls(KIND.open(spec, {}, programs.bench()).evaluate(KIND.planner(spec).ask(1)))
    progress = next(given)
    assert isinstance(progress, Progress)
    given.close()
    assert gone(pids_of(progress), 0)


WORKER = """
import sys
from pathlib import Path
from landsweep.orchestrator.kind import Workbench
from landsweep.orchestrator.storage.artifacts import Artifacts
from landsweep.orchestrator.spec import parse
from landsweep.sweeps.command.kind import CommandKind, CommandSpec
import json
spec = parse(CommandSpec, json.loads(sys.argv[1]), "worker")
kind = CommandKind()
bench = Workbench(folder=Path(sys.argv[2]), artifacts=Artifacts(sys.argv[3]))
for given in kind.open(spec, {}, bench).evaluate(kind.planner(spec).ask(1)):
    if given is not None:
        print(json.dumps(dict(given.metrics)), flush=True)
"""


def worker_with_a_program(programs: Programs) -> tuple[subprocess.Popen[str], list[int], list[int]]:
    """A worker in a process of its own; the processes of its program; those that guard it."""
    spec = programs.spec(FAMILY + FOREVER)
    programs.results.mkdir(exist_ok=True)
    words = [spec.model_dump_json(), str(programs.folder), str(programs.results)]
    worker = subprocess.Popen([sys.executable, "-c", WORKER, *words], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert worker.stdout is not None
    metrics = json.loads(worker.stdout.readline())
    family = [int(metrics[name]) for name in ("me", "stubborn", "orphan")]
    below = [p.pid for p in psutil.Process(worker.pid).children(recursive=True)]
    assert set(family) <= set(below), "the time that a program computes is seen as its worker's"
    return worker, family, [pid for pid in below if pid not in family and "guard.py" in cmdline(pid)]


def cmdline(pid: int) -> str:
    try:
        return " ".join(psutil.Process(pid).cmdline())
    except psutil.NoSuchProcess:  # or a zombie
        return ""


def ended(worker: subprocess.Popen[str]) -> None:
    worker.wait(60)
    assert worker.stdout is not None
    worker.stdout.close()


def test_a_worker_that_is_killed_takes_all_processes_of_its_program_with_it(programs: Programs) -> None:
    worker, family, guards = worker_with_a_program(programs)
    worker.kill()
    ended(worker)
    assert gone([*family, *guards])


def test_a_guard_that_is_killed_costs_the_unit_an_attempt_and_leaves_nothing(programs: Programs) -> None:
    spec = programs.spec(FAMILY + FOREVER)
    given = without_lulls(KIND.open(spec, {}, programs.bench()).evaluate(KIND.planner(spec).ask(1)))
    progress = next(given)
    assert isinstance(progress, Progress)
    me, *_ = family = pids_of(progress)
    os.kill(psutil.Process(me).ppid(), signal.SIGKILL)
    outcome = next(given)
    assert isinstance(outcome, Outcome)
    assert (outcome.status, outcome.cause) == (Status.failed, Cause.infra)
    assert gone(family)


def test_a_guard_that_a_program_has_stopped_is_ended_and_the_next_program_gets_another(
    programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "_KILLED", 1.0)
    source = """
    import signal, sys, time
    if sys.argv[1] == "1":
        os.kill(os.getppid(), signal.SIGSTOP)
        time.sleep(600)
    report(y=1)
    """
    spec = programs.spec(source, axes={"x": [1, 2]}, command={"timeout": 1, "grace": 0.2})
    outcomes, _ = programs.run(spec)
    assert [(o.status, o.cause) for o in outcomes] == [(Status.failed, Cause.timeout), (Status.ok, None)]


def test_what_is_left_when_worker_and_guards_are_killed_ends_when_the_sweep_is_opened_again(programs: Programs) -> None:
    worker, family, guards = worker_with_a_program(programs)
    for pid in (*guards, worker.pid):  # the guard first: it would do its work
        os.kill(pid, signal.SIGSTOP)
    for pid in (*guards, worker.pid):
        os.kill(pid, signal.SIGKILL)
    ended(worker)
    assert gone([family[0], *guards]), "the program itself dies with its guard"
    assert not gone(family[1:], 0), "its children can't"
    assert end_orphans(programs.results.resolve()) == 2
    assert gone(family)


def test_opening_a_sweep_leaves_programs_of_its_other_workers_alone(programs: Programs) -> None:
    worker, family, _ = worker_with_a_program(programs)
    spec = programs.spec("report(x=1)")
    KIND.open(spec, {}, programs.bench())
    assert not gone(family, 0)
    worker.kill()
    ended(worker)
    assert gone(family)


def test_a_program_meets_signals_and_descriptors_as_a_shell_gives_them(programs: Programs) -> None:
    source = """
    import signal
    names = [s.name for s in signal.Signals if signal.getsignal(s) is signal.SIG_IGN]
    mask = sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ()))
    files = sorted(os.listdir("/proc/self/fd"))[:-1]
    report(ignored=str(names), mask=str(mask), files=str(files), stdin=os.read(0, 1).decode())
    """
    outcome = programs.one(programs.spec(source))
    assert outcome.status is Status.ok, outcome.error
    by_python = "['SIGPIPE', 'SIGXFSZ']"  # the script's own interpreter does this
    assert dict(outcome.metrics) == {"ignored": by_python, "mask": "[]", "files": "['0', '1', '2']", "stdin": ""}


def test_without_a_results_folder_nothing_is_left(programs: Programs) -> None:
    spec = programs.spec("report(where=os.environ['LANDSWEEP_DIR'])")
    session = KIND.open(spec, {}, Workbench(folder=programs.folder))
    (outcome,) = without_lulls(session.evaluate(KIND.planner(spec).ask(1)))
    place = Path(str(outcome.metrics["where"]))
    assert place.is_dir()
    del session, outcome
    assert not place.exists()


@pytest.mark.slow
@pytest.mark.ray
def test_ray_ends_programs_with_its_workers(programs: Programs, own_ray: None) -> None:
    """A worker of Ray that is killed as executors do it: none of the program's processes outlives it."""
    import ray

    spec = programs.spec(FAMILY + FOREVER)
    programs.results.mkdir()

    @ray.remote
    class Actor:
        def begin(self) -> dict[str, float]:
            self.given = without_lulls(KIND.open(spec, {}, programs.bench()).evaluate(KIND.planner(spec).ask(1)))
            return dict(next(self.given).metrics)

    actor = Actor.remote()
    metrics = ray.get(actor.begin.remote())
    ray.kill(actor)
    assert gone([int(metrics[name]) for name in ("me", "stubborn", "orphan")])
