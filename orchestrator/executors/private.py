"""A Ray of our own: it listens on this machine's loopback interface, and takes orders only with this user's token.

Left alone, Ray listens on every interface of the machine, and writes its token where every user can read it.
"""

from __future__ import annotations

import math
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from orchestrator.site import Site

__all__ = ["loopback_only", "own_modules_first", "private_token", "size_of_own"]

_CLUSTERS = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"  # off there by default, and then Ray keeps to the loopback interface


def size_of_own(site: Site) -> dict[str, Any]:
    """Options of `ray.init` for a Ray that holds the site's workers, at least one for each core."""
    workers = 0 if site.workers == "auto" else site.workers
    cores = len(os.sched_getaffinity(0))
    options: dict[str, Any] = {"include_dashboard": False, "num_cpus": max(cores, math.ceil(workers * site.cpus))}
    if site.resources:
        options["resources"] = {name: amount * max(1, workers) for name, amount in site.resources.items()}
    return options


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
