"""Whether anything listens at the address of a cluster: Ray itself tries for half a minute and more."""

from __future__ import annotations

import socket

from landsweep.orchestrator.addresses import parts_of
from landsweep.orchestrator.errors import Unreachable, UsageError
from landsweep.orchestrator.redaction import redacted

__all__ = ["check_listening"]


def check_listening(address: str) -> None:
    """Make sure that something listens at `host:port` or `ray://host:port`; other addresses are left to Ray.

    Raises:
        Unreachable: nothing does.
        UsageError: its port is none.
    """
    url = parts_of(address if "://" in address else f"ray://{address}")
    try:
        host, port = url.hostname, url.port
    except ValueError as e:
        raise UsageError(f"site: {redacted(address)} is no address: {e}") from e
    if host is None or port is None:
        return  # `auto`, or a name that only ray understands
    try:
        socket.create_connection((host, port), timeout=5).close()
    except OSError as e:
        raise Unreachable(f"site: nothing answers at {address}: {e}. Is the cluster up, is the port right?") from e
