"""What AWS's variables and configuration files give: refused in words where it is of no use, and waited for in time."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from landsweep.orchestrator.asked import asked
from landsweep.orchestrator.errors import UsageError
from landsweep.orchestrator.redaction import redacted
from landsweep.orchestrator.text import one_line

__all__ = ["check_variables", "profile"]

T = TypeVar("T")
_SECONDS = 20.0
_KEPT = timedelta(minutes=10)  # botocore gives credentials that are good for so long at least
_ENDPOINTS = ("AWS_ENDPOINT", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL_STS")
_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_TOKEN")
_REGIONS = ("AWS_REGION", "AWS_DEFAULT_REGION")
_ENDPOINT = re.compile(
    r"(?i:https?)://(?:[^\s/?#@]*@)?(?P<host>[\w.-]+|\[[0-9a-fA-F:.]+\])(?::(?P<port>\d{1,5}))?(?:/[!-~]*)?", re.ASCII
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_REGION = re.compile(r"[\w.-]*", re.ASCII)


def check_variables(variables: Mapping[str, str]) -> None:
    """Refuse what the storage library panics on. No value is shown, for each may be a secret.

    Args:
        variables: of the environment.

    Raises:
        UsageError: names the variable.
    """
    for name in _ENDPOINTS:
        whole = _ENDPOINT.fullmatch(variables.get(name, "http://usual"))
        if whole is None or not _is_host(whole["host"]) or not 0 < int(whole["port"] or 80) < 65536:
            raise UsageError(f"the environment variable {name} is no address such as https://host:9000")
    for name in (*_KEYS, *_REGIONS):
        if _CONTROL.search(variables.get(name, "")):
            raise UsageError(f"the environment variable {name} holds a control character, such as the end of a line")
    for name in _REGIONS:
        if not _REGION.fullmatch(variables.get(name, "")):
            raise UsageError(f"the environment variable {name} is no name of a region such as us-east-1")


def _is_host(host: str) -> bool:
    """Whether a host is a name, or a number of IPv4 or, in brackets, of IPv6; one that ends in a number is no name."""
    if host[0] != "[" and not host.rpartition(".")[2].isdigit():
        return True
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def profile() -> dict[str, Any]:
    """Credentials of AWS's configuration files, single sign-on too: boto3 reads them, the store itself does not.

    Raises:
        UsageError: a program or service that a profile names fails, or does not answer in time.
    """
    files = (
        os.environ.get("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"),
        os.environ.get("AWS_CONFIG_FILE", "~/.aws/config"),
    )
    name = os.environ.get("AWS_PROFILE")
    source = f"the AWS profile {name or 'default'}"
    if "AWS_ACCESS_KEY_ID" in os.environ or not (name or any(Path(f).expanduser().is_file() for f in files)):
        return {}
    try:
        from boto3 import Session
        from obstore.auth.boto3 import Boto3CredentialProvider
    except ImportError:
        if name is None:
            return {}
        raise UsageError(f"{source} is read by boto3, which is not installed: pip install boto3") from None

    class Provider(Boto3CredentialProvider):
        def __call__(self) -> Any:  # noqa: ANN401 - as the class that it is made of
            return _soon(super().__call__, source)

    def provider() -> Provider | None:
        session = Session()
        return None if session.get_credentials() is None else Provider(session, ttl=_KEPT)  # None: a region only

    found = _soon(provider, source)
    return {} if found is None else {"credential_provider": found}


def _soon(ask: Callable[[], T], source: str) -> T:
    """What programs and services of others give, who may never answer.

    Raises:
        UsageError: they have not answered in time, or failed.
    """
    answer = asked(ask, "landsweep-credentials")
    try:
        return answer.result(_SECONDS)
    except Exception as e:
        if not answer.done():
            raise UsageError(
                f"{source} gave no credentials within {_SECONDS:g} s: its credential_process, or the service "
                "that it asks, does not answer"
            ) from None
        said = one_line(redacted(f"{type(e).__name__}: {e}"))
        raise UsageError(f"{source} gave no credentials ({said}): look at it, and at its credential_process") from e
