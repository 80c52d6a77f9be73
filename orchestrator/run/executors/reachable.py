"""Whether anything listens at the address of a cluster: Ray itself tries for half a minute and more."""

from __future__ import annotations

import socket

from landsweep.orchestrator.addresses import parts_of
from landsweep.orchestrator.errors import Unreachable

__all__ = ["check_listening"]


def check_listening(address: str) -> None:
    """Make sure that something listens at `host:port` or `ray://host:port`; other addresses are left to Ray.

    Raises:
        Unreachable: nothing does.
    """
    url = parts_of(address if "://" in address else f"ray://{address}")
    if url.hostname is None or url.port is None:
        return  # `auto`, or a name that only ray understands
    try:
        socket.create_connection((url.hostname, url.port), timeout=5).close()
    except OSError as e:
        raise Unreachable(f"site: nothing answers at {address}: {e}. Is the cluster up, is the port right?") from e
