"""Whose connection it is, for sockets of both families."""

from __future__ import annotations

import os
import socket
import sys

import pytest

from landsweep.orchestrator.ui.peers import user_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux says whose a connection is")


@pytest.mark.parametrize(
    ("family", "listens", "asks"),
    [
        (socket.AF_INET, "127.0.0.1", "127.0.0.1"),
        (socket.AF_INET, "0.0.0.0", "127.0.0.2"),
        (socket.AF_INET6, "::1", "::1"),
        (socket.AF_INET6, "::", "::1"),
        (socket.AF_INET6, "::", "127.0.0.1"),  # a client of IPv4 at a socket for both
    ],
)
def test_the_user_of_a_connection_within_this_machine(family: int, listens: str, asks: str) -> None:
    try:
        with socket.create_server((listens, 0), family=family) as listener:
            port = listener.getsockname()[1]
            with socket.create_connection((asks, port)), listener.accept()[0] as accepted:
                client, server = accepted.getpeername()[:2], accepted.getsockname()[:2]
                assert user_of(client, server) == os.getuid()
                assert user_of((client[0], client[1] ^ 1), server) is None
                assert user_of(("192.0.2.1", client[1]), server) is None
    except OSError:
        if family == socket.AF_INET6:
            pytest.skip("no IPv6 here")
        raise
