"""The namespace of process ids, which each container has of its own: equal ids in two of them are two processes."""

from __future__ import annotations

from pathlib import Path

__all__ = ["pid_namespace"]


def pid_namespace() -> str:
    """That of this process; empty where the system has none."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""
