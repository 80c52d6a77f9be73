"""ssh: a few machines without a scheduler, which share a folder. The first of them leads."""

from __future__ import annotations

import re
import secrets
import shlex
import sys
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, PositiveFloat, PositiveInt, field_validator

from landsweep.cluster.launch import Launch, write_private
from landsweep.cluster.launchers.launcher import (
    Check,
    JobState,
    JobStatus,
    Launcher,
    NotQueued,
    log_text,
    status_at_end,
)
from landsweep.cluster.launchers.preflight import node_check, shared_folder
from landsweep.cluster.launchers.script import script
from landsweep.cluster.launchers.tool import Tool
from landsweep.cluster.node.programs import MEMBER, PROBE
from landsweep.orchestrator.errors import Unreachable
from landsweep.orchestrator.site import LauncherOptions

__all__ = ["Ssh", "SshOptions"]

_SCRIPT, _TOKEN, _CANCELLED = "job.sh", "token", "cancelled"
_SETTINGS = (
    "Port",
    "User",
    "IdentityFile",
    "ProxyJump",
    "StrictHostKeyChecking",
    "UserKnownHostsFile",
    "ConnectTimeout",
)
Host = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.@:-]*$")]


class SshOptions(LauncherOptions):
    """The section `launcher` of a site for a list of hosts."""

    type: Literal["ssh"] = "ssh"
    hosts: tuple[Host, ...] = Field(min_length=1, description="as ssh knows them; the first runs head and driver")
    options: tuple[str, ...] = Field((), description="for ssh, such as [-p, '2222']; more in ~/.ssh/config")
    cpus_per_host: PositiveInt | None = Field(None, description="by default all")
    gpus_per_host: int | None = Field(None, ge=0, description="by default all")
    setup: tuple[str, ...] = Field((), description="shell lines before the start")
    python: str | None = Field(None, description="on the hosts; by default the one in which one submits")
    network: str | None = Field(None, description="interface or range of addresses on which the hosts meet")
    scratch: str | None = Field(None, description="short path of a local folder for Ray's temporary files")
    object_store_gb: PositiveFloat = Field(1, description="shared memory of Ray on each host, GB")

    @field_validator("options")
    @classmethod
    def _harmless(cls, options: tuple[str, ...]) -> tuple[str, ...]:
        """None may name a program to run: a site may come from a colleague."""
        rest = iter(options)
        for word in rest:
            value = next(rest, "") if word in ("-p", "-i", "-l", "-J", "-o") else None
            if value is None and word not in ("-4", "-6", "-C"):
                raise ValueError(
                    f"{word!r} can't be given here; allowed are -p -i -l -J -o -4 -6 -C. Put others into ~/.ssh/config"
                )
            if word == "-o" and (key := str(value).partition("=")[0]) not in _SETTINGS:
                raise ValueError(
                    f"-o {key} can't be given here; allowed are {', '.join(_SETTINGS)}. Put others into ~/.ssh/config"
                )
        return options


