"""Slurm: one batch job serves a whole sweep, or an array of small jobs that find each other."""

from __future__ import annotations

import os
import secrets
import shlex
import sys
import time
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from cluster.launcher import EXIT_FILE, LAUNCH_FILE, Check, JobState, Launch, Launcher, Look, ended, filled, log_text
from cluster.preflight import shared_folder, walltime
from cluster.probe import judged
from cluster.tool import Tool, ToolFailed
from orchestrator.display import span
from orchestrator.errors import SpecError, Unreachable, UsageError
from orchestrator.site import LauncherOptions

__all__ = ["Slurm", "SlurmOptions", "minutes"]

_SCRIPT, _LOG, _STOP = "job.sh", "log.txt", "stop"
_NO_SLURM = "submit from a login node of the cluster, where sbatch works"
_LEAST_SECONDS = 30.0  # between two questions about the same job: schedulers are shared
_STATES = {
    JobState.queued: "PENDING REQUEUED REQUEUE_FED REQUEUE_HOLD RESV_DEL_HOLD SPECIAL_EXIT",
    JobState.running: "RUNNING COMPLETING CONFIGURING RESIZING SIGNALING STAGE_OUT STOPPED SUSPENDED",
    JobState.done: "COMPLETED",
    JobState.cancelled: "CANCELLED REVOKED",
    JobState.failed: "FAILED TIMEOUT PREEMPTED NODE_FAIL OUT_OF_MEMORY BOOT_FAIL DEADLINE",
}
_STATE_OF = {word: state for state, words in _STATES.items() for word in words.split()}
_WORSE = (JobState.running, JobState.queued, JobState.failed, JobState.cancelled, JobState.done)  # of an array's tasks


class SlurmOptions(LauncherOptions):
    """The section `launcher` of a site for Slurm."""

    type: Literal["slurm"] = "slurm"
    nodes: PositiveInt = Field(1, description="of the one allocation; with `array`, 1")
    array: PositiveInt | None = Field(None, description="so many allocations of one node each, which join one another")
    time: Annotated[str, Field(pattern=r"^\d+$|^(\d+-)?\d+:\d\d(:\d\d)?$|^\d+-\d+$")] = Field(
        "01:00:00", description="limit of one allocation, as sbatch wants it; the job is requeued until the sweep ends"
    )
    cpus_per_node: PositiveInt = Field(1, description="CPUs of each node")
    gpus_per_node: int = Field(0, ge=0, description="GPUs of each node")
    memory_per_node: str | None = Field(None, description="as sbatch's --mem, such as 64G")
    partition: str | None = Field(None, description="by default the cluster's default one")
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    exclusive: bool = Field(False, description="share the nodes with nobody")
    options: tuple[str, ...] = Field((), description="more lines for sbatch, such as --mail-type=END")
    setup: tuple[str, ...] = Field((), description="shell lines before the start: modules, a venv")
    container: tuple[str, ...] = Field(
        (), description="words before python, such as [apptainer, exec, --nv, image.sif]"
    )
    python: str | None = Field(None, description="on the nodes; by default the one in which one submits")
    network: str | None = Field(None, description="interface (ib0) or range (10.1.0.0/16) on which the nodes meet")
    scratch: str | None = Field(None, description="short path of a node-local folder for Ray's temporary files")
    object_store_gb: PositiveFloat = Field(1, description="shared memory of Ray on each node, GB")
    stop_seconds: PositiveInt = Field(120, description="before the limit the sweep stops cleanly, s")
    requeue: bool = Field(True, description="queue the job again when it was stopped before its sweep was complete")
    probe_seconds: int = Field(
        20, ge=0, description="wait so long for a free node to look at before submitting; 0: don't"
    )


