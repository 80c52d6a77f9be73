"""What a node has: `python -m cluster.probe FOLDER` prints it as one line of JSON, and `judged` reads it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
import tempfile
from pathlib import Path

from cluster.launcher import Check, Launch
from cluster.node import own_versions

__all__ = ["NONCE", "judged", "main"]

NONCE = "nonce"  # a file in the job's folder, whose content a node can only know if it sees the folder
_MARK = "landsweep-probe "
_LEAST_FREE_GB = 1.0


def main() -> None:
    """Print what this node has; imports nothing heavy."""
    folder = Path(sys.argv[1])
    try:
        nonce = (folder / NONCE).read_text()
    except OSError as e:
        nonce = f"{type(e).__name__}: {e}"
    scratch = tempfile.gettempdir()
    found = {
        "host": socket.gethostname(),
        "nonce": nonce,
        "writable": os.access(folder, os.W_OK),
        "versions": own_versions(),
        "python": sys.executable,
        "cpus": len(os.sched_getaffinity(0)),
        "gpus": _gpus(),
        "scratch": scratch,
        "scratch_gb": shutil.disk_usage(scratch).free / 1e9,
    }
    sys.stdout.write(_MARK + json.dumps(found) + "\n")


def _gpus() -> int:
    """GPUs that a process may see, without a library: by what the scheduler shows, else by the driver's files."""
    for variable in ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"):
        if shown := os.environ.get(variable):
            return 0 if shown in ("-1", "NoDevFiles") else len(shown.split(","))
    return len(list(Path("/proc/driver/nvidia/gpus").glob("*")))


def judged(output: str, launch: Launch, *, gpus: int, sees_folder: bool = True) -> Check:
    """The answer of a node as one check: the first thing that is wrong, or what it has.

    Args:
        output: all that the probe printed.
        launch: what shall run there; its folder holds the nonce.
        gpus: that it should have.
        sees_folder: whether it should see the job's folder.
    """
    line = next((x for x in output.splitlines() if x.startswith(_MARK)), None)
    if line is None:
        return Check(
            "a node", False, f"the probe gave no answer, but: {output.strip()[-300:]!r}", "Look at launcher.setup"
        )
    found = json.loads(line.removeprefix(_MARK))
    what = f"node {found['host']}"
    wrong = {p: v for p, v in launch.versions.items() if found["versions"].get(p) != v}
    if wrong:
        has = ", ".join(f"{p} {found['versions'].get(p, 'missing')} instead of {v}" for p, v in wrong.items())
        cure = f"It runs {found['python']}: set launcher.python, or load the environment in launcher.setup"
        return Check(what, False, has, cure)
    if sees_folder and found["nonce"] != launch.file(NONCE).read_text():
        cure = "Give --out on a file system that all nodes share, or an object store (s3://, gs://)"
        return Check(what, False, f"does not see {launch.home} ({found['nonce']})", cure)
    if sees_folder and not found["writable"]:
        return Check(what, False, f"may not write to {launch.home}", "Give --out where your jobs may write")
    if found["gpus"] < gpus:
        cure = "Ask for a partition or constraint with GPUs, or set launcher.gpus_per_node"
        return Check(what, False, f"shows {found['gpus']} GPUs, but {gpus} are asked for", cure)
    if found["scratch_gb"] < _LEAST_FREE_GB:
        free = f"has {found['scratch_gb']:.1f} GB free in {found['scratch']}"
        return Check(what, False, free, "Name another folder with launcher.scratch")
    versions = ", ".join(f"{p} {v}" for p, v in found["versions"].items())
    sees = "sees the folder, " if sees_folder else ""
    return Check(what, True, f"{sees}{found['gpus']} GPUs, {versions}")


if __name__ == "__main__":
    main()
