"""Checks before anything is queued that several launchers make."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import psutil

from landsweep.cluster.launch import NONCE_FILE, Launch
from landsweep.cluster.launchers.launcher import Check
from landsweep.cluster.node.probe import PREFIX
from landsweep.orchestrator.commands.display import span
from landsweep.orchestrator.errors import LandsweepError
from landsweep.orchestrator.storage.store import Store, is_url

__all__ = ["node_check", "reachable_results", "results_checks", "shared_folder", "walltime"]

_OWN = {"tmpfs", "ramfs", "overlay", "devtmpfs", "squashfs"}  # never seen by another machine
_NETWORKED = (
    "nfs",
    "lustre",
    "gpfs",
    "beegfs",
    "ceph",
    "cifs",
    "smb",
    "fuse",
    "afs",
    "panfs",
    "wekafs",
    "virtiofs",
    "9p",
)
_RESERVE = 100e6  # bytes for report, figures and logs
_TEST = "jobs/write-test"
_LEAST_SCRATCH_GB = 1.0


def results_checks(launch: Launch) -> Iterator[Check]:
    """Whether results can be written, and whether they fit."""
    store = Store.at(launch.out)
    try:
        store.replace(_TEST, b"")
        store.delete(_TEST)
    except LandsweepError as e:
        yield Check("results", False, str(e), "Give another --out, or the right to write there")
        return
    yield Check("results", True, f"{launch.out} can be written")
    if store.path is not None:
        free, needed = shutil.disk_usage(store.path).free, launch.bytes + _RESERVE
        detail = f"{free / 1e9:,.1f} GB free, rows need about {needed / 1e9:,.1f} GB"
        yield Check("room", free > needed, detail, "Make room, or give another --out")


def reachable_results(launch: Launch, shared: bool, field: str) -> Check:
    """Whether a cluster elsewhere can reach the results.

    Args:
        launch: with its results.
        shared: whether the cluster sees this machine's folders.
        field: of the site that says so.
    """
    if is_url(launch.out) or shared:
        return Check("results", True, f"the cluster writes to {launch.out}")
    fix = f"Give --out s3://..., or `{field}: true` if the cluster sees that folder"
    return Check("results", False, f"{launch.out} is a folder of this machine", fix)


def shared_folder(launch: Launch) -> Check:
    """Whether the job's folder lies on a file system that other machines can have too."""
    kind, mount = _file_system(Path(launch.home))
    detail = f"{launch.home} is on {kind or 'an unknown file system'} ({mount})"
    if kind in _OWN:
        fix = "Only this machine sees it: give --out on a file system that the nodes share"
        return Check("shared folder", False, detail, fix)
    networked = any(kind.startswith(n) for n in _NETWORKED)
    return Check(
        "shared folder",
        True if networked else None,
        detail + ("" if networked else "; only the nodes know whether they see it"),
    )


def _file_system(path: Path) -> tuple[str, str]:
    """Type and mount point of the file system that holds a path."""
    existing = Path(os.path.realpath(next(p for p in (path, *path.parents) if p.exists())))
    mounts = {p.mountpoint: p.fstype for p in psutil.disk_partitions(all=True)}
    for folder in (existing, *existing.parents):
        if str(folder) in mounts:
            return mounts[str(folder)], str(folder)
    return "", "/"


def walltime(launch: Launch, seconds: float, *, workers: int, requeues: bool) -> Check:
    """Whether the sweep should end within one job.

    Args:
        launch: with its forecast.
        seconds: how long one job may run, s.
        workers: at work at the same time.
        requeues: whether the job goes on by itself afterwards.
    """
    if launch.seconds is None:
        return Check("time", None, "unknown until some units have run; the job stops cleanly before its limit")
    needed = launch.seconds / workers
    detail = f"about {span(needed)} of work for {workers:,} workers, {span(seconds)} per job"
    if needed <= seconds:
        return Check("time", True, detail)
    jobs = math.ceil(needed / seconds)
    if requeues:
        return Check("time", True, f"{detail}: {jobs:,.0f} starts; the job is queued again by itself")
    return Check("time", False, detail, "Ask for more time or nodes, or let it be queued again: launcher.requeue: true")


def node_check(output: str, launch: Launch, *, gpus: int, sees_folder: bool = True) -> Check:
    """A node's answer to `landsweep.cluster.node.probe` as one check: the first thing that is wrong, or what it has.

    Args:
        output: all that the probe printed.
        launch: what shall run there; its folder holds the nonce.
        gpus: that the node should have.
        sees_folder: whether it should see the job's folder.
    """
    line = next((line for line in output.splitlines() if line.startswith(PREFIX)), None)
    if line is None:
        printed = f"the probe gave no answer, but: {output.strip()[-300:]!r}"
        return Check("a node", False, printed, "Look at launcher.setup")
    node = json.loads(line.removeprefix(PREFIX))
    what = f"node {node['host']}"
    wrong = {package: v for package, v in launch.versions.items() if node["versions"].get(package) != v}
    if wrong:
        has = ", ".join(f"{p} {node['versions'].get(p, 'missing')} instead of {v}" for p, v in wrong.items())
        fix = f"It runs {node['python']}: set launcher.python, or load the environment in launcher.setup"
        return Check(what, False, has, fix)
    if sees_folder and node["nonce"] != launch.file(NONCE_FILE).read_text():
        fix = "Give --out on a file system that all nodes share, or an object store (s3://, gs://)"
        return Check(what, False, f"does not see {launch.home} ({node['nonce']})", fix)
    if sees_folder and not node["writable"]:
        return Check(what, False, f"may not write to {launch.home}", "Give --out where your jobs may write")
    if node["gpus"] < gpus:
        fix = "Ask for a partition or constraint with GPUs, or set launcher.gpus_per_node"
        return Check(what, False, f"shows {node['gpus']} GPUs, but {gpus} are asked for", fix)
    if node["scratch_gb"] < _LEAST_SCRATCH_GB:
        free = f"has {node['scratch_gb']:.1f} GB free in {node['scratch']}"
        return Check(what, False, free, "Name another folder with launcher.scratch")
    versions = ", ".join(f"{package} {v}" for package, v in node["versions"].items())
    sees = "sees the folder, " if sees_folder else ""
    return Check(what, True, f"{sees}{node['gpus']} GPUs, {versions}")