class Slurm(Launcher[SlurmOptions]):
    """Submits through sbatch; asks squeue, and sacct where squeue has forgotten."""

    name: ClassVar[str] = "slurm"
    options: ClassVar[type[LauncherOptions]] = SlurmOptions

    def __init__(self, options: SlurmOptions) -> None:
        super().__init__(options)
        if options.array is not None and options.nodes != 1:
            raise SpecError(f"launcher.nodes: with `array`, each allocation has one node (given: {options.nodes})")
        self._tools = {
            name: Tool(name, _NO_SLURM) for name in ("sbatch", "squeue", "sacct", "scancel", "sinfo", "srun")
        }
        self._seen: dict[str, tuple[float, Look]] = {}

    @property
    def cpus(self) -> float:
        return (self.given.array or self.given.nodes) * self.given.cpus_per_node

    def files(self, launch: Launch) -> Mapping[str, str]:
        o = self.given
        template = (resources.files("cluster") / "templates" / "slurm.sh").read_text(encoding="utf-8")
        texts = {
            "DIRECTIVES": "\n".join(f"#SBATCH {line}" for line in self._directives(launch)),
            "SETUP": "\n".join(o.setup),
            "RESET": "" if o.array else ' "$EXIT"',
            "LAUNCH": shlex.quote(str(launch.file(LAUNCH_FILE))),
            "EXIT": shlex.quote(str(launch.file(EXIT_FILE))),
            "STOP": shlex.quote(str(launch.file(_STOP))) + (".$SLURM_ARRAY_TASK_ID" if o.array else ""),
            "PYTHON": self._python(),
            "MEMBER": self._member_options(),
            "START": _START_ARRAY if o.array else _START,
            "REQUEUE": f"    {_REQUEUE}" if o.requeue else "    echo 'stopped before the limit; submit again to go on'",
            "ENDED": _ENDED_ARRAY if o.array else "",
        }
        return {_SCRIPT: filled(template, texts)}

    def _directives(self, launch: Launch) -> list[str]:
        o = self.given
        log = launch.file(_LOG)
        if any(c in str(log) for c in " \"'\\\n"):
            raise SpecError(f"{log}: Slurm can't write its log to a path with blanks or quotes; give another --out")
        literal = str(log.parent).replace("%", "%%") + ("/log-%a.txt" if o.array else f"/{_LOG}")  # %u, %j mean more
        named = {
            "partition": o.partition,
            "account": o.account,
            "qos": o.qos,
            "constraint": o.constraint,
            "mem": o.memory_per_node,
            "gpus-per-node": o.gpus_per_node or None,
            "array": f"0-{o.array - 1}" if o.array else None,
        }
        return [
            f"--job-name=landsweep-{launch.name}",
            f"--output={literal}",
            "--open-mode=append",
            f"--nodes={o.nodes}",
            "--ntasks-per-node=1",
            f"--cpus-per-task={o.cpus_per_node}",
            f"--time={o.time}",
            *(f"--{key}={value}" for key, value in named.items() if value is not None),
            *(["--exclusive"] if o.exclusive else []),
            f"--signal=B:USR1@{o.stop_seconds}",
            "--requeue" if o.requeue else "--no-requeue",
            "--no-kill",  # a node that fails takes its own work with it, not the job
            *o.options,
        ]

    def _python(self) -> str:
        python = self.given.python or ("python3" if self.given.container else sys.executable)
        return shlex.join([*self.given.container, python])

    def _member_options(self) -> str:
        o = self.given
        job = "$SLURM_ARRAY_JOB_ID" if o.array else "$SLURM_JOB_ID-${SLURM_RESTART_COUNT:-0}"
        words = [f'--job="{job}"', f"--cpus={o.cpus_per_node}", f"--object-store-gb={o.object_store_gb:g}"]
        words += [f"--gpus={o.gpus_per_node}"]
        words += [f"--network={shlex.quote(o.network)}"] if o.network else []
        words += [f"--scratch={shlex.quote(o.scratch)}"] if o.scratch else []
        return " ".join(words)

    def commands(self, launch: Launch) -> list[list[str]]:
        return [["sbatch", "--parsable", str(launch.file(_SCRIPT))]]

    def submit(self, launch: Launch) -> str:
        token = os.environ.get("RAY_AUTH_TOKEN") or secrets.token_hex(32)  # all elements of an array need the same
        env = {**os.environ, "RAY_AUTH_TOKEN": token}
        try:
            output = self._tools["sbatch"].say(*self.commands(launch)[0][1:], env=env)
        except ToolFailed as e:
            raise UsageError(f"Slurm refuses the job, nothing was queued: {e.said}") from e
        return output.strip().split(";")[0]

    def look(self, job: str, home: Path) -> Look:
        if (end := ended(home)) is not None:
            return end
        when, seen = self._seen.get(job, (-1e9, Look(JobState.unknown)))
        if time.monotonic() - when >= _LEAST_SECONDS:
            seen = self._ask(job)
            self._seen[job] = (time.monotonic(), seen)
        return seen

    def _ask(self, job: str) -> Look:
        try:
            output = self._tools["squeue"].say("-j", job, "--states=all", "-h", "-o", "%T|%r")
        except ToolFailed as e:
            if "Invalid job id" not in e.said:
                raise
            output = ""
        lines = output.splitlines()
        if not lines:
            try:
                output = self._tools["sacct"].say("-j", job, "-X", "-n", "-P", "-o", "State,Reason")
            except Unreachable:  # a cluster without accounting
                return Look(JobState.unknown, "Slurm has forgotten it")
            lines = output.splitlines()
        looks = [
            Look(_STATE_OF.get(w[0].split()[0], JobState.unknown), " ".join(w))
            for w in (line.split("|") for line in lines if line)
        ]
        return min(
            looks,
            key=lambda k: _WORSE.index(k.state) if k.state in _WORSE else len(_WORSE),
            default=Look(JobState.unknown, "Slurm has forgotten it"),
        )

    def logs(self, job: str, home: Path) -> Mapping[str, str]:
        del job
        return {f.stem: log_text(f) for f in sorted(home.glob("log*.txt"))}

    def cancel(self, job: str, home: Path) -> None:
        del home
        try:
            self._tools["scancel"].say(job)
        except ToolFailed as e:
            if "Invalid job id" not in e.said:
                raise

    def checks(self, launch: Launch) -> Iterator[Check]:
        o = self.given
        yield self._partition()
        yield shared_folder(launch)
        if o.stop_seconds >= 60 * minutes(o.time):
            yield Check("time", False, f"{o.time} is not longer than stop_seconds, {o.stop_seconds}", "Ask for more")
        workers = max(1, int(self.cpus / max(launch.site["cpus"], 1e-3)))
        yield walltime(launch, 60 * minutes(o.time) - o.stop_seconds, workers=workers, requeues=o.requeue)
        yield self._accepted(launch)
        yield self._node(launch)

    def _partition(self) -> Check:
        rows = [line.split("|") for line in self._tools["sinfo"].say("-h", "-o", "%P|%l|%D").splitlines()]
        known = {name.rstrip("*"): (limit, nodes) for name, limit, nodes in rows}
        default = next((name.rstrip("*") for name, _, _ in rows if name.endswith("*")), None)
        name = self.given.partition or default
        if name is None:
            return Check("partition", None, "the cluster has no default one; sbatch decides")
        if name not in known:
            have = "; ".join(f"{n} ({nodes} nodes, at most {limit})" for n, (limit, nodes) in known.items())
            return Check("partition", False, f"there is no {name!r}", f"Set launcher.partition to one of: {have}")
        limit, nodes = known[name]
        detail = f"{name}, {nodes} nodes, at most {limit}"
        if limit[:1].isdigit() and minutes(self.given.time) > minutes(limit):  # sbatch may take it and never start it
            cure = "Ask for less: the job is queued again until the sweep is complete"
            return Check("partition", False, f"{detail}, but launcher.time is {self.given.time}", cure)
        return Check("partition", True, detail)

    def _accepted(self, launch: Launch) -> Check:
        script = next(iter(self.files(launch).values()))
        try:
            self._tools["sbatch"].say("--test-only", stdin=script)
        except ToolFailed as e:
            said = " ".join(line.removeprefix("sbatch: error: ") for line in e.said.splitlines())
            return Check("sbatch", False, said, "Change nodes, time, partition, account or qos in the site's launcher")
        return Check("sbatch", True, "the scheduler would accept the job")

    def _node(self, launch: Launch) -> Check:
        """Look at a compute node with the job's own Python, if one is free within seconds."""
        o = self.given
        if not o.probe_seconds:
            return Check("a node", None, "probe_seconds is 0; each node checks itself when the job begins")
        where = [f"--{k}={v}" for k, v in {"partition": o.partition, "account": o.account, "qos": o.qos}.items() if v]
        where += [f"--gpus-per-node={o.gpus_per_node}"] if o.gpus_per_node else []
        setup = " && ".join([*o.setup, f"exec {self._python()} -P -m cluster.probe {shlex.quote(launch.home)}"])
        try:
            output = self._tools["srun"].say(
                *where, "--nodes=1", "--ntasks=1", "--time=1", f"--immediate={o.probe_seconds}",
                "--job-name=landsweep-probe", "bash", "-c", setup, seconds=o.probe_seconds + 90,
            )  # fmt: skip
        except ToolFailed as e:
            if "Unable to allocate" in e.said or "immediate" in e.said.lower():
                free = f"no node was free within {span(o.probe_seconds)}; each node checks itself when the job begins"
                return Check("a node", None, free)
            return Check("a node", False, e.said.splitlines()[-1], f"The command was: {setup}")
        return judged(output, launch, gpus=o.gpus_per_node)


