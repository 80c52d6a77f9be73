"""A discrete-event simulation of one driver and many workers, with the driver's costs as measured.

The driver is one thread. It takes turns: a turn finds the messages and ends that have come since the last one, pays for
each, and gives a shard to each worker that holds fewer than two. A worker computes its shards one after the other and
sends its rows at an interval; it idles when the next shard has not come in time.
"""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass

from landsweep.orchestrator.run.executors.streams import sending_interval
from tests.benchmarks.scale_costs import Costs

__all__ = ["Result", "saturation", "simulate"]

_IN_FLIGHT = 2
_JITTER = 0.05  # shards take their time within so much, else all workers end at the same instant for ever
_ENOUGH = 0.05  # a driver is saturated when its workers idle for a larger share of their time
_MESSAGE, _END = 0, 1


@dataclass(frozen=True)
class Result:
    """What a simulation gives.

    Attributes:
        idle: share of the workers' time in which they had nothing to do.
        busy: share of the time in which the driver worked.
        longest: the longest turn, s: how late a failure is heard.
    """

    idle: float
    busy: float
    longest: float


class _Workers:
    """They hold up to two shards each, compute one at a time, and tell of it.

    Args:
        number: how many.
        shard: seconds of one.
        interval: between two messages of a worker, s.
        seed: of the jitter.
    """

    def __init__(self, number: int, shard: float, interval: float, seed: int) -> None:
        self._rng = random.Random(seed)
        self._shard, self._interval = shard, interval
        self._behind = [0] * number  # shards that a worker holds and has not begun
        self._idle_since: list[float | None] = [0.0] * number
        self.free = list(range(number)) * _IN_FLIGHT
        self.news: list[tuple[float, int, int]] = []  # time, what, worker

    def hear(self, now: float) -> int:
        """Take in all that has come by now; gives how many messages and ends that was."""
        count = 0
        while self.news and self.news[0][0] <= now:
            at, what, worker = heapq.heappop(self.news)
            count += 1
            if what == _END:
                self.free.append(worker)
                if self._behind[worker]:
                    self._behind[worker] -= 1
                    self._begin(worker, at)
                else:
                    self._idle_since[worker] = at
        return count

    def give(self, worker: int, now: float, settle: float, last: float) -> float:
        """A shard to a worker; how long it had idled between `settle` and `last`."""
        since = self._idle_since[worker]
        if since is None:
            self._behind[worker] += 1
            return 0.0
        self._idle_since[worker] = None
        self._begin(worker, now)
        return max(0.0, min(now, last) - max(since, settle))

    def idle_at_last(self, settle: float, last: float) -> float:
        """How long those that idle at the end have idled since `settle`."""
        return sum(last - max(s, settle) for s in self._idle_since if s is not None and s < last)

    def _begin(self, worker: int, at: float) -> None:
        length = self._shard * (1 + self._rng.uniform(-_JITTER, _JITTER))
        sent = self._interval
        while sent < length:
            heapq.heappush(self.news, (at + sent, _MESSAGE, worker))
            sent += self._interval
        heapq.heappush(self.news, (at + length, _MESSAGE, worker))  # the last rows
        heapq.heappush(self.news, (at + length, _END, worker))


def simulate(
    workers: int, unit_seconds: float, shard_seconds: float, costs: Costs, seconds: float, seed: int = 0
) -> Result:
    """Run ten shards or so many seconds, what is longer, of a sweep without end, after as much again to settle.

    Args:
        workers: how many.
        unit_seconds: of each unit.
        shard_seconds: site.shard_seconds.
        costs: of the driver.
        seconds: at least, of which the result tells.
        seed: of the jitter.
    """
    units = max(1, round(shard_seconds / unit_seconds))
    interval = max(unit_seconds, sending_interval(workers))
    pool = _Workers(workers, units * unit_seconds, interval, seed)
    rows = units / (1 + int((units - 0.5) * unit_seconds / interval))  # of one message
    settle = seconds = max(seconds, 10 * units * unit_seconds)
    last = settle + seconds
    idle = busy = longest = now = 0.0
    while now < last:
        heard = pool.hear(now)
        given, pool.free = pool.free, []
        began = now
        now += costs.turn + costs.worker * workers + heard * costs.message
        now += heard * rows * costs.row * units / (units + rows)  # ends bring no rows
        for worker in given:
            now += costs.shard
            idle += pool.give(worker, now, settle, last)
        busy += max(0.0, min(now, last) - max(began, settle))
        longest = max(longest, now - began)
        if pool.news and pool.news[0][0] > now:
            now = pool.news[0][0]  # the driver waits
    pool.hear(last)
    idle += pool.idle_at_last(settle, last)
    return Result(idle / (workers * seconds), min(1.0, busy / seconds), longest)


def saturation(shard_seconds: float, costs: Costs, seconds: float, unit_seconds: float = 1.0) -> int:
    """The largest number of workers from 50 to 40,000, within 5 %, that idle for at most 5 % of their time."""
    low, high = 50.0, 40_000.0
    while high > low * 1.05:
        middle = (low * high) ** 0.5
        if simulate(round(middle), unit_seconds, shard_seconds, costs, seconds).idle <= _ENOUGH:
            low = middle
        else:
            high = middle
    return round(low)
