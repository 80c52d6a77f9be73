"""Files of launches and jobs: their text stays as it is, so jobs of one version are read by the next."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from landsweep.cluster.jobs.jobs import Job, find_job, jobs_of, keep
from landsweep.cluster.launch import Draft, read_launch
from landsweep.cluster.launchers.launcher import JobState, JobStatus
from landsweep.orchestrator.errors import SpecError
from tests.cluster.launchers.launches import launch

LAUNCH = """{
  "name": "example",
  "out": "/shared/results/example",
  "home": "/shared/results/example/jobs/0001",
  "number": 1,
  "kind": "function",
  "spec": {
    "kind": "function",
    "name": "example"
  },
  "folder": "/shared",
  "cwd": "/shared",
  "site": {
    "cpus": 1
  },
  "command": "landsweep submit example.yaml",
  "versions": {
    "python": "3.11.7",
    "ray": "2.60.0",
    "landsweep": "0.1.0"
  },
  "seconds": null,
  "bytes": 0
}
"""
JOB = """{
  "number": 3,
  "name": "example",
  "out": "OUT",
  "home": "OUT/jobs/0003",
  "job": "1041",
  "type": "slurm",
  "command": "landsweep submit example.yaml",
  "submitted": 1700000000.25,
  "user": "ada",
  "host": "login1",
  "state": "running",
  "told": "RUNNING None",
  "seen": 1700000060.5
}
"""


def job_in(results: Path, **changes: Any) -> Path:
    """The results folder with a job as somebody else has left it."""
    (results / "jobs" / "0003").mkdir(parents=True)
    facts = json.loads(JOB.replace("OUT", str(results))) | changes
    (results / "jobs" / "0003" / "job.json").write_text(json.dumps(facts, indent=2) + "\n")
    return results


def test_launch_json_is_written_and_read_as_ever() -> None:
    assert launch().text() == LAUNCH
    assert read_launch(LAUNCH) == launch()
    secret = launch(private_file="/home/ada/.local/state/landsweep/launches/1.json")
    assert read_launch(secret.text()) == secret and '"private_file"' in secret.text()


def test_credentials_are_no_part_of_launch_json() -> None:
    draft = Draft(**launch().model_dump(), private={"tracking": "https://ada:s3cret@host"})
    assert draft.text() == LAUNCH and "s3cret" not in repr(draft)
    with pytest.raises(SpecError, match="private: unknown field"):
        read_launch(json.dumps({**json.loads(LAUNCH), "private": {}}))


def test_job_json_is_written_and_read_as_ever(tmp_path: Path) -> None:
    results = job_in(tmp_path / "example")
    (job,) = jobs_of(results)
    assert (job.number, job.state, job.detail) == (3, JobState.running, "RUNNING None")
    keep(job)
    text = (results / "jobs" / "0003" / "job.json").read_text()
    assert text == JOB.replace("OUT", str(results))
    keep(job.with_status(JobStatus(JobState.done, "COMPLETED None")))
    after = json.loads((results / "jobs" / "0003" / "job.json").read_text())
    before = json.loads(text)
    assert {name for name in before if before[name] != after[name]} == {"state", "told", "seen"}


@pytest.mark.parametrize("more", [{"launcher": {"type": "ssh", "hosts": ["h"]}}, {"number": 7}, {"new": [1]}])
def test_what_job_json_may_not_say_is_passed_over(tmp_path: Path, more: dict[str, Any]) -> None:
    """How to talk to a cluster is never taken from a results folder, and the folder's name is the number."""
    job = find_job(str(job_in(tmp_path / "example", **more)))
    assert (job.number, job.launcher, job.submitted_here) == (3, {}, False)


def test_a_scheduler_that_has_forgotten_a_job_does_not_undo_its_end() -> None:
    job = Job.model_validate(json.loads(JOB))
    forgotten = JobStatus(JobState.unknown, "Slurm has forgotten it")
    assert job.with_status(forgotten).state is JobState.unknown
    assert job.with_status(JobStatus(JobState.done)).with_status(forgotten).state is JobState.done
