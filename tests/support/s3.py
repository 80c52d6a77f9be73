"""A real S3 server for tests: moto's server mode in a process of its own, and the environment that leads to it."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from tests.support.paths import TESTS

__all__ = ["S3", "environment", "free_port", "running_s3"]


@dataclass(frozen=True)
class S3:
    """Where the server is, and its one bucket."""

    endpoint: str
    bucket: str


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def environment(endpoint: str) -> dict[str, str]:
    """The variables that lead to a server without a proxy in between, with keys that it takes."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "top-secret-of-the-tests",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "NO_PROXY": "127.0.0.1",
    }


@contextmanager
def running_s3() -> Iterator[S3]:
    """Start the server, set the environment, make the bucket."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=TESTS)
    found = S3(f"http://127.0.0.1:{port}", "landsweep-tests")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment(found.endpoint).items():
            patch.setenv(name, value)
        try:
            deadline = time.monotonic() + 60
            while not _answers(port):
                assert process.poll() is None and time.monotonic() < deadline, "the S3 server does not start"
                time.sleep(0.05)
            import boto3  # here, so that all other tests run without it

            boto3.client("s3").create_bucket(Bucket=found.bucket)
            yield found
        finally:
            process.terminate()
            process.wait(timeout=30)


def _answers(port: int) -> bool:
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0
