"""Gangs as actors of one placement group: of one slot the first is spoken to, and the others assist it."""

from __future__ import annotations

from typing import Any

import ray
from ray import exceptions as failures

from landsweep.orchestrator.row import Cause
from landsweep.orchestrator.run.executors.ray.cluster import RayCluster
from landsweep.orchestrator.run.executors.ray.deaths import death_in_words
from landsweep.orchestrator.run.executors.slots import Slot
from landsweep.orchestrator.run.messages import WorkerConfig

__all__ = ["end_actors", "spawn_gang", "why_ended"]


def spawn_gang(slot: Slot, cluster: RayCluster, config: WorkerConfig, timeout: float) -> None:
    """Bring up a gang in an empty slot; returns before its members have started.

    Args:
        slot: for as many devices as there are members.
        cluster: where they live.
        config: what they compute.
        timeout: they give up waiting for each other after this long, s.
    """
    size = slot.devices
    slot.group = cluster.group(size)
    slot.actor, *slot.others = (cluster.member(slot.group, place, config) for place in range(size))
    first = slot.actor.meet.remote(size, timeout)
    slot.attending = [m.attend.remote(rank, first) for rank, m in enumerate(slot.others, start=1)]
    slot.farewells = [m.farewell.remote() for m in slot.others]


def end_actors(slot: Slot, cluster: RayCluster) -> None:
    """End what lives in a slot, as far as it is not dead yet, and give back its devices."""
    for actor in (slot.actor, *slot.others):
        cluster.kill(actor)
    cluster.give_back(slot.group)


def why_ended(ref: Any, size: int) -> tuple[Cause, str, BaseException | None]:  # noqa: ANN401 - ray is untyped
    """Why a member has ended, and with it the gang.

    Args:
        ref: that of `Slot.attending` which has become ready.
        size: of the gang.

    Returns:
        The cause, in words, and the error: what Ray raised, or `NoRoom` where this member could not write.
    """
    who = f"a member of a gang of {size}"
    try:
        said = ray.get(ref)
    except failures.OutOfMemoryError as e:
        return Cause.oom, f"{who}: {e}", None
    except failures.RayError as e:
        return Cause.infra, f"{who} has died: {death_in_words(e)}", e
    if isinstance(said, tuple):
        return *said, None
    return Cause.infra, f"{who} has ended", said
