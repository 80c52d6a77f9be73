"""`jobs`, `logs` and `cancel` obey no folder: what they run and whom they ask stands in this user's own notes."""

from __future__ import annotations

import http.server
import json
import os
import shutil
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from landsweep.cluster.jobs.follow import progress, refreshed
from landsweep.cluster.jobs.jobs import Job, claim, find_job, jobs_of, launcher_of, record
from landsweep.cluster.jobs.submit import draft
from landsweep.cluster.launch import LAUNCH_FILE, write_private
from landsweep.cluster.launchers.launcher import JobState
from landsweep.orchestrator.errors import Untrusted, UsageError
from landsweep.orchestrator.site import launcher_type, load_site
from tests.attack.folders import command
from tests.cluster.launchers.launches import launch as launch_of
from tests.support.cli import write_spec

SSH = {
    "type": "ssh",
    "hosts": ["127.0.0.1"],
    "options": ["-o", "ProxyJump=a$(touch${IFS}PWN)", "-J", "`touch PWN`"],
}


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand-ins for all tools of schedulers, which note that they have been run."""
    folder, trace = tmp_path / "bin", tmp_path / "tools-run"
    folder.mkdir()
    for name in ("ssh", "squeue", "sacct", "scancel", "kubectl", "ray"):
        (folder / name).write_text(f'#!/bin/sh\necho {name} "$@" >> {trace}\necho alive\n')
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    return trace


@pytest.fixture
def listener(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """A stranger's address, and what it has been sent."""
    heard: list[dict[str, str]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard.append(dict(self.headers))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"status": "RUNNING", "logs": ""}')

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("RAY_AUTH_TOKEN", "the-users-own-token")
    yield f"http://127.0.0.1:{server.server_port}", heard
    server.shutdown()
    server.server_close()


HOMES = (  # as a stranger may write it, for a folder that is unpacked in `results/evil`
    "results/evil/jobs/0001",
    "/proc/self/cwd/results/evil/jobs/0001",
    "./results/../results/evil/jobs/0001",
    "{there}/results/evil/jobs/0001",
    "/elsewhere/jobs/0001",
)


def evil(folder: Path, home: str, launcher: dict[str, Any], **more: Any) -> Path:
    place = folder / "results/evil/jobs/0001"
    place.mkdir(parents=True)
    facts = {
        "number": 1, "name": "evil", "out": str(folder / "results/evil"), "home": home.format(there=folder),
        "job": "7", "launcher": launcher, "type": launcher["type"], "command": "x", "submitted": 1.0, "user": "me",
        "host": "here", "state": "running", **more,
    }  # fmt: skip
    (place / "job.json").write_text(json.dumps(facts))
    (place / "127.0.0.1.pid").write_text("1")
    return folder / "results/evil"


COMMANDS = (("jobs", "results/evil"), ("jobs",), ("logs", "results/evil"), ("cancel", "results/evil"), ("logs", "7"))


@pytest.mark.parametrize("home", HOMES)
def test_a_strangers_folder_runs_no_tool(tmp_path: Path, tools: Path, home: str) -> None:
    evil(tmp_path, home, SSH)
    for words in COMMANDS:
        done = command(*words, cwd=tmp_path)
        assert done.returncode == (0 if words[0] == "jobs" else 2), (done.stdout, done.stderr)
    assert not tools.exists() and not list(tmp_path.glob("**/PWN"))


@pytest.mark.parametrize("home", HOMES)
def test_no_token_goes_to_an_address_in_a_folder(
    tmp_path: Path, home: str, listener: tuple[str, list[dict[str, str]]]
) -> None:
    address, heard = listener
    evil(tmp_path, home, {"type": "rayjobs", "address": address})
    for words in COMMANDS:
        command(*words, cwd=tmp_path)
    assert heard == []


def submitted(folder: Path, **section: Any) -> Job:
    """As `landsweep submit` leaves it, with a scheduler that is not there."""
    options = load_site("ssh").launcher
    assert options is not None
    launcher = launcher_type("ssh", "test")(options.model_copy(update=section))
    results = str(folder / "results" / "mine")
    launch = launch_of(name="mine", out=results, home=f"{results}/jobs/0001")
    return record(claim(launch), "7", launcher)


