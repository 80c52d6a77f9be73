"""The batch script of a Slurm job, or of a job array, and the section of a site that it is made from."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from landsweep.cluster.launch import EXIT_FILE, LAUNCH_FILE, Launch
from landsweep.cluster.launchers.script import script
from landsweep.cluster.node.programs import MEMBER
from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.site import LauncherOptions

__all__ = ["SlurmOptions", "batch_script", "python_words"]

_LOG, _STOP = "log.txt", "stop"


class SlurmOptions(LauncherOptions):
    """The section `launcher` of a site for Slurm."""

    type: Literal["slurm"] = "slurm"
    nodes: PositiveInt = Field(1, description="of the one allocation; with `array`, 1")
    array: PositiveInt | None = Field(None, description="this many allocations of one node each, joined as one cluster")
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


def batch_script(o: SlurmOptions, launch: Launch) -> str:
    """The script that sbatch is given.

    Args:
        o: the section `launcher` of the site.
        launch: what it runs.

    Raises:
        SpecError: Slurm can't write a log into the job's folder.
    """
    texts = {
        "DIRECTIVES": "\n".join(f"#SBATCH {line}" for line in _directives(o, launch)),
        "SETUP": "\n".join(o.setup),
        "RESET": "" if o.array else ' "$EXIT"',
        "LAUNCH": shlex.quote(str(launch.file(LAUNCH_FILE))),
        "EXIT": shlex.quote(str(launch.file(EXIT_FILE))),
        "STOP": shlex.quote(str(launch.file(_STOP))) + (".$SLURM_ARRAY_TASK_ID" if o.array else ""),
        "MEMBER": shlex.join([*python_words(o), *MEMBER]),
        "OPTIONS": _member_options(o),
        "START": _START_ARRAY if o.array else _START,
        "REQUEUE": f"    {_REQUEUE}" if o.requeue else "    echo 'stopped before the limit; submit again to go on'",
        "ENDED": _ENDED_ARRAY if o.array else "",
    }
    return script("slurm.sh", texts)


def python_words(o: SlurmOptions) -> list[str]:
    """What starts Python on a node, in its container if it has one."""
    return [*o.container, o.python or ("python3" if o.container else sys.executable)]


def _directives(o: SlurmOptions, launch: Launch) -> list[str]:
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
        f"--output={_log_pattern(launch.file(_LOG), array=o.array is not None)}",
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


def _log_pattern(log: Path, *, array: bool) -> str:
    """The log's path as sbatch takes it: %a is the number of an array's element, and other letters mean more."""
    if any(c in str(log) for c in " \"'\\\n"):
        raise SpecError(f"{log}: Slurm can't write its log to a path with blanks or quotes; give another --out")
    return str(log.parent).replace("%", "%%") + ("/log-%a.txt" if array else f"/{_LOG}")


def _member_options(o: SlurmOptions) -> str:
    job = "$SLURM_ARRAY_JOB_ID" if o.array else "$SLURM_JOB_ID-${SLURM_RESTART_COUNT:-0}"
    words = [f'--job="{job}"', f"--cpus={o.cpus_per_node}", f"--object-store-gb={o.object_store_gb:g}"]
    words += [f"--gpus={o.gpus_per_node}"]
    words += [f"--network={shlex.quote(o.network)}"] if o.network else []
    words += [f"--scratch={shlex.quote(o.scratch)}"] if o.scratch else []
    return " ".join(words)


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
