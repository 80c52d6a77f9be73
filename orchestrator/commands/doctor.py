"""The command `doctor`: whether this installation can run sweeps here, and what to do where it can't."""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Literal

import typer

from landsweep.orchestrator.commands.options import AsJson, SiteName
from landsweep.orchestrator.console import out
from landsweep.orchestrator.errors import LandsweepError

__all__ = ["Finding", "doctor"]

_PACKAGES = ("landsweep", "ray", "torch", "optuna", "mlflow", "pyarrow", "pandas", "numpy")
_LEAST_PYTHON = (3, 11)
_LEAST_DISK, _LEAST_SHARED = 1e9, 256e6  # bytes


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        what: was looked at.
        state: ok, warning (sweeps run, but not as well) or error.
        says: what was found.
        advice: what to do; empty where all is well.
    """

    what: str
    state: Literal["ok", "warning", "error"]
    says: str
    advice: str = ""


def doctor(
    where: Annotated[
        str, typer.Option("--out", help="Where results will be: a folder, or s3://BUCKET/NAME, gs://...")
    ] = "results",
    site: SiteName = None,
    as_json: AsJson = False,
) -> None:
    """Check this installation: versions, processors, GPUs, storage, tracking; says what to do. Writes nothing lasting.

    Exit codes: 0 sweeps can run; 1 something is in the way.
    """
    findings = list(_findings(where, site))
    if as_json:
        out.print_json(json.dumps([asdict(f) for f in findings]))
    else:
        for f in findings:
            out.print(f"{f.state:>8}  {f.what}: {f.says}")
            if f.advice:
                out.print(f"          {f.advice}")
    if any(f.state == "error" for f in findings):
        raise typer.Exit(1)


def _findings(where: str, site: str | None) -> Iterator[Finding]:
    yield _python()
    yield _packages()
    yield _machine()
    yield _gpus()
    yield _shared_memory()
    yield from _tried("storage", lambda: _storage(where))
    yield from _tried("site and tracking", lambda: _tracking(where, site))


def _tried(what: str, look: Callable[[], Finding]) -> Iterator[Finding]:
    try:
        yield look()
    except LandsweepError as e:
        yield Finding(what, "error", str(e))


def _python() -> Finding:
    text = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if sys.version_info < _LEAST_PYTHON:
        return Finding("Python", "error", text, "landsweep needs Python 3.11 or newer")
    if platform.system() != "Linux":
        return Finding("Python", "warning", text, "landsweep is tested on Linux alone")
    return Finding("Python", "ok", text)


def _packages() -> Finding:
    installed: dict[str, str] = {}
    missing: list[str] = []
    for name in _PACKAGES:
        try:
            installed[name] = version(name)
        except PackageNotFoundError:
            missing.append(name)
    text = ", ".join(f"{name} {number}" for name, number in installed.items())
    if missing:
        advice = f"install what is missing: pip install {' '.join(missing)}"
        return Finding("packages", "error", f"{text}; missing: {', '.join(missing)}", advice)
    return Finding("packages", "ok", text)


def _machine() -> Finding:
    import psutil

    from landsweep.orchestrator.site import cores

    memory = psutil.virtual_memory()
    text = f"{cores()} cores, {memory.available / 1e9:,.1f} of {memory.total / 1e9:,.1f} GB of memory free"
    if memory.available < 2e9:
        return Finding("machine", "warning", text, "each worker needs about 0.5 GB: give site.workers a small number")
    return Finding("machine", "ok", text)


def _gpus() -> Finding:
    nodes = sorted(p.name for p in Path("/dev").glob("nvidia[0-9]*"))
    if not nodes:
        return Finding("GPUs", "ok", "none; sweeps run on processors")
    try:
        import torch
    except ImportError:
        return Finding("GPUs", "warning", f"{len(nodes)} in this machine, but no torch to use them")
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        return Finding("GPUs", "ok", f"{', '.join(names)}; use them with site.gpus=1")
    advice = "install a torch that is built for CUDA: https://pytorch.org/get-started/locally"
    return Finding("GPUs", "warning", f"{len(nodes)} in this machine, but torch {torch.__version__} sees none", advice)


def _shared_memory() -> Finding:
    shared = Path("/dev/shm")
    if not shared.is_dir():
        return Finding("shared memory", "ok", "no /dev/shm; Ray uses files")
    free = shutil.disk_usage(shared).free
    text = f"{free / 1e9:,.2f} GB free in /dev/shm"
    if free < _LEAST_SHARED:
        advice = "Ray keeps objects there: start the container with a larger --shm-size, or use --site local"
        return Finding("shared memory", "warning", text, advice)
    return Finding("shared memory", "ok", text)


def _storage(where: str) -> Finding:
    """Whether files can be written there, and as a sweep needs it; what was written is removed."""
    from landsweep.orchestrator.storage.store import Store, is_url

    if is_url(where):
        Store.at(where).reach()
        return Finding("storage", "ok", f"{where} can be reached")
    folder = next(p for p in (Path(where).absolute(), *Path(where).absolute().parents) if p.exists())
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".landsweep-doctor-") as file:
            file.write(b"x")
            file.flush()
            os.fsync(file.fileno())
    except OSError as e:
        advice = "give another folder with --out, or change its permissions"
        return Finding("storage", "error", f"{folder} can't be written: {e.strerror or e}", advice)
    free = shutil.disk_usage(folder).free
    text = f"{folder} can be written, {free / 1e9:,.1f} GB free"
    if free < _LEAST_DISK:
        return Finding("storage", "warning", text, "free some space, or give another folder with --out")
    return Finding("storage", "ok", text)


def _tracking(where: str, site: str | None) -> Finding:
    from landsweep.orchestrator.redaction import redacted
    from landsweep.orchestrator.site import load_site
    from landsweep.orchestrator.storage.store import views
    from landsweep.orchestrator.tracking.store import default_uri
    from landsweep.orchestrator.tracking.tracker import tracker_of

    at = load_site(site)
    if at.tracking is False:
        return Finding("site and tracking", "ok", "tracking is off")
    uri = at.tracking or default_uri(views(where))
    tracker_of(uri).check()
    return Finding("site and tracking", "ok", f"executor {at.executor}; {redacted(uri)} can be used")