def test_a_job_uses_no_file_that_was_there_before_it(tmp_path: Path) -> None:
    """A script in the folder of a job that is yet to come would be run for it."""
    jobs, elsewhere = tmp_path / "results" / "mine" / "jobs", tmp_path / "elsewhere"
    (jobs / "0001").mkdir(parents=True)
    (jobs / "0001" / "job.sh").write_text("touch PWN")
    elsewhere.mkdir()
    (jobs / "0002").symlink_to(elsewhere)
    (jobs / "0003").symlink_to(tmp_path / "nowhere")
    job = submitted(tmp_path)
    assert job.number == 4
    assert sorted(p.name for p in Path(job.home).iterdir()) == ["job.json", LAUNCH_FILE]
    assert not list(elsewhere.iterdir())
    for name in ("token", "linked"):
        (Path(job.home) / name).symlink_to(elsewhere / name) if name == "linked" else (Path(job.home) / name).touch()
        with pytest.raises(UsageError, match=f"{name} exists already, though this job is new"):
            write_private(Path(job.home) / name, "x")
    assert not list(elsewhere.iterdir())


def test_no_job_is_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "results" / "mine").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "results" / "mine" / "jobs").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Untrusted, match="is a link"):
        submitted(tmp_path)
    assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize(
    ("section", "outs"),
    [
        ({"type": "slurm"}, ("s3://bucket/a/fine", "s3://bucket/b/fine", "gs://bucket/a/fine")),
        (
            {"type": "kuberay", "image": "x", "volume": {"claim": "c"}},
            ("s3://b/fine", "/results/a/fine", "/results/fine"),
        ),
    ],
)
def test_jobs_of_two_addresses_share_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, section: dict[str, Any], outs: tuple[str, ...]
) -> None:
    """Else the job at one address would be refused while one at the other is queued."""
    monkeypatch.chdir(tmp_path)
    write_spec(tmp_path, {"kind": "function", "name": "fine", "function": "math:sin", "axes": {"x": [1]}})
    (tmp_path / "site.yaml").write_text(json.dumps({"tracking": False, "launcher": section}))
    homes = []
    for out in outs:
        launch = draft(tmp_path / "spec.yaml", [], str(tmp_path / "site.yaml"), out, [], offline=True)[1]
        homes.append(Path(launch.home))
        assert launch.out == out
    assert len(set(homes)) == len(outs)
    assert all(home.parent.parent.parent == tmp_path / "results" for home in homes)
    shared = draft(tmp_path / "spec.yaml", [], "slurm", None, [], offline=True)[1]
    assert shared.home == str(tmp_path / "results" / "fine" / "jobs" / "0001"), "beside the rows, where they are here"


def test_own_jobs_are_asked_about_as_the_notes_have_them(tmp_path: Path, tools: Path) -> None:
    job = submitted(tmp_path)
    found = find_job(str(tmp_path / "results/mine"))
    assert found == job and found.submitted_here and launcher_of(found).name == "ssh"
    file = tmp_path / "results/mine/jobs/0001/job.json"
    facts = json.loads(file.read_text())
    assert "launcher" not in facts
    for change in ({"launcher": SSH}, {"home": "/etc", "out": "s3://stranger/x", "type": "rayjobs"}):
        file.write_text(json.dumps({**facts, **change}))
        again = find_job(str(tmp_path / "results/mine"))
        assert (again.launcher, again.home, again.out) == (job.launcher, job.home, job.out), "the folder is not asked"
    (tmp_path / "results/mine/jobs/0001" / f"{job.launcher['hosts'][0]}.pid").write_text("1")
    refreshed(again)
    assert "PWN" not in tools.read_text() and "ProxyJump" not in tools.read_text()


