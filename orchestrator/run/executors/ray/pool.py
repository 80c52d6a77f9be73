"""A pool of Ray actors.

The pool follows four rules: what was in flight on a dead actor is reported lost, and the actor replaced; how often a
unit may be lost is the schedule's business; a slot whose actors keep failing at start is taken out of use; when work
waits and no worker can come, that is said at once instead of waited for.

Ray cannot stop a running method and has no time limit for one, so a unit past its limit ends with its actor, and so
does work of any kind that hangs. Retries are ours (`max_restarts=0`): only the ledger knows which units are done.

A worker whose node is drained, or that gets SIGTERM, is leaving: it gets no more work, another one is started
elsewhere, and its unfinished units are requeued without a failure being counted.

A slot may also hold a gang: several actors in one placement group, of which the first is spoken to and the others
assist it. They live and die together. Where a gang needs room, workers of other sizes leave.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import ray
from ray import exceptions as failures

from landsweep.orchestrator.errors import DeviceFailed, NoRoom, UsageError, WorkersUnavailable
from landsweep.orchestrator.kind import Arrays
from landsweep.orchestrator.row import Cause
from landsweep.orchestrator.run.executors.base import Event, Executor, Finished, Gave, Lost, Refused
from landsweep.orchestrator.run.executors.idleness import Idleness
from landsweep.orchestrator.run.executors.processes import Unseen
from landsweep.orchestrator.run.executors.ray.cluster import RayCluster
from landsweep.orchestrator.run.executors.ray.deaths import death_in_words, kernel_kills
from landsweep.orchestrator.run.executors.ray.gangs import end_actors, spawn_gang, why_ended
from landsweep.orchestrator.run.executors.ray.meter import Meter
from landsweep.orchestrator.run.executors.slots import Call, Slot
from landsweep.orchestrator.run.executors.streams import Pulled, Streamed, sending_interval
from landsweep.orchestrator.run.messages import Chunk, Message, Work, WorkerConfig
from landsweep.orchestrator.run.schedule import Shard
from landsweep.orchestrator.run.sharing import Sharing
from landsweep.orchestrator.site import Site

__all__ = ["RayExecutor"]

_IN_FLIGHT = 2  # per actor: the next shard waits there while one runs, so no actor idles between two
_MOST_START_FAILURES = 3  # in all, while no worker has opened the sweep yet: then the cause is the same for all
_MOST_SLOT_FAILURES = 10  # in a row at one slot, once others have shown that it works
_UNNOTICED = (
    "its process has ended, and Ray has not noticed: a process that the unit forked off keeps the connection open"
)
_GROW_SECONDS = 2.0  # how often to look whether the cluster can hold more workers


class RayExecutor(Executor):
    """Workers as actors of a Ray cluster: of one that runs already, or of our own.

    Args:
        site: address, number and size of workers, limits.
        cluster: where workers live; by default the one that the site names.
    """

    def __init__(self, site: Site, cluster: RayCluster | None = None) -> None:
        self._site = site
        self._config: WorkerConfig | None = None
        self._slots: dict[str, Slot] = {}
        self._numbers = itertools.count()
        self._shared: dict[str, dict[str, Any]] = {}
        self._grown = -math.inf
        self._alive = time.monotonic()  # when a worker was last ready
        self._last_failure = ""
        self._opened_once = False
        self._cluster = cluster or RayCluster(site)
        self._sharing, self._waiting = Sharing(), dict[int, int]()
        self._idleness, self._meter = Idleness(site.idle_seconds), Meter()
        self._kills = kernel_kills()

    def open(self, config: WorkerConfig) -> None:
        self._cluster.connect()
        interval = sending_interval(self._target())
        self._config = replace(config, flush_seconds=max(config.flush_seconds, interval))
        self._grow()

    def share(self, name: str, arrays: Arrays) -> None:
        self._shared[name] = {key: ray.put(array) for key, array in arrays.items()}
        for slot in self._slots.values():
            if slot.actor is not None:
                slot.actor.share.remote(name, self._shared[name])

    def free_workers(self) -> Sequence[str]:
        self._cluster.check()
        self._grow()
        ready = [slot for slot in self._slots.values() if slot.ready and not slot.leaving]
        now = time.monotonic()
        if ready and not self._too_small():
            self._alive = now
        elif now - self._alive > self._site.start_timeout:
            raise WorkersUnavailable(
                f"no worker {self._gang_text()}has been ready for {self._site.start_timeout:g} s. One worker needs "
                f"{self._cluster.wanted}; the cluster has {self._cluster.resources()}. {self._last_failure}".strip()
            )
        in_flight = 1 if self._cluster.client else _IN_FLIGHT
        most = {slot.id: in_flight if slot.devices == 1 else 1 for slot in ready}  # units of gangs are long
        return [s.id for calls in range(in_flight) for s in ready if len(s.calls) <= calls < most[s.id]]

    def expect(self, waiting: Mapping[int, int]) -> None:
        if waiting != self._waiting and len(waiting) > 1:
            self._grown = -math.inf  # other sizes may be wanted now
        self._waiting = dict(waiting)

    def devices(self, worker: str) -> int:
        return self._slots[worker].devices

    def _gang_text(self) -> str:
        sizes = [size for size, units in self._waiting.items() if units and size > 1]
        return f"of {min(sizes)} devices, as units take that wait, " if sizes else ""

    def _too_small(self) -> bool:
        """Whether nothing runs, and all units that wait take more devices than the cluster has."""
        sizes = [size for size, units in self._waiting.items() if units]
        idle = not any(slot.calls for slot in self._slots.values())
        return idle and min(sizes, default=1) > 1 and min(sizes) > self._target()

    def start(self, worker: str, work: Work) -> None:
        slot = self._slots[worker]
        if isinstance(work, Shard):
            self._sharing.started(slot.devices, self._waiting)
        now = time.monotonic()
        if not slot.calls:
            slot.heard = now
        if isinstance(work, Shard) and not slot.opened and slot.opening is None:
            slot.opening = slot.actor.open.remote()
        slot.calls.append(Call(work, began=now))
        self._send(slot)

    def _send(self, slot: Slot) -> None:
        """Send what waits, but nothing before the session is known to be open.

        A shard that was sent along with `open` could end its worker before the answer to `open` has left it: then
        nobody could say whether the shard had begun.
        """
        if slot.opening is not None:
            return
        for call in slot.calls:
            if call.stream is None:
                pulled = self._cluster.client
                call.stream = Pulled(slot.actor, call.work) if pulled else Streamed(slot.actor.run.remote(call.work))

    def poll(self, timeout: float) -> Sequence[Event]:
        waiting = {ref: slot for slot in self._slots.values() for ref in slot.awaited}
        if not waiting:
            time.sleep(min(timeout, 0.05))
            return self._left()
        ready, _ = ray.wait(list(waiting), num_returns=1, timeout=timeout)
        if ready and len(waiting) > 1:
            ready, _ = ray.wait(list(waiting), num_returns=len(waiting), timeout=0)
        events: list[Event] = []
        for ref in ready:
            events += self._answered(waiting[ref], ref)
        return events + self._overdue() + self._hung() + self._left()

    def _answered(self, slot: Slot, ref: Any) -> list[Event]:  # noqa: ANN401 - ray is untyped
        if slot.actor is None:  # its gang has ended since
            return []
        if ref in slot.attending:
            cause, why, error = why_ended(ref, slot.devices)
            lost = self._drop(slot, cause, why, error)
            return [Refused(event.work, error) for event in lost] if isinstance(error, NoRoom) else lost
        if slot.greeting is not None:
            return self._greeted(slot)
        return self._opened(slot) if slot.opening is not None else self._heard(slot)

    def stop(self, key: str) -> None:
        for slot in self._slots.values():
            if slot.ready:
                slot.actor.stop.remote(key)

    @property
    def workers(self) -> int:
        return sum(s.ready and not s.leaving for s in self._slots.values())

    def close(self) -> None:
        for slot in self._slots.values():
            if slot.actor is not None:
                end_actors(slot, self._cluster)
        self._slots.clear()
        self._shared.clear()
        self._cluster.close()

    def _target(self) -> int:
        """How many workers there should be."""
        return self._cluster.capacity() if self._site.workers == "auto" else self._site.workers

    def _places(self, target: int, staying: Sequence[Slot]) -> Mapping[int, int]:
        """How many workers of each size there should be; those that are too many leave."""
        have = Counter(slot.devices for slot in staying)
        if not have.keys() | self._waiting.keys() - {1}:
            return {1: target}
        busy = Counter(slot.devices for slot in staying if slot.calls)
        places = self._sharing.places(target, self._waiting, busy, have)
        for size, number in have.items():
            alike = sorted((s for s in staying if s.devices == size), key=lambda s: len(s.calls))
            for slot in alike[: max(0, number - places.get(size, 0))]:
                slot.yields = True
                slot.leave("its devices are needed by units of another size")
        return places

    def _grow(self) -> None:
        """Fill empty slots, and make new ones when the cluster has become larger."""
        now = time.monotonic()
        if now - self._grown < _GROW_SECONDS:
            return
        self._grown = now
        self._look_for_leaving()
        staying = [s for s in self._slots.values() if not s.leaving]
        usable = [s for s in staying if s.failures < _MOST_SLOT_FAILURES]
        failed = sum(s.failures for s in self._slots.values())
        if (failed >= _MOST_START_FAILURES and not self._opened_once) or (staying and not usable):
            raise WorkersUnavailable(
                f"workers fail as soon as they start, {failed} times so far:\n{self._last_failure}"
            )
        target = self._target()
        for size, number in self._places(target, staying).items():
            for _ in range(number - sum(s.devices == size and not s.leaving for s in staying)):
                slot = Slot(f"w{next(self._numbers)}", size)
                self._slots[slot.id] = slot
                usable.append(slot)
        usable = [s for s in usable if not s.leaving]
        room = target - sum(s.devices for s in self._slots.values() if s.actor and (s.yields or not s.leaving))
        for slot in [s for s in usable if s.actor is None]:
            if slot.devices <= room:
                room -= slot.devices
                self._spawn(slot)

    def _spawn(self, slot: Slot) -> None:
        if self._config is None:
            raise RuntimeError("the executor is not open")
        if slot.devices > 1:
            spawn_gang(slot, self._cluster, self._config, self._site.idle_seconds or self._site.start_timeout)
        else:
            slot.actor = self._cluster.spawn(slot.id, self._config)
        slot.greeting, slot.farewell = slot.actor.hello.remote(), slot.actor.farewell.remote()
        for name, refs in self._shared.items():
            slot.actor.share.remote(name, refs)

    def _greeted(self, slot: Slot) -> list[Event]:
        try:
            slot.node, slot.process = ray.get(slot.greeting)
        except failures.RayError as e:
            return self._drop(slot, Cause.infra, self._death(e), e)
        slot.greeting = None
        return []

    def _opened(self, slot: Slot) -> list[Event]:
        """The session is open, or could not be opened: that is nobody's fault but the worker's or the input's."""
        try:
            refused = ray.get(slot.opening)
        except failures.RayTaskError as e:
            return self._drop(slot, Cause.error, str(e))
        except failures.RayError as e:
            return self._drop(slot, Cause.infra, self._death(e), e)
        slot.opening = None
        if refused is not None:
            return [Refused(slot.calls[0].work.id, refused)]
        slot.opened, slot.failures, self._opened_once = True, 0, True
        slot.heard = slot.calls[0].began = time.monotonic()
        self._send(slot)
        return []

    def _heard(self, slot: Slot) -> list[Event]:
        """One step of the running work: a message, its end, or the worker's."""
        call = slot.calls[0]
        if call.stream is None:
            raise RuntimeError("only work that was sent can be heard")
        now = time.monotonic()
        try:
            message = ray.get(call.stream.take())
        except StopIteration:
            message = None
        except failures.RayTaskError as e:  # the work raised, the worker lives
            slot.next(now)
            return [Lost(call.work.id, Cause.error, str(e))]
        except failures.OutOfMemoryError as e:
            return self._drop(slot, Cause.oom, str(e))
        except failures.RayError as e:
            return self._drop(slot, Cause.infra, self._death(e), e)
        if message is None:
            slot.next(now)
            if call.refused is not None:
                return [Refused(call.work.id, call.refused)]
            return [Finished(call.work.id, now - call.began)]
        slot.heard = now
        return self._taken(slot, call, message)

    def _taken(self, slot: Slot, call: Call, message: Message | UsageError | DeviceFailed) -> list[Event]:
        """A message of the running work."""
        if isinstance(message, DeviceFailed):  # no further call would succeed there
            return self._drop(slot, Cause.infra, str(message))
        if isinstance(message, UsageError):
            call.refused = message
            return []
        if isinstance(message, Chunk) and message.broken:
            slot.leave("a unit that its gang computed has failed")
        return [Gave(call.work.id, message)]

    def _overdue(self) -> list[Event]:
        limit, now = self._site.unit_timeout, time.monotonic()
        events: list[Event] = []
        for slot in list(self._slots.values()):  # one that is leaving is deleted
            if slot.opening is not None and now - slot.heard > self._site.start_timeout:
                events += self._drop(slot, Cause.infra, f"the session did not open in {self._site.start_timeout:g} s")
            elif limit is None:
                continue
            elif slot.calls and slot.opened and isinstance(slot.calls[0].work, Shard) and now - slot.heard > limit:
                events += self._drop(slot, Cause.timeout, f"nothing was heard of the unit for {limit:g} s")
        return events

    def _hung(self) -> list[Event]:
        """End workers that are silent and use no processor time, whatever they do; an opening has its own limit."""
        if not self._idleness.turn(time.monotonic()):
            return []
        busy = {s.id: s for s in self._slots.values() if s.calls and s.ready and s.opening is None}
        signs = {id_: (s.calls[0].work.id, s.heard) for id_, s in busy.items()}
        questions = self._idleness.look(signs)
        asked = [(q, busy[q.worker]) for q in questions]
        self._meter.ask((q, slot.node, slot.process) for q, slot in asked if slot.process is not None)
        events: list[Event] = []
        for question, seconds in self._meter.answers():
            if idle := self._idleness.answer(question, None if isinstance(seconds, Unseen) else seconds):
                events += self._drop(busy[idle.worker], Cause.timeout, idle.text)
            elif seconds is Unseen.ENDED and signs.get(question.worker) == question.sign:
                slot = busy[question.worker]
                slot.ended += 1
                if slot.ended > 1:  # once it may be that Ray is about to say so
                    events += self._drop(slot, Cause.infra, _UNNOTICED)
        return events

    def _look_for_leaving(self) -> None:
        """Mark workers that were told to end, and those on nodes that are being drained."""
        staying = [s for s in self._slots.values() if s.farewell is not None and not s.leaving]
        farewells = {ref: s for s in staying for ref in (s.farewell, *s.farewells)}
        if farewells:
            ended, _ = ray.wait(list(farewells), num_returns=len(farewells), timeout=0)
            for ref in ended:
                slot = farewells[ref]
                if not self._bid_farewell(slot) and slot.ready and not slot.calls:
                    self._drop(slot, Cause.infra, "it died while it had nothing to do")
        draining = self._cluster.draining()
        for slot in self._slots.values():
            if slot.node in draining:
                slot.leave("its node is being drained")

    def _bid_farewell(self, slot: Slot) -> bool:
        """Whether a worker got a signal to end; it is then marked as leaving."""
        for farewell in (slot.farewell, *slot.farewells):
            with contextlib.suppress(failures.RayError):  # it died untold
                ray.get(farewell, timeout=0)
                slot.leave("it was told to end (SIGTERM)")
        return bool(slot.leaving)

    def _left(self) -> list[Event]:
        """Give up the places of leaving workers that run nothing now."""
        events: list[Event] = []
        for slot in [s for s in self._slots.values() if s.left and s.actor is not None]:
            events += self._drop(slot, Cause.infra, slot.leaving)
        return events

    def _announced(self, slot: Slot, error: BaseException | None) -> bool:
        """Whether a worker's end was announced, so that it is nobody's fault."""
        if slot.leaving or getattr(error, "preempted", False):
            return True
        return slot.farewell is not None and self._bid_farewell(slot)

    def _death(self, error: BaseException) -> str:
        return death_in_words(error, kernel_kills() - self._kills)

    def _drop(self, slot: Slot, cause: Cause, why: str, error: BaseException | None = None) -> list[Event]:
        """End a slot's actor, if it is not dead yet, and report its work lost."""
        announced = cause is Cause.infra and self._announced(slot, error)
        end_actors(slot, self._cluster)
        if not announced and not slot.opened and not (slot.calls and not isinstance(slot.calls[0].work, Shard)):
            slot.failures += 1
            self._last_failure = why
        opened = slot.opened
        events: list[Event] = []
        for place, call in enumerate(slot.vacate()):
            running = place == 0  # the others waited for it
            began = running and (opened or not isinstance(call.work, Shard))
            events.append(Lost(call.work.id, cause, why, began, announced))
        if slot.leaving:
            del self._slots[slot.id]
        self._grown = -math.inf  # replace it at once
        return events
