"""The Ray that workers live in: how many of them it holds, and the actors that are brought up on it."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Container
from typing import Any

import ray
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from landsweep.orchestrator.errors import ClusterLost, SpecError
from landsweep.orchestrator.run.executors.ray.actor import Actor
from landsweep.orchestrator.run.executors.ray.connection import Connection
from landsweep.orchestrator.run.freed_memory import KEEP_FREED_MEMORY
from landsweep.orchestrator.run.messages import WorkerConfig
from landsweep.orchestrator.site import Site

__all__ = ["RayCluster"]


class RayCluster:
    """A Ray that runs already, or one of our own.

    Args:
        site: its address, and the size of one worker.

    Attributes:
        client: whether it is joined by Ray Client (`ray://`), which has no streaming methods.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self._connection = Connection(site)
        self.client = self._connection.client

    def connect(self) -> None:
        """Connect, unless that was done before.

        Raises:
            Unreachable: there is no such cluster, or no Ray could be started.
            SpecError: `runtime_env` is none, or a Ray of our own could not hold one worker.
        """
        self._connection.open()
        if self._site.address == "local" and self.capacity() < 1:
            have = {k: v for k, v in self.resources().items() if "node" not in k}
            raise SpecError(f"site: one worker needs {self.wanted}, but this machine has {have}; ask for less")

    def check(self) -> None:
        """Make sure that the Ray lives, our own or one that was joined.

        Raises:
            ClusterLost: it has died, or can't be reached.
        """
        self._connection.check()

    @property
    def wanted(self) -> dict[str, float]:
        """What one worker takes, by the names of Ray's resources."""
        memory = {} if self._site.memory_gb is None else {"memory": self._site.memory_gb * 1e9}
        wanted = {"CPU": self._site.cpus, "GPU": self._site.gpus, **memory, **self._site.resources}
        return {name: amount for name, amount in wanted.items() if amount}

    def resources(self) -> dict[str, float]:
        """What it has, by the names of Ray's resources."""
        self._connection.open()
        have: dict[str, float] = self._connection.ask(ray.cluster_resources)
        return have

    def capacity(self) -> int:
        """How many workers it can hold as it is now."""
        have = self.resources()
        return min((math.floor(have.get(n, 0) / amount + 1e-9) for n, amount in self.wanted.items()), default=1)

    def held(self) -> dict[str, float]:
        """What is in use on it, by whomever."""
        have, free = self.resources(), self._connection.ask(ray.available_resources)
        return {name: n - free.get(name, 0) for name, n in have.items() if "memory" not in name}

    def draining(self) -> Container[str]:
        """Ids of nodes that are being drained; Ray has no public interface for it, and Ray Client has none at all."""
        if self.client:
            return ()
        nodes: Container[str] = self._connection.ask(ray._private.state.state.get_draining_nodes)
        return nodes

    def spawn(self, worker: str, config: WorkerConfig) -> Any:  # noqa: ANN401 - handles of actors are untyped
        """A new actor for a worker; returns before it has started.

        Args:
            worker: its id.
            config: what it computes.
        """
        del worker
        return self._actor(config)

    def group(self, size: int) -> Any:  # noqa: ANN401
        """A placement group for a gang: room for this many workers, on one node as far as that is possible."""
        wanted = self.wanted
        bundle = {**wanted, "CPU": wanted.get("CPU", 0)}
        return self._connection.ask(lambda: ray.util.placement_group([bundle] * size, strategy="PACK"))

    def member(self, group: Any, place: int, config: WorkerConfig) -> Any:  # noqa: ANN401
        """A new actor in a placement group; returns before it has started."""
        return self._actor(config, scheduling_strategy=PlacementGroupSchedulingStrategy(group, place))

    def _actor(self, config: WorkerConfig, **more: Any) -> Any:  # noqa: ANN401
        env = self._connection.actor_env({"OMP_NUM_THREADS": str(config.threads), **KEEP_FREED_MEMORY})
        memory = {} if self._site.memory_gb is None else {"memory": self._site.memory_gb * 1e9}
        return Actor.options(  # type: ignore[attr-defined] # added by ray.remote
            num_cpus=self._site.cpus,
            num_gpus=self._site.gpus,
            resources=dict(self._site.resources),
            runtime_env=env,
            **memory,
            **more,
        ).remote(config)

    def kill(self, actor: Any) -> None:  # noqa: ANN401
        """End an actor, if it is not dead yet."""
        if not self._connection.lost:
            ray.kill(actor)

    def give_back(self, group: Any) -> None:  # noqa: ANN401
        """Remove a placement group."""
        if group is not None and not self._connection.lost:
            with contextlib.suppress(ClusterLost):  # there is nothing to give back; the next `check` says it
                self._connection.ask(lambda: ray.util.remove_placement_group(group))

    def close(self) -> None:
        """End a Ray of our own; a cluster that was joined is left."""
        self._connection.close()