@pytest.mark.parametrize("how", ["moved", "copied", "linked", "another id"])
def test_a_job_elsewhere_is_not_an_own_one(tmp_path: Path, tools: Path, how: str) -> None:
    submitted(tmp_path)
    mine, other = tmp_path / "results/mine", tmp_path / "results/other"
    if how == "moved":
        mine.rename(other)
    elif how == "copied":
        shutil.copytree(mine, other)
    elif how == "another id":
        file = mine / "jobs/0001/job.json"
        file.write_text(file.read_text().replace('"7"', '"8"'))
        other = mine
    else:
        other.symlink_to(mine)  # the same folder by another name: still an own one
    job = next(jobs_of(other))
    assert job.submitted_here is (how == "linked")
    if not job.submitted_here:
        assert refreshed(job).state is JobState.unknown
        assert not job.out.startswith("s3:") and progress(job) == "?"
        with pytest.raises(UsageError, match="no record"):
            launcher_of(job)
        assert not tools.exists()


@pytest.mark.parametrize("planted", [range(1, 4), range(1, 9)])
def test_empty_folders_of_jobs_hide_no_job(tmp_path: Path, planted: range) -> None:
    for number in planted:
        (tmp_path / "z" / "jobs" / f"{number:04d}").mkdir(parents=True)
    (tmp_path / "z" / "jobs" / "no number").mkdir()
    (tmp_path / "z" / "jobs" / "0000002").touch()
    launch = claim(launch_of(home=str(tmp_path / "z" / "jobs" / "0001"), out=str(tmp_path / "z")))
    assert launch.number == len(planted) + 1
    record(launch, "77", launcher_type("slurm", "test")(launcher_type("slurm", "test").options_type(type="slurm")))
    assert [(job.number, job.job) for job in jobs_of(tmp_path / "z")] == [(launch.number, "77")]
    assert "77" in command("jobs", tmp_path / "z", cwd=tmp_path).stdout


@pytest.mark.parametrize("bad", ["--kubeconfig=x", "-oProxyCommand=x", "7; touch PWN", "", "a\nb", "7\n", 7, None])
def test_ids_are_ids(tmp_path: Path, bad: object) -> None:
    evil(tmp_path, HOMES[0], SSH, job=bad)
    done = command("jobs", "results/evil", cwd=tmp_path)
    assert done.returncode == 2 and "job:" in done.stderr


def test_files_of_a_job_are_closed_to_others(tmp_path: Path) -> None:
    job = submitted(tmp_path)
    launch = Path(job.home) / LAUNCH_FILE
    assert stat.S_IMODE(launch.stat().st_mode) == 0o600


def test_results_that_a_stranger_names_are_not_asked(tmp_path: Path) -> None:
    """`out` of a stranger's job could name a bucket; the folder that was given is read instead."""
    evil(tmp_path, HOMES[0], SSH, out="s3://stranger/bucket")
    assert next(jobs_of(tmp_path / "results/evil")).out == str(tmp_path / "results/evil")


def test_a_percent_sign_in_a_path_is_no_pattern_for_slurm(tmp_path: Path) -> None:
    for array in (None, 2):
        options = load_site("slurm", [f"launcher.array={array or 'null'}", "launcher.nodes=1"]).launcher
        launcher = launcher_type("slurm", "test")(options)
        home = f"{tmp_path}/%u-%j/jobs/0001"
        script = launcher.files(launch_of(name="mine", out=home, home=home))["job.sh"]
        line = next(x for x in script.splitlines() if "--output=" in x)
        assert "/%%u-%%j/" in line and (("%a" in line) is (array is not None))


def test_a_folder_whose_name_is_no_number_is_no_job(tmp_path: Path) -> None:
    """`²` is a digit to Python, but `int` does not read it."""
    folder = evil(tmp_path, HOMES[0], SSH)
    (folder / "jobs" / "²").mkdir()
    for words in ("logs", "cancel"):
        done = command(words, "results/evil/jobs/²", cwd=tmp_path)
        assert done.returncode == 2 and "no job" in done.stderr and "Traceback" not in done.stderr, done.stderr
    assert find_job(f"{folder}/jobs/0001").number == 1
