"""Results folders as a stranger would make them: a sweep that has run, with some of its words changed."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Mapping
from contextvars import copy_context
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import pyarrow as pa
import yaml

from landsweep.orchestrator.commands import cli
from landsweep.orchestrator.commands.cli import app, main
from landsweep.orchestrator.storage.ledger.seal import seal, unseal

ZOO = {
    "kind": "zoo",
    "name": "small",
    "recipe": {
        "data": {"source": "sparse_parity", "bits": 6, "relevant": 2, "train": 32, "test": 16},
        "net": {"net": "mlp", "hidden": [4]},
        "optimizer": {"method": "sgd", "learning_rate": 0.1},
        "steps": 4,
        "batch_size": 8,
    },
    "axes": {"optimizer.learning_rate": [0.05, 0.1]},
}
FUNCTION = {
    "kind": "function",
    "name": "small",
    "function": "landsweep.sweeps.function.examples:no_op",
    "axes": {"x": [0.0, 1.0], "y": [0.0, 2.0]},
}


def landsweep(*words: str | Path, cwd: Path, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """The command line as a user has it, in a process of its own."""
    command = [str(Path(sys.executable).with_name("landsweep")), *map(str, words)]
    return subprocess.run(
        command, cwd=cwd, env={**os.environ, **(env or {})}, capture_output=True, text=True, timeout=240, check=False
    )


class Done(NamedTuple):
    """How a command has ended."""

    returncode: int
    stdout: str
    stderr: str


def command(*words: str | Path, cwd: Path) -> Done:
    """The command line in this process, which has its libraries loaded: the same `main`, in a context of its own."""
    out, err, before = io.StringIO(), io.StringIO(), (sys.argv, Path.cwd(), list(sys.path))
    known = list(app.registered_commands)
    signals = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    sys.argv = ["landsweep", *map(str, words)]
    os.chdir(cwd)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            warnings.simplefilter("ignore")  # as a user has it
            with patch.object(cli, "leave", sys.exit):  # which would end the tests too
                copy_context().run(main)
    except SystemExit as e:
        code = e.code
    finally:
        sys.argv, _, sys.path[:] = before
        app.registered_commands[:] = known  # `main` adds those of kinds and launchers each time
        os.chdir(before[1])
        for number, handler in signals.items():
            signal.signal(number, handler)
    return Done(code if isinstance(code, int) else 0, out.getvalue(), err.getvalue())


def ran(folder: Path, spec: Mapping[str, Any], *words: str) -> Path:
    """The results of a spec, which this user has run in `folder`."""
    file = folder / "spec.yaml"
    file.write_text(yaml.safe_dump(dict(spec)))
    local = ("site.executor=local", "site.tracking=false")
    done = command("run", file, "--out", folder / "results" / "own", *local, *words, cwd=folder)
    assert done.returncode in (0, 1), done.stderr
    return folder / "results" / "own"


def stranger(results: Path, name: str, /, *, keep: bool = False, **changes: Any) -> Path:
    """A copy of results with fields of `sweep.json` replaced: path with `__` between, such as `spec__function`."""
    copy = results if keep else results.parent / name
    if not keep:
        shutil.copytree(results, copy)
    head = json.loads((copy / "sweep.json").read_text())
    for path, value in changes.items():
        *parents, last = path.split("__")
        place = head
        for part in parents:
            place = place[part]
        place[last] = value
    (copy / "sweep.json").write_text(json.dumps(head))
    return copy


def rewritten(part: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    """A part with other rows and a right seal: whoever knows how, can make one."""
    table, about = unseal(part.read_bytes())
    part.write_bytes(seal(change(table), about))


def mine(folder: Path, name: str, trace: Path) -> None:
    """A module whose import and whose functions leave traces."""
    (folder / f"{name}.py").write_text(
        f"from pathlib import Path\nPath({str(trace)!r}).touch()\n"
        "def f(**given):\n    Path(" + repr(str(trace) + "-called") + ").touch()\n    return {'y': 1.0}\n"
    )
