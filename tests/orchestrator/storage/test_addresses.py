"""Addresses and credentials that can't be any: one line, exit code 2, and none of what may be secret."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from landsweep.orchestrator.errors import UsageError
from landsweep.orchestrator.storage.ledger import Store
from landsweep.orchestrator.storage.store import client
from landsweep.orchestrator.tracking.tracker import tracker_of
from tests.support.cli import command


@pytest.mark.parametrize("address", ["s3://[x/y", "gs://[::1", "file://[x", "s3://x]/y"])
def test_brackets_in_an_address(address: str) -> None:
    with pytest.raises(UsageError, match="is no address"):
        Store.at(address)
    with pytest.raises(UsageError, match="is no address"):
        tracker_of("http://[::1")


@pytest.mark.parametrize(
    "address",
    ["", "localhost:9000", "minio", "http://", "http://h:99999", "http://[::1", "//h:1", "http://ho st", "ftp://h"],
)
def test_an_endpoint_that_is_none(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", address)
    with pytest.raises(UsageError, match="AWS_ENDPOINT_URL is no address such as"):
        Store.at("s3://bucket/x")


@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION"])
@pytest.mark.parametrize("end", ["\n", "\r"])
def test_the_end_of_a_line_in_a_key(name: str, end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, f"hidden{end}")
    with pytest.raises(UsageError, match=f"{name} holds a control character") as refused:
        Store.at("s3://bucket/x")
    assert "hidden" not in str(refused.value)


def test_a_command_says_it_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "localhost:9000")
    done = command("status", "s3://bucket/x", cwd=tmp_path, check=2)
    assert len(done.stderr.splitlines()) == 1 and "https://host:9000" in done.stderr


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("/bin/sleep 60", "the AWS profile default gave no credentials within 0.5 s"),
        ("sh -c 'echo password=hunter2secret >&2; exit 1'", r"the AWS profile default: .*password=\.\.\."),
    ],
)
def test_a_program_that_gives_no_credentials(
    program: str, said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("boto3")
    (tmp_path / "config").write_text(f"[default]\ncredential_process = {program}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(client, "_CREDENTIALS_SECONDS", 0.5 if "sleep" in program else 60)
    began = time.monotonic()
    with pytest.raises(UsageError, match=said):
        Store.at("s3://bucket/x")
    assert time.monotonic() - began < 55
