"""The check of a spec that names the user's own code, in a process of its own.

That code can end its process without a word (an abort in C, `os._exit`, a signal), or never come back. The process that
asks for the check must outlive both, and say what was called last.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import asdict
from typing import IO, Any

from landsweep.orchestrator.errors import SpecError, remade
from landsweep.orchestrator.kind import SweepKind
from landsweep.orchestrator.redaction import redacted
from landsweep.orchestrator.run.messages import WorkerConfig
from landsweep.orchestrator.spec import Spec
from landsweep.orchestrator.text import printable, shortened
from landsweep.orchestrator.trust import may_grant, own_code

__all__ = ["check_apart", "runs_apart"]

_CHECKER = "landsweep.orchestrator.run.checker"
_LOOK = 0.5  # s between looks at what is called
_SHOWN = 2000  # characters of what was printed, in a message
_KEPT = 1 << 16  # bytes of it


def runs_apart(kind: SweepKind[Any], spec: Spec, *, pdb: bool) -> bool:
    """Whether the check of a spec needs a process of its own: it calls the user's code, and that may run.

    Args:
        kind: of the spec; if its check is light, it imports that code and calls none of it.
        spec: of a sweep.
        pdb: the user wants the debugger, which needs the process of the command.
    """
    return not (pdb or kind.light(spec)) and may_grant() and bool(own_code(spec.model_dump(mode="json")))


def check_apart(config: WorkerConfig, device: str) -> None:
    """Have another process check the input of a sweep.

    Args:
        config: of a worker.
        device: of the worker.

    Raises:
        SpecError: the user's code ended the process, or did not come back within `config.check_timeout`.
        LandsweepError: what the check raised.
        RuntimeError: the check raised anything else.
    """
    order = {"config": asdict(config), "device": device, "path": sys.path}
    with tempfile.TemporaryFile() as notes:
        words = [sys.executable, "-P", "-m", _CHECKER, str(notes.fileno())]
        process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            pass_fds=[notes.fileno()], start_new_session=True,
        )  # fmt: skip
        printed = _Printed(process.stdout)
        assert process.stdin is not None
        try:
            with suppress(BrokenPipeError):
                process.stdin.write(json.dumps(order).encode() + b"\n")
                process.stdin.flush()
            in_time = _ended(process, notes, config.check_timeout)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # also what its code has left running
            process.wait()
            with suppress(BrokenPipeError):
                process.stdin.close()
            text = printed.end()
        note = _noted(notes)
    if not in_time or "answer" not in note:
        raise SpecError(_end_in_words(process.returncode if in_time else None, note, config.check_timeout, text))
    with suppress(OSError, ValueError):  # nobody reads it
        sys.stderr.write(text)
    _raise(note["answer"])


def _ended(process: subprocess.Popen[bytes], notes: IO[bytes], limit: float | None) -> bool:
    """Wait for the end of the process; False: one call has taken longer than the limit, s."""
    last, since = dict[str, Any](), time.monotonic()
    while True:
        with suppress(subprocess.TimeoutExpired):
            process.wait(_LOOK if limit is None else min(_LOOK, limit))
            return True
        if (note := _noted(notes)) != last:
            last, since = note, time.monotonic()
        elif note and limit is not None and time.monotonic() - since > limit:
            return False


def _noted(notes: IO[bytes]) -> dict[str, Any]:
    """What the process wrote last; nothing while it writes."""
    with suppress(ValueError):
        note = json.loads(os.pread(notes.fileno(), os.fstat(notes.fileno()).st_size, 0))
        return note if isinstance(note, dict) else {}
    return {}


def _end_in_words(code: int | None, note: dict[str, Any], limit: float | None, printed: str) -> str:
    if code is None:
        end = f"did not come back within {limit:g} s (site.check_timeout), so its process was ended"
    elif code >= 0:
        end = f"ended its process with the exit code {code}"
    else:
        end = f"ended its process by the signal {_signal_name(-code)}"
        if code == -signal.SIGKILL:
            end += ", which it sent itself or which the system sent because memory ran out"
    what = str(note.get("calls", "the check of this spec"))
    last = shortened(printed.strip(), _SHOWN)
    said = f"It printed last:\n{last}" if last else "It printed nothing."
    return (
        f"{what}: {end}. Before the first unit the check calls the code that a spec names, and this code "
        "would end each run. Mend it, or leave out the value for which it does so; with site.executor=local "
        f"site.pdb=true it is called in the process of the command, for a debugger. {said}"
    )


def _signal_name(number: int) -> str:
    with suppress(ValueError):
        return signal.Signals(number).name
    return str(number)


def _raise(answer: dict[str, str] | None) -> None:
    """Raise here what the check raised there."""
    if answer is None:
        return
    if answer["error"]:
        raise remade(answer["error"], answer["text"])
    raise RuntimeError(f"in the process of the check:\n{answer['text']}")


class _Printed:
    """Reads what a process prints, and keeps the end of it."""

    def __init__(self, pipe: IO[bytes] | None) -> None:
        assert pipe is not None
        self._pipe, self._bytes = pipe, b""
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while piece := os.read(self._pipe.fileno(), _KEPT):
            self._bytes = (self._bytes + piece)[-_KEPT:]

    def end(self) -> str:
        """All that was kept, as text that a terminal can show and that holds no credential."""
        self._thread.join(_LOOK)  # a process that has left the session may still hold the pipe
        if not self._thread.is_alive():
            self._pipe.close()
        return printable(redacted(self._bytes.decode(errors="replace")))
