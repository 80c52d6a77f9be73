"""Scripts and manifests: golden files (GOLDEN=write makes them again), and the rules of those who read them."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from landsweep.cluster.launchers.autoscaler import Autoscaler
from landsweep.cluster.launchers.kuberay import KubeRay, job_name
from landsweep.cluster.launchers.script import filled
from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.site import Site, load_site, parse_site, site_names
from tests.cluster.launchers.launches import launch, launcher
from tests.support.paths import CLUSTER_GOLDEN, RAYJOB_SCHEMA, ROOT

SITES = [name for name in site_names() if load_site(name).launcher is not None]
MORE: dict[str, dict[str, Any]] = {
    "slurm-array": {
        "type": "slurm", "array": 8, "cpus_per_node": 4, "partition": "cpu", "account": "lab", "requeue": False,
        "setup": ["module load python/3.12"], "container": ["apptainer", "exec", "image.sif"], "network": "ib0",
    },
    "kuberay-volume": {
        "type": "kuberay", "image": "image", "namespace": "lab", "volume": {"claim": "results"},
        "groups": [
            {"name": "gpu", "replicas": 4, "least": 4, "cpus": 8, "memory": "64Gi", "gpus": 1,
             "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}]},
            {"name": "spot", "least": 0, "most": 16, "node_selector": {"spot": "true"}},
        ],
        "env_from": ["s3"], "service_account": "sweeps", "labels": {"kueue.x-k8s.io/queue-name": "research"},
        "deadline_seconds": 86400,
    },
}  # fmt: skip


def site(name: str) -> Site:
    return parse_site({"launcher": MORE[name]}, name) if name in MORE else load_site(name)


@pytest.mark.parametrize("name", [*SITES, *MORE])
def test_what_is_handed_over_is_as_in_the_golden_file(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/shared/venv/bin/python")
    text = launcher(site(name)).dry_run(launch()) + "\n"
    file = CLUSTER_GOLDEN / f"{name}.txt"
    if os.environ.get("GOLDEN") == "write":
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [n for n in [*SITES, *MORE] if site(n).launcher.type == "kuberay"])  # type: ignore[union-attr]
def test_rayjobs_are_as_kuberay_wants_them(name: str) -> None:
    schema = yaml.safe_load(RAYJOB_SCHEMA.read_text(encoding="utf-8"))
    (text,) = launcher(site(name)).files(launch()).values()
    config, job = yaml.safe_load_all(text)
    jsonschema.validate(job, schema)
    assert job["spec"]["backoffLimit"] >= 2, "a head that is lost is replaced"
    cluster = job["spec"]["rayClusterSpec"]
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0", "no unit runs beside the driver"
    for group in cluster["workerGroupSpecs"]:
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    pods = [cluster["headGroupSpec"]["template"], *(g["template"] for g in cluster["workerGroupSpecs"])]
    for pod in (p["spec"] for p in pods):
        assert {m["name"] for c in pod["containers"] for m in c["volumeMounts"]} == {v["name"] for v in pod["volumes"]}
    told = json.loads(config["data"]["launch.json"])
    assert told == json.loads(launch().text()) and config["metadata"]["name"] == job["metadata"]["name"]


def test_the_schema_refuses_what_kuberay_refuses() -> None:
    schema = yaml.safe_load(RAYJOB_SCHEMA.read_text(encoding="utf-8"))
    (text,) = launcher(site("kuberay")).files(launch()).values()
    _, job = yaml.safe_load_all(text)
    for path, value in [("backoffLimit", -1), ("shutdownAfterJobFinishes", False), ("entrypointt", "x")]:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**job, "spec": {**job["spec"], path: value}}, schema)


def test_names_of_jobs_are_what_kubernetes_allows() -> None:
    long = job_name(launch(name="Zoo_of.Many-Models" * 5))
    assert len(long) <= 47 and long.startswith("ls-zoo-of-many-models") and long.endswith("-0001")
    assert job_name(launch(number=2)) == "ls-example-0002"


@pytest.mark.parametrize("name", ["aws", "gcp"])
def test_rays_autoscaler_takes_the_cluster_file(name: str) -> None:
    (text,) = launcher(site(name)).files(launch()).values()
    config = prepare_config(yaml.safe_load(text))
    config["available_node_types"]["worker"]["resources"] = {"CPU": 32}  # `ray up` asks the cloud for them
    validate_config(config)  # Ray's own schema and checks
    assert config["available_node_types"]["head"]["resources"] == {"CPU": 0}, "no unit runs beside the driver"
    worker = config["available_node_types"]["worker"]["node_config"]
    assert worker.get("InstanceMarketOptions") == {"MarketType": "spot"} or worker["scheduling"]["preemptible"]


@pytest.mark.parametrize("name", [n for n in [*SITES, *MORE] if site(n).launcher.type in ("slurm", "ssh")])  # type: ignore[union-attr]
def test_scripts_are_bash(name: str, tmp_path: Path) -> None:
    for text in launcher(site(name)).files(launch()).values():
        (tmp_path / "job.sh").write_text(text, encoding="utf-8")
        subprocess.run(["bash", "-n", tmp_path / "job.sh"], check=True)
        assert "@@" not in text, "every place of the template is filled"


@pytest.mark.parametrize(
    ("section", "complaint"),
    [
        ({"type": "slurm", "array": 4, "nodes": 2}, "with `array`, each allocation has one node"),
        ({"type": "kuberay", "image": "i", "groups": [{}, {}]}, "two groups have the same name"),
        ({"type": "kuberay", "image": "i", "groups": [{"replicas": 4, "most": 2}]}, "least <= replicas <= most"),
        ({**load_site("gcp").model_dump(mode="json")["launcher"], "project": None}, "launcher.project: missing"),
        ({**load_site("aws").model_dump(mode="json")["launcher"], "least": 99}, "99 is more than launcher.most"),
    ],
)
def test_sections_that_can_not_be_meant_are_refused(section: dict[str, Any], complaint: str) -> None:
    with pytest.raises(SpecError, match=complaint):
        launcher(parse_site({"launcher": section}, "test"))


def test_results_that_would_vanish_with_the_cluster_are_refused() -> None:
    for name, kind in (("kuberay", KubeRay), ("aws", Autoscaler)):
        made = launcher(site(name))
        assert isinstance(made, kind)
        check = next(iter(made.checks(launch())))
        assert check.ok is False and "--out s3://" in check.fix
        assert next(iter(made.checks(launch(out="s3://bucket/example")))).ok
    inside = launcher(site("kuberay-volume")).checks(launch(out="/results/example"))
    assert next(iter(inside)).ok


@pytest.mark.parametrize("changes", [{}, {"array": 2}, {"requeue": False}, {"array": 2, "requeue": False}])
def test_lines_of_a_template_stay_lines(changes: dict[str, Any]) -> None:
    """Also after a name whose text is empty."""
    template = (ROOT / "cluster/templates/slurm.sh").read_text(encoding="utf-8").splitlines()
    (text,) = launcher(parse_site({"launcher": {"type": "slurm", **changes}}, "test")).files(launch()).values()
    assert set(text.splitlines()) >= {line for line in template if "@@" not in line}


def test_a_template_is_filled_once() -> None:
    assert filled("@@A\n@@B\nx@@B\n@@A@@{B}c\n", {"A": "@@B", "B": ""}) == "@@B\nx\n@@Bc\n"
