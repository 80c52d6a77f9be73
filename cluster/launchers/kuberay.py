"""KubeRay: a RayJob, which brings its own cluster and takes it away again.

A RayJob's retry (`backoffLimit`) starts on a new cluster; harmless here, since the driver resumes from the rows.
Results must outlive the cluster: an object store, or a volume.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import yaml
from pydantic import Field, PositiveFloat, PositiveInt

from landsweep.cluster.launch import LAUNCH_FILE, Launch
from landsweep.cluster.launchers.launcher import Check, JobState, JobStatus, Launcher, NotQueued
from landsweep.cluster.launchers.tool import Tool, ToolFailed
from landsweep.cluster.node.node import own_versions
from landsweep.cluster.node.programs import DRIVER
from landsweep.orchestrator.errors import SpecError, Unreachable
from landsweep.orchestrator.site import LauncherOptions
from landsweep.orchestrator.spec import Section
from landsweep.orchestrator.storage.readers import object_or_none
from landsweep.orchestrator.storage.store import is_url
from landsweep.orchestrator.text import shortened

__all__ = ["KubeRay", "KubeRayOptions", "Pods", "Volume", "job_name"]

_MANIFEST = "rayjob.yaml"
_MOUNT = "/landsweep"  # of the ConfigMap with launch.json
_LONGEST_NAME = 47  # of a RayJob: KubeRay adds suffixes for cluster and pods
_NAME = re.compile(r"[^a-z0-9]+")
_STATE_OF = {
    "SUCCEEDED": JobState.done,
    "Complete": JobState.done,
    "FAILED": JobState.failed,
    "Failed": JobState.failed,
    "STOPPED": JobState.cancelled,
    "Running": JobState.running,
    "Retrying": JobState.running,
    "Initializing": JobState.queued,
    "Waiting": JobState.queued,
    "Suspended": JobState.queued,
    "Suspending": JobState.queued,
    "": JobState.queued,
}


class _Dumper(yaml.SafeDumper):
    """Text of several lines as people write it; no anchors, which not every reader takes."""

    def ignore_aliases(self, data: object) -> bool:
        return True


_Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None),
)


class Pods(Section):
    """Size and place of the pods of one group."""

    name: str = Field("workers", pattern=r"^[a-z]([a-z0-9-]{0,30}[a-z0-9])?$", description="of the group")
    replicas: PositiveInt = Field(1, description="pods at the beginning")
    most: PositiveInt | None = Field(None, description="more than replicas: the autoscaler may add pods")
    least: int = Field(0, ge=0, description="fewer than replicas: the autoscaler may take pods away")
    cpus: PositiveFloat = Field(4, description="of one pod")
    memory: str = Field("8Gi", pattern=r"^\d+(\.\d+)?(Mi|Gi|Ti|M|G|T)$", description="of one pod")
    gpus: int = Field(0, ge=0, description="of one pod")
    gpu_resource: str = Field("nvidia.com/gpu", description="name of the GPU resource")
    node_selector: dict[str, str] = Field({}, description="labels of the nodes, such as those of spot machines")
    tolerations: tuple[dict[str, Any], ...] = Field((), description="as Kubernetes takes them")


class Volume(Section):
    """A claim that all pods mount, for results and data."""

    claim: str = Field(description="name of a PersistentVolumeClaim (ReadWriteMany for several nodes)")
    mount: str = Field("/results", pattern=r"^/.+", description="where; --out must lie below")


class KubeRayOptions(LauncherOptions):
    """The section `launcher` of a site for Kubernetes."""

    type: Literal["kuberay"] = "kuberay"
    image: str = Field(description="with landsweep and Ray; cluster/Dockerfile makes one")
    namespace: str = Field("default", description="of Kubernetes")
    context: str | None = Field(None, description="of kubectl; by default the present one")
    head: Pods = Field(Pods(name="head", cpus=2, memory="8Gi"), description="runs the driver and no unit")
    groups: tuple[Pods, ...] = Field((Pods(),), min_length=1, description="of workers")
    volume: Volume | None = Field(None, description="for results, where there is no object store")
    service_account: str | None = Field(None, description="that may write to the object store")
    env_from: tuple[str, ...] = Field((), description="names of secrets that become environment variables")
    labels: dict[str, str] = Field({}, description="of the RayJob, such as kueue.x-k8s.io/queue-name")
    retries: int = Field(
        3, ge=0, description="fresh starts after a failure of the cluster; the sweep resumes from its rows"
    )
    deadline_seconds: PositiveInt | None = Field(None, description="of the whole job, retries included")
    keep_seconds: int = Field(300, ge=0, description="how long the pods stay after the end")


class KubeRay(Launcher[KubeRayOptions]):
    """Applies a ConfigMap and a RayJob through kubectl."""

    name: ClassVar[str] = "kuberay"
    options_type: ClassVar[type[LauncherOptions]] = KubeRayOptions

    def __init__(self, options: KubeRayOptions) -> None:
        super().__init__(options)
        names = [group.name for group in options.groups]
        if len({*names}) < len(names):
            raise SpecError(f"launcher.groups: two groups have the same name (given: {', '.join(names)})")
        for group in options.groups:
            if not group.least <= group.replicas <= (group.most or group.replicas):
                raise SpecError(f"launcher.groups: {group.name}: least <= replicas <= most does not hold")
        self._kubectl = Tool("kubectl", "install it, or print the manifest with --dry-run and apply it elsewhere")

    @property
    def shares_files(self) -> bool:
        return False

    @property
    def cpus(self) -> float:
        return sum(group.replicas * group.cpus for group in self.options.groups)

    def files(self, launch: Launch) -> Mapping[str, str]:
        name = job_name(launch)
        config = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": self.options.namespace},
            "data": {LAUNCH_FILE: launch.text()},
        }
        return {_MANIFEST: yaml.dump_all([config, self._job(launch, name)], Dumper=_Dumper, sort_keys=False)}

    def _job(self, launch: Launch, name: str) -> dict[str, Any]:
        o = self.options
        elastic = any((g.most or g.replicas) != g.least for g in o.groups)
        deadline = {} if o.deadline_seconds is None else {"activeDeadlineSeconds": o.deadline_seconds}
        return {
            "apiVersion": "ray.io/v1",
            "kind": "RayJob",
            "metadata": {
                "name": name,
                "namespace": o.namespace,
                "labels": {"app.kubernetes.io/managed-by": "landsweep", **o.labels},
            },
            "spec": {
                "entrypoint": f"python {shlex.join(DRIVER)} {_MOUNT}/{LAUNCH_FILE}",
                "submissionMode": "K8sJobMode",
                "shutdownAfterJobFinishes": True,
                "ttlSecondsAfterFinished": o.keep_seconds,
                "backoffLimit": o.retries,
                **deadline,
                "rayClusterSpec": {
                    "rayVersion": launch.versions["ray"],
                    "enableInTreeAutoscaling": elastic,
                    "headGroupSpec": {
                        "rayStartParams": {"num-cpus": "0", "dashboard-host": "0.0.0.0"},
                        "template": self._pod(o.head, "ray-head", name),
                    },
                    "workerGroupSpecs": [
                        {
                            "groupName": group.name,
                            "replicas": group.replicas,
                            "minReplicas": group.least if elastic else group.replicas,
                            "maxReplicas": group.most or group.replicas,
                            "rayStartParams": {},
                            "template": self._pod(group, "ray-worker", name),
                        }
                        for group in o.groups
                    ],
                },
            },
        }

    def _pod(self, pods: Pods, container: str, config: str) -> dict[str, Any]:
        o = self.options
        amount = {"cpu": f"{pods.cpus:g}", "memory": pods.memory}
        if pods.gpus:
            amount[pods.gpu_resource] = str(pods.gpus)
        mounts = [{"name": "launch", "mountPath": _MOUNT, "readOnly": True}]
        volumes: list[dict[str, Any]] = [{"name": "launch", "configMap": {"name": config}}]
        if o.volume is not None:
            mounts.append({"name": "results", "mountPath": o.volume.mount})
            volumes.append({"name": "results", "persistentVolumeClaim": {"claimName": o.volume.claim}})
        box: dict[str, Any] = {
            "name": container,
            "image": o.image,
            "resources": {"requests": dict(amount), "limits": dict(amount)},
            "volumeMounts": mounts,
        }
        if o.env_from:
            box["envFrom"] = [{"secretRef": {"name": secret}} for secret in o.env_from]
        spec: dict[str, Any] = {"containers": [box], "volumes": volumes}
        if o.service_account is not None:
            spec["serviceAccountName"] = o.service_account
        if pods.node_selector:
            spec["nodeSelector"] = dict(pods.node_selector)
        if pods.tolerations:
            spec["tolerations"] = [dict(t) for t in pods.tolerations]
        return {"spec": spec}

    def _words(self, *words: str) -> list[str]:
        context = [f"--context={self.options.context}"] if self.options.context else []
        return [*context, f"--namespace={self.options.namespace}", *words]

    def commands(self, launch: Launch) -> list[list[str]]:
        return [["kubectl", *self._words("create", "-f", str(launch.file(_MANIFEST)))]]

    def submit(self, launch: Launch) -> str:
        try:
            self._kubectl.run(*self.commands(launch)[0][1:])
        except ToolFailed as e:
            raise NotQueued(f"Kubernetes refuses the job, nothing was queued: {e.output}") from e
        return job_name(launch)

    def find(self, launch: Launch) -> str | None:
        """A RayJob of another results folder may have the same name, but no ConfigMap with this launch."""
        name = job_name(launch)
        config = self._get("configmap", name)
        data = config.get("data") if config else None
        ours = isinstance(data, dict) and data.get(LAUNCH_FILE) == launch.text()
        return name if ours and self._get("rayjob", name) else None

    def _get(self, kind: str, name: str) -> dict[str, Any] | None:
        """An object of the cluster; None where there is none."""
        try:
            output = self._kubectl.run(*self._words("get", kind, name, "-o", "json"))
        except ToolFailed as e:
            if "NotFound" not in e.output:
                raise
            return None
        answer = object_or_none(output)
        if answer is None:
            raise Unreachable(f"kubectl answers with no JSON object: {shortened(output.strip(), 80)!r}")
        return answer

    def status(self, job: str, home: Path) -> JobStatus:
        del home
        answer = self._get("rayjob", job)
        if answer is None:
            return JobStatus(JobState.unknown, "Kubernetes has no such RayJob any more")
        status = answer.get("status")
        status = status if isinstance(status, dict) else {}
        deployment, inside = status.get("jobDeploymentStatus", ""), status.get("jobStatus", "")
        state = _STATE_OF.get(inside) or _STATE_OF.get(deployment, JobState.unknown)
        if state is JobState.failed and deployment in ("Running", "Retrying"):
            state = JobState.running  # it starts again on a new cluster
        words = [deployment, inside, str(status.get("reason", "")), str(status.get("message", ""))]
        return JobStatus(state, " ".join(w for w in words if w)[:200])

    def logs(self, job: str, home: Path) -> Mapping[str, str]:
        del home
        try:
            return {"driver": self._kubectl.run(*self._words("logs", f"job/{job}"))}
        except ToolFailed:  # there is no pod yet, or no more
            return {}

    def cancel(self, job: str, home: Path) -> None:
        del home
        self._kubectl.run(
            *self._words("delete", "--ignore-not-found", "--wait=false", f"rayjob/{job}", f"configmap/{job}")
        )

    def checks(self, launch: Launch) -> Iterator[Check]:
        o = self.options
        below = o.volume is not None and launch.out.startswith(o.volume.mount.rstrip("/") + "/")
        fix = (
            f"Give --out s3://..., or one below {o.volume.mount}"
            if o.volume
            else "Give --out s3://... or launcher.volume"
        )
        gone = f"{launch.out} would vanish with the pods"
        outlives = is_url(launch.out) or below
        yield Check("results", outlives, f"results go to {launch.out}" if outlives else gone, fix)
        allowed = self._kubectl.run(*self._words("auth", "can-i", "create", "rayjobs.ray.io")).strip()
        yield Check("rights", allowed == "yes", f"creating RayJobs in {o.namespace}: {allowed}", "Ask for the right")
        try:
            self._kubectl.run(
                *self._words("create", "--dry-run=server", "-f", "-"), stdin=next(iter(self.files(launch).values()))
            )
        except ToolFailed as e:
            fix = "Is KubeRay installed (`kubectl get crd rayjobs.ray.io`), does the namespace exist?"
            yield Check("manifest", False, (e.output.splitlines() or ["kubectl ended without a word"])[-1], fix)
        else:
            yield Check("manifest", True, "the cluster would accept the RayJob")
        yield Check("image", None, f"{o.image} must hold {', '.join(f'{p} {v}' for p, v in own_versions().items())}")


def job_name(launch: Launch) -> str:
    """The name of a launch's RayJob: what Kubernetes allows, and different for each job of a sweep."""
    plain = _NAME.sub("-", f"ls-{launch.name}".lower()).strip("-")
    return f"{plain[: _LONGEST_NAME - 5].rstrip('-')}-{launch.number:04d}"
