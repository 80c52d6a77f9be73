"""A copy of the package that a test adds a file to, and a process that imports it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.support.paths import ROOT

LANDSWEEP = ("-c", "from landsweep.orchestrator.commands.cli import main; main()")


def copy_package(folder: Path) -> Path:
    """Copy the package into a folder, `sweeps` as real files; gives the folder of `sweeps`."""
    package = folder / "landsweep"
    package.mkdir()
    for path in (ROOT / "src/landsweep").iterdir():
        if path.is_file():
            shutil.copyfile(path, package / path.name)
        elif path.name not in ("sweeps", "__pycache__"):
            (package / path.name).symlink_to(path.resolve())
    return Path(shutil.copytree(ROOT / "sweeps", package / "sweeps", ignore=shutil.ignore_patterns("__pycache__")))


def run_python(folder: Path, *arguments: str, fails: bool = False) -> str:
    """What Python prints with the package of this folder; of a command that fails, its complaints."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(folder), str(ROOT)))}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )
    assert bool(done.returncode) == fails, done.stderr
    return done.stderr if fails else done.stdout
