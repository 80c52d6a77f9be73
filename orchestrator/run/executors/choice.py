"""Which executor computes."""

from __future__ import annotations

from landsweep.orchestrator.run.executors.base import Executor
from landsweep.orchestrator.site import Site

__all__ = ["make_executor"]


def make_executor(site: Site) -> Executor:
    """The executor that a site asks for; only then is its library imported."""
    if site.executor == "local":
        from landsweep.orchestrator.run.executors.local import LocalExecutor

        return LocalExecutor(site)
    from landsweep.orchestrator.run.executors.ray import RayExecutor

    return RayExecutor(site)
