"""Slurm: one batch job serves a whole sweep, or an array of small jobs that find each other."""

from __future__ import annotations

import math
import os
import re
import secrets
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from landsweep.cluster.launch import Launch
from landsweep.cluster.launchers.launcher import (
    Check,
    JobState,
    JobStatus,
    Launcher,
    NotQueued,
    log_text,
    status_at_end,
)
from landsweep.cluster.launchers.preflight import node_check, shared_folder, walltime
from landsweep.cluster.launchers.slurm_script import SlurmOptions, batch_script, python_words
from landsweep.cluster.launchers.tool import Tool, ToolFailed
from landsweep.cluster.node.programs import PROBE
from landsweep.orchestrator.commands.display import span
from landsweep.orchestrator.errors import SpecError, Unreachable, UsageError
from landsweep.orchestrator.site import LauncherOptions
from landsweep.orchestrator.text import shortened

__all__ = ["Slurm", "job_in", "minutes"]

_SCRIPT = "job.sh"
_NO_SLURM = "submit from a login node of the cluster, where sbatch works"
_ASKED = 3  # columns of sinfo
_NUMBER = re.compile(r"\s*([0-9]{1,20})(?:;\S*)?\s*")
_QUESTION_SECONDS = 30.0  # at least, between two questions about the same job: schedulers are shared
_STATES = {
    JobState.queued: "PENDING REQUEUED REQUEUE_FED REQUEUE_HOLD RESV_DEL_HOLD SPECIAL_EXIT",
    JobState.running: "RUNNING COMPLETING CONFIGURING RESIZING SIGNALING STAGE_OUT STOPPED SUSPENDED",
    JobState.done: "COMPLETED",
    JobState.cancelled: "CANCELLED REVOKED",
    JobState.failed: "FAILED TIMEOUT PREEMPTED NODE_FAIL OUT_OF_MEMORY BOOT_FAIL DEADLINE",
}
_STATE_OF = {word: state for state, words in _STATES.items() for word in words.split()}
_FORGOTTEN = JobStatus(JobState.unknown, "Slurm has forgotten it")


