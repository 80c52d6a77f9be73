"""Slurm for real: jobs on a cluster of two nodes, killed, requeued, beside each other, cancelled; nothing is left."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from landsweep.cluster.launchers.launcher import JobState
from landsweep.cluster.launchers.slurm import Slurm
from landsweep.cluster.launchers.slurm_script import SlurmOptions
from landsweep.orchestrator.testing.kind_suite import metrics_of
from tests.cluster.jobs.jobs import SLURM_SITE, newest_job, sweep_status
from tests.cluster.slurm import LocalSlurm, until
from tests.support.cli import LANDSWEEP, command
from tests.support.paths import ROOT

pytestmark = [pytest.mark.slurm, pytest.mark.ray, pytest.mark.slow, pytest.mark.rotating]


def write(folder: Path, units: int, seconds: float, name: str = "fun", **launcher: object) -> None:
    spec = {
        "kind": "function",
        "name": name,
        "function": "tests.chaos.driver:work",
        "fixed": {"seconds": seconds},
        "axes": {"i": {"range": units}},
    }
    (folder / "spec.yaml").write_text(yaml.safe_dump(spec))
    site = {**SLURM_SITE, "launcher": {**SLURM_SITE["launcher"], **launcher}, "shard_seconds": 1, "commit_seconds": 0.5}
    (folder / "site.yaml").write_text(yaml.safe_dump(site))


def submit(folder: Path, *words: str, check: int | None = 0) -> subprocess.CompletedProcess[str]:
    return command("submit", "spec.yaml", "--site", "site.yaml", *words, cwd=folder, check=check)


def expected(folder: Path, units: int, name: str = "fun") -> None:
    rows = metrics_of(folder / "results" / name)
    assert sorted(r["square"] for r in rows.values()) == [float(i * i) for i in range(units)]
    command("verify", f"results/{name}", cwd=folder)


def test_one_job_serves_a_sweep_and_leaves_nothing_behind(slurm: LocalSlurm, tmp_path: Path) -> None:
    write(tmp_path, 60, 0.05)
    done = submit(tmp_path, "--follow")
    assert "job " in done.stdout and str(tmp_path / "results/fun") in done.stdout and "60 new" in done.stdout
    assert "sees the folder" in done.stderr, "a compute node was asked before anything was queued"
    expected(tmp_path, 60)
    listed = command("jobs", cwd=tmp_path).stdout
    assert "60/60 done" in listed and newest_job(tmp_path)["job"] in listed
    assert "head at 127.0.0.1" in command("logs", "results/fun", cwd=tmp_path).stdout
    slurm.wait_idle()
    assert not slurm.left_over(), "the job has cleaned up after itself"
    assert not list(slurm.scratch.glob(f"ls{newest_job(tmp_path)['job']}-*"))


def test_a_sweep_outlives_one_of_its_nodes(slurm: LocalSlurm, tmp_path: Path) -> None:
    write(tmp_path, 250, 0.15)
    submit(tmp_path)
    until(
        "both nodes work", lambda: sweep_status(tmp_path)["workers"] == 2 and sweep_status(tmp_path)["done"] > 20, 300
    )
    slurm.kill_node("n2")
    try:
        done = command("logs", "results/fun", "--follow", cwd=tmp_path)
        assert "250 units (250 ok)" in done.stdout
        expected(tmp_path, 250)
    finally:
        slurm.start_node("n2")


def test_slurms_own_time_limit_stops_cleanly_and_the_job_goes_on_by_itself(slurm: LocalSlurm, tmp_path: Path) -> None:
    """Two minutes for more work than fits; Slurm signals up to a minute before the 30 s that were asked for."""
    write(tmp_path, 150, 0.6, nodes=1, time="2", stop_seconds=30)
    submit(tmp_path)
    done = command("logs", "results/fun", "--follow", cwd=tmp_path, timeout=900)
    print(done.stdout)
    assert "start 0" in done.stdout and "nothing is lost" in done.stdout and "start 1" in done.stdout
    assert "150 units (150 ok)" in done.stdout and "150 new" not in done.stdout
    assert "DUE TO TIME LIMIT" not in done.stdout, "it ended before Slurm had to end it"
    expected(tmp_path, 150)


def test_two_jobs_share_the_nodes(slurm: LocalSlurm, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write(tmp_path / name, 150, 0.1, name=name)
        submit(tmp_path / name)
    until(
        "both run at the same time",
        lambda: all(sweep_status(tmp_path / n, n)["phase"] == "running" for n in ("one", "two")), 300,
    )  # fmt: skip
    for name in ("one", "two"):
        command("logs", f"results/{name}", "--follow", cwd=tmp_path / name)
        expected(tmp_path / name, 150, name)


def test_cancel_keeps_the_rows_and_a_second_submission_is_refused_before(slurm: LocalSlurm, tmp_path: Path) -> None:
    write(tmp_path, 2000, 0.1)
    submit(tmp_path)
    until("units are done", lambda: sweep_status(tmp_path)["done"] > 10, 300)
    again = submit(tmp_path, check=2)
    assert "works on" in again.stderr and "landsweep cancel" in again.stderr
    command("cancel", "results/fun", cwd=tmp_path)
    slurm.wait_idle()
    assert sweep_status(tmp_path)["phase"] == "stopped", "the driver had time to write what it had"
    rows = metrics_of(tmp_path / "results/fun")
    assert 10 < len(rows) < 2000
    assert "cancelled" in command("jobs", cwd=tmp_path).stdout


def test_a_submission_that_is_killed_while_slurm_answers_is_found(
    slurm: LocalSlurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, 2000, 0.1)
    sbatch, tools, answers = shutil.which("sbatch"), tmp_path / "bin", tmp_path / "answers"
    tools.mkdir()
    late = f'{sbatch} "$@"; [[ "$*" == *--test-only* ]] || {{ touch {answers}; sleep 10; }}'
    (tools / "sbatch").write_text(f"#!/bin/bash\n{late}\n")
    (tools / "sbatch").chmod(0o755)
    with monkeypatch.context() as slow:
        slow.setenv("PATH", f"{tools}:{os.environ['PATH']}")
        words = [*LANDSWEEP, "submit", "spec.yaml", "--site", "site.yaml"]
        with subprocess.Popen(words, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}) as process:
            until("Slurm has the job", answers.exists, 120)
            process.kill()
    (job,) = slurm.say("squeue", "-h", "-o", "%A").split()
    assert job in submit(tmp_path, check=2).stderr, "a second one is refused"
    assert newest_job(tmp_path)["job"] == job and job in command("jobs", cwd=tmp_path).stdout
    command("cancel", "results/fun", cwd=tmp_path)
    slurm.wait_idle()


def test_an_array_elects_a_new_leader_when_the_first_dies(slurm: LocalSlurm, tmp_path: Path) -> None:
    write(tmp_path, 250, 0.15, nodes=1, array=2)
    submit(tmp_path)
    until(
        "both elements work",
        lambda: sweep_status(tmp_path)["workers"] == 2 and sweep_status(tmp_path)["done"] > 20,
        300,
    )
    logs = sorted((tmp_path / "results/fun/jobs/0001").glob("log-*.txt"))
    (first,) = [log.stem.removeprefix("log-") for log in logs if "head at" in log.read_text()]
    slurm.say("scancel", "--signal=KILL", "--full", f"{newest_job(tmp_path)['job']}_{first}")
    done = command("logs", "results/fun", "--follow", cwd=tmp_path)
    assert done.stdout.count("head at") == 2 and "250 units (250 ok)" in done.stdout
    expected(tmp_path, 250)


def test_a_job_that_slurm_has_forgotten_is_unknown_with_and_without_accounting(
    slurm: LocalSlurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here sacct is there and its storage is off; then only squeue can be found."""
    status = Slurm(SlurmOptions()).status("999999", tmp_path)
    assert (status.state, status.detail) == (JobState.unknown, "Slurm has forgotten it")
    squeue = shutil.which("squeue")
    assert squeue is not None and not slurm.say("sacct", "-n")
    (tmp_path / "squeue").symlink_to(squeue)
    with monkeypatch.context() as without_sacct:
        without_sacct.setenv("PATH", str(tmp_path))
        assert Slurm(SlurmOptions()).status("999999", tmp_path) == status


