"""KubeRay's conversation with kubectl, with a stand-in in its place: the manifest is judged in test_manifests.py."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from landsweep.cluster.launchers.kuberay import KubeRay, KubeRayOptions
from landsweep.cluster.launchers.launcher import JobState
from landsweep.orchestrator.errors import Unreachable
from tests.cluster.launchers.launches import launch
from tests.support.cli import command
from tests.support.paths import KUBECTL, SHIPPED_SPECS

LAUNCHER = KubeRay(KubeRayOptions(image="image", namespace="lab"))


@pytest.fixture
def kube(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program = tmp_path / "bin" / "kubectl"
    program.parent.mkdir()
    program.write_text(f'#!/bin/bash\nexec {sys.executable} {KUBECTL} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    monkeypatch.setenv("KUBE_FOLDER", str(tmp_path))
    (tmp_path / "allowed").write_text("yes\n")
    return tmp_path


def set_status(kube: Path, **status: str) -> None:
    file = kube / "rayjob-ls-example-0001.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "status": status}))


def test_a_rayjob_from_creation_to_deletion(kube: Path) -> None:
    one = launch(home=str(kube), out="s3://bucket/example")
    for name, text in LAUNCHER.files(one).items():
        (kube / name).write_text(text)
    assert all(check.ok is not False for check in LAUNCHER.checks(one))
    assert not list(kube.glob("rayjob-*")), "checks leave nothing behind"
    job = LAUNCHER.submit(one)
    assert LAUNCHER.status(job, kube).state is JobState.queued
    for deployment, inside, state in [
        ("Initializing", "", JobState.queued),
        ("Running", "RUNNING", JobState.running),
        ("Retrying", "FAILED", JobState.running),  # a new cluster is on its way
        ("Complete", "SUCCEEDED", JobState.done),
        ("Failed", "FAILED", JobState.failed),
    ]:
        set_status(kube, jobDeploymentStatus=deployment, jobStatus=inside)
        assert LAUNCHER.status(job, kube).state is state
    assert "1,000 units" in LAUNCHER.logs(job, kube)["driver"]
    LAUNCHER.cancel(job, kube)
    LAUNCHER.cancel(job, kube)
    assert not list(kube.glob("rayjob-*")) and not list(kube.glob("configmap-*"))
    assert LAUNCHER.status(job, kube).state is JobState.unknown


def test_what_is_missing_in_the_cluster_is_told_before(kube: Path) -> None:
    (kube / "allowed").write_text("no\n")
    (kube / "refuses").touch()
    failed = {c.what: c for c in LAUNCHER.checks(launch(out="s3://bucket/example")) if c.ok is False}
    assert set(failed) == {"rights", "manifest"}
    assert "Is KubeRay installed" in failed["manifest"].fix


def test_without_kubectl_the_manifest_can_still_be_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unreachable, match=r"no `kubectl` on this machine: install it, or print the manifest"):
        list(LAUNCHER.checks(launch(out="s3://bucket/example")))
    spec = SHIPPED_SPECS / "function_minima.yaml"
    shown = command("submit", str(spec), "--site", "kuberay", "--out", "s3://b/x", "--dry-run", cwd=tmp_path)
    assert "kind: RayJob" in shown.stdout
