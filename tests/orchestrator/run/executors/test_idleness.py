"""Who hangs, decided from answers alone: no busy worker ever, every idle one in time."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys

import psutil
import pytest

from landsweep.orchestrator.run.executors.idleness import TRIFLE, Idle, Idleness, Question
from landsweep.orchestrator.run.executors.processes import ProcessId, Unseen, processor_seconds

LIMIT = 900.0


class Machine:
    """A driver that looks several times a second, and one worker that uses processor time as it is told.

    Args:
        rate: gives the processor seconds that the worker uses in a second, by the seconds that it has lived.
        delay: gives how long an answer takes, s.
    """

    def __init__(self, rate, delay=lambda: 1.0) -> None:
        self.idleness = Idleness(LIMIT)
        self.rate, self.delay = rate, delay
        self.now = self.lived = self.used = 0.0
        self.sign = 0
        self.answers: list[tuple[float, object, float]] = []  # when it comes, to which question, processor seconds
        self.asked = 0

    def live(self, seconds: float, turn: float = 0.5) -> Idle | None:
        """Driver and worker live for so long; the worker that hangs, once there is one."""
        end = self.now + seconds
        while self.now < end:
            self.work(turn)
            if idle := self.see():
                return idle
        return None

    def work(self, seconds: float) -> None:
        """The worker lives for so long, and time passes."""
        self.used += self.rate(self.lived) * seconds
        self.lived += seconds
        self.now += seconds

    def see(self) -> Idle | None:
        if not self.idleness.turn(self.now):
            return None
        for question in self.idleness.look({"w": self.sign}):
            self.asked += 1
            self.answers.append((self.now + self.delay(), question, self.used))
        for answer in [a for a in self.answers if a[0] <= self.now]:
            self.answers.remove(answer)
            if idle := self.idleness.answer(answer[1], answer[2]):
                return idle
        return None


@pytest.mark.parametrize("seed", range(20))
def test_an_idle_worker_is_named_after_the_limit_and_at_most_a_third_more(seed: int) -> None:
    rng = random.Random(seed)
    stops = rng.uniform(0, 3 * LIMIT)  # it computes, then it hangs
    background = rng.uniform(0, 0.01)
    machine = Machine(lambda now: 1.0 if now < stops else background, lambda: rng.uniform(0, 20))
    idle = machine.live(10 * LIMIT)
    assert idle is not None and idle.worker == "w" and idle.seconds >= LIMIT
    assert LIMIT <= machine.now - stops < 4 / 3 * LIMIT + 2 * 20 + 2 * LIMIT / 48
    assert idle.processor_seconds <= TRIFLE * LIMIT


@pytest.mark.parametrize("seed", range(20))
def test_a_worker_that_computes_now_and_then_is_never_named(seed: int) -> None:
    """Rests of less than the limit, answers that are late or unknown, a driver that is suspended with or without it."""
    rng = random.Random(seed)
    rest = rng.uniform(0, 0.7) * LIMIT
    machine = Machine(lambda now: 1.0 if now % (rest + 60) > rest else 0.0, lambda: rng.expovariate(1 / 60))
    for _ in range(60):
        assert machine.live(rng.uniform(0, LIMIT), turn=2.0) is None
        match rng.randrange(4):
            case 0:  # the machine of both sleeps
                machine.now += rng.uniform(0, 20 * LIMIT)
            case 1:  # the driver alone is stopped
                for _ in range(rng.randrange(4000)):
                    machine.work(2.0)
            case 2:  # the node answers late
                machine.answers = [(when + 100, question, used) for when, question, used in machine.answers]


def test_a_machine_that_slept_while_an_answer_was_awaited_is_no_proof() -> None:
    """The driver goes on; the worker and what measures it do not."""
    machine = Machine(lambda lived: 0.0 if 310 < lived < 310 + 2 * LIMIT else 0.1)
    machine.delay = lambda: max(0.0, 310 + 2 * LIMIT - machine.now) if machine.now > 295 else 0.0
    assert machine.live(6 * LIMIT) is None


def test_each_sign_begins_the_count_anew() -> None:
    machine = Machine(lambda now: 0.0)
    for _ in range(10):
        assert machine.live(0.9 * LIMIT) is None
        machine.sign += 1
    assert machine.live(2 * LIMIT) is not None


def last_question(idleness: Idleness) -> Question:
    """Let a worker hang until the question is out whose answer shows it."""
    trial = Idleness(LIMIT)
    for second in range(10 * int(LIMIT)):
        for each in (trial, idleness):
            each.turn(second)
        for question, again in zip(trial.look({"w": 0}), idleness.look({"w": 0}), strict=True):
            if trial.answer(question, 0.0):
                return again
            assert idleness.answer(again, 0.0) is None
    raise AssertionError("it was never named")


def test_an_answer_about_a_worker_that_was_heard_meanwhile_means_nothing() -> None:
    idleness = Idleness(LIMIT)
    question = last_question(idleness)
    idleness.look({"w": 1})
    assert idleness.answer(question, 0.0) is None
    idleness = Idleness(LIMIT)
    question = last_question(idleness)
    idleness.look({})
    assert idleness.answer(question, 0.0) is None, "nor about one that has no work any more"
    idleness = Idleness(LIMIT)
    assert idleness.answer(last_question(idleness), 0.0) is not None


def test_processes_that_come_and_go_are_work() -> None:
    """Time of a process that has left the tree is missing from the sum: that is a change as well."""
    machine = Machine(lambda now: -0.2)
    assert machine.live(5 * LIMIT) is None


def test_unknown_is_not_idle() -> None:
    machine = Machine(lambda now: 0.0)
    machine.idleness.answer = lambda question, seconds: Idleness.answer(machine.idleness, question, None)  # type: ignore[method-assign]
    assert machine.live(5 * LIMIT) is None and machine.asked > 20


def test_a_worker_that_speaks_is_never_asked_about_and_without_a_limit_nobody_is() -> None:
    machine = Machine(lambda now: 0.0)
    for _ in range(1000):
        assert machine.live(20) is None
        machine.sign += 1
    assert machine.asked == 0
    unlimited = Idleness(None)
    assert not any(unlimited.turn(now) for now in range(100_000))


BUSY = "import time\nwhile time.process_time() < 0.5: pass\n"


def test_processor_time_is_that_of_the_whole_tree_the_dead_included() -> None:
    grandchild = BUSY + "print(1, flush=True); input()"
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {grandchild!r}])"
    code = (
        f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {BUSY!r}])\n"
        f"subprocess.run([sys.executable, '-c', {child!r}])"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        os.kill(process.pid, signal.SIGSTOP)  # it need not answer
        own = sum(psutil.Process(process.pid).cpu_times()[:2])
        here = ProcessId.me().space
        processes = [ProcessId(process.pid, here), ProcessId(2**22 + 1, here), ProcessId(process.pid, "pid:[1]")]
        seconds, ended, elsewhere = processor_seconds(processes)
        os.kill(process.pid, signal.SIGCONT)
        process.communicate(b"\n")
    assert isinstance(seconds, float) and seconds >= own + 0.9
    assert (ended, elsewhere) == (Unseen.ENDED, Unseen.ELSEWHERE)
