"""Which silent workers hang: those whose processes use no processor time. Pure bookkeeping, without Ray and clock.

A silent worker is asked about from time to time. It hangs once all answers of so long a time agree on its processor
seconds, but for a trifle. Time passes by the steps of the driver, and a long step counts as a short one: the driver was
suspended then, and its workers may have been so too.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field

__all__ = ["TRIFLE", "Idle", "Idleness", "Question"]

TRIFLE = 0.03  # of one core; a worker of Ray that does nothing uses almost 0.01
_STEPS = 8  # questions while the limit passes
_PATIENCE = 10.0  # s; an answer that takes longer, on long limits a quarter of these, is late
_LONGEST_TURN = 10.0  # s; a driver that turned more slowly was suspended, or was kept by its store


@dataclass(frozen=True, slots=True)
class Idle:
    """A worker that hangs.

    Attributes:
        worker: its id.
        seconds: for how long, at least.
        processor_seconds: what its processes used meanwhile.
        limit: the seconds that were allowed.
    """

    worker: str
    seconds: float
    processor_seconds: float
    limit: float

    @property
    def text(self) -> str:
        """For the user."""
        return (
            f"it hangs: for {self.seconds:.0f} s nothing was heard of its worker, whose processes used "
            f"{self.processor_seconds:.1f} s of processor time meanwhile (site.idle_seconds={self.limit:g}). The cause "
            "may be a deadlock, a process pool or DataLoader that waits for a process that has died, a lock on a file "
            "or database, or a process that was stopped. To see the line, compute it in a debugger with "
            "site.executor=local. If it is meant to wait, for a download, another machine or a person: "
            "site.idle_seconds=null"
        )


@dataclass(slots=True)
class Question:
    """How many processor seconds a silent worker has used by now.

    Attributes:
        worker: its id.
        sign: stands for the last sign of it; another one means that it was heard.
        due: when to ask, infinite while the answer is awaited.
        asked: when it was asked.
        answers: when each came, and what it said.
    """

    worker: str
    sign: Hashable
    due: float
    asked: float = 0.0
    answers: list[tuple[float, float]] = field(default_factory=list)


class Idleness:
    """Decides whom to ask about, and what the answers mean.

    A worker that stops using processor time is named after at least `limit` seconds and at most a third more, plus
    the time that answers take.

    Args:
        limit: seconds without processor time that are allowed; None: any number.
    """

    def __init__(self, limit: float | None) -> None:
        self._limit = math.inf if limit is None else limit
        self._step = self._limit / _STEPS
        self._turned: float | None = None
        self._passed = self._next = 0.0
        self._questions: dict[str, Question] = {}

    def turn(self, now: float) -> bool:
        """Let time pass; gives whether it is time to `look`.

        Args:
            now: monotonic time; call this several times a second.
        """
        if math.isinf(self._limit):
            return False
        if self._turned is not None:
            self._passed += min(now - self._turned, self._step / 2, _LONGEST_TURN)
        self._turned = now
        if self._passed < self._next:
            return False
        self._next = self._passed + self._step / 8
        return True

    def look(self, signs: Mapping[str, Hashable]) -> list[Question]:
        """Questions to be asked now.

        Args:
            signs: of each worker that has work, what stands for the last sign of it.
        """
        self._questions = {worker: q for worker, q in self._questions.items() if worker in signs}
        due = []
        for worker, sign in signs.items():
            question = self._questions.get(worker)
            if question is None or question.sign != sign:
                question = self._questions[worker] = Question(worker, sign, self._due(self._passed))
            if question.due <= self._passed:
                question.due, question.asked = math.inf, self._passed
                due.append(question)
        return due

    def answer(self, question: Question, seconds: float | None) -> Idle | None:
        """Take in an answer; gives the worker if it hangs.

        Args:
            question: one that `look` gave.
            seconds: of processor time, by the worker and the processes below it; None: it could not be found out.
        """
        if self._questions.get(question.worker) is not question:  # the worker was heard meanwhile
            return None
        question.due = self._due(question.asked)
        late = self._passed - question.asked > max(_PATIENCE, self._limit / 4)  # its machine may have been suspended
        if seconds is None or late:
            question.answers.clear()
        if seconds is None:
            return None
        question.answers.append((self._passed, seconds))
        old = [when for when, _ in question.answers if question.asked - when >= self._limit]
        if not old:
            return None
        del question.answers[: len(old) - 1]
        sums = [total for _, total in question.answers]
        used = max(sums) - min(sums)  # the sum also falls, when a process below has ended
        if used > TRIFLE * self._limit:
            return None
        del self._questions[question.worker]
        return Idle(question.worker, question.asked - old[-1], used, self._limit)

    def _due(self, last: float) -> float:
        """When to ask next: at times that are the same for all workers, for each node is asked about all of its own."""
        return self._step * math.ceil(last / self._step + 0.5)
