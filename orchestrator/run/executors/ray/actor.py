"""The actor: one worker in a process of its own."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

import ray

from landsweep.orchestrator.errors import DeviceFailed, NoRoom, UsageError
from landsweep.orchestrator.faults import cause_of, text_of
from landsweep.orchestrator.kind import Gang
from landsweep.orchestrator.row import Cause
from landsweep.orchestrator.run.executors.processes import ProcessId
from landsweep.orchestrator.run.executors.termination import Termination
from landsweep.orchestrator.run.messages import Message, Work, WorkerConfig
from landsweep.orchestrator.run.worker import Worker

__all__ = ["Actor"]

Ending: TypeAlias = UsageError | DeviceFailed  # as a value: it must arrive as what it is, not wrapped


@ray.remote(
    max_restarts=0, max_task_retries=0, concurrency_groups={"control": 1, "farewell": 1}, enable_task_events=False
)
class Actor:
    """A worker and its ways in: what it computes comes in order, `stop` and `farewell` at any time."""

    def __init__(self, config: WorkerConfig) -> None:
        device = "cuda:0" if ray.get_gpu_ids() else "cpu"  # Ray shows each actor only its own share
        self._termination = Termination()
        self._worker = Worker(config, device)

    def hello(self) -> tuple[str, ProcessId]:
        """Where it lives: node and process."""
        return str(ray.get_runtime_context().get_node_id()), ProcessId.me()

    @ray.method(concurrency_group="farewell")
    def farewell(self) -> None:
        self._termination.wait()

    def meet(self, size: int, timeout: float) -> Gang:
        """Become the first member of a gang; gives its place, from which the others know where they find it."""
        host = ray.util.get_node_ip_address()
        self._listener = socket.create_server((host, 0))
        first = Gang(0, size, host, self._listener.getsockname()[1], timeout, secrets.token_bytes())
        self._worker.join(replace(first, listener=self._listener.fileno()))
        return first

    def attend(self, rank: int, first: Gang) -> NoRoom | tuple[Cause, str] | None:
        """Be another member of a gang, until its first member has ended; gives what it could not go on for."""
        self._worker.join(replace(first, rank=rank))
        try:
            self._worker.assist()
        except NoRoom as e:
            return e
        except BaseException as e:  # noqa: BLE001 - the driver decides what it means, whatever it is
            return cause_of(e), f"member {rank} of {first.size}: {text_of(e, e.__traceback__)}"
        return None

    def share(self, name: str, refs: Mapping[str, Any]) -> None:
        self._worker.share(name, dict(zip(refs, ray.get(list(refs.values())), strict=True)))

    def open(self) -> UsageError | None:
        try:
            self._worker.open()
        except UsageError as e:  # as a value: it must arrive as what it is, not wrapped
            return e
        return None

    @ray.method(num_returns="streaming")
    def run(self, work: Work) -> Iterator[Message | Ending]:
        try:
            yield from self._worker.run(work)
        except (UsageError, DeviceFailed) as e:
            yield e

    def begin(self, work: Work) -> None:
        self._messages = self._worker.run(work)

    def pull(self) -> Message | Ending | None:
        """The next message of the work that was begun; None after the last."""
        try:
            return next(self._messages, None)
        except (UsageError, DeviceFailed) as e:
            return e

    @ray.method(concurrency_group="control")
    def stop(self, key: str) -> None:
        self._worker.stop(key)
