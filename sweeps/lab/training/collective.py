"""The processes that train one model together: how they find each other, and what they tell each other.

All of them run the same training, each on its part of every batch, so each comes to every exchange in the same order.
What depends on time or on messages from outside is decided by the first one alone, and told to the others.

The store and Gloo take whoever finds their ports for a member, and what members tell each other names code to run. So
each message is signed with a secret that only members have, and read once its signature is right.
"""

from __future__ import annotations

import contextlib
import hmac
import io
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, Self

import psutil
import torch
import torch.distributed as dist
from torch._C._distributed_c10d import PrefixStore, Store, TCPStore

from landsweep.orchestrator.errors import GangBroken
from landsweep.orchestrator.kind import Gang

__all__ = ["Collective", "passing", "together"]

_JOINED: dict[Gang, Collective] = {}  # at most one
_NOTES = 0.02  # seconds between looks for words of other members
_SIGNATURE = 32  # bytes
_TURN = timedelta(seconds=20)  # of waiting for the next task, after which the first member is looked for again


class Collective:
    """One member's end of the process group; there is at most one in a process.

    Args:
        store: at the first member.
        rank: of this member.
        size: how many there are.
        device: of this member.
        secret: which all members have.
        timeout: of waiting for another one, s.
    """

    def __init__(self, store: Store, rank: int, size: int, device: str, secret: bytes, timeout: float) -> None:
        self.rank, self.size, self._store = rank, size, store
        self._secret, self._timeout = secret, timeout
        self._device = torch.device(device)
        self._tasks = self._messages = 0

    @classmethod
    def of(cls, gang: Gang, device: str) -> Collective:
        """That of this process; the first time it finds the others, and returns when all are there.

        NCCL on GPUs, Gloo on CPUs.

        Raises:
            GangBroken: some did not come in time.
        """
        if gang not in _JOINED:
            _JOINED[gang] = cls._join(gang, device)
        return _JOINED[gang]

    @classmethod
    def _join(cls, gang: Gang, device: str) -> Self:
        timeout = timedelta(seconds=gang.timeout)
        cuda = device.startswith("cuda")
        _keep_to(gang.host)
        with together():
            if cuda:
                torch.cuda.set_device(device)
            listener = None if gang.rank else gang.listener
            store = TCPStore(gang.host, gang.port, gang.size, gang.rank == 0, timeout, master_listen_fd=listener)
            dist.init_process_group(
                "nccl" if cuda else "gloo", store=store, rank=gang.rank, world_size=gang.size, timeout=timeout
            )
            dist.barrier()
        return cls(PrefixStore("tasks", store), gang.rank, gang.size, device, gang.secret, gang.timeout)

    def tell_task(self, task: Mapping[str, Any]) -> None:
        """Give the others their next task; of the first member."""
        message = self._signed(json.dumps(task).encode(), f"task {self._tasks}")
        with together():
            self._store.set(f"{self._tasks}", message)  # type: ignore[arg-type]  # it takes bytes, too
        self._tasks += 1

    def next_task(self) -> dict[str, Any]:
        """The next task, whenever it comes; of all others.

        Raises:
            GangBroken: the first member has ended.
        """
        key = f"{self._tasks}"
        with together():
            while True:
                try:
                    self._store.wait([key], _TURN)
                    break
                except dist.DistStoreError as e:  # nothing yet; any other error says that the first member is gone
                    if "imeout" not in str(e) and "imed out" not in str(e):
                        raise
            message = self._store.get(key)
        task: dict[str, Any] = json.loads(self._verified(message, f"task {self._tasks}"))
        self._tasks += 1
        return task

    def note(self, word: str) -> None:
        """Leave a word for the first member; from any thread."""
        with together():
            self._store.set(f"note/{word}", self._signed(b"", word))  # type: ignore[arg-type]  # as above

    def await_notes(self, words: Sequence[str]) -> None:
        """Wait until all of these words have been left, and forget them; of the first member, in any thread.

        Raises:
            GangBroken: one does not come in time.
        """
        keys, end = [f"note/{word}" for word in words], time.monotonic() + self._timeout
        while True:
            with together():
                if self._store.check(keys):
                    break
            if time.monotonic() > end:
                raise GangBroken(f"a member of a gang did not write its part of a state within {self._timeout:g} s")
            time.sleep(_NOTES)  # not `wait`, which would keep other threads from the store
        for word, key in zip(words, keys, strict=True):
            self._verified(self._store.get(key), word)
            self._store.delete_key(key)

    def same(self, value: Any = None) -> Any:  # noqa: ANN401 - as below
        """The first member's value, which all get; of the others none is asked.

        Args:
            value: tensors, plain values, and containers of them. Tensors arrive on the CPU.
        """
        return self._told(value, 0)

    def settle(self, problem: tuple[bool, str] | None) -> tuple[bool, str] | None:
        """A problem of any member, so that all of them know of it; the first member's own comes first.

        Args:
            problem: of this member: whether it is that it can't read the data, and in words.
        """
        return next((p for p in self.each(problem) if p is not None), None)

    def each(self, value: Any) -> list[Any]:  # noqa: ANN401 - as of `same`
        """The value of each member, in their order."""
        return [self._told(value, rank) for rank in range(self.size)]

    def agree(self, flag: bool) -> bool:
        """The first member's flag."""
        tensor = torch.tensor([flag], dtype=torch.uint8, device=self._device)
        with together():
            dist.broadcast(tensor, src=0)
        return bool(tensor.item())

    def _told(self, value: Any, source: int) -> Any:  # noqa: ANN401 - what `torch.save` takes
        """A value of one member, which all others get."""
        place = f"message {self._messages} of {source}"
        self._messages += 1
        file = io.BytesIO()
        if self.rank == source:
            torch.save(value, file)
        message = bytearray(self._signed(file.getvalue(), place))
        length = torch.tensor([len(message)], device=self._device)
        with together():
            dist.broadcast(length, source)
            if self.rank == source:
                content = torch.frombuffer(message, dtype=torch.uint8).to(self._device)
            else:
                content = torch.empty(int(length), dtype=torch.uint8, device=self._device)
            dist.broadcast(content, source)
        if self.rank == source:
            return value
        body = self._verified(content.cpu().numpy().tobytes(), place)
        return torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)

    def _signed(self, body: bytes, place: str) -> bytes:
        """A message for this place in the course of all messages."""
        return hmac.digest(self._secret, place.encode() + b"\0" + body, "sha256") + body

    def _verified(self, message: bytes, place: str) -> bytes:
        """What a message says.

        Raises:
            GangBroken: no member has written it for this place.
        """
        body = message[_SIGNATURE:]
        if not hmac.compare_digest(message, self._signed(body, place)):
            raise GangBroken(f"no member of this gang of {self.size} wrote {place}: another program is among them")
        return body


