"""A submission that ends while the cluster answers: its job is found again, and none is queued twice."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.support.cli import LANDSWEEP, command
from tests.support.paths import KUBECTL

SPEC = {"kind": "function", "name": "fine", "function": "math:sin", "axes": {"x": [1]}}
SITE = {"tracking": False, "launcher": {"type": "kuberay", "image": "x", "volume": {"claim": "c"}}}
SLOW = f"""#!/bin/bash
if [[ "$*" != *" create -f "* ]]; then exec {sys.executable} {KUBECTL} "$@"; fi
if [[ ! -e $KUBE_FOLDER/deaf ]]; then {sys.executable} {KUBECTL} "$@"; fi
touch "$KUBE_FOLDER/asked"
while [[ -e $KUBE_FOLDER/slow ]]; do sleep 0.1; done
"""


@pytest.fixture
def kube(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cluster that takes its time to answer as long as there is a file `slow`, and takes nothing if it is `deaf`."""
    folder = tmp_path / "kube"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "kubectl").write_text(SLOW)
    (folder / "bin" / "kubectl").chmod(0o755)
    (folder / "allowed").write_text("yes\n")
    (folder / "slow").touch()
    monkeypatch.setenv("PATH", f"{folder / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("KUBE_FOLDER", str(folder))
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(SPEC))
    (tmp_path / "site.yaml").write_text(yaml.safe_dump(SITE))
    yield folder
    (folder / "slow").unlink(missing_ok=True)


WORDS = ["submit", "spec.yaml", "--site", "site.yaml", "--out", "/results/fine"]


def cut_off(kube: Path, how: signal.Signals) -> subprocess.CompletedProcess[str]:
    """`landsweep submit`, ended while the cluster answers."""
    process = subprocess.Popen(
        [*LANDSWEEP, *WORDS], cwd=kube.parent, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    end = time.monotonic() + 120
    while not (kube / "asked").exists():
        assert process.poll() is None and time.monotonic() < end, process.communicate()
        time.sleep(0.05)
    process.send_signal(how)
    (kube / "slow").unlink()
    out, err = process.communicate(timeout=60)
    return subprocess.CompletedProcess(WORDS, process.returncode, out, err)


HOW = [
    signal.SIGINT,
    pytest.param(signal.SIGKILL, marks=pytest.mark.rotating),
    pytest.param(signal.SIGTERM, marks=pytest.mark.rotating),
]


@pytest.mark.parametrize("how", HOW, ids=lambda how: how.name)
def test_a_job_that_was_queued_is_found_and_refuses_a_second_one(kube: Path, how: signal.Signals) -> None:
    done = cut_off(kube, how)
    assert done.returncode != 0
    if how is signal.SIGINT:
        assert re.search(r"may have queued the job.*landsweep jobs \S+results/fine-", done.stderr), done.stderr
    assert [f.name for f in kube.glob("rayjob-*")] == ["rayjob-ls-fine-0001.json"]
    again = command(*WORDS, cwd=kube.parent, check=2)
    assert "job ls-fine-0001 works on /results/fine already" in " ".join(again.stderr.split())
    listed = command("jobs", cwd=kube.parent).stdout
    assert "ls-fine-0001" in listed and "queued" in listed
    command("cancel", "ls-fine-0001", cwd=kube.parent)
    assert not list(kube.glob("rayjob-*"))
    command(*WORDS, cwd=kube.parent)
    assert [f.name for f in kube.glob("rayjob-*")] == ["rayjob-ls-fine-0002.json"]


def test_a_job_that_was_not_queued_leaves_the_way_free(kube: Path) -> None:
    (kube / "deaf").touch()
    cut_off(kube, signal.SIGKILL)
    (kube / "deaf").unlink()
    assert "no jobs below" in command("jobs", cwd=kube.parent).stdout
    command(*WORDS, cwd=kube.parent)
    assert [f.name for f in kube.glob("rayjob-*")] == ["rayjob-ls-fine-0002.json"]
    (results,) = (kube.parent / "results").iterdir()
    assert not (results / "jobs" / "0001" / "launch.json").exists(), "it would do nothing, should it begin yet"


def test_two_submissions_at_once_are_one(kube: Path) -> None:
    first = subprocess.Popen([*LANDSWEEP, *WORDS], cwd=kube.parent, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    end = time.monotonic() + 120
    while not (kube / "asked").exists():
        assert first.poll() is None and time.monotonic() < end, first.communicate()
        time.sleep(0.05)
    refused = command(*WORDS, cwd=kube.parent, check=2)
    assert "another `landsweep submit` is submitting to" in " ".join(refused.stderr.split())
    (kube / "slow").unlink()
    _, err = first.communicate(timeout=60)
    assert first.returncode == 0, err
    assert len(list(kube.glob("rayjob-*"))) == 1


def test_a_stranger_can_not_have_the_cluster_asked(kube: Path) -> None:
    """Only this user's own notes say that something was submitted from a folder."""
    cut_off(kube, signal.SIGKILL)
    (results,) = (kube.parent / "results").iterdir()
    results.rename(kube.parent / "results" / "moved")
    (kube / "bin" / "kubectl").write_text('#!/bin/bash\ntouch "$KUBE_FOLDER/run"\n')
    assert "no jobs below" in command("jobs", cwd=kube.parent).stdout
    assert not (kube / "run").exists()
