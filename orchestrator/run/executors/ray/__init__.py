"""Persistent Ray actors, each one worker. The only folder that imports ray."""

from landsweep.orchestrator.run.executors.ray.cluster import RayCluster
from landsweep.orchestrator.run.executors.ray.pool import RayExecutor

__all__ = ["RayCluster", "RayExecutor"]