@contextlib.contextmanager
def together() -> Iterator[None]:
    """Around an exchange with the other members: if one is gone or silent, that is said as such.

    Raises:
        GangBroken: so it is.
    """
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, ConnectionError) as e:  # Gloo raises plain RuntimeErrors
        raise _broken(e) from e


@contextlib.contextmanager
def passing() -> Iterator[None]:
    """Around a pass of a network in which there are exchanges: other errors are the network's own.

    Raises:
        GangBroken: a member is gone or silent.
    """
    try:
        yield
    except (RuntimeError, ConnectionError) as e:
        if not _of_an_exchange(e):
            raise
        raise _broken(e) from e


def _of_an_exchange(error: RuntimeError | ConnectionError) -> bool:
    """Whether it says that a member is gone or silent: torch has types for NCCL's errors, and no type for Gloo's."""
    if isinstance(error, dist.DistError | ConnectionError):
        return True
    return any(word in str(error) for word in ("/gloo/", "caused pair closure"))


def _broken(error: Exception) -> GangBroken:
    first = str(error).strip().splitlines() or [type(error).__name__]
    return GangBroken(f"the members of a gang have lost each other: {first[0]}")


def _keep_to(host: str) -> None:
    """Have the members of one machine talk over its loopback interface alone, unless the user has said otherwise."""
    interfaces = psutil.net_if_addrs().items()
    for name, addresses in interfaces:
        if host.startswith("127.") and any(a.address == host for a in addresses):
            for variable in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
                os.environ.setdefault(variable, name)
