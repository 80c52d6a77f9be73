"""The store that MLflow writes to: whether it answers or can be written, found out in seconds and before any work.

A SQLite store beside results may come from whoever made them, so no link is followed and nothing is written elsewhere.
"""

from __future__ import annotations

import contextlib
import os
import queue
import stat
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from landsweep.orchestrator.errors import Unreachable, Untrusted
from landsweep.orchestrator.notes import state_folder
from landsweep.orchestrator.redaction import redacted
from landsweep.orchestrator.storage.inside import no_links, refuse_link
from landsweep.orchestrator.unit import digest

__all__ = ["alone", "check_artifacts", "check_reachable", "database_of", "default_uri"]

_PATIENCE = 3.0  # s
_PROBE = "/api/2.0/mlflow/experiments/search?max_results=1"
_WAIT = 60


def default_uri(results: Path) -> str:
    """URI of the SQLite store in a folder of results."""
    return f"sqlite:///{results.resolve()}/mlflow.db"


def check_reachable(uri: str) -> None:
    """Whether an export to this store can work, before any other work is done; takes at most about 3 s.

    Args:
        uri: `sqlite:///path`, or `http(s)://…` of an MLflow server. Other schemes are left to MLflow.

    Raises:
        Unreachable: says what was tried and what to do.
    """
    parts = urlsplit(uri)
    if parts.scheme in ("http", "https"):
        _check_server(uri)
    elif parts.scheme == "sqlite":
        _refuse_links(database_of(uri))
        _check_writable(database_of(uri))
    elif parts.scheme in ("", "file"):
        raise Unreachable(
            f"tracking: {uri!r} is a folder, and MLflow no longer keeps runs in plain folders; "
            "give sqlite:////absolute/path/mlflow.db, or the address of a server, such as http://localhost:5000"
        )


def _check_server(uri: str) -> None:
    """Ask an MLflow server for its experiments and wait for at most 3 s, name look-up included.

    A server that wants credentials is taken to be there: MLflow's client has them, this probe does not.

    Raises:
        Unreachable: no answer, an error of the server, or no MLflow.
    """
    shown = redacted(uri)
    url = shown.rstrip("/") + _PROBE
    answers: queue.Queue[int | Exception] = queue.Queue()
    threading.Thread(target=lambda: answers.put(_status_of(url)), daemon=True).start()
    advice = "start the server, correct the address, or set `tracking: none` in the site file and export later"
    try:
        answer = answers.get(timeout=_PATIENCE)
    except queue.Empty:
        answer = TimeoutError()
    reason = getattr(answer, "reason", None) or answer
    if isinstance(reason, TimeoutError):  # of the wait here, or of the connection, which has the same patience
        raise Unreachable(f"tracking: {shown} did not answer within {_PATIENCE:g} s (asked {url}); {advice}")
    if isinstance(answer, Exception):
        raise Unreachable(f"tracking: {shown} does not answer: {reason} (asked {url}); {advice}")
    if answer not in (200, 401, 403):
        raise Unreachable(
            f"tracking: {shown} answers {answer} to {_PROBE}, so it is no working MLflow server; {advice}"
        )


def _status_of(url: str) -> int | Exception:
    try:
        with urllib.request.urlopen(url, timeout=_PATIENCE) as response:
            return int(response.status)
    except urllib.error.HTTPError as e:
        with e:
            return e.code
    except (OSError, ValueError, HTTPException) as e:  # the last: what answers is no web server
        return e


def _check_writable(path: Path) -> None:
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


@contextlib.contextmanager
def alone(uri: str, sweep: str) -> Iterator[None]:
    """One export at a time: of all sweeps into a SQLite file, of one sweep into a server, by this user on this machine.

    Two that create the tables of a file at once break each other; two of one sweep would make two runs.

    Args:
        uri: of the store.
        sweep: its id.

    Raises:
        TimeoutError: another export has the store for a minute.
    """
    import fcntl

    path, mode = _what_to_hold(uri, sweep)
    if path is None:
        yield
        return
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
    with os.fdopen(os.open(path, flags, mode), "rb", buffering=0) as lock:
        for _ in range(round(_WAIT / 0.1)):
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(0.1)
            except OSError:  # a file system without locks: go on without
                break
        else:
            raise TimeoutError(f"another export has held {path} for {_WAIT} s")
        yield


def _what_to_hold(uri: str, sweep: str) -> tuple[Path | None, int]:
    """The file whose lock an export holds, and its mode; None where this user has no place for one."""
    if urlsplit(uri).scheme == "sqlite":
        path = database_of(uri)
        path.parent.mkdir(parents=True, exist_ok=True)
        _refuse_links(path)
        return _lock_of(path), 0o666
    if (folder := state_folder()) is None:
        return None, 0
    (folder / "exports").mkdir(mode=0o700, exist_ok=True)
    return folder / "exports" / f"{digest([uri, sweep], size=16)}.lock", 0o600


def check_artifacts(uri: str, artifacts: str, folder: Path) -> None:
    """Make sure that a SQLite store beside the results has their report written below its own folder.

    Args:
        uri: of the store.
        artifacts: URI of the run's artifacts, as the store has it.
        folder: that holds the results folder.

    Raises:
        Untrusted: it would be written elsewhere, or through a link.
    """
    if urlsplit(uri).scheme != "sqlite" or database_of(uri).parent.resolve() != folder.resolve():
        return  # a store that the user has named
    parts = urlsplit(artifacts)
    place = Path(url2pathname(parts.path if parts.scheme == "file" else artifacts)).resolve()
    local = parts.scheme in ("", "file") and not (parts.netloc or parts.query or parts.fragment)
    if not local or not place.is_relative_to(folder.resolve()):
        raise Untrusted(
            f"tracking: {database_of(uri)} says that the report is to be written to {redacted(artifacts)}, which is "
            f"not below {folder.resolve()}. A store that lies beside results may come from whoever made them. Nothing "
            "was written there: remove the store, or give another one, such as sqlite:////absolute/path/mlflow.db"
        )
    no_links(place)


def database_of(uri: str) -> Path:
    """The file of a SQLite URI: three slashes and a path, so four for an absolute one."""
    path = unquote(uri.partition("///")[2].partition("?")[0])
    if not path or path == ":memory:":
        raise Unreachable(f"tracking: {uri!r} names no file; give sqlite:////absolute/path/mlflow.db")
    return Path(path).absolute()


def _lock_of(database: Path) -> Path:
    return database.with_name(f".{database.name}.lock")


def _refuse_links(database: Path) -> None:
    """Refuse a SQLite file that is a link, or has one beside it where SQLite or we would write.

    Raises:
        Untrusted: names it.
    """
    beside = (database.with_name(f"{database.name}{end}") for end in ("-wal", "-shm", "-journal"))
    for path in (database, _lock_of(database), *beside):
        refuse_link(path.parent, path.name)
        if path.exists() and not stat.S_ISREG(path.lstat().st_mode) and not path.is_dir():
            raise Untrusted(f"tracking: {path} is no regular file; remove it, or name another store")
