"""Launchers without their clusters: what they would hand over, and what they say to wrong sites."""

from __future__ import annotations

import http.server
import os
import random
import socket
import threading
from pathlib import Path

import pytest

from landsweep.cluster.jobs.follow import Streams
from landsweep.cluster.launchers.launcher import JobState
from landsweep.cluster.launchers.slurm import Slurm, SlurmOptions, job_in
from landsweep.cluster.launchers.tool import Tool, ToolFailed
from landsweep.cluster.node.addresses import free_port, own_address
from landsweep.orchestrator.errors import SpecError, Unreachable, UsageError
from landsweep.orchestrator.site import launcher_type, load_site


def test_wrong_launcher_fields_name_those_that_are_known() -> None:
    with pytest.raises(SpecError, match=r"nodse: unknown field; did you mean 'nodes'\? known here: .*partition"):
        load_site("slurm", ["launcher.nodse=2"])
    with pytest.raises(SpecError, match=r"launcher.type: give one of .*slurm"):
        load_site("slurm", ["launcher.type=pbs"])
    with pytest.raises(SpecError, match=r"time: .*4 hours"):
        load_site("slurm", ["launcher.time=4 hours"])
    with pytest.raises(SpecError, match="give fields"):
        load_site("slurm", ["launcher=slurm"])


@pytest.mark.parametrize("options", ["[-o, ProxyCommand=touch /tmp/x]", "[-F, mine]", "[-oProxyCommand=x]"])
def test_ssh_options_may_not_name_programs(options: str) -> None:
    with pytest.raises(SpecError, match="can't be given here"):
        load_site("ssh", [f"launcher.options={options}"])
    with pytest.raises(SpecError, match="hosts"):
        load_site("ssh", ["launcher.hosts=[-oProxyCommand=x]"])


def test_logs_that_grow_side_by_side_are_told_apart_and_nothing_is_lost() -> None:
    whole = {name: "".join(f"{name}{i}\n" for i in range(200)) + "no end" for name in ("a", "b")}
    rng, streams, shown, ends = random.Random(0), Streams(), "", {"a": 0, "b": 0}
    while any(ends[name] < len(whole[name]) for name in whole):
        ends = {name: ends[name] + rng.randrange(40) for name in ends}
        shown += streams.news({name: text[: ends[name]] for name, text in whole.items()})
    shown += streams.news(whole, last=True)
    told: dict[str, list[str]] = {"a": [], "b": []}
    for line in shown.splitlines():
        if line.startswith("== "):
            speaker = line.removeprefix("== ")
        else:
            told[speaker].append(line)
    assert told == {name: text.splitlines() for name, text in whole.items()}
    assert streams.news({"a": "again\n", "b": whole["b"]}) == "== a\nagain\n", "a log that began anew"


def test_a_port_in_use_is_passed_over() -> None:
    first = free_port("77", "127.0.0.1")
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", first))
        holder.listen()
        assert free_port("77", "127.0.0.1") != first
    assert free_port("77", "127.0.0.1", skip=1) != first


def test_the_address_on_a_network_that_is_not_here_is_told() -> None:
    assert own_address("lo") == own_address("127.0.0.0/8") == "127.0.0.1"
    with pytest.raises(UsageError, match=r"launcher.network ib7: .* has no address there; it has lo 127.0.0.1"):
        own_address("ib7")


@pytest.mark.parametrize("answer", [b"<html>hello</html>", b"[1]", b"[" * 50_000])
def test_an_address_that_is_no_dashboard_of_ray_is_said(answer: bytes) -> None:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            address = f"http://127.0.0.1:{server.server_port}"
            section = load_site("rayjobs", [f"launcher.address={address}"]).launcher
            assert section is not None
            with pytest.raises(Unreachable, match=r"answers, but with no JSON object.*launcher\.address"):
                launcher_type("rayjobs", "test")(section).status("job", Path())
        finally:
            server.shutdown()


def stand_in(folder: Path, name: str, body: str, patch: pytest.MonkeyPatch) -> None:
    """A tool of the scheduler that says what it likes."""
    (folder / name).write_text(f"#!/bin/sh\n{body}\n")
    (folder / name).chmod(0o755)
    if not os.environ["PATH"].startswith(str(folder)):
        patch.setenv("PATH", str(folder), prepend=os.pathsep)


def test_the_number_of_a_job_is_found_among_lines_of_the_site() -> None:
    assert job_in("17\n") == "17" == job_in("welcome to node 3\n17;alpha\n")
    for said in ("", "hello", "1 2"):
        with pytest.raises(UsageError, match=r"printed no number of it.*squeue --me"):
            job_in(said)


@pytest.mark.parametrize(
    "said", [r"printf '\377\376 caf\351\n'", "echo ' '", "echo '|||'", "kill -9 $$", "exit 1", "seq 1 3"]
)
def test_a_scheduler_that_says_odd_things_ends_no_command(
    said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slurm = Slurm(SlurmOptions())
    for name in ("squeue", "sacct", "sinfo"):
        stand_in(tmp_path, name, said, monkeypatch)
    try:
        assert slurm.status("17", tmp_path / "job").state is JobState.unknown
        assert slurm._partition().ok is None
    except Unreachable as e:
        assert "squeue" in str(e) and ("kill" in said or "exit" in said)


def test_a_tool_that_is_no_program_or_gets_too_many_words_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(tmp_path, "squeue", r"printf '\377' >&2; exit 3", monkeypatch)
    with pytest.raises(ToolFailed, match="squeue failed: \ufffd"):
        Tool("squeue", "").run()
    with pytest.raises(Unreachable, match="can't be started: Argument list too long"):
        Tool("squeue", "").run("x" * (8 << 20))
