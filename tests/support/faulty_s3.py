"""A way to an S3 server on which things go wrong: silence, errors, lost answers, conditions that are not honoured."""

from __future__ import annotations

import http.client
import http.server
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

__all__ = ["Fault", "Way", "faulty_way", "now_and_then"]

# A status that is answered instead; hidden (listed, but not there); hang; slow; drip-N (bytes per second); cut;
# done-cut; done-500; unconditional; or "" for none.
Fault = str
Choose = Callable[[str, str, bool], Fault]  # of method, path, and whether the request has a condition
_CODES = {
    404: "NoSuchKey",
    403: "RequestTimeTooSkewed",
    409: "ConditionalRequestConflict",
    500: "InternalError",
    501: "NotImplemented",
    503: "SlowDown",
}


@dataclass
class Way:
    """What leads to the server.

    Attributes:
        endpoint: of the proxy.
        choose: what goes wrong with a request.
        met: how often each fault was met, by method and fault.
    """

    endpoint: str
    choose: Choose = lambda method, path, condition: ""
    met: Counter[tuple[str, Fault]] = field(default_factory=Counter)

    @property
    def faults(self) -> int:
        return self.met.total() - sum(n for (_, fault), n in self.met.items() if not fault)


def now_and_then(share: float, faults: tuple[Fault, ...], seed: int) -> Choose:
    """Each request meets one of the faults with this probability."""
    chance = random.Random(seed)
    return lambda method, path, condition: chance.choice(faults) if chance.random() < share else ""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    way: Way
    server_at: tuple[str, int]
    ended: threading.Event

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self._fault()
        self.way.met[self.command, fault] += 1
        if fault == "hang":
            self.ended.wait(120)
        if fault in ("hang", "cut"):
            return self._cut()
        if fault == "slow":
            time.sleep(0.3)
        if fault.isdigit():
            return self._answer(int(fault), {}, _error(int(fault)))
        status, headers, answer = self._carry(body, fault == "unconditional")
        if fault == "done-cut":
            return self._cut()
        if fault == "half":  # the connection ends in the middle of the answer
            self._answer(status, headers, answer, len(answer) // 2)
            return self._cut()
        if fault.startswith("done-"):
            code = int(fault.removeprefix("done-"))
            return self._answer(code, {}, _error(code))
        if fault.startswith("drip-"):
            return self._answer(status, headers, answer, pace=int(fault.removeprefix("drip-")))
        return self._answer(status, headers, answer)

    do_PUT = do_POST = do_DELETE = do_HEAD = do_GET  # noqa: N815 - the names that the library wants

    def _fault(self) -> Fault:
        condition = "If-None-Match" in self.headers
        fault = self.way.choose(self.command, self.path, condition)
        if fault in ("409", "done-409", "501", "unconditional") and not condition:
            return ""
        if fault == "hidden":
            return "404" if self.command == "GET" and "list-type" not in self.path else ""
        return fault

    def _carry(self, body: bytes, unconditional: bool) -> tuple[int, dict[str, str], bytes]:
        headers = {k: v for k, v in self.headers.items() if not (unconditional and k.lower() == "if-none-match")}
        connection = http.client.HTTPConnection(*self.server_at, timeout=60)
        connection.request(self.command, self.path, body, headers)
        with connection.getresponse() as response:
            told = {k: v for k, v in response.getheaders() if k.lower() not in ("transfer-encoding", "connection")}
            answer = response.read()
        connection.close()
        return response.status, told, answer

    def _answer(
        self, status: int, headers: dict[str, str], body: bytes, most: int | None = None, pace: int = 0
    ) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in ("server", "date", "content-length"):
                self.send_header(name, value)
        length = headers.get("Content-Length", len(body)) if self.command == "HEAD" else len(body)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        body = b"" if self.command == "HEAD" else body[:most]
        piece = pace or max(1, len(body))
        for at in range(0, len(body), piece):
            self.wfile.write(body[at : at + piece])
            self.ended.wait(1.0 if pace else 0.0)

    def _cut(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: object) -> None:
        pass


def _error(status: int) -> bytes:
    code = _CODES.get(status, "Error")
    return f"<?xml version='1.0'?>\n<Error><Code>{code}</Code><Message>on purpose</Message></Error>".encode()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that has gone is no matter."""


@contextmanager
def faulty_way(endpoint: str) -> Iterator[Way]:
    """Begin to listen; with no fault chosen, all requests are carried out."""
    host, port = endpoint.removeprefix("http://").split(":")
    ended = threading.Event()
    way = Way("")
    handler = type("Handler", (_Handler,), {"way": way, "server_at": (host, int(port)), "ended": ended})
    server = _Server(("127.0.0.1", 0), handler)
    way.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield way
    finally:
        ended.set()
        server.shutdown()
        server.server_close()
        thread.join()