@pytest.mark.parametrize(
    ("launcher", "expected"),
    [
        ({"partition": "gpu"}, ["there is no 'gpu'", "tests (2 nodes"]),
        ({"nodes": 3}, ["sbatch", "Requested node configuration is not available"]),
        ({"time": "3-00:00:00"}, ["at most 1:00:00", "launcher.time is 3-00:00:00"]),
        ({"python": "/usr/bin/python3-none"}, ["a node", "python3-none"]),
        (
            {"container": ["unshare", "-m", "sh", "-c", 'mount -t tmpfs none "$0"; exec "$@"', "HIDDEN"]},
            ["does not see", "file system that all nodes share"],
        ),
    ],
)
def test_what_can_not_work_is_told_before_anything_is_queued(
    slurm: LocalSlurm, tmp_path: Path, launcher: dict[str, Any], expected: list[str]
) -> None:
    if "container" in launcher:  # nodes on which another file system lies over the results
        words = [str(tmp_path) if w == "HIDDEN" else w for w in launcher["container"]]
        launcher = {"python": sys.executable, "container": words}
    write(tmp_path, 5, 0.0, **launcher)
    done = submit(tmp_path, check=2)
    for word in [*expected, "nothing was queued"]:
        assert word in done.stderr, done.stderr
    assert not slurm.say("squeue", "-h").strip()
    assert not list(tmp_path.glob("results/fun/jobs/*"))
