"""Addresses of stores and services, taken apart."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

from landsweep.orchestrator.errors import UsageError
from landsweep.orchestrator.redaction import redacted

__all__ = ["parts_of"]


def parts_of(address: str) -> SplitResult:
    """The parts of an address.

    Raises:
        UsageError: it can't be one, such as one with a bracket in its host.
    """
    try:
        return urlsplit(address)
    except ValueError as e:
        raise UsageError(f"{redacted(address)} is no address: {e}") from e
