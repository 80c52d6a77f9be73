"""A Ray of our own: it listens on this machine's loopback interface, and takes orders only with this user's token.

Left alone, Ray listens on every interface of the machine, and writes its token where every user can read it.
"""

from __future__ import annotations

import fcntl
import math
import os
import secrets
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from landsweep.orchestrator.site import Site, cores

__all__ = ["OwnFolder", "loopback_only", "own_modules_first", "private_token", "size_of_own", "variables"]

_PREFIX, _LOCK = "landsweep-ray-", "in-use"
_NEW_SECONDS = 60.0  # a folder may be without its lock, while it is being made, for a moment
_LONGEST_PATH = 107 - len("12345678/r/session_2026-01-01_00-00-00_123456_1234567/sockets/plasma_store.9")
_CLUSTERS = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"  # off there by default, and then Ray keeps to the loopback interface


def size_of_own(site: Site) -> dict[str, Any]:
    """Options of `ray.init` for a Ray that holds the site's workers, at least one for each core."""
    workers = 0 if site.workers == "auto" else site.workers
    options: dict[str, Any] = {"include_dashboard": False, "num_cpus": max(cores(), math.ceil(workers * site.cpus))}
    if site.resources:
        options["resources"] = {name: amount * max(1, workers) for name, amount in site.resources.items()}
    return options


class OwnFolder:
    """A temporary folder for a Ray of our own, closed to other users.

    A lock that ends with this process tells later runs that the folder is in use. Folders of earlier runs that nothing
    uses any more are removed first.

    Attributes:
        path: the folder, open to this user alone.
        inside: what Ray is given: it opens that folder, and all that it makes there, to everyone.
    """

    def __init__(self) -> None:
        where = _where()
        for folder in where.glob(f"{_PREFIX}*"):
            _remove_abandoned(folder)
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=where))  # with mode 0700
        self.inside = self.path / "r"
        self._lock = (self.path / "new").open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        (self.path / "new").rename(self.path / _LOCK)  # so that no lock is seen before it is held

    def remove(self) -> None:
        """Remove it with all that is in it; what can't be removed now is left to a later run."""
        _remove(self.path)
        self._lock.close()


def _where() -> Path:
    """The folder for temporary files; /tmp where it is so long that paths of sockets in it could not be used."""
    usual = Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()).absolute()
    return usual if len(str(usual / _PREFIX)) <= _LONGEST_PATH else Path("/tmp")


def _remove_abandoned(folder: Path) -> None:
    """Remove a folder that a run of this user has left; one that is in use, or not this user's, is left alone."""
    try:
        about = folder.lstat()
        if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.geteuid():
            return
        if (folder / _LOCK).exists():
            with (folder / _LOCK).open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(folder)
        elif time.time() - about.st_mtime > _NEW_SECONDS and not _has_users(folder):
            # made again by a process of a Ray that did not start, after its folder had been removed
            shutil.rmtree(folder, ignore_errors=True)
    except OSError:  # in use, or gone meanwhile
        return


def _has_users(folder: Path) -> bool:
    """Whether a living process of this user has the folder in its command, or a file in it open."""
    for process in psutil.process_iter():
        try:
            if process.uids().effective == os.geteuid() and (
                any(str(folder) in word for word in process.cmdline())
                or any(Path(file.path).is_relative_to(folder) for file in process.open_files())
            ):
                return True
        except psutil.Error:  # it has ended, or lets nobody look
            continue
    return False


def _remove(folder: Path) -> None:
    """Everything that can be removed, the lock last: a folder without one may be one that is just being made."""
    with suppress(OSError):
        for path in folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            elif path.name != _LOCK:
                path.unlink(missing_ok=True)
        if [path.name for path in folder.iterdir()] == [_LOCK]:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def variables(values: Mapping[str, str], instead: bool = False) -> Iterator[None]:
    """While this lasts, these environment variables are set.

    Args:
        values: of each variable.
        instead: also of those that are set already.
    """
    ours = {name: value for name, value in values.items() if instead or name not in os.environ}
    before = {name: os.environ[name] for name in ours if name in os.environ}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name in ours:
            os.environ.pop(name, None)
        os.environ.update(before)


@contextmanager
def loopback_only(constants: Any) -> Iterator[None]:  # noqa: ANN401 - a module of Ray
    """While this lasts, a Ray that is started binds to the loopback interface, and so do all its processes later on.

    Args:
        constants: the module `ray._private.ray_constants`, which has read the environment already.
    """
    before = os.environ.get(_CLUSTERS), getattr(constants, "ENABLE_RAY_CLUSTER", True)
    os.environ[_CLUSTERS], constants.ENABLE_RAY_CLUSTER = "0", False
    try:
        yield
    finally:
        constants.ENABLE_RAY_CLUSTER = before[1]
        if before[0] is None:
            del os.environ[_CLUSTERS]
        else:
            os.environ[_CLUSTERS] = before[0]


@contextmanager
def own_modules_first() -> Iterator[None]:
    """While this lasts, a driver that connects does not give its workers the current folder as the first of `sys.path`.

    Ray does, and a `random.py` or `cluster.py` where the user stands would then replace what workers import. Workers
    add the user's folders themselves, after all that is installed.
    """
    before = os.path.curdir
    os.path.curdir = str(Path(sys.executable).parent)  # what Ray takes instead: no modules lie there
    try:
        yield
    finally:
        os.path.curdir = before


def private_token() -> None:
    """Make Ray's token where Ray looks for it, readable by this user alone; one that others can read is closed to them.

    Nothing is done where the user has decided: `RAY_AUTH_MODE` other than `token`, `RAY_AUTH_TOKEN`,
    `RAY_AUTH_TOKEN_PATH`.
    """
    if os.environ.get("RAY_AUTH_MODE", "token").lower() != "token":
        return
    if "RAY_AUTH_TOKEN" in os.environ or "RAY_AUTH_TOKEN_PATH" in os.environ:
        return
    path = Path.home() / ".ray" / "auth_token"
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            if path.stat().st_mode & 0o077:
                path.chmod(0o600)
        else:
            with os.fdopen(handle, "w") as file:
                file.write(secrets.token_hex(32))
    except OSError:  # a home that can't be written: then the token lives as long as this process
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
