"""A worker in this process, a shard for it, and the rows that come back."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from landsweep.orchestrator.run.messages import Chunk, Message, WorkerConfig
from landsweep.orchestrator.run.schedule import Shard
from landsweep.orchestrator.run.worker import Worker
from landsweep.orchestrator.unit import Unit

__all__ = ["rows", "shard", "worker_of"]


def worker_of(module: str, function: str, **fields: Any) -> Worker:
    """A worker for a function of a module; fields of its config or of its spec."""
    config = {name: fields.pop(name) for name in ("flush_seconds", "probe_seconds") if name in fields}
    spec = {"name": "w", "function": f"{module}:{function}", "axes": {"x": [0.0]}, **fields}
    return Worker(WorkerConfig("function", {"kind": "function", **spec}, **config))


def shard(n: int, *, probe: bool = False) -> Shard:
    """Units with x = 0, 1, ..., n - 1."""
    return Shard(1, tuple(Unit(f"{i:032x}", {"x": float(i)}) for i in range(n)), probe=probe)


def rows(messages: list[Message]) -> list[dict[str, Any]]:
    """All rows in the messages of a worker."""
    batches = [m.rows for m in messages if isinstance(m, Chunk) and m.rows is not None]
    return [row for batch in batches for row in pa.Table.from_batches([batch]).to_pylist()]