class Slurm(Launcher[SlurmOptions]):
    """Submits through sbatch; asks squeue, and sacct where squeue has forgotten."""

    name: ClassVar[str] = "slurm"
    options_type: ClassVar[type[LauncherOptions]] = SlurmOptions

    def __init__(self, options: SlurmOptions) -> None:
        super().__init__(options)
        if options.array is not None and options.nodes != 1:
            raise SpecError(f"launcher.nodes: with `array`, each allocation has one node (given: {options.nodes})")
        self._tools = {
            name: Tool(name, _NO_SLURM) for name in ("sbatch", "squeue", "sacct", "scancel", "sinfo", "srun")
        }
        self._answers: dict[str, tuple[float, JobStatus]] = {}  # when, and what, Slurm last said of a job

    @property
    def cpus(self) -> float:
        return (self.options.array or self.options.nodes) * self.options.cpus_per_node

    def files(self, launch: Launch) -> Mapping[str, str]:
        return {_SCRIPT: batch_script(self.options, launch)}

    def commands(self, launch: Launch) -> list[list[str]]:
        return [["sbatch", "--parsable", str(launch.file(_SCRIPT))]]

    def submit(self, launch: Launch) -> str:
        token = os.environ.get("RAY_AUTH_TOKEN") or secrets.token_hex(32)  # all elements of an array need the same
        env = {**os.environ, "RAY_AUTH_TOKEN": token}
        try:
            output = self._tools["sbatch"].run(*self.commands(launch)[0][1:], env=env)
        except ToolFailed as e:
            raise NotQueued(f"Slurm refuses the job, nothing was queued: {e.output}") from e
        return job_in(output)

    def find(self, launch: Launch) -> str | None:
        script = str(launch.file(_SCRIPT))
        lines = self._tools["squeue"].run("--me", "--states=all", "-h", "-o", "%F|%o").splitlines()
        jobs = [job for job, _, command in (line.partition("|") for line in lines) if command.strip() == script]
        return max(jobs, key=int, default=None)

    def status(self, job: str, home: Path) -> JobStatus:
        if (status := status_at_end(home)) is not None:
            return status
        asked, status = self._answers.get(job, (-math.inf, _FORGOTTEN))
        if time.monotonic() - asked >= _QUESTION_SECONDS:
            status = _status_of_all(
                [_status(line) for line in self._queue(job) or self._accounting(job) if line.strip()]
            )
            self._answers[job] = (time.monotonic(), status)
        return status

    def _queue(self, job: str) -> list[str]:
        """`STATE|reason` for each task of a job that squeue still knows."""
        try:
            return self._tools["squeue"].run("-j", job, "--states=all", "-h", "-o", "%T|%r").splitlines()
        except ToolFailed as e:
            if "Invalid job id" not in e.output:
                raise
            return []

    def _accounting(self, job: str) -> list[str]:
        """The same for one that has ended some time ago, where the cluster keeps accounts."""
        try:
            return self._tools["sacct"].run("-j", job, "-X", "-n", "-P", "-o", "State,Reason").splitlines()
        except Unreachable:
            return []

    def logs(self, job: str, home: Path) -> Mapping[str, str]:
        del job
        return {f.stem: log_text(f) for f in sorted(home.glob("log*.txt"))}

    def cancel(self, job: str, home: Path) -> None:
        del home
        try:
            self._tools["scancel"].run(job)
        except ToolFailed as e:
            if "Invalid job id" not in e.output:
                raise

    def checks(self, launch: Launch) -> Iterator[Check]:
        o = self.options
        yield self._partition()
        yield shared_folder(launch)
        if o.stop_seconds >= 60 * minutes(o.time):
            yield Check("time", False, f"{o.time} is not longer than stop_seconds, {o.stop_seconds}", "Ask for more")
        workers = max(1, int(self.cpus / max(launch.site["cpus"], 1e-3)))
        yield walltime(launch, 60 * minutes(o.time) - o.stop_seconds, workers=workers, requeues=o.requeue)
        yield self._accepted(launch)
        yield self._node(launch)

    def _partition(self) -> Check:
        lines = self._tools["sinfo"].run("-h", "-o", "%P|%l|%D").splitlines()
        rows = [row for row in (line.split("|") for line in lines) if len(row) == _ASKED]  # sites may say more
        partitions = {name.rstrip("*"): (limit, nodes) for name, limit, nodes in rows}
        default = next((name.rstrip("*") for name, _, _ in rows if name.endswith("*")), None)
        name = self.options.partition or default
        if name is None:
            return Check("partition", None, "the cluster has no default one; sbatch decides")
        if name not in partitions:
            there_are = "; ".join(f"{n} ({nodes} nodes, at most {limit})" for n, (limit, nodes) in partitions.items())
            return Check("partition", False, f"there is no {name!r}", f"Set launcher.partition to one of: {there_are}")
        limit, nodes = partitions[name]
        detail = f"{name}, {nodes} nodes, at most {limit}"
        if limit[:1].isdigit() and minutes(self.options.time) > minutes(limit):  # sbatch may take it and never start it
            fix = "Ask for less: the job is queued again until the sweep is complete"
            return Check("partition", False, f"{detail}, but launcher.time is {self.options.time}", fix)
        return Check("partition", True, detail)

    def _accepted(self, launch: Launch) -> Check:
        script = next(iter(self.files(launch).values()))
        try:
            self._tools["sbatch"].run("--test-only", stdin=script)
        except ToolFailed as e:
            reason = " ".join(line.removeprefix("sbatch: error: ") for line in e.output.splitlines())
            return Check(
                "sbatch", False, reason, "Change nodes, time, partition, account or qos in the site's launcher"
            )
        return Check("sbatch", True, "the scheduler would accept the job")

    def _node(self, launch: Launch) -> Check:
        """JobStatus at a compute node with the job's own Python, if one is free within seconds."""
        o = self.options
        if not o.probe_seconds:
            return Check("a node", None, "probe_seconds is 0; each node checks itself when the job begins")
        where = [f"--{k}={v}" for k, v in {"partition": o.partition, "account": o.account, "qos": o.qos}.items() if v]
        where += [f"--gpus-per-node={o.gpus_per_node}"] if o.gpus_per_node else []
        setup = " && ".join([*o.setup, f"exec {shlex.join([*python_words(o), *PROBE, launch.home])}"])
        try:
            output = self._tools["srun"].run(
                *where, "--nodes=1", "--ntasks=1", "--time=1", f"--immediate={o.probe_seconds}",
                "--job-name=landsweep-probe", "bash", "-c", setup, seconds=o.probe_seconds + 90,
            )  # fmt: skip
        except ToolFailed as e:
            if "Unable to allocate" in e.output or "immediate" in e.output.lower():
                free = f"no node was free within {span(o.probe_seconds)}; each node checks itself when the job begins"
                return Check("a node", None, free)
            last = e.output.splitlines()[-1:] or ["srun ended without a word"]
            return Check("a node", False, last[0], f"The command was: {setup}")
        return node_check(output, launch, gpus=o.gpus_per_node)


def _status(line: str) -> JobStatus:
    """The status of one task from its line `STATE|reason`; the state may be followed by more, as in CANCELLED by 0."""
    words = line.split("|")
    state = words[0].split()[:1]
    return JobStatus(_STATE_OF.get("".join(state), JobState.unknown), " ".join(words))


def job_in(output: str) -> str:
    """The job's number in what `sbatch --parsable` prints: `17` or `17;cluster`, among other lines of the site's own.

    Raises:
        UsageError: there is none.
    """
    numbers = [m[1] for m in map(_NUMBER.fullmatch, output.splitlines()) if m]
    if not numbers:
        raise UsageError(
            f"sbatch took the job, but printed no number of it: {shortened(output.strip(), 200)!r}. Look for it with "
            "`squeue --me`; it runs as any other, but `landsweep jobs` and `cancel` don't know it"
        )
    return numbers[-1]


def _status_of_all(tasks: Sequence[JobStatus]) -> JobStatus:
    """One status for all tasks of an array: it runs as long as one runs, and is done only when all are."""
    for state in (JobState.running, JobState.queued, JobState.failed, JobState.cancelled, JobState.done):
        for task in tasks:
            if task.state is state:
                return task
    return tasks[0] if tasks else _FORGOTTEN


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
