"""Whether a cluster or a tracking server answers and a file can be written: within seconds, before any work."""

from __future__ import annotations

import os
import queue
import socket
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from orchestrator.errors import Unreachable
from orchestrator.redaction import redacted, redacted_words

__all__ = ["answer_of", "answers", "command_line", "writable"]

_PATIENCE = 3.0  # s
_PROBE = "/api/2.0/mlflow/experiments/search?max_results=1"


def command_line() -> list[str]:
    """The words of this command, fit to be stored and shown: without credentials and environment variables."""
    return redacted_words(sys.argv[1:])


def answer_of(uri: str) -> None:
    """Ask an MLflow server for its experiments and wait for at most 3 s, name look-up included.

    A server that wants credentials is taken to be there: MLflow's client has them, this probe does not.

    Raises:
        Unreachable: no answer, an error of the server, or no MLflow.
    """
    shown = redacted(uri)
    url = shown.rstrip("/") + _PROBE
    answers: queue.Queue[int | Exception] = queue.Queue()
    threading.Thread(target=lambda: answers.put(_status(url)), daemon=True).start()
    advice = "start the server, correct the address, or set `tracking: none` in the site file and export later"
    try:
        answer = answers.get(timeout=_PATIENCE)
    except queue.Empty:
        raise Unreachable(f"tracking: {shown} did not answer within {_PATIENCE:g} s (asked {url}); {advice}") from None
    if isinstance(answer, Exception):
        reason = getattr(answer, "reason", None) or answer
        raise Unreachable(f"tracking: {shown} does not answer: {reason} (asked {url}); {advice}")
    if answer not in (200, 401, 403):
        raise Unreachable(
            f"tracking: {shown} answers {answer} to {_PROBE}, so it is no working MLflow server; {advice}"
        )


def _status(url: str) -> int | Exception:
    try:
        with urllib.request.urlopen(url, timeout=_PATIENCE) as response:
            return int(response.status)
    except urllib.error.HTTPError as e:
        with e:
            return e.code
    except (OSError, ValueError) as e:
        return e


def answers(address: str) -> None:
    """Whether anything listens at `host:port` or `ray://host:port`; Ray itself tries for half a minute and more.

    Raises:
        Unreachable: nothing does.
    """
    url = urlsplit(address if "://" in address else f"ray://{address}")
    if url.hostname is None or url.port is None:
        return  # `auto`, or a name that only ray understands
    try:
        socket.create_connection((url.hostname, url.port), timeout=5).close()
    except OSError as e:
        raise Unreachable(f"site: nothing answers at {address}: {e}. Is the cluster up, is the port right?") from e


def writable(path: Path) -> None:
    """Whether a file can be written, or made together with its missing folders.

    Raises:
        Unreachable: names what is in the way.
    """
    if path.is_dir():
        raise Unreachable(f"tracking: {path} is a folder; give the path of a file, such as {path / 'mlflow.db'}")
    try:
        if path.exists():
            path.open("ab").close()  # changes nothing, and tells the truth to root as well
    except OSError as e:
        raise Unreachable(f"tracking: {path} can't be written ({e.strerror}); name another file") from e
    folder = next(p for p in path.parents if p.exists())
    if not folder.is_dir():
        raise Unreachable(f"tracking: {folder} is a file, so {path} can't be made; name a file in a folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise Unreachable(f"tracking: no permission to write into {folder}; change it or name a file elsewhere")