class Ssh(Launcher[SshOptions]):
    """Starts one member on each host and leaves; what it asks later lies in the job's folder, which all share."""

    name: ClassVar[str] = "ssh"
    options_type: ClassVar[type[LauncherOptions]] = SshOptions

    def __init__(self, options: SshOptions) -> None:
        super().__init__(options)
        self._ssh = Tool("ssh", "install an ssh client")

    @property
    def cpus(self) -> float | None:
        each = self.options.cpus_per_host
        return None if each is None else len(self.options.hosts) * each

    def files(self, launch: Launch) -> Mapping[str, str]:
        o = self.options
        words = [f"--job={zlib.crc32(launch.home.encode()):08x}", f"--object-store-gb={o.object_store_gb:g}"]
        named = {"cpus": o.cpus_per_host, "gpus": o.gpus_per_host, "network": o.network, "scratch": o.scratch}
        words += [f"--{name}={value}" for name, value in named.items() if value is not None]
        texts = {
            "CWD": shlex.quote(launch.cwd),
            "SETUP": "\n".join(o.setup),
            "HOME": shlex.quote(launch.home),
            "MEMBER": shlex.join([o.python or sys.executable, *MEMBER]),
            "OPTIONS": shlex.join(words),
        }
        return {_SCRIPT: script("ssh.sh", texts)}

    def commands(self, launch: Launch) -> list[list[str]]:
        return [["ssh", *self._words(host, self._start(launch, host))] for host in self.options.hosts]

    def _start(self, launch: Launch, host: str) -> str:
        role = "head" if host == self.options.hosts[0] else "worker"
        script, log = shlex.quote(str(launch.file(_SCRIPT))), shlex.quote(str(launch.file(f"log-{_plain(host)}.txt")))
        return f"nohup setsid bash {script} {role} {_plain(host)} >>{log} 2>&1 </dev/null &"

    def _words(self, host: str, command: str) -> list[str]:
        return ["-o", "BatchMode=yes", "-o", "ConnectTimeout=10", *self.options.options, host, command]

    def submit(self, launch: Launch) -> str:
        write_private(launch.file(_TOKEN), secrets.token_hex(32))
        for host in self.options.hosts:
            try:
                self._ssh.run(*self._words(host, self._start(launch, host)))
            except Unreachable as e:
                self.cancel(launch.name, Path(launch.home))
                raise NotQueued(f"{host}: {e}; what had started was ended again") from e
        return _id(self.options.hosts[0], launch)

    def find(self, launch: Launch) -> str | None:
        started = any(launch.file(f"{_plain(host)}.pid").exists() for host in self.options.hosts)
        return _id(self.options.hosts[0], launch) if started else None

    def status(self, job: str, home: Path) -> JobStatus:
        del job
        if (end := status_at_end(home)) is not None:
            return end
        first = self.options.hosts[0]
        pid = home / f"{_plain(first)}.pid"
        if not pid.exists():
            return JobStatus(JobState.queued, "not started yet")
        if self._ssh.run(*self._words(first, _if_ours(home, first, "echo alive"))).split() == ["alive"]:
            return JobStatus(JobState.running, f"on {len(list(home.glob('*.pid')))} hosts")
        return status_at_end(home) or JobStatus(JobState.failed, f"its process on {first} is gone")

    def logs(self, job: str, home: Path) -> Mapping[str, str]:
        del job
        files = {host: home / f"log-{_plain(host)}.txt" for host in self.options.hosts}
        return {host: log_text(f) for host, f in files.items() if f.exists()}

    def cancel(self, job: str, home: Path) -> None:
        del job
        (home / _CANCELLED).touch()  # first: a script that has no process id yet looks for it before it starts
        unreached = []
        for host in self.options.hosts:
            try:
                self._ssh.run(*self._words(host, _if_ours(home, host, 'kill -TERM "$pid"')))
            except Unreachable as e:
                unreached.append(f"{host}: {e}")
        if unreached:
            raise Unreachable("could not end the processes on\n" + "\n".join(unreached))

    def checks(self, launch: Launch) -> Iterator[Check]:
        yield shared_folder(launch)
        for host in self.options.hosts:
            yield self._host(launch, host)

    def _host(self, launch: Launch, host: str) -> Check:
        python = self.options.python or sys.executable
        lines = [*self.options.setup, f"{shlex.join([python, *PROBE, launch.home])}"]
        try:
            output = self._ssh.run(*self._words(host, " && ".join([f"cd {shlex.quote(launch.cwd)}", *lines])))
        except Unreachable as e:
            fix = f"`ssh {shlex.join(self.options.options)} {host}` must work without a password".replace("  ", " ")
            return Check(f"host {host}", False, str(e).splitlines()[-1], fix)
        return node_check(output, launch, gpus=self.options.gpus_per_host or 0)


def _if_ours(home: Path, host: str, command: str) -> str:
    """A command line for a host, to act on the job's `$pid` there; not after a restart, when it is another's."""
    pid, script = (shlex.quote(str(home / name)) for name in (f"{_plain(host)}.pid", _SCRIPT))
    ours = f'pid=$(cat {pid} 2>/dev/null) && ps -o args= -p "$pid" | grep -qF {script}'
    return f"sh -c {shlex.quote(f'{ours} && {command} || true')}"


def _id(host: str, launch: Launch) -> str:
    return f"{_plain(host)}:{launch.name}-{launch.number:04d}"


def _plain(host: str) -> str:
    """A host as a part of file names."""
    return re.sub(r"[^A-Za-z0-9.-]", "_", host)
