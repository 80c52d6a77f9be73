"""A launch, and the launchers of sites."""

from __future__ import annotations

from typing import Any

from landsweep.cluster.launch import Launch
from landsweep.cluster.launchers.launcher import Launcher
from landsweep.orchestrator.site import Site, launcher_type


def launch(**changes: Any) -> Launch:
    base: dict[str, Any] = {
        "name": "example",
        "out": "/shared/results/example",
        "home": "/shared/results/example/jobs/0001",
        "number": 1,
        "kind": "function",
        "spec": {"kind": "function", "name": "example"},
        "folder": "/shared",
        "cwd": "/shared",
        "site": {"cpus": 1},
        "command": "landsweep submit example.yaml",
        "versions": {"python": "3.11.7", "ray": "2.60.0", "landsweep": "0.1.0"},
    }
    return Launch(**{**base, **changes})


def launcher(site: Site) -> Launcher[Any]:
    assert site.launcher is not None
    made: Launcher[Any] = launcher_type(site.launcher.type, "test")(site.launcher)
    return made
