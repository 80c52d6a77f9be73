"""The way into a Ray: one of our own, that of the caller, or a cluster that is joined."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import grpc
import ray
from ray._private import services

from landsweep.orchestrator.asked import asked
from landsweep.orchestrator.errors import ClusterLost, SpecError, Unreachable
from landsweep.orchestrator.run.executors.private import (
    OwnFolder,
    loopback_only,
    own_modules_first,
    private_token,
    size_of_own,
    variables,
)
from landsweep.orchestrator.run.executors.ray.opening import Opening, OwnProcesses
from landsweep.orchestrator.run.executors.ray.watch import GCS, Watch, uses_tls
from landsweep.orchestrator.run.executors.reachable import check_listening
from landsweep.orchestrator.run.executors.signals import keep_signals, without_handlers
from landsweep.orchestrator.site import Site

__all__ = ["Connection"]

_T = TypeVar("_T")

_FOLDERS = ("working_dir", "py_modules", "excludes")  # Ray takes local folders when it is joined, and only then
_PACKAGES = {  # the local files that Ray takes in the place of a folder
    "working_dir": (".zip", ".tar.gz", ".tgz", ".tar.xz"),
    "py_modules": (".py", ".whl"),
}
_PATIENCE = 10.0  # s
_LEAVE = 30.0  # s in which a Ray of our own may end by itself
_LEAVE_SILENT = 20.0  # s for a cluster that has been silent: Ray ends this process a minute after its last word
_LOOK = 0.5  # s between two looks whether a cluster that is asked still lives
_CLIENT = "/ray.rpc.RayletDriver/ClusterInfo"
_OWN = {  # of a Ray of our own
    "RAY_process_group_cleanup_enabled": "true",  # what a worker has started ends with it
    # Metrics would be served without a token, to every user of the machine. Those of autoscaler and dashboard have no
    # switch: they give them up where their port is none, and go on.
    "RAY_enable_metrics_collection": "false",
    "AUTOSCALER_METRIC_PORT": "65536",
    "DASHBOARD_METRIC_PORT": "65536",
}
_START = (
    "Start one with `ray start --head`, give the address of a running one, or use `address: local`. "
    "A cluster that wants a token: RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH."
)


class Connection:
    """Opened before the first use of Ray, closed after the last.

    Args:
        site: names the address.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self._opened = False
        self._env: dict[str, Any] = {}
        self._folder: OwnFolder | None = None  # of a Ray of our own
        self.client = site.address.startswith("ray://")
        self._opening: Opening | None = None
        self._watch: Watch | None = None
        self.lost = False  # the Ray has died

    def open(self) -> None:
        """Connect, unless the caller has done so, or we have.

        Raises:
            Unreachable: there is no such cluster, or no Ray could be started.
            SpecError: `runtime_env` is none.
        """
        if self._opened and ray.is_initialized():
            return
        env = self._env = _checked(self._site.runtime_env)
        if ray.is_initialized():  # the caller's own Ray: use it, and leave it running
            if any(name in env for name in _FOLDERS):
                raise SpecError("site: runtime_env: Ray already runs in this process: give its folders to ray.init")
            return
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        options: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": self._site.worker_output}
        if folders := {name: env[name] for name in _FOLDERS if name in env}:
            options["runtime_env"] = folders
        if self._site.address == "local":
            self._start(options)
        else:
            self._join(options)
        self._opened = True

    def actor_env(self, variables: Mapping[str, str]) -> dict[str, Any]:
        """What each actor adds to the environment that it inherits.

        Args:
            variables: set where the site sets none of that name.
        """
        env = {name: value for name, value in self._env.items() if name not in _FOLDERS}
        given = env.pop("env_vars", {})
        env["env_vars"] = {name: value for name, value in variables.items() if name not in given}
        if self._folder is None:  # else they are in the environment of our own Ray
            env["env_vars"] |= given
        return env

    def check(self) -> None:
        """Make sure that the Ray lives, our own or one that was joined: without it Ray ends this process.

        Raises:
            ClusterLost: it has died, or can't be reached.
        """
        if self._watch is not None and (why := self._watch.loss()):
            self.lost = True
            if self._folder is not None:
                raise ClusterLost(
                    f"the Ray of this run stands still ({why}). Nothing is lost: the same command goes on"
                )
            raise ClusterLost(
                f"the Ray cluster at {self._watch.address} has died or can't be reached ({why}). Nothing is "
                "lost: the same command goes on, with that cluster or another one"
            )
        for name, process in self._own_processes():
            if (code := process.poll()) is not None:
                self.lost = True
                raise ClusterLost(
                    f"the Ray of this run has died (its {name} ended with code {code}). Nothing is lost: the same "
                    "command goes on"
                )

    def ask(self, call: Callable[[], _T]) -> _T:
        """The answer to a question that Ray has no time limit for.

        Args:
            call: asks it; where the Ray dies meanwhile, it is left alone in its thread.

        Raises:
            ClusterLost: the Ray has died, or can't be reached.
        """
        answer = asked(call, "landsweep-ask")
        while True:
            with contextlib.suppress(TimeoutError):
                error = answer.exception(_LOOK)
                break
            self.check()
        if error is not None:
            self.check()
        return answer.result()

    def close(self) -> None:
        """End a Ray of our own, also one that no longer answers; a cluster that was joined is left."""
        silent = self._watch is not None and self._watch.silent > 0
        if self._watch is not None:
            self._watch.end()
            self._watch = None
        own = [process for _, process in self._own_processes()]
        if self._opened and (silent or self._folder is None):
            if silent:
                _kill(own)
            _leave_cluster(_LEAVE_SILENT if silent else _LEAVE)
        elif self._opened:
            kills = threading.Timer(_LEAVE, _kill, [own])
            kills.daemon = True
            kills.start()
            ray.shutdown()
            kills.cancel()
        self._opened = False
        if self._opening is not None:
            self._opening.end()
            self._opening = None
        if self._folder is not None:
            self._folder.remove()
            self._folder = None

    def _own_processes(self) -> list[tuple[str, subprocess.Popen[bytes]]]:
        """What a Ray of our own consists of, by name; none of a cluster that was joined."""
        if self._folder is None:
            return []
        processes = ray._private.worker._global_node.all_processes
        return [(name, started.process) for name in ("raylet", "gcs_server") for started in processes.get(name, ())]

    def _start(self, options: dict[str, Any]) -> None:
        processes, folder = OwnProcesses(), None
        try:
            folder = OwnFolder()
            # Ray would put variables of actors on command lines, which every user of the machine can read.
            given = {name: os.path.expandvars(value) for name, value in self._env.get("env_vars", {}).items()}
            with loopback_only(ray._private.ray_constants), variables(_OWN), variables(given, instead=True):
                private_token()
                self._init(
                    processes.loss,
                    {"address": "local", "_temp_dir": str(folder.inside), **size_of_own(self._site), **options},
                )
        except Exception as e:  # Ray raises errors of many kinds here, bare `Exception` too
            self._give_up()
            processes.kill()
            if folder is not None:
                folder.remove()
            raise Unreachable(
                f"site: could not start a local Ray: {_first(e)}\n"
                "The machine may be too busy, or short of memory or of room in /tmp: try again, ask for fewer "
                "`site.workers`, or compute in one process with `site.executor=local`."
            ) from e
        self._folder = folder
        self._watch = Watch(ray._private.worker._global_node.gcs_address)

    def _join(self, options: dict[str, Any]) -> None:
        address = self._site.address
        try:
            where = services.get_ray_address_from_environment(address, None) if address == "auto" else address
            if where is None or where == "auto":
                raise ConnectionError("no Ray runs on this machine, and RAY_ADDRESS is not set")
            check_listening(where)
            _ask(where)
            watch = None if self.client else Watch(where)
            self._init(lambda: "" if watch is None else watch.loss(), {"address": address, **options})
            if watch is not None:
                watch.watch_raylet(ray._private.worker._global_node.raylet_socket_name or "")
            self._watch = watch
        except (SpecError, Unreachable):
            raise
        except Exception as e:
            self._give_up()
            raise Unreachable(f"site: could not reach a Ray cluster at {address!r}: {_first(e)}\n{_START}") from e

    def _init(self, loss: Callable[[], str], options: Mapping[str, Any]) -> None:
        """`ray.init`, given up where the Ray is lost meanwhile or gives no answer."""
        with _undisturbed():
            self._opening = Opening(partial(ray.init, **options))
            self._opening.wait(loss, self._site.start_timeout)

    def _give_up(self) -> None:
        """Leave a Ray that could not be opened. Where `ray.init` has not come back, nothing that Ray has will."""
        if self._opening is not None and self._opening.stuck:
            atexit.unregister(ray.shutdown)
        else:
            with contextlib.suppress(Exception):
                ray.shutdown()
        if self._opening is not None:
            self._opening.end()
            self._opening = None


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Ray starts: it takes over neither our signal handlers nor the folder that modules come from."""
    with keep_signals(), without_handlers(ray._private.utils), own_modules_first():
        yield


def _leave_cluster(patience: float) -> None:
    """Leave a cluster that was joined: where its raylet on this machine stands still, `ray.shutdown` has no end."""
    leaves = threading.Thread(target=ray.shutdown, name="landsweep-leave", daemon=True)
    leaves.start()
    leaves.join(patience)
    if leaves.is_alive():
        atexit.unregister(ray.shutdown)  # it would wait at the end of the process
        with contextlib.suppress(Exception):  # nobody reads the stream
            sys.stderr.write(f"the Ray cluster was left untold: it gave no answer within {patience:g} s\n")


def _kill(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """For a raylet that stands still: `ray.shutdown` waits for its answer, without end."""
    for process in processes:
        process.kill()


def _ask(address: str) -> None:
    """Make sure that Ray answers there: `ray.init` tries for minutes, and writes warnings meanwhile.

    Raises:
        Unreachable: it does not.
    """
    if uses_tls():
        return
    client = address.startswith("ray://")
    with grpc.insecure_channel(address.removeprefix("ray://")) as channel:
        call = channel.unary_unary(_CLIENT if client else GCS)
        try:
            call(b"", timeout=_PATIENCE, wait_for_ready=True)
            return
        except grpc.RpcError as e:
            code, details = e.code(), e.details()
    if code is grpc.StatusCode.UNIMPLEMENTED:
        other = "a port of Ray itself (such as 6379), without ray://" if client else "Ray Client (then add ray://)"
        raise Unreachable(f"site: what answers at {address} is not the Ray that was asked for; is it {other}?")
    if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
        raise Unreachable(
            f"site: something listens at {address}, but no Ray answered in {_PATIENCE:g} s ({details}).\n{_START}"
        )


def _checked(given: dict[str, Any]) -> dict[str, Any]:
    """A site's `runtime_env` with absolute folders.

    Raises:
        SpecError: Ray knows no such field, or a folder is not there, or something else is in its place.
    """
    env = dict(given)
    if env.get("working_dir"):
        env["working_dir"] = _absolute("working_dir", str(env["working_dir"]))
    if modules := env.get("py_modules"):
        if not isinstance(modules, list):
            raise SpecError(f"site: runtime_env: py_modules: give a list, such as [{modules!r}]")
        env["py_modules"] = [_absolute("py_modules", str(m)) for m in modules]
    try:
        ray.runtime_env.RuntimeEnv(**{k: v for k, v in env.items() if k not in _FOLDERS})
    except Exception as e:  # whatever Ray finds wrong with it
        raise SpecError(f"site: runtime_env: Ray rejects it: {_first(e)}") from e
    return env


def _absolute(field: str, path: str) -> str:
    """The absolute path of what Ray takes to the workers; an address is left as it is.

    Raises:
        SpecError: it is not there, or a file that Ray doesn't take.
    """
    if "://" in path:
        return path
    place, kinds = Path(path), _PACKAGES[field]
    if not place.exists():
        raise SpecError(f"site: runtime_env: {field}: there is no folder {path} (looked in {Path.cwd()})")
    if not place.is_dir() and not (place.is_file() and place.name.endswith(kinds)):
        raise SpecError(
            f"site: runtime_env: {field}: {path} is a file; give a folder, or a file that ends in "
            f"{', '.join(kinds)}. The folder that holds it would be {place.resolve().parent}"
        )
    return str(place.resolve())


def _first(error: Exception) -> str:
    """The first lines of an error: Ray's go on with the logs of its processes."""
    return "\n".join(str(error).strip().splitlines()[:3]) or type(error).__name__
