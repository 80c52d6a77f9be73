"""Persistent Ray actors, each one worker. The only folder that imports ray."""

from orchestrator.executors.ray.cluster import RayCluster
from orchestrator.executors.ray.pool import RayExecutor

__all__ = ["RayCluster", "RayExecutor"]
