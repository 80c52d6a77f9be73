"""Addresses of stores and services, taken apart."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

from landsweep.orchestrator.errors import UsageError
from landsweep.orchestrator.redaction import redacted
from landsweep.orchestrator.text import one_line

__all__ = ["parts_of"]


def parts_of(address: str) -> SplitResult:
    """The parts of an address.

    Raises:
        UsageError: it can't be one, such as one with a bracket in its host.
    """
    try:
        return urlsplit(address)
    except ValueError as e:
        shown = one_line(redacted(address))
        raise UsageError(
            f"{shown} is no address ({one_line(e)}): in the name of a host or bucket, brackets stand around a number "
            "of IPv6 only, as in http://[::1]:5000"
        ) from e
