"""What a node has: `python -m landsweep.cluster.node.probe FOLDER` prints it as one line of JSON."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
import tempfile
from pathlib import Path

from landsweep.cluster.launch import NONCE_FILE
from landsweep.cluster.node.node import own_versions

__all__ = ["PREFIX", "main"]

PREFIX = "landsweep-probe "  # of the line; shells of clusters print more than they are asked for


def main() -> None:
    """Print what this node has; imports nothing heavy."""
    folder = Path(sys.argv[1])
    try:
        nonce = (folder / NONCE_FILE).read_text()
    except OSError as e:
        nonce = f"{type(e).__name__}: {e}"
    scratch = tempfile.gettempdir()
    facts = {
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
    sys.stdout.write(PREFIX + json.dumps(facts) + "\n")


def _gpus() -> int:
    """GPUs that a process may see, without a library: by what the scheduler shows, else by the driver's files."""
    for variable in ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"):
        if shown := os.environ.get(variable):
            return 0 if shown in ("-1", "NoDevFiles") else len(shown.split(","))
    return len(list(Path("/proc/driver/nvidia/gpus").glob("*")))


if __name__ == "__main__":
    main()
