"""Address and port of a Ray head on a node that other jobs and users share."""

from __future__ import annotations

import ipaddress
import os
import socket
import zlib
from collections.abc import Iterator

import psutil

from landsweep.orchestrator.errors import UsageError

__all__ = ["free_port", "own_address", "ports_of"]

_FIRST, _COUNT = 20_000, 12_000  # below the range from which Linux gives ports to clients


def ports_of(job: str) -> Iterator[int]:
    """Ports to try, in an order that differs from job to job, so that jobs of one node seldom try the same at once.

    Example:
        >>> first = [next(ports_of(job)) for job in ("1041", "1042", "1041")]
        >>> first[0] == first[2], first[0] == first[1], all(20_000 <= p < 32_000 for p in first)
        (True, False, True)
    """
    start = zlib.crc32(job.encode())
    return (_FIRST + (start + i * 97) % _COUNT for i in range(_COUNT))  # 97 and 12,000 share no factor


def free_port(job: str, address: str, skip: int = 0) -> int:
    """The first of the job's ports that nothing on this node holds.

    Args:
        job: id.
        address: of this node; the port is free there and at the wildcard address.
        skip: how many free ones to pass over: those at which a start has failed.

    Raises:
        UsageError: all of them are taken.
    """
    for port in ports_of(job):
        if all(_free(host, port) for host in {address, ""}):
            if skip == 0:
                return port
            skip -= 1
    raise UsageError(f"no port from {_FIRST} to {_FIRST + _COUNT - 1} is free on {socket.gethostname()}")


def _free(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def own_address(network: str | None = None) -> str:
    """The address at which other nodes reach this one.

    Args:
        network: name of an interface (`ib0`) or a range (`10.1.0.0/16`). Without it: the address by which the
            scheduler knows this node, else that of the host's name, else that of the default route.

    Raises:
        UsageError: this node has no address there.
    """
    addresses_of = {
        name: [a.address.partition("%")[0] for a in addresses if a.family in (socket.AF_INET, socket.AF_INET6)]
        for name, addresses in psutil.net_if_addrs().items()
    }
    every = [a for addresses in addresses_of.values() for a in addresses]
    if network is not None:
        address = next(iter(addresses_of.get(network) or _within(every, network)), None)
        if address is None:
            networks = ", ".join(f"{name} {addresses[0]}" for name, addresses in addresses_of.items() if addresses)
            raise UsageError(
                f"launcher.network {network}: {socket.gethostname()} has no address there; it has {networks}"
            )
        return address
    by_slurm = os.environ.get("SLURM_LAUNCH_NODE_IPADDR", "")  # the batch script runs on the same node as the head
    return next(a for a in (by_slurm, _named(), _routed(), "127.0.0.1") if a in every)


def _within(addresses: list[str], network: str) -> list[str]:
    try:
        span = ipaddress.ip_network(network)
    except ValueError:
        return []
    return [a for a in addresses if ipaddress.ip_address(a) in span]


def _named() -> str:
    """Of this host's name; some systems resolve their own name to a loopback address, which others can't reach."""
    try:
        address = socket.gethostbyname(socket.gethostname())
    except OSError:
        return ""
    return "" if ipaddress.ip_address(address).is_loopback else address


def _routed() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # a documentation address: nothing is sent, only the route is looked up
        except OSError:
            return ""
        return str(probe.getsockname()[0])
