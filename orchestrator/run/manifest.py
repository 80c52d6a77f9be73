"""`sweep.json`: what it holds of a sweep that begins, whether a spec may go on with it, and how it grows."""

from __future__ import annotations

import platform
import secrets
import time
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field

from landsweep.orchestrator.errors import SweepMismatch, UsageError
from landsweep.orchestrator.kind import SweepKind
from landsweep.orchestrator.redaction import command_line
from landsweep.orchestrator.run.commits import commit_of
from landsweep.orchestrator.run.new_axes import changed_defaults
from landsweep.orchestrator.spec import Section, Spec, differences, parse
from landsweep.orchestrator.storage.ledger import check_facts, has_checksum, with_checksum

__all__ = ["FORMAT", "check_same", "grown_manifest", "new_manifest", "read_manifest"]

FORMAT = 1

_PACKAGES = ("landsweep", "torch", "numpy", "ray", "optuna", "pyarrow", "pandas", "mlflow")

_NEEDED = ("kind", "kind_version", "spec", "context", "definitions", "folder")  # to go on with a sweep


_YEAR_10000 = 253_402_300_800  # seconds since 1970; no calendar goes further


class _Manifest(Section):
    """What `sweep.json` holds; fields of other versions are passed over."""

    model_config = ConfigDict(extra="ignore")

    format: int = 1
    id: str = ""
    kind: str
    kind_version: int
    name: str = "?"
    fingerprint: str = "-"
    spec: dict[str, Any]
    context: dict[str, Any]
    definitions: dict[str, dict[str, Any]]
    folder: str
    versions: dict[str, str | None] = Field(default={})
    git_commit: str | None = None
    host: str = "-"
    command: list[str] | str = ""
    created: float = Field(0.0, ge=0, lt=_YEAR_10000)


def new_manifest(kind: SweepKind[Any], spec: Spec, folder: Path) -> dict[str, Any]:
    """What `sweep.json` says of a sweep that begins now."""
    facts = {
        "format": FORMAT,
        "id": secrets.token_hex(20),
        "kind": spec.kind,
        "kind_version": kind.version,
        "name": spec.name,
        "fingerprint": spec.fingerprint(),
        "spec": spec.model_dump(mode="json"),
        "context": spec.context(),
        "definitions": spec.definitions(),
        "folder": str(folder.resolve()),
        "versions": {"python": platform.python_version(), **{p: _version(p) for p in _PACKAGES}},
        "git_commit": commit_of(folder),
        "host": platform.node(),
        "command": command_line(),
        "created": time.time(),
    }
    return with_checksum(facts)


def read_manifest(manifest: Mapping[str, Any], source: str) -> Mapping[str, Any]:
    """The manifest of a sweep, each field of its type.

    Raises:
        UsageError: it lacks what a sweep has, or was made by a later version.
    """
    _check_complete(manifest, source)
    fields = parse(_Manifest, manifest, f"{source} is damaged")
    if fields.format > FORMAT:
        raise UsageError(f"{source} has the format {fields.format}, of a later landsweep; this one reads {FORMAT}")
    as_written = {name: manifest[name] for name in ("spec", "context", "definitions")}
    try:
        return {**manifest, **fields.model_dump(mode="json"), **as_written}
    except UnicodeEncodeError as e:
        raise UsageError(f"{source} is damaged: a name or text in it holds half a character ({e})") from None


def check_same(manifest: Mapping[str, Any], kind: SweepKind[Any], spec: Spec, where: str) -> None:
    """Refuse to go on with a spec whose rows would not be comparable with those that are there.

    Raises:
        SweepMismatch: kind, version, context or a definition differs; the message says which field.
        UsageError: the manifest lacks what a sweep has.
    """
    _check_complete(manifest, f"{where}/sweep.json")
    lines = differences(
        {"kind": manifest["kind"], "kind_version": manifest["kind_version"], **manifest["context"]},
        {"kind": spec.kind, "kind_version": kind.version, **spec.context()},
    )
    for field, now in spec.definitions().items():
        before = manifest["definitions"].get(field, {})
        common = [name for name in now if name in before]
        lines += differences({n: before[n] for n in common}, {n: now[n] for n in common}, field)
    lines += changed_defaults(manifest, kind, spec)
    if lines:
        raise SweepMismatch(
            f"{where} holds a sweep of another spec:\n"
            + "\n".join(f"  - {line}" for line in lines)
            + "\nAxes may grow within a sweep, other fields may not. Give this spec a folder of its own with --out, "
            "or another name."
        )


def grown_manifest(manifest: Mapping[str, Any], spec: Spec) -> dict[str, Any] | None:
    """The manifest with the axes of `spec`, or None when it holds them already.

    The checksum grows with it, unless it was wrong or missing before: what nothing has proved stays unproved.
    """
    now = {
        "spec": spec.model_dump(mode="json"),
        "definitions": {
            **manifest["definitions"],
            **{f: {**manifest["definitions"].get(f, {}), **d} for f, d in spec.definitions().items()},
        },
    }
    if all(manifest[k] == v for k, v in now.items()):
        return None
    grown = {**manifest, **now}
    return with_checksum(grown) if has_checksum(manifest) and check_facts(manifest) is None else grown


def _check_complete(manifest: Mapping[str, Any], source: str) -> None:
    if missing := [name for name in _NEEDED if name not in manifest]:
        raise UsageError(f"{source} is damaged: it has no {', '.join(missing)}; restore it, or use another folder")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
