"""The command line as a user meets it, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from tests.support.paths import ROOT

LANDSWEEP = [str(Path(sys.executable).parent / "landsweep")]
LOCAL = ["--site", "local", "site.tracking=off"]


def command(*words: str, cwd: Path, check: int | None = 0, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    done = subprocess.run([*LANDSWEEP, *words], cwd=cwd, capture_output=True, text=True, env=env, timeout=timeout)
    assert check is None or done.returncode == check, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def write_spec(folder: Path, data: dict[str, Any], name: str = "spec.yaml") -> Path:
    file = folder / name
    file.write_text(yaml.safe_dump(data), encoding="utf-8")
    return file
