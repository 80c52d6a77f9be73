"""Ray's own autoscaler on AWS and GCP: a small machine that stays for head and driver, spot machines for the units.

The head shuts itself down when the job ends. Results must outlive it: an object store.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import yaml
from pydantic import Field, PositiveInt

from landsweep.cluster.launch import LAUNCH_FILE, Launch
from landsweep.cluster.launchers.launcher import Check, JobState, JobStatus, Launcher
from landsweep.cluster.launchers.tool import Tool, ToolFailed
from landsweep.cluster.node.programs import DRIVER
from landsweep.orchestrator.errors import SpecError, Unreachable, UsageError
from landsweep.orchestrator.site import LauncherOptions
from landsweep.orchestrator.storage.store import is_url

__all__ = ["Autoscaler", "AutoscalerOptions"]

_CONFIG = "cluster.yaml"
_LAUNCH_ON_HEAD = "/tmp/landsweep/launch.json"
_STATE = re.compile(r"\b(PENDING|RUNNING|SUCCEEDED|FAILED|STOPPED)\b|Job '\S+' (succeeded|failed|was stopped)", re.I)
_STATE_OF = {
    "pending": JobState.queued,
    "running": JobState.running,
    "succeeded": JobState.done,
    "failed": JobState.failed,
    "stopped": JobState.cancelled,
    "was stopped": JobState.cancelled,
}
_CLIENT = {"aws": "boto3", "gcp": "google-api-python-client"}


class AutoscalerOptions(LauncherOptions):
    """The section `launcher` of a site for AWS or GCP."""

    type: Literal["ray-autoscaler"] = "ray-autoscaler"
    provider: Literal["aws", "gcp"]
    region: str = Field(description="such as us-west-2 or us-central1")
    zone: str | None = Field(None, description="availability zone; GCP needs one")
    project: str | None = Field(None, description="GCP needs one")
    head_machine: str = Field(description="such as m6i.large or e2-standard-4; no unit runs on it")
    worker_machine: str = Field(description="such as c6i.8xlarge or n2-standard-32")
    worker_node: dict[str, Any] = Field(
        {}, description="more fields of a worker's node_config: image, disks, accelerators"
    )
    head_node: dict[str, Any] = Field({}, description="more fields of the head's node_config")
    least: int = Field(0, ge=0, description="workers that stay")
    most: PositiveInt = Field(10, description="workers at most")
    spot: bool = Field(True, description="workers may be taken away at any time, for a fraction of the price")
    idle_minutes: PositiveInt = Field(5, description="a worker idle for longer is given back")
    ssh_user: str = Field("ubuntu", description="of the machine images")
    image: str | None = Field(None, description="Docker image; cluster/Dockerfile makes one")
    setup: tuple[str, ...] = Field((), description="shell lines on each machine, such as pip install landsweep")


class Autoscaler(Launcher[AutoscalerOptions]):
    """Brings a cluster up with `ray up`, runs the driver on its head, and lets it go down at the end."""

    name: ClassVar[str] = "ray-autoscaler"
    options_type: ClassVar[type[LauncherOptions]] = AutoscalerOptions

    def __init__(self, options: AutoscalerOptions) -> None:
        super().__init__(options)
        if options.provider == "gcp":
            for field in ("zone", "project"):
                if getattr(options, field) is None:
                    raise SpecError(f"launcher.{field}: missing; GCP needs it")
        if options.least > options.most:
            raise SpecError(f"launcher.least: {options.least} is more than launcher.most, {options.most}")
        self._ray = Tool(sys.executable, "install Python")

    @property
    def shares_files(self) -> bool:
        return False

    def files(self, launch: Launch) -> Mapping[str, str]:
        return {_CONFIG: yaml.safe_dump(self._config(launch), sort_keys=False)}

    def _config(self, launch: Launch) -> dict[str, Any]:
        o = self.options
        provider: dict[str, Any] = {"type": o.provider, "region": o.region, "cache_stopped_nodes": False}
        if o.provider == "gcp":
            provider |= {"availability_zone": o.zone, "project_id": o.project}
            machine = "machineType"
            spot: dict[str, Any] = {"scheduling": {"preemptible": True}}
        else:
            provider |= {} if o.zone is None else {"availability_zone": o.zone}
            machine = "InstanceType"
            spot = {"InstanceMarketOptions": {"MarketType": "spot"}}
        worker = {machine: o.worker_machine, **(spot if o.spot else {}), **o.worker_node}
        docker = {"docker": {"image": o.image, "container_name": "landsweep"}} if o.image else {}
        ray = "ulimit -n 65536; ray start"
        return {
            "cluster_name": _cluster_name(launch),
            "max_workers": o.most,
            "idle_timeout_minutes": o.idle_minutes,
            "provider": provider,
            "auth": {"ssh_user": o.ssh_user},
            **docker,
            "available_node_types": {
                "head": {
                    "resources": {"CPU": 0},  # no unit runs beside the driver
                    "node_config": {machine: o.head_machine, **o.head_node},
                    "max_workers": 0,
                },
                "worker": {"node_config": worker, "min_workers": o.least, "max_workers": o.most},
            },
            "head_node_type": "head",
            "file_mounts": {_LAUNCH_ON_HEAD: str(launch.file(LAUNCH_FILE))},
            "setup_commands": list(o.setup),
            "head_start_ray_commands": [
                "ray stop",
                f"{ray} --head --port=6379 --dashboard-host=127.0.0.1 --autoscaling-config=~/ray_bootstrap_config.yaml",
            ],
            "worker_start_ray_commands": ["ray stop", f"{ray} --address=$RAY_HEAD_IP:6379"],
        }

    def commands(self, launch: Launch) -> list[list[str]]:
        config, job = str(launch.file(_CONFIG)), _cluster_name(launch)
        driver = f"ray job submit --submission-id={job} -- python {shlex.join(DRIVER)} {_LAUNCH_ON_HEAD}"
        return [
            ["ray", "up", "--yes", "--no-config-cache", config],
            ["ray", "exec", "--tmux", "--stop", config, driver],  # the head goes down when the driver has ended
        ]

    def submit(self, launch: Launch) -> str:
        up, start = self.commands(launch)
        try:
            self._run(*up[1:], seconds=1800)
        except ToolFailed as e:
            raise UsageError(
                f"the cluster did not come up: {e.output}\nTo end what did come up: ray down {launch.file(_CONFIG)}"
            ) from e
        self._run(*start[1:])
        return _cluster_name(launch)

    def find(self, launch: Launch) -> str:
        """Always the name: machines may be up though their head does not answer, and `cancel` ends them."""
        return _cluster_name(launch)

    def status(self, job: str, home: Path) -> JobStatus:
        try:
            output = self._inside(home, f"ray job status {job}")
        except Unreachable:
            return JobStatus(JobState.unknown, "its head does not answer: it goes down when the job has ended")
        words = [m.group(1) or m.group(2) for m in _STATE.finditer(output)]
        word = words[-1] if words else ""
        return JobStatus(_STATE_OF.get(word.lower(), JobState.unknown), word)

    def logs(self, job: str, home: Path) -> Mapping[str, str]:
        try:
            return {"driver": self._inside(home, f"ray job logs {job}")}
        except Unreachable:
            return {}

    def cancel(self, job: str, home: Path) -> None:
        try:
            self._inside(home, f"ray job stop {job}")
        finally:
            self._run("down", "--yes", str(home / _CONFIG), seconds=900)

    def _inside(self, home: Path, command: str) -> str:
        return self._run("exec", str(home / _CONFIG), command, seconds=120)

    def _run(self, *words: str, seconds: float = 300) -> str:
        return self._ray.run("-P", "-m", "ray.scripts.scripts", *words, seconds=seconds, shown=("ray", *words))

    def checks(self, launch: Launch) -> Iterator[Check]:
        outlives = is_url(launch.out)
        detail = f"results go to {launch.out}" if outlives else f"{launch.out} is a folder of this machine"
        yield Check("results", outlives, detail, "Give --out s3://... or gs://...")
        client = _CLIENT[self.options.provider]
        module = {"boto3": "boto3", "google-api-python-client": "googleapiclient"}[client]
        try:
            self._ray.run("-P", "-c", f"import {module}")
        except ToolFailed:
            yield Check("client", False, f"{client} is not installed", f"pip install {client}")
        else:
            yield Check("client", True, f"{client} is installed")
        yield Check(
            "price", None, f"up to {self.options.most} {self.options.worker_machine}; `ray down` ends them at any time"
        )


def _cluster_name(launch: Launch) -> str:
    return re.sub(r"[^a-z0-9]+", "-", f"ls-{launch.name}-{launch.number:04d}".lower())
