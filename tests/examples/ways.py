"""The ways in which a block of the documents is run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class SpecBlock:
    """A spec, or fields of one, that is run and must give a sound sweep with a report.

    Args:
        changes: overrides that make it small.
        rest: fields that the block leaves out.
        inside: the field of the spec that the block is part of, if it is.
        shows: an expression of `rows`, the results, that must be true.
        runs: specs whose results the block reads, with overrides.
    """

    changes: Sequence[str] = ()
    rest: Mapping[str, Any] = field(default_factory=dict)
    inside: str = ""
    shows: str = "True"
    runs: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Commands:
    """Commands that are typed one after the other.

    Args:
        changes: words added to a command, by the beginning of the command.
        runs: specs whose results the commands expect, with overrides.
        replaced: placeholders, and what is typed for them; `KEY` for the first key of the results.
        slow: whether it belongs into `make test-all`.
        says: text that the last command must print.
    """

    changes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    runs: Mapping[str, Sequence[str]] = field(default_factory=dict)
    replaced: Mapping[str, str] = field(default_factory=dict)
    slow: bool = False
    says: str = ""


@dataclass(frozen=True)
class Python:
    """Python code, run in a folder that holds the results it reads.

    Args:
        runs: specs that are run first, with overrides.
        shows: an expression that must be true afterwards.
    """

    runs: Mapping[str, Sequence[str]] = field(default_factory=dict)
    shows: str = "True"


@dataclass(frozen=True)
class Site:
    """A site file that must be read, and for which a submission can be printed."""


@dataclass(frozen=True)
class Listing:
    """Names of files that a sweep leaves."""

    runs: Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Elsewhere:
    """Not run here.

    Args:
        test: the test that runs it, `file::name`; empty where nothing can.
        reason: why.
    """

    test: str
    reason: str
