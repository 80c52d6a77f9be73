"""Addresses and credentials that can't be any: one line, exit code 2, and none of what may be secret."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from landsweep.orchestrator.errors import UsageError
from landsweep.orchestrator.run.executors.reachable import check_listening
from landsweep.orchestrator.storage.ledger import Store
from landsweep.orchestrator.storage.store import aws
from landsweep.orchestrator.tracking.tracker import tracker_of
from tests.support.cli import command
from tests.support.s3 import environment


@pytest.mark.parametrize("address", ["s3://[x/y", "gs://[::1", "file://[x", "s3://x]/y"])
def test_brackets_in_an_address(address: str) -> None:
    with pytest.raises(UsageError, match="is no address"):
        Store.at(address)
    with pytest.raises(UsageError, match="is no address"):
        tracker_of("http://[::1")


@pytest.mark.parametrize("address", ["host:99999", "ray://host:port", "ray://[::1"])
def test_addresses_of_clusters_that_are_none(address: str) -> None:
    with pytest.raises(UsageError, match="is no address"):
        check_listening(address)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "localhost:9000",
        "minio",
        "http://",
        "http://h:99999",
        "http://[::1",
        "//h:1",
        "http://ho st",
        "ftp://h",
        "http://[:]:1",
        "http://1.2.3.999",
    ],
)
@pytest.mark.parametrize("name", ["AWS_ENDPOINT", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"])
def test_an_endpoint_that_is_none(address: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, address)
    with pytest.raises(UsageError, match=f"{name} is no address such as"):
        Store.at("s3://bucket/x")


@pytest.mark.parametrize("address", ["http://[::1]:1", "HTTP://127.0.0.1:1", "https://ann:pw@my_host.example/path"])
def test_an_endpoint_of_a_usual_form(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment(address).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_NOTES_OF_MINE", "two\nlines")
    assert Store.at("s3://bucket/x").where == "s3://bucket/x", "it is taken"


@pytest.mark.parametrize("region", ["eu west", "\u00fc", "us/east"])
def test_a_region_that_is_none(region: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", region)
    with pytest.raises(UsageError, match="AWS_REGION is no name of a region"):
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
        ("sh -c 'echo password=hunter2secret >&2; exit 1'", r"default gave no credentials \(.*password=\.\.\."),
        ("echo hunter2secret", r"default gave no credentials \(JSONDecodeError: "),
        ('echo \'{"Version": 1, "AccessKeyId": "a"}\'', r"default gave no credentials \(.*SecretAccessKey"),
        ("/no/such/program", r"default gave no credentials \(FileNotFoundError: "),
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
    monkeypatch.setattr(aws, "_SECONDS", 0.5 if "sleep" in program else 60)
    with pytest.raises(UsageError, match=said) as refused:
        Store.at("s3://bucket/x")
    assert "hunter2" not in str(refused.value)


def test_credentials_are_asked_for_again_before_they_expire(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """They may be good for a quarter of an hour; the storage library would keep them for half of one."""
    refreshable = pytest.importorskip("botocore.credentials").RefreshableCredentials
    end = (datetime.now(UTC) + timedelta(minutes=16)).isoformat()
    (tmp_path / "answer").write_text(
        f'{{"Version": 1, "AccessKeyId": "a", "SecretAccessKey": "b", "SessionToken": "c", "Expiration": "{end}"}}'
    )
    (tmp_path / "config").write_text(f"[default]\nregion = eu-west-1\ncredential_process = cat {tmp_path}/answer\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    provider = aws.profile()["credential_provider"]
    left = provider()["expires_at"] - datetime.now(UTC)
    assert timedelta(0) < left <= timedelta(seconds=refreshable._mandatory_refresh_timeout)
    assert provider.config["region"] == "eu-west-1"
