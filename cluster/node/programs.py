"""The programs that run on a cluster's nodes, as arguments of Python; `-P` keeps modules of the present folder out."""

from __future__ import annotations

__all__ = ["DRIVER", "MEMBER", "PROBE"]

DRIVER = ("-P", "-m", "landsweep.cluster.node.driver")
MEMBER = ("-P", "-m", "landsweep.cluster.node.member")
PROBE = ("-P", "-m", "landsweep.cluster.node.probe")
