"""The process: a socket, a token, and the address that is printed."""

from __future__ import annotations

import errno
import ipaddress
import secrets
import socket
import webbrowser
from collections.abc import Sequence

from landsweep.orchestrator.console import err, out
from landsweep.orchestrator.errors import UsageError
from landsweep.orchestrator.trust import start_reading
from landsweep.orchestrator.ui.places import Places

__all__ = ["serve"]


def serve(named: Sequence[str], host: str, port: int, *, open_browser: bool = False) -> None:
    """Answer requests until the process is interrupted.

    Args:
        named: results folders, folders that hold some, or URLs of sweeps.
        host: address to listen on.
        port: to listen on; 0 for any free one.
        open_browser: open one at the address too.

    Raises:
        UsageError: a folder is not there, or the port is taken.
    """
    places = Places(named)
    listener = _listener(host, port)
    port = listener.getsockname()[1]
    token = secrets.token_urlsafe(24)
    shown = "localhost" if ipaddress.ip_address(listener.getsockname()[0]).is_unspecified else host
    address = f"http://[{shown}]:{port}/" if ":" in shown else f"http://{shown}:{port}/"
    out.print(f"{address}?token={token}")
    _say(places, host, listener.getsockname()[0])
    ticket = secrets.token_urlsafe(24) if open_browser else None
    if ticket is not None:
        webbrowser.open(f"{address}?token={ticket}")
    start_reading("the web page")  # whatever these folders name, nothing of it is imported
    _answer(places, listener, token, host, ticket)


def _answer(places: Places, listener: socket.socket, token: str, host: str, ticket: str | None) -> None:
    from landsweep.orchestrator.ui.tables import Tables  # here: the address is there at once

    tables = Tables()
    tables.read_ahead(places)  # before all else is imported: rows are read in another thread meanwhile

    import uvicorn

    from landsweep.orchestrator.ui.app import application
    from landsweep.orchestrator.ui.guard import Guard, names_of

    cookie = f"landsweep-{listener.getsockname()[1]}"
    guard = Guard(application(places, tables), token, names_of(host), cookie, ticket)
    config = uvicorn.Config(
        guard, log_level="warning", access_log=False, server_header=False, ws="none", lifespan="off",
        timeout_graceful_shutdown=2, proxy_headers=False,  # who asks is known from the connection, not from a header
    )  # fmt: skip
    with listener:
        try:
            uvicorn.Server(config).run(sockets=[listener])
        except KeyboardInterrupt:
            err.print("ended")


def _say(places: Places, host: str, address: str) -> None:
    count = len(places.all())
    sweeps = f"{count:,} sweeps" if count != 1 else "1 sweep"
    err.print(f"{sweeps} in {', '.join(places.named)}; Ctrl-C ends this. Whoever has the address can see them.")
    if not ipaddress.ip_address(address).is_loopback:
        err.print(
            f"warning: {host} can be reached from other machines, and what is sent is not encrypted. To see results of "
            "another machine, leave --host out there and forward the port: ssh -L PORT:127.0.0.1:PORT MACHINE"
        )


def _listener(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        UsageError: it can't, and why.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except socket.gaierror as e:
        raise UsageError(f"--host {host}: {e.strerror}; give an address of this machine") from e
    except OSError as e:
        if e.errno == errno.EADDRINUSE:
            reason = f"port {port} is taken, perhaps by another `landsweep ui`"
        elif e.errno == errno.EACCES:
            reason = f"port {port} needs rights that you do not have"
        else:
            raise UsageError(f"--host {host}: {e.strerror}; give an address of this machine") from e
        raise UsageError(f"{reason}; give another with --port, or --port 0 for any free one") from e
    return listener
