"""Who gets an answer: whoever has the token, asks under a name of this server, and comes from no other site.

A page of another site can make a browser ask any address, also on loopback. It is stopped three times: its requests
carry no cookie (SameSite=Strict), they say where they come from (Origin, Sec-Fetch-Site), and a name of its own that it
points at this machine (DNS rebinding) is no name of this server. Servers on other ports of this host name do get the
cookie from a browser that opens them; it counts for the user of the machine alone to whom it was given.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import os
import re
import secrets
import socket
from collections.abc import Iterable
from urllib.parse import parse_qsl, quote, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from landsweep.orchestrator.ui.peers import user_of

__all__ = ["Guard", "names_of"]

TOKEN = "token"
_ANSWERS = "/api/"  # where pages ask; a link leads to a page
_HOST = re.compile(
    r"(?:\[([^\[\]]*)\]|([^:\[\]@]*))(?::[0-9]*)?"
)  # an address of IPv6 in brackets, or a name, and a port
_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
_ASK = "This page needs the token: open the address that `landsweep ui` has printed."
_AGAIN = '<!doctype html><meta http-equiv="refresh" content="0"><title>landsweep</title>'


class Guard:
    """Lets requests through to an application, or refuses them; adds the headers that tie a browser down.

    Args:
        app: the application.
        token: lets its holder in, once as `?token=...`, from then on as a cookie.
        names: host names of this server; addresses by number are always let through, since no name leads to them.
        cookie: name of the cookie; servers on other ports of a machine get each other's.
        ticket: lets this user in, once, in place of the token: what a browser is started with, all users can read.
    """

    def __init__(self, app: ASGIApp, token: str, names: Iterable[str], cookie: str, ticket: str | None = None) -> None:
        self._app = app
        self._token, self._ticket = token, ticket
        self._secret = secrets.token_bytes(32)
        self._names = {name.lower() for name in names}
        self._cookie = cookie

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                headers.setdefault("cache-control", "no-store")
            await send(message)

        answer = self._answer(scope)
        await (self._app if answer is None else answer)(scope, receive, guarded)

    def _answer(self, scope: Scope) -> Response | None:
        """What is answered here; None: the application answers."""
        headers = Headers(scope=scope)
        if scope["method"] not in ("GET", "HEAD"):
            return PlainTextResponse("This server changes nothing: it answers GET alone.", 405)
        if not self._is_own(headers.get("host", "")):
            return PlainTextResponse("This server has another name; use the address that it has printed.", 403)
        if refused := self._from_elsewhere(scope, headers):
            return refused
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        given = [value for name, value in query if name == TOKEN]
        if given:
            enters = self._may_enter(scope, given[0]) or self._has_cookie(scope, headers)
            return self._let_in(scope, query) if enters else PlainTextResponse(_ASK, 401)
        if self._has_cookie(scope, headers):
            return None
        if headers.get("sec-fetch-site") in ("cross-site", "same-site") and headers.get("sec-fetch-mode") == "navigate":
            return HTMLResponse(_AGAIN)  # a link in a chat or a mail: asked by this page, the cookie comes along
        return PlainTextResponse(_ASK, 401)

    def _may_enter(self, scope: Scope, given: str) -> bool:
        if _equal(given, self._token):
            return True
        if self._ticket is None or not _equal(given, self._ticket) or _user(scope) not in (None, os.getuid()):
            return False
        self._ticket = None
        return True

    def _let_in(self, scope: Scope, query: list[tuple[str, str]]) -> Response:
        """The same address without the token, which should stand in no history and no link."""
        rest = urlencode([(name, value) for name, value in query if name != TOKEN])
        path = "/" + quote(scope["path"].lstrip("/\\"))
        response = Response(status_code=303, headers={"location": f"{path}?{rest}" if rest else path})
        response.set_cookie(self._cookie, self._session(scope), httponly=True, samesite="strict", path="/")
        return response

    def _has_cookie(self, scope: Scope, headers: Headers) -> bool:
        cookies = cookie_parser(headers.get("cookie", ""))
        return _equal(cookies.get(self._cookie, ""), self._session(scope))

    def _session(self, scope: Scope) -> str:
        """The value of the cookie for the user who asks."""
        return hmac.new(self._secret, str(_user(scope)).encode(), hashlib.sha256).hexdigest()

    def _is_own(self, host: str) -> bool:
        name = _host_name(host)
        if name.lower() in self._names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def _from_elsewhere(self, scope: Scope, headers: Headers) -> Response | None:
        """Refuses what a page of another site asks for, unless its user follows a link to a page."""
        origin, site = headers.get("origin"), headers.get("sec-fetch-site", "none")
        own = f"{scope['scheme']}://{headers.get('host', '')}"
        follows = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
        follows &= not scope["path"].startswith(_ANSWERS)
        if (origin is not None and origin != own) or (site not in ("same-origin", "none") and not follows):
            return PlainTextResponse("Pages of other sites get no answer.", 403)
        return None


def names_of(host: str) -> list[str]:
    """Host names under which a server that listens on this address may be asked."""
    names = ["localhost", host]
    try:
        if not ipaddress.ip_address(host).is_loopback:
            names += [socket.gethostname(), socket.getfqdn()]
    except ValueError:
        pass
    return names


def _user(scope: Scope) -> int | None:
    """Number of the user of this machine who asks, as far as the system says."""
    client, server = scope.get("client"), scope.get("server")
    return user_of(client, server) if client and server else None


def _host_name(host: str) -> str:
    """A `Host` header without its port; empty where it has another form."""
    match = _HOST.fullmatch(host)
    return (match[1] or match[2] or "") if match else ""


def _equal(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode("utf-8", "replace"), other.encode())
