"""Which user of this machine is at the other end of a connection.

Browsers send a cookie to every port of a host name. On a machine of several users, whoever makes one open a port of
theirs gets its cookies; so a cookie counts for the user alone to whom it was given.
"""

from __future__ import annotations

import ipaddress
import socket
import sys
from pathlib import Path
from typing import TypeAlias

__all__ = ["Address", "user_of"]

Address: TypeAlias = tuple[str, int]
_TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_LOCAL, _REMOTE, _USER = 1, 2, 7  # columns


def user_of(client: Address, server: Address) -> int | None:
    """Number of the user who owns the client's end of a connection.

    Args:
        client: address and port of that end.
        server: address and port of this one.

    Returns:
        None where the client is on another machine, or the system does not say: systems other than Linux.
    """
    forms = {(_written(client, mapped=m), _written(server, mapped=m)) for m in (False, True)}
    for table in _TABLES:
        try:
            lines = table.read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if (fields[_LOCAL], fields[_REMOTE]) in forms:
                return int(fields[_USER])
    return None


def _written(address: Address, *, mapped: bool) -> str:
    """An address and port as the kernel writes them: words of 32 bits in the machine's order of bytes.

    Args:
        address: of IPv4 or IPv6.
        mapped: write one of IPv4 as one of IPv6, as sockets for both have it.
    """
    host, port = address
    number = ipaddress.ip_address(host.partition("%")[0])
    plain = (number.ipv4_mapped or number) if isinstance(number, ipaddress.IPv6Address) else number
    packed = plain.packed
    if mapped and plain.version == 4:
        packed = socket.inet_pton(socket.AF_INET6, f"::ffff:{plain}")
    words = [int.from_bytes(packed[i : i + 4], sys.byteorder) for i in range(0, len(packed), 4)]
    return "".join(f"{word:08X}" for word in words) + f":{port:04X}"
