"""A real MLflow server, and one that goes bad."""

from __future__ import annotations

import contextlib
import http.server
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

__all__ = ["bad_server", "free_port", "server"]

_ASKED = "/api/2.0/mlflow/experiments/search?max_results=1"


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@contextlib.contextmanager
def server(folder: Path) -> Iterator[str]:
    """A real `mlflow server` with one worker; its whole process group is ended afterwards."""
    port = free_port()
    command = [
        sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
        "--backend-store-uri", f"sqlite:///{folder}/server.db", "--artifacts-destination", str(folder / "artifacts"),
    ]  # fmt: skip
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, cwd=folder, start_new_session=True,
            env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"},
        )  # fmt: skip
    try:
        deadline = time.monotonic() + 180
        while True:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}{_ASKED}", timeout=2):
                break  # as soon as it answers in less time than a sweep waits for it
            assert process.poll() is None and time.monotonic() < deadline, (folder / "log").read_text()[-3000:]
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextlib.contextmanager
def bad_server(how: str) -> Iterator[str]:
    """A server that looks like MLflow when it is asked first, and then answers 500 (`fails`) or nothing (`hangs`)."""
    asked = 0
    over = threading.Event()

    class Bad(http.server.BaseHTTPRequestHandler):
        def answer(self) -> None:
            nonlocal asked
            asked += 1
            if asked > 1 and how == "hangs":
                over.wait()
                return
            self.send_response(200 if asked == 1 else 500)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        do_GET = do_POST = do_PATCH = answer  # noqa: N815 - names of the library

        def log_message(self, *given: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Bad) as bad:
        bad.daemon_threads = True
        threading.Thread(target=bad.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{bad.server_address[1]}"
        finally:
            over.set()
            bad.shutdown()