def minutes(time_limit: str) -> float:
    """A Slurm time limit in minutes.

    Example:
        >>> minutes("90"), minutes("01:30:00"), minutes("2-12"), minutes("1:30")
        (90.0, 90.0, 3600.0, 1.5)
    """
    days, dash, rest = time_limit.rpartition("-")
    parts = [float(p) for p in rest.split(":")]
    if dash:
        hours, mins, seconds = [*parts, 0.0, 0.0][:3]
    elif len(parts) == 3:
        hours, mins, seconds = parts
    else:
        hours, mins, seconds = 0.0, parts[0], (parts[1] if len(parts) == 2 else 0.0)
    return float(days or 0) * 1440 + hours * 60 + mins + seconds / 60


_START = """member head --nodes=1 --ntasks=1 --nodelist="$SLURMD_NODENAME" & lead=$!
if ((SLURM_NNODES > 1)); then
    member worker --nodes=$((SLURM_NNODES - 1)) --ntasks=$((SLURM_NNODES - 1)) --exclude="$SLURMD_NODENAME" \\
        --no-kill --wait=0 & rest=$!
fi"""
_START_ARRAY = "member elect --nodes=1 --ntasks=1 & lead=$!"
_REQUEUE = (
    'scontrol requeue "$SLURM_JOB_ID" && sleep 60 # Slurm ends this script now\n'
    "    echo 'could not requeue; submit again to go on'"
)
_ENDED_ARRAY = """elif [[ $code != 3 ]]; then
    scancel --state=PENDING "$SLURM_ARRAY_JOB_ID" # elements that still wait have nothing to do"""
